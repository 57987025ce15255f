"""Files that callers send, kept by what they hold. `Files` takes, lists, gives and deletes them."""

from yangfan.server.files.logic import Files, expires_seconds_of

__all__ = ["Files", "expires_seconds_of"]
