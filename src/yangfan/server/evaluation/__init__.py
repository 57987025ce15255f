"""Evaluating models on datasets."""

from yangfan.server.evaluation.logic import Evaluations, Names

__all__ = ["Evaluations", "Names"]
