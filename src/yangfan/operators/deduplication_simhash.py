"""Texts out that nearly repeat an earlier one: their 64-bit simhashes over words differ in at most `distance` bits.

The first in order stays. A text is compared with those that stayed, so that a chain of small changes does not pull in texts
that have little in common with the first. A text without words is its own only feature.

Source: Charikar, 2002, "Similarity Estimation Techniques from Rounding Algorithms"; Manku, Jain and Das Sarma, 2007,
"Detecting Near-Duplicates for Web Crawling".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from msgspec import Meta

from yangfan.operators import base
from yangfan.operators._near import BITS, FAR, Near

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from yangfan.operators._texts import Counts, Flags, Hashes, Texts, Values

STAGE: base.Stage = "deduplication"
SUMMARY = {
    "en": "Drop texts that nearly repeat an earlier one (64-bit simhash over words)",
    "zh": "相似文本去重：与靠前文本的 SimHash 距离过近的文本被去除",
}


class Parameters(base.Parameters, frozen=True):
    """Arguments."""

    distance: Annotated[
        int, Meta(ge=4, le=6, description="Bits that near texts differ in at most / 最大汉明距离")
    ] = 4


class Simhash:
    """The first of each group of near texts stays."""

    def __init__(self, near: Near) -> None:
        self._near = near

    def __call__(self, texts: Texts) -> base.Outcome:
        """Which texts stay; the value is the distance to the nearest earlier one that stayed, else 64."""
        keep, values = self.decide(self.prepare(texts))
        return base.Outcome(texts, keep, values)

    @property
    def held_bytes(self) -> int:
        """Bytes of its index that are in memory."""
        return self._near.held_bytes

    def prepare(self, texts: Texts) -> Hashes:
        """The fingerprint of each."""
        return fingerprints(texts)

    def reason(self, value: float) -> str:
        """How near an earlier text is."""
        return f"{value:.0f} of {BITS} bits from an earlier text"

    def save(self) -> dict[str, Any]:
        """All fingerprints on disk, and how many there are."""
        return {"fingerprints": self._near.save()}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Back to the first so many fingerprints."""
        self._near.restore(int(state["fingerprints"]))

    def close(self) -> None:
        """Let go of the files."""
        self._near.close()

    def decide(self, prepared: Hashes) -> tuple[Flags, Values]:
        """Which fingerprints stay, and the distance of the others to the nearest that stays; those are remembered."""
        prints = prepared
        kinds, firsts, of_kind = np.unique(prints, return_index=True, return_inverse=True)
        pairs = self._near.pairs(kinds)
        if pairs is None:
            # Few of so many that are near each other stay, and with fewer at once the others are compared with those alone.
            half = len(prints) // 2
            first, second = self.decide(prints[:half]), self.decide(prints[half:])
            return np.append(first[0], second[0]), np.append(first[1], second[1])
        near = _neighbours(*pairs)
        seen = self._near.distances(kinds)
        stays = seen == FAR
        stays[list(near)] = False
        is_first = np.zeros(len(prints), np.bool_)
        is_first[firsts] = True
        keep = is_first & stays[of_kind]
        values = np.where(keep, float(BITS), 0.0)
        # Most have no other one near them; what is left depends on which of the others stay.
        for row in np.flatnonzero(~stays[of_kind]).tolist():
            one = of_kind[row]
            if stays[one]:
                values[row] = 0
                continue
            stayed = (
                far for other, far in near.get(one, ()) if stays[other] and firsts[other] < row
            )
            distance = min(seen[one], *stayed, FAR)
            values[row] = BITS if distance == FAR else distance
            if is_first[row]:
                keep[row] = stays[one] = distance == FAR
        self._near.add(prints[keep])
        return keep, values


def fingerprints(texts: Texts) -> Hashes:
    """The simhash of each text: a bit is set where more than half of its words' hashes have it."""
    words = texts.words
    ones = _ones(words.hashes, words.offsets)
    bits = ones * 2 > words.counts[:, None]
    prints = np.packbits(bits, axis=1, bitorder="little").view("<u8")[:, 0].astype(np.uint64)
    whole = texts.hashes(texts.offsets[:-1], texts.offsets[1:])
    return np.where(words.counts > 0, prints, whole)


def create(parameters: Parameters, common: base.Common) -> base.Operator:
    """The operator."""
    folder = None if common.folder is None else common.folder / "deduplication_simhash"
    return Simhash(Near(parameters.distance, folder, common.memory_bytes))


def missing() -> str:
    """What must be installed first."""
    return base.lacks("rjieba")


def _ones(hashes: Hashes, offsets: Counts) -> Counts:
    """How many hashes of each part have each bit.

    Several bits are counted in one sum, each in a lane of its own, as wide as the longest part needs: what a lane of a
    prefix sum spills over is taken back by the difference.
    """
    longest = int(np.diff(offsets).max(initial=0))
    width = 16 if longest < 1 << 16 else 32
    lanes = 64 // width
    spread = np.array(
        [
            sum((value >> lane & 1) << width * lane for lane in range(lanes))
            for value in range(1 << lanes)
        ],
        np.uint64,
    )
    ones = np.empty((len(offsets) - 1, BITS), np.int64)
    total = np.zeros(len(hashes) + 1, np.uint64)
    for bit in range(0, BITS, lanes):
        np.cumsum(spread[(hashes >> np.uint64(bit)) & np.uint64((1 << lanes) - 1)], out=total[1:])
        sums = total[offsets[1:]] - total[offsets[:-1]]
        for lane in range(lanes):
            ones[:, bit + lane] = sums >> np.uint64(width * lane) & np.uint64((1 << width) - 1)
    return ones


def _neighbours(
    earlier: Counts, later: Counts, distances: NDArray[np.uint8]
) -> dict[int, list[tuple[int, int]]]:
    """Of each kind with a near one, those near it and how near, earlier and later ones."""
    found: dict[int, set[tuple[int, int]]] = {}
    for first, second, distance in zip(
        earlier.tolist(), later.tolist(), distances.tolist(), strict=True
    ):
        found.setdefault(second, set()).add((first, distance))
        found.setdefault(first, set()).add((second, distance))
    return {kind: sorted(near) for kind, near in found.items()}
