"""The daemon: everything below, put together (`assemble`), and the order of its life (`life`).

`outside` is all that it touches, as ports; `remember` what it knows of its lives before; `rules` what the settings say of guards.
"""
