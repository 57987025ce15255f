"""Working on datasets: cleaning them, and making more samples out of those that there are."""

from yangfan.server.processing.logic import Means, Places, Processing

__all__ = ["Means", "Places", "Processing"]
