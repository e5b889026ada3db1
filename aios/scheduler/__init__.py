"""What first, and what may run beside what: priorities, the queue of waiting events, slots and locks, dead letters.

All of it is pure: values that get `now` as an argument. The reactor calls it; the world keeps its state in checkpoints.
"""
