"""Texts to vectors, in both dialects."""

from yangfan.server.embeddings.logic import Embeddings

__all__ = ["Embeddings"]
