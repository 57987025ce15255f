"""`client.memory`: what a model is told about itself and its users before every conversation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec import UNSET

from yangfan import errors
from yangfan.client.types import JSON, MemoryPair, StoredMemory
from yangfan.protocol.v2 import memory as wire

if TYPE_CHECKING:
    from collections.abc import Sequence

    from yangfan.client._async.session import AsyncSession
    from yangfan.protocol.endpoint import Endpoint


class AsyncMemory:
    """Memories. Every call is signed: the client needs access_key and secret_access_key.

    A chat names one with `system_memory_id` beside `enable_system_memory`, or `user_memory_id` beside `enable_user_memory`.
    """

    def __init__(self, session: AsyncSession) -> None:
        """Made by the client."""
        self._session = session

    async def create_system(self, app_id: str, description: str = "") -> str:
        """Make an empty system memory of an application; its id, ``sm-…``."""
        return await self._call(wire.CREATE_SYSTEM, appId=app_id, description=description)

    async def list_system(self, app_id: str | None = None) -> tuple[StoredMemory, ...]:
        """Every system memory, of one application or of all, oldest first and without pairs."""
        return await self._list(wire.LIST_SYSTEM, app_id)

    async def get_system(self, memory_id: str) -> StoredMemory:
        """A system memory with its pairs.

        Raises:
            NotFound: There is none of that id.
        """
        return _memory(await self._call(wire.SHOW_SYSTEM, systemMemoryId=memory_id))

    async def set_system(self, memory_id: str, pairs: Sequence[tuple[str, str]]) -> None:
        """Have it hold these pairs of a user's and the system's words, 1 to 1,000, instead of all before.

        Raises:
            NotFound: There is none of that id.
        """
        await self._call(wire.MODIFY_SYSTEM, systemMemoryId=memory_id, memories=_pairs(pairs))

    async def delete_system(self, memory_id: str) -> None:
        """Delete a system memory.

        Raises:
            NotFound: There is none of that id.
        """
        await self._call(wire.DELETE_SYSTEM, systemMemoryId=memory_id)

    async def create_user(self, app_id: str, description: str = "") -> str:
        """Make an empty memory of one of an application's users; its id, ``um-…``."""
        return await self._call(wire.CREATE_USER, appId=app_id, description=description)

    async def list_user(self, app_id: str | None = None) -> tuple[StoredMemory, ...]:
        """Every user memory, of one application or of all, oldest first and without pairs."""
        return await self._list(wire.LIST_USER, app_id)

    async def get_user(self, app_id: str, memory_id: str) -> StoredMemory:
        """A user memory with its pairs and their ids.

        Raises:
            NotFound: The application has none of that id.
        """
        return _memory(await self._call(wire.SHOW_USER, appId=app_id, userMemoryId=memory_id))

    async def set_user(
        self,
        app_id: str,
        memory_id: str,
        pairs: Sequence[tuple[str, str]],
        *,
        keep: bool = False,
    ) -> None:
        """Have it hold these pairs, 1 to 1,000, instead of all before, or besides if `keep`.

        Raises:
            NotFound: The application has none of that id.
        """
        await self._call(
            wire.MODIFY_USER,
            appId=app_id,
            userMemoryId=memory_id,
            operator="insert" if keep else "cover",
            memories=_pairs(pairs),
        )

    async def change_user(self, app_id: str, memory_id: str, pair: MemoryPair) -> None:
        """Put a pair in the place of the one with its id.

        Raises:
            NotFound: The application has no such memory, or that no such pair.
        """
        (turns,) = _pairs([(pair.user, pair.system)])
        for turn in turns:
            turn["memoryContentId"] = pair.id
        await self._call(
            wire.MODIFY_USER_CONTENT, appId=app_id, userMemoryId=memory_id, memories=[turns]
        )

    async def delete_user(self, app_id: str, memory_id: str, pair_id: str | None = None) -> None:
        """Delete a user memory, or one pair of it.

        Raises:
            NotFound: There is no such memory or pair.
        """
        body: JSON = {"appId": app_id, "userMemoryId": memory_id}
        if pair_id is not None:
            body["memoryContentId"] = pair_id
        await self._call(wire.DELETE_USER, **body)

    async def _call(self, endpoint: Endpoint[Any, Any], **body: Any) -> Any:
        call = self._session.management_call(endpoint, body)
        return (await self._session.fetch(call, endpoint.reply)).result

    async def _list(
        self, endpoint: Endpoint[Any, Any], app_id: str | None
    ) -> tuple[StoredMemory, ...]:
        found: list[StoredMemory] = []
        body: JSON = {"maxKeys": 100} if app_id is None else {"maxKeys": 100, "appId": app_id}
        while True:
            page: wire.SystemMemories | wire.UserMemories = await self._call(endpoint, **body)
            found += map(_memory, page.items)
            marker = page.pageInfo.nextMarker
            if not page.pageInfo.isTruncated or marker is UNSET:
                return tuple(found)
            body["marker"] = marker


def _pairs(pairs: Sequence[tuple[str, str]]) -> list[list[dict[str, str]]]:
    return [
        [{"role": "user", "content": user}, {"role": "system", "content": system}]
        for user, system in pairs
    ]


def _memory(item: wire.SystemMemory | wire.UserMemory) -> StoredMemory:
    found: list[MemoryPair] = []
    for turns in () if item.memories is UNSET else item.memories:
        if len(turns) != 2:
            raise errors.BadReply("a pair of a memory has not two turns")
        user, system = turns
        content_id = user.memoryContentId
        found.append(
            MemoryPair(user.content, system.content, "" if content_id is UNSET else content_id)
        )
    memory_id = item.systemMemoryId if isinstance(item, wire.SystemMemory) else item.userMemoryId
    return StoredMemory(memory_id, item.appId, item.description, tuple(found))
