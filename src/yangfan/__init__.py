"""Yangfan SDK."""
