"""The outside, simulated: time, disk, processes, hands, services, and bodies that look; one twin for each port.

The product never knows: it is given these instead of the real ones and runs the same code, in virtual time, from a seed.
Called by `tests/`, by `aios.backtest` (time alone: `loop`), and by whoever wants to try a playbook or a skill without touching a
machine. The daemon and hands never import this room.
"""
