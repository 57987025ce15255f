"""Where workers run: one file per way of running them."""
