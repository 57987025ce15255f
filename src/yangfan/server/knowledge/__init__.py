"""Knowledge bases: documents in, the passages that answer a question out."""

from yangfan.server.knowledge.logic import Knowledge
from yangfan.server.knowledge.types import Found, Question

__all__ = ["Found", "Knowledge", "Question"]
