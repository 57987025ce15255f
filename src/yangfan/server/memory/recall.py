"""How much of a user memory a conversation recalls: `user_memory_level` (specification B.3).

Baidu documents the level as the strength of recall, from 0 to 4, 1 by default, and says that pairs are fetched as they are needed.
Here a level is a number of pairs: those that share the most words with the question, the newest of equals.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from yangfan.protocol.v2.memory import MAX_PAIRS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from yangfan.server.memory.types import Pair

PAIRS_OF_LEVEL: Final = (0, 16, 64, 256, MAX_PAIRS)
"""Most pairs that each level recalls."""

DEFAULT_LEVEL: Final = 1
COMPARED_CHARACTERS: Final = 256
"""What is compared of each turn: a memory may hold megabytes."""

_WORDS = re.compile(r"[\u2e80-\u9fff\uf900-\ufaff]+|[^\W_\u2e80-\u9fff\uf900-\ufaff]+")
_HAN = re.compile(r"[\u2e80-\u9fff\uf900-\ufaff]")


def recalled(pairs: Sequence[Pair], level: int, question: str) -> tuple[Pair, ...]:
    """The pairs that `level` recalls for a question, in their order."""
    most = PAIRS_OF_LEVEL[level]
    if len(pairs) <= most:
        return tuple(pairs)
    asked = _signs(question[-4 * COMPARED_CHARACTERS :])

    def nearness(place: int) -> tuple[int, int]:
        pair = pairs[place]
        said = f"{pair.user[:COMPARED_CHARACTERS]}\n{pair.system[:COMPARED_CHARACTERS]}"
        return len(asked & _signs(said)), place

    best = sorted(range(len(pairs)), key=nearness, reverse=True)[:most]
    return tuple(pairs[place] for place in sorted(best))


def _signs(text: str) -> frozenset[str]:
    """What texts are compared by: words in small letters, and of Chinese, which has no spaces, every two neighbours."""
    found: set[str] = set()
    for word in _WORDS.findall(text.casefold()):
        if _HAN.match(word) and len(word) > 1:
            found.update(word[at : at + 2] for at in range(len(word) - 1))
        else:
            found.add(word)
    return frozenset(found)
