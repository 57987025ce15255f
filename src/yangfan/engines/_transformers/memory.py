"""What running answers have read and written, in room that grows by strides: a step writes its column and copies nothing else.

The library's own layer (`DynamicLayer`) joins old and new at every step, which copies all that is there for each token.
"""

from __future__ import annotations

from functools import cache
from typing import Any

STRIDE_TOKENS = 256
"""Columns that the room grows by; it is copied once for as many steps."""


def growing_cache(transformers: Any) -> Any:
    """A cache of the library's for plain attention whose layers grow by strides."""
    made = transformers.DynamicCache()
    made.layer_class_to_replicate = _layer_class(transformers.cache_utils.DynamicLayer)
    return made


@cache
def _layer_class(base: Any) -> Any:
    class GrowingLayer(base):  # type: ignore[misc]
        """`keys` and `values` are the part of the room that is in use; whoever sets others gives them new room with the next step."""

        def __init__(self) -> None:
            super().__init__()  # pyright: ignore[reportUnknownMemberType] - the library's own
            self._rooms: dict[str, Any] = {}
            self._used: dict[str, Any] = {}

        def update(self, key_states: Any, value_states: Any, *args: Any, **kwargs: Any) -> Any:
            del args, kwargs
            if not self.is_initialized:
                self.lazy_initialization(key_states, value_states)
            self.keys = self._add("keys", self.keys, key_states)
            self.values = self._add("values", self.values, value_states)
            return self.keys, self.values

        def _add(self, name: str, have: Any, new: Any) -> Any:
            before = have.shape[-2] if have.numel() else 0
            after = before + new.shape[-2]
            room = self._rooms.get(name)
            if room is None or self._used.get(name) is not have or room.shape[-2] < after:
                columns = -(-after // STRIDE_TOKENS) * STRIDE_TOKENS
                room = new.new_empty((*new.shape[:2], columns, new.shape[-1]))
                if before:
                    room[:, :, :before] = have
                self._rooms[name] = room
            room[:, :, before:after] = new
            self._used[name] = room[:, :, :after]
            return self._used[name]

    return GrowingLayer
