"""Files of requests that are worked on when the platform has time."""

from yangfan.server.batches.logic import Batches

__all__ = ["Batches"]
