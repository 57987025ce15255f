"""Chat in both dialects over one model of it."""

from yangfan.server.chat.logic import Chat
from yangfan.server.chat.pictures import V1_PICTURE_BYTES, check, decode_base64

__all__ = ["V1_PICTURE_BYTES", "Chat", "check", "decode_base64"]
