"""The weather: which place a question means, what a provider says about it, and what a model is told."""
