"""Alembic's hook for its command line; the server runs migrations itself (`yangfan.server.db`)."""
