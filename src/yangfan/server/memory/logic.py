"""Keeping memories, and turning them into words in front of a conversation."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from yangfan.errors import Invalid, NotFound
from yangfan.protocol.v2.memory import MAX_PAIRS
from yangfan.server.http.call import new_id
from yangfan.server.memory.recall import DEFAULT_LEVEL, PAIRS_OF_LEVEL, recalled
from yangfan.server.memory.types import Kind, Pair, Record

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from yangfan.server.memory.store import MemoryStore

_PREFIX: dict[Kind, str] = {"system": "sm-", "user": "um-"}
_LISTED_BY: dict[Kind, str] = {
    "system": "DescribeSystemMemories",
    "user": "DescribeUserMemories",
}


class Memory:
    """All memories.

    Args:
        store: Where they live.
    """

    def __init__(self, store: MemoryStore) -> None:
        self._store = store

    async def create(self, kind: Kind, app_id: str, description: str) -> str:
        """Make an empty memory; its id."""
        memory_id = new_id(_PREFIX[kind], 12)
        await self._store.add(memory_id, kind, app_id, description)
        return memory_id

    async def page(
        self,
        kind: Kind,
        app_id: str | None,
        first_id: str | None,
        count: int,
        *,
        newest_first: bool,
    ) -> tuple[list[Record], str | None]:
        """Up to `count` memories in order of creation, and the id of the one that follows.

        Raises:
            NotFound: There is no memory of the id to begin with.
        """
        if first_id is not None:
            await self.get(kind, first_id)
        found = await self._store.page(kind, app_id, first_id, count + 1, newest_first=newest_first)
        return found[:count], found[count].id if len(found) > count else None

    async def get(self, kind: Kind, memory_id: str, app_id: str | None = None) -> Record:
        """The memory of that id, which belongs to that application.

        Raises:
            NotFound: There is none.
        """
        record = await self._store.get(memory_id)
        if record is None or record.kind != kind or app_id not in {None, record.app_id}:
            raise _missing(kind, memory_id)
        return record

    async def cover(
        self,
        kind: Kind,
        memory_id: str,
        turns: Sequence[tuple[str, str]],
        *,
        app_id: str | None = None,
        behind: bool = False,
    ) -> None:
        """Hold these pairs instead of all before, or `behind` them.

        Raises:
            NotFound: There is no such memory.
            Invalid: It would hold more than 1,000 pairs.
        """
        new = tuple(Pair(new_id("mc-", 12), user, system) for user, system in turns)

        def pairs(record: Record) -> tuple[Pair, ...]:
            held = (*record.pairs, *new) if behind else new
            if len(held) > MAX_PAIRS:
                raise Invalid(
                    f"a memory holds at most {MAX_PAIRS} pairs, these make it {len(held)}; delete some first",
                    param="memories",
                )
            return held

        await self._change(kind, memory_id, app_id, pairs)

    async def replace(self, memory_id: str, app_id: str, changed: Sequence[Pair]) -> None:
        """Put pairs in the place of those with their ids.

        Raises:
            NotFound: The memory, or a pair, does not exist; nothing is changed.
        """

        def pairs(record: Record) -> tuple[Pair, ...]:
            held = {pair.id: pair for pair in record.pairs}
            for pair in changed:
                if pair.id not in held:
                    raise _no_pair(memory_id, pair.id)
                held[pair.id] = pair
            return tuple(held.values())

        await self._change("user", memory_id, app_id, pairs)

    async def forget(self, memory_id: str, app_id: str, pair_id: str) -> None:
        """Delete one pair of a user memory.

        Raises:
            NotFound: The memory, or the pair, does not exist.
        """

        def pairs(record: Record) -> tuple[Pair, ...]:
            left = tuple(pair for pair in record.pairs if pair.id != pair_id)
            if len(left) == len(record.pairs):
                raise _no_pair(memory_id, pair_id)
            return left

        await self._change("user", memory_id, app_id, pairs)

    async def delete(self, kind: Kind, memory_id: str, app_id: str | None = None) -> None:
        """Delete a memory with all that it holds.

        Raises:
            NotFound: There is no such memory.
        """
        await self.get(kind, memory_id, app_id)
        await self._store.remove(memory_id)

    async def words(
        self,
        kind: Kind,
        memory_id: str,
        caller_app_id: str,
        *,
        param: str,
        level: int | None = None,
        question: str = "",
    ) -> str:
        """What the memory says, as text to put in front of a conversation.

        A memory of another application's ``app-…`` id is none for this caller. A user memory says as much as `level` recalls for
        the question; a system memory says all.

        Raises:
            Invalid: The caller has no memory of that id; `param` names the field.
        """
        record = await self._store.get(memory_id)
        foreign = (
            record is not None
            and record.app_id.startswith("app-")
            and caller_app_id not in {"", record.app_id}
        )
        if record is None or record.kind != kind or foreign:
            raise Invalid(
                f"{param} {memory_id[:64]!r} does not exist; {_LISTED_BY[kind]} lists those that do",
                param=param,
            )
        if kind == "system":
            return _text(record.pairs)
        level = DEFAULT_LEVEL if level is None else level
        pairs = record.pairs
        if len(pairs) > PAIRS_OF_LEVEL[level]:
            pairs = await asyncio.to_thread(recalled, pairs, level, question)
        return "\n\n".join(filter(None, (record.description, _text(pairs))))

    async def _change(
        self,
        kind: Kind,
        memory_id: str,
        app_id: str | None,
        pairs: Callable[[Record], tuple[Pair, ...]],
    ) -> None:
        await self.get(kind, memory_id, app_id)
        if not await self._store.change(memory_id, pairs):
            raise _missing(kind, memory_id)


def _text(pairs: Sequence[Pair]) -> str:
    return "\n\n".join(f"{pair.user}\n{pair.system}" for pair in pairs)


def _missing(kind: Kind, memory_id: str) -> NotFound:
    return NotFound(
        f"no {kind} memory {memory_id[:64]!r}; {_LISTED_BY[kind]} lists those there are"
    )


def _no_pair(memory_id: str, pair_id: str) -> NotFound:
    return NotFound(
        f"{memory_id[:64]} holds no memoryContentId {pair_id[:64]!r}; DescribeUserMemory shows those it holds"
    )
