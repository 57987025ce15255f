"""Token counts by the served model's own tokenizer."""
