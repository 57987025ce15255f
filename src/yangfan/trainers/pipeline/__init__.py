"""What the ways of training share: rows, tokens, models, the loop, checkpoints, and what is shown of a run."""
