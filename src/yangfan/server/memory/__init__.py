"""What models are told before every conversation. `Memory` keeps it and says it."""

from yangfan.server.memory.logic import Memory

__all__ = ["Memory"]
