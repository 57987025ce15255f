"""Datasets, their versions and their samples. `Datasets` keeps them; jobs of other slices put rows into them."""

from yangfan.server.datasets.collecting import Collector
from yangfan.server.datasets.links import Links
from yangfan.server.datasets.logic import Datasets, check_name
from yangfan.server.datasets.publishing import Publishing
from yangfan.server.datasets.samples import Samples
from yangfan.server.datasets.types import DatasetVersion, Group, Kind, Task

__all__ = [
    "Collector",
    "DatasetVersion",
    "Datasets",
    "Group",
    "Kind",
    "Links",
    "Publishing",
    "Samples",
    "Task",
    "check_name",
]
