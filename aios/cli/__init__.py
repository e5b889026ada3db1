"""The command line: one small file per noun, found by `main`; each calls a function that tests call too."""
