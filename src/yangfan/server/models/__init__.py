"""Models on this machine: from a name or a path to something that an engine can load. `Registry` keeps sets and their versions."""

from yangfan.server.models.logic import Models
from yangfan.server.models.registry import Page, Registry
from yangfan.server.models.types import InputLimits, ModelSet, Plan, Version
from yangfan.server.models.work import Artifact

__all__ = ["Artifact", "InputLimits", "ModelSet", "Models", "Page", "Plan", "Registry", "Version"]
