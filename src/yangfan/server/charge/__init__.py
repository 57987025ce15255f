"""Capacity of models: what was bought is what they may be asked for. `Charge` sets the limits of models, `Units` multiply them."""

from yangfan.server.charge.logic import Charge
from yangfan.server.charge.units import Units

__all__ = ["Charge", "Units"]
