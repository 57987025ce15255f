# Generated from _async by scripts/unasync.py; edit there.
"""`client.models`: which names there are."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

from msgspec import UNSET

from yangfan.client.types import Model
from yangfan.protocol.v2.models import MODEL, MODELS

if TYPE_CHECKING:
    from yangfan.client._sync.session import Session
    from yangfan.protocol.v2 import models as wire


class Models:
    """The names that calls may use as `model`."""

    def __init__(self, session: Session) -> None:
        """Made by the client."""
        self._session = session

    def list(self) -> tuple[Model, ...]:
        """All names."""
        call = self._session.inference_call(MODELS, 2)
        reply = self._session.fetch(call, MODELS.reply)
        return tuple(_model(item) for item in reply.data)

    def get(self, name: str) -> Model:
        """One name.

        Raises:
            ModelNotFound: There is no such name.
        """
        path = MODEL.path.replace("{model}", quote(name, safe=""))
        call = self._session.inference_call(MODEL, 2, path=path)
        return _model(self._session.fetch(call, MODEL.reply))


def _model(item: wire.Model) -> Model:
    return Model(
        id=item.id,
        owned_by=item.owned_by,
        created=item.created,
        type=None if item.type is UNSET else item.type,
        served_by=None if item.served_by is UNSET else item.served_by,
    )
