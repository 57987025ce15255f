"""Tuning: from a published dataset to a tuned model. `Tuning` keeps jobs and their runs, which are durable jobs."""

from yangfan.server.tuning.logic import Folders, Tuning
from yangfan.server.tuning.types import NewTask, TrainingData, TuningJob, TuningTask, View

__all__ = ["Folders", "NewTask", "TrainingData", "Tuning", "TuningJob", "TuningTask", "View"]
