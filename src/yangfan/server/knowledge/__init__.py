"""Knowledge bases: documents in, the passages that answer a question out."""

from yangfan.server.knowledge.logic import Knowledge

__all__ = ["Knowledge"]
