"""Chat in both dialects over one model of it."""

from yangfan.server.chat.logic import PICTURE_TOKENS, Chat
from yangfan.server.chat.pictures import (
    V1_PICTURE_BYTES,
    V2_PICTURE_BYTES,
    Pictures,
    check,
    decode_base64,
)
from yangfan.server.chat.sampling import v1_sampling, v2_sampling
from yangfan.server.chat.tools import OfferedFunction, read_tools

__all__ = [
    "PICTURE_TOKENS",
    "V1_PICTURE_BYTES",
    "V2_PICTURE_BYTES",
    "Chat",
    "OfferedFunction",
    "Pictures",
    "check",
    "decode_base64",
    "read_tools",
    "v1_sampling",
    "v2_sampling",
]
