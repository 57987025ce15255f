"""A model behind an address: names, replicas, restarts, retries. `Services` finds and runs them."""

from yangfan.server.services.gate import WAIT_BUCKETS_SECONDS, Gate, GatePolicy
from yangfan.server.services.inputs import read_ids, texts_or_ids
from yangfan.server.services.logic import Fleet, Services, types_of
from yangfan.server.services.replica import Replica
from yangfan.server.services.reservation import booked, booked_stream, reserve
from yangfan.server.services.rules import (
    answered_by,
    check_characters,
    check_tokens,
    named,
    surely_fits,
    with_defaults,
)
from yangfan.server.services.service import ATTEMPTS, Service, ServicePolicy, Target

__all__ = [
    "ATTEMPTS",
    "WAIT_BUCKETS_SECONDS",
    "Fleet",
    "Gate",
    "GatePolicy",
    "Replica",
    "Service",
    "ServicePolicy",
    "Services",
    "Target",
    "answered_by",
    "booked",
    "booked_stream",
    "check_characters",
    "check_tokens",
    "named",
    "read_ids",
    "reserve",
    "surely_fits",
    "texts_or_ids",
    "types_of",
    "with_defaults",
]
