"""Scoring answers: one file a metric of evaluation. No wire, no server."""
