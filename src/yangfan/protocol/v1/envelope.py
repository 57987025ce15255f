"""What v1's management calls on data and prompts answer (specification D): always HTTP 200, and `success` says how it went."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

import msgspec

if TYPE_CHECKING:
    from yangfan.protocol.v1 import errors as v1_errors

T = TypeVar("T")


class Envelope(msgspec.Struct, Generic[T]):
    """A success. `log_id` names the call for support."""

    log_id: str
    result: T
    status: int = 200
    success: bool = True


class Complaint(msgspec.Struct):
    """What to tell a person; the published SDK reads `global`."""

    text: str = msgspec.field(name="global")


class EnvelopeError(msgspec.Struct):
    """A failure; `code` is one of v1's error table."""

    log_id: str
    code: int
    message: Complaint
    status: int = 400
    success: bool = False


def failure(body: v1_errors.ErrorBody, log_id: str) -> EnvelopeError:
    """A v1 error in this envelope."""
    return EnvelopeError(log_id, body.error_code, Complaint(body.error_msg))
