"""Plugin applications: a name, the plugins that it may use, and the service that writes its answers."""

from yangfan.server.plugins.logic import Plugins

__all__ = ["Plugins"]
