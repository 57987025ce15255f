"""`client.apps`: applications, which keys belong to (Yangfan servers)."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from yangfan import errors
from yangfan.client.types import App
from yangfan.protocol.v2.apps import CREATE_APP, DELETE_APP, LIST_APPS

if TYPE_CHECKING:
    from yangfan.client._async.session import AsyncSession
    from yangfan.protocol.v2 import apps as wire


class AsyncApps:
    """Applications of the platform. Every call is signed: the client needs access_key and secret_access_key."""

    def __init__(self, session: AsyncSession) -> None:
        """Made by the client."""
        self._session = session

    async def create(self, name: str = "") -> App:
        """Make an application without keys; `keys.create` takes its id.

        Args:
            name: For people, at most 64 characters.
        """
        call = self._session.management_call(CREATE_APP, {"name": name})
        return _app((await self._session.fetch(call, CREATE_APP.reply)).result)

    async def list(self) -> tuple[App, ...]:
        """All applications, oldest first."""
        call = self._session.management_call(LIST_APPS, {})
        reply = await self._session.fetch(call, LIST_APPS.reply)
        return tuple(map(_app, reply.result.items))

    async def delete(self, app_id: str) -> None:
        """Delete an application and revoke its keys, at once and for good.

        Raises:
            Invalid: It is the built-in one.
            NotFound: There is no such application.
        """
        call = self._session.management_call(DELETE_APP, {"appId": app_id})
        await self._session.fetch(call, DELETE_APP.reply)


def _app(item: wire.App) -> App:
    try:
        created_at = datetime.fromisoformat(item.createTime)
    except ValueError:
        raise errors.BadReply(f"{item.createTime!r} is not a time") from None
    return App(id=item.appId, name=item.name, created_at=created_at, key_count=item.keyCount)
