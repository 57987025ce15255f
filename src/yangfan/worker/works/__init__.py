"""Kinds of work: one file each, whose name is the kind and whose `run(task)` does it."""
