"""Hands: acts, and knows nothing but to carry out calls.

`client` is the daemon's side (asyncio). The rest runs in the hands process and in its launchers: `server` takes calls and forks,
`launcher` is one attempt as a state machine, `acting` runs the body in a session of its own, `snapshot` saves and puts back,
`recovery` says what became of an attempt, `keeper` is the parent of a managed service.
"""
