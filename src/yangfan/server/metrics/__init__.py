"""Watching the server: counters and histograms for Prometheus, one log line a call, traces. `Metrics` is told of calls."""

from yangfan.server.metrics.logic import Metrics

__all__ = ["Metrics"]
