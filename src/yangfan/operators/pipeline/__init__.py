"""Running operators over files: a recipe, one pass, bounded memory, every dropped row explained, and going on after a stop."""
