"""Evaluating models on datasets."""

from yangfan.server.evaluation.logic import Evaluations

__all__ = ["Evaluations"]
