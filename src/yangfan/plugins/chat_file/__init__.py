"""Questions about one document that is handed over with them: read and cut as the knowledge base does, and forgotten afterwards."""
