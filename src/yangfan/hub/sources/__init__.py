"""Places that models come from: one file per URI scheme, found by its name."""
