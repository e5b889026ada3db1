"""AIOS: it finds the problem, fixes it, proves the fix, takes it back when it did not work, and asks only when stuck."""

__version__ = "0.1.0"
