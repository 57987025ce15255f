"""Rate limits, quotas and what was used. `Usage` gives every call its meter."""

from yangfan.server.usage.logic import Usage
from yangfan.server.usage.types import Limits

__all__ = ["Limits", "Usage"]
