"""What the transformers engine's child process is made of; nothing here is imported by the API process but `config`."""
