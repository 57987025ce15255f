"""Making more samples out of a few: self-instruct, evolution of prompts, and what is too like another is left out."""
