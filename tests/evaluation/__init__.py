"""Runs on data that is not ours: each script takes its folder as an argument, prints what it found and exits 1 on a failure."""
