"""v2: the Actions of /v2/memory (specification D.16)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import UNSET, UnsetType

from yangfan.errors import Invalid
from yangfan.protocol.v2 import memory as wire
from yangfan.server.http import Call, Reply, Route
from yangfan.server.http.actions import success
from yangfan.server.memory.types import Pair

if TYPE_CHECKING:
    from collections.abc import Sequence

    from yangfan.server.memory.logic import Memory
    from yangfan.server.memory.types import Kind, Record

DEFAULT_PAGE = 100
FIRST_MARKERS = frozenset({None, "", "0"})
"""What stands for the first page."""


def routes(memory: Memory) -> list[Route]:
    """What this file answers."""
    return [*_system_routes(memory), *_user_routes(memory)]


def _system_routes(memory: Memory) -> list[Route]:
    async def create(call: Call[wire.CreateMemory]) -> Reply:
        wanted = call.request
        return success(await memory.create("system", wanted.appId, wanted.description))

    async def list_all(call: Call[wire.ListMemories]) -> Reply:
        records, info = await _page(memory, "system", call.request)
        return success(wire.SystemMemories(items=[*map(_system, records)], pageInfo=info))

    async def show(call: Call[wire.NameSystemMemory]) -> Reply:
        record = await memory.get("system", call.request.systemMemoryId)
        shown = _system(record)
        shown.memories = [_turns(pair) for pair in record.pairs]
        return success(shown)

    async def modify(call: Call[wire.ModifySystemMemory]) -> Reply:
        wanted = call.request
        await memory.cover("system", wanted.systemMemoryId, _texts(wanted.memories))
        return success(True)  # noqa: FBT003 - the result of the Action

    async def delete(call: Call[wire.NameSystemMemory]) -> Reply:
        await memory.delete("system", call.request.systemMemoryId)
        return success(True)  # noqa: FBT003 - the result of the Action

    return [
        Route(wire.CREATE_SYSTEM, create),
        Route(wire.LIST_SYSTEM, list_all),
        Route(wire.SHOW_SYSTEM, show),
        Route(wire.MODIFY_SYSTEM, modify),
        Route(wire.DELETE_SYSTEM, delete),
    ]


def _user_routes(memory: Memory) -> list[Route]:
    async def create(call: Call[wire.CreateMemory]) -> Reply:
        wanted = call.request
        return success(await memory.create("user", wanted.appId, wanted.description))

    async def list_all(call: Call[wire.ListMemories]) -> Reply:
        records, info = await _page(memory, "user", call.request)
        return success(wire.UserMemories(items=[*map(_user, records)], pageInfo=info))

    async def show(call: Call[wire.NameUserMemory]) -> Reply:
        wanted = call.request
        record = await memory.get("user", wanted.userMemoryId, wanted.appId)
        shown = _user(record)
        shown.memories = [
            _turns(pair, named=True)
            for pair in record.pairs
            if wanted.memoryContentId in {None, pair.id}
        ]
        return success(shown)

    async def modify(call: Call[wire.ModifyUserMemory]) -> Reply:
        wanted = call.request
        await memory.cover(
            "user",
            wanted.userMemoryId,
            _texts(wanted.memories),
            app_id=wanted.appId,
            behind=wanted.operator == "insert",
        )
        return success(True)  # noqa: FBT003 - the result of the Action

    async def modify_content(call: Call[wire.ModifyUserMemoryContent]) -> Reply:
        wanted = call.request
        texts = _texts(wanted.memories)
        changed = [
            Pair(_content_id(pair, position), *texts[position])
            for position, pair in enumerate(wanted.memories)
        ]
        await memory.replace(wanted.userMemoryId, wanted.appId, changed)
        return success(True)  # noqa: FBT003 - the result of the Action

    async def delete(call: Call[wire.NameUserMemory]) -> Reply:
        wanted = call.request
        if wanted.memoryContentId is not None:
            await memory.forget(wanted.userMemoryId, wanted.appId, wanted.memoryContentId)
        else:
            await memory.delete("user", wanted.userMemoryId, wanted.appId)
        return success(True)  # noqa: FBT003 - the result of the Action

    return [
        Route(wire.CREATE_USER, create),
        Route(wire.LIST_USER, list_all),
        Route(wire.SHOW_USER, show),
        Route(wire.MODIFY_USER, modify),
        Route(wire.MODIFY_USER_CONTENT, modify_content),
        Route(wire.DELETE_USER, delete),
    ]


async def _page(
    memory: Memory, kind: Kind, wanted: wire.ListMemories
) -> tuple[list[Record], wire.PageInfo]:
    count = wanted.maxKeys or DEFAULT_PAGE
    first_id = None if wanted.marker in FIRST_MARKERS else wanted.marker
    records, next_id = await memory.page(
        kind, wanted.appId or None, first_id, count, newest_first=bool(wanted.pageReverse)
    )
    return records, wire.PageInfo(
        marker=wanted.marker or "",
        maxKeys=count,
        isTruncated=next_id is not None,
        nextMarker=UNSET if next_id is None else next_id,
    )


def _texts(pairs: Sequence[Sequence[wire.MemoryTurn]]) -> list[tuple[str, str]]:
    """What the user and the system say in each pair."""
    found: list[tuple[str, str]] = []
    for position, (first, second) in enumerate(pairs):
        if (first.role, second.role) != ("user", "system"):
            raise Invalid(
                f"memories[{position}] must be a turn of role user and then one of role system,"
                f" got {first.role} and {second.role}",
                param="memories",
            )
        found.append((first.content, second.content))
    return found


def _content_id(pair: Sequence[wire.MemoryTurn], position: int) -> str:
    ids = {turn.memoryContentId for turn in pair if not isinstance(turn.memoryContentId, UnsetType)}
    if len(ids) != 1:
        raise Invalid(
            f"memories[{position}] must name the memoryContentId that it replaces, the same in both turns",
            param="memories",
        )
    return ids.pop()


def _turns(pair: Pair, *, named: bool = False) -> list[wire.MemoryTurn]:
    content_id = pair.id if named else UNSET
    return [
        wire.MemoryTurn(role="user", content=pair.user, memoryContentId=content_id),
        wire.MemoryTurn(role="system", content=pair.system, memoryContentId=content_id),
    ]


def _system(record: Record) -> wire.SystemMemory:
    return wire.SystemMemory(
        appId=record.app_id, systemMemoryId=record.id, description=record.description
    )


def _user(record: Record) -> wire.UserMemory:
    return wire.UserMemory(
        appId=record.app_id, userMemoryId=record.id, description=record.description
    )
