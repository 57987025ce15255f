"""Completions in both dialects over one model of them: a text goes on where its prompt ends."""

from yangfan.server.completions.logic import Completions

__all__ = ["Completions"]
