"""Who may call: keys, applications, tokens. `Access` answers "who is this?" for every request."""

from yangfan.server.access.logic import Access, Credentials

__all__ = ["Access", "Credentials"]
