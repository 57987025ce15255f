"""A model behind an address: names, replicas, restarts, retries. `Services` finds and runs them."""

from yangfan.server.services.logic import Services
from yangfan.server.services.service import Service, Target

__all__ = ["Service", "Services", "Target"]
