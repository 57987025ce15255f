"""Documents sorted by how well they answer a query, in both dialects."""

from yangfan.server.rerank.logic import Rerank

__all__ = ["Rerank"]
