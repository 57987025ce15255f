"""OpenAI-shaped HTTP between this process and an engine's child process: both ends of the wire, and the types on it."""
