"""Pictures from words, in both dialects."""

from yangfan.server.images.logic import Images

__all__ = ["Images"]
