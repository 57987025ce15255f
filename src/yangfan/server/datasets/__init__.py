"""Datasets, their versions and their samples. `Datasets` keeps them; jobs of other slices put rows into them."""

from yangfan.server.datasets.logic import Datasets
from yangfan.server.datasets.types import DatasetVersion, Group, Kind, Task

__all__ = ["DatasetVersion", "Datasets", "Group", "Kind", "Task"]
