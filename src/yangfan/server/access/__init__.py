"""Who may call: keys, applications, tokens. `Access` answers "who is this?" for every request."""

from yangfan.server.access.logic import Access, Credentials
from yangfan.server.access.secrets import Vault

__all__ = ["Access", "Credentials", "Vault"]
