# Generated from _async by scripts/unasync.py; edit there.
"""Generated from `_async` by scripts/unasync.py."""
