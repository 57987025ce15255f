"""Chat in both dialects over one model of it."""

from yangfan.server.chat.logic import Chat

__all__ = ["Chat"]
