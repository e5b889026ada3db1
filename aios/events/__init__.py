"""Words: what happened (`event`), which types there are (`catalogue`), what a skill is asked and answers (`calls`).

`codec` is the one place where bytes become events. Everything here is pure.
"""
