"""What can be done: one file a skill, one entry point each in the group `aios.skills`.

`api` says how a skill is written, `types` what its parameters may be, `catalogue` finds them all, `looker` runs those that
only look. The bodies that act are run by `aios/hands/`, which gets them as an argument.
"""
