"""Plugin applications: a name, the plugins that it may use, and the service that writes its answers."""

from yangfan.server.plugins.logic import Plugins
from yangfan.server.plugins.steps import StepMeter
from yangfan.server.plugins.types import Application, Asking

__all__ = ["Application", "Asking", "Plugins", "StepMeter"]
