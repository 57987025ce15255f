"""Capacity of models: what was bought is what they may be asked for. `Charge` sets the limits of models."""

from yangfan.server.charge.logic import Charge

__all__ = ["Charge"]
