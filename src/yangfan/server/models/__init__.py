"""Models on this machine: from a name or a path to something that an engine can load."""

from yangfan.server.models.logic import Models
from yangfan.server.models.types import InputLimits, Plan

__all__ = ["InputLimits", "Models", "Plan"]
