"""A quantised fastText model of languages, asked about a whole batch at once.

The library reads a text letter by letter and looks every run of letters up by itself, which takes longer than all other filters
together. Here the runs of a batch are hashed in arrays, and the vectors of those that the model has kept are summed. Probabilities are
the library's to the last digits of single precision.

Source: fastText (https://github.com/facebookresearch/fastText), `dictionary.cc`, `quantmatrix.cc`, `productquantizer.cc`, `loss.cc`;
Joulin et al., 2016, "FastText.zip: Compressing text classification models".
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

MAGIC, VERSION = 793712314, 12
HIERARCHICAL_SOFTMAX = 1
CENTROIDS = 256
END = b"</s>"
LABEL = b"__label__"
LEAST = 1e-5
"""Added before a logarithm is taken; what is less likely is not told."""

MOST_WORDS, MOST_BYTES = 1 << 16, 40
"""Words that are remembered, and the longest of them."""

Floats = NDArray[np.float32]


class _File:
    """A file of a model, read from its beginning."""

    def __init__(self, content: bytes) -> None:
        self._content, self._at = content, 0

    def take(self, form: str) -> tuple[Any, ...]:
        """Numbers."""
        found = struct.unpack_from(f"<{form}", self._content, self._at)
        self._at += struct.calcsize(f"<{form}")
        return found

    def word(self) -> bytes:
        """A word that ends with a zero."""
        end = self._content.index(b"\0", self._at)
        found, self._at = self._content[self._at : end], end + 1
        return found

    def array(self, kind: str, size: int) -> NDArray[Any]:
        """Numbers of one kind."""
        found = np.frombuffer(self._content, kind, size, self._at)
        self._at += found.nbytes
        return found

    def quantiser(self) -> tuple[int, NDArray[Any]]:
        """Parts of a vector, and what each of their codes stands for."""
        size, parts, of_part, of_last = self.take("4i")
        if of_part != of_last:
            raise ValueError("its vectors do not fall into equal parts")
        return parts, self.array("<f4", size * CENTROIDS).reshape(parts, CENTROIDS, of_part)


class Model:
    """A model in a file (``.ftz``).

    Raises:
        ValueError: It is none of this kind.
    """

    def __init__(self, file: Path) -> None:
        content = _File(file.read_bytes())
        if content.take("2i") != (MAGIC, VERSION):
            raise ValueError("it is no fastText model of version 12")
        _, _, _, _, _, grams, loss, _, self._buckets, self._least, self._most, _ = content.take(
            "12i"
        )
        content.take("d")
        size, words, _ = content.take("3i")
        _, kept = content.take("2q")
        entries = [(content.word(), *content.take("qb")) for _ in range(size)]
        if (loss, grams) != (HIERARCHICAL_SOFTMAX, 1) or kept < 0 or self._least < 2:
            raise ValueError("it is a fastText model of another kind")
        self._words = {word: number for number, (word, _, _) in enumerate(entries[:words])}
        self.labels = [word.removeprefix(LABEL).decode() for word, _, _ in entries[words:]]
        pruned = content.array("<i4", 2 * kept).reshape(-1, 2)
        # 0 is the end of a text, which no run of letters is.
        self._rows = np.zeros(self._buckets, np.uint16)
        self._rows[pruned[:, 0]] = words + pruned[:, 1]
        self._vectors = self._dequantised(content)
        if content.take("?")[0]:
            raise ValueError("its output is quantised")
        shape = content.take("2q")
        self._output = content.array("<f4", shape[0] * shape[1]).reshape(shape)
        self._paths = _paths([count for _, count, _ in entries[words:]])
        self._seen: dict[bytes, int] = {}
        self._sums = np.zeros((MOST_WORDS, shape[1]), np.float32)
        self._sizes = np.zeros(MOST_WORDS, np.int64)

    def probabilities(self, texts: Sequence[str]) -> Floats:
        """Of each text, a line, the probability of each label."""
        numbers: dict[bytes, int] = {}
        tokens: list[int] = []
        counts: list[int] = []
        for text in texts:
            found = text.encode("utf-8", "replace").replace(b"\0", b" ").split()
            if END in found:
                found = found[: found.index(END)]
            if LABEL.decode() in text:
                found = [token for token in found if not token.startswith(LABEL)]
            tokens += [numbers.setdefault(token, len(numbers)) for token in found]
            counts.append(len(found))
        sums, sizes = self._of_words(list(numbers))
        # Each text ends with the end of texts, the feature 0.
        hidden = np.tile(self._vectors[:1], (len(texts), 1))
        features = np.ones(len(texts), np.int64)
        filled = np.flatnonzero(counts)
        if len(filled):
            starts = (np.cumsum(counts) - np.array(counts)).astype(np.int64)[filled]
            hidden[filled] += np.add.reduceat(sums[tokens], starts, axis=0)
            features[filled] += np.add.reduceat(sizes[tokens], starts)
        return self._leaves(hidden / features[:, None].astype(np.float32))

    def _of_words(self, words: list[bytes]) -> tuple[Floats, NDArray[np.int64]]:
        """Of each word, the sum of its features' vectors and how many they are; those seen before are looked up."""
        places = np.fromiter((self._seen.get(word, -1) for word in words), np.int64, len(words))
        fresh = np.flatnonzero(places < 0)
        sums, sizes = (
            self._sums.take(places, axis=0, mode="clip"),
            self._sizes.take(places, mode="clip"),
        )
        if not len(fresh):
            return sums, sizes
        unseen = [words[place] for place in fresh.tolist()]
        sums[fresh], sizes[fresh] = self._computed(unseen)
        kept = [place for place, word in enumerate(unseen) if len(word) <= MOST_BYTES]
        if len(self._seen) + len(kept) > len(self._sums):
            self._seen.clear()
        kept = kept[: len(self._sums)]
        at = np.arange(len(self._seen), len(self._seen) + len(kept))
        self._sums[at], self._sizes[at] = sums[fresh[kept]], sizes[fresh[kept]]
        self._seen.update(zip((unseen[place] for place in kept), at.tolist(), strict=True))
        return sums, sizes

    def _computed(self, words: list[bytes]) -> tuple[Floats, NDArray[np.int64]]:
        ids = np.fromiter((self._words.get(word, -1) for word in words), np.int64, len(words))
        known = np.flatnonzero(ids >= 0)
        features, of_feature = self._runs(words, np.arange(len(words)))
        rows, of_row = np.append(ids[known], features), np.append(known, of_feature)
        order = np.argsort(of_row, kind="stable")
        sizes = np.bincount(of_row, minlength=len(words))
        sums = np.zeros((len(words), self._vectors.shape[1]), np.float32)
        filled = np.flatnonzero(sizes)
        if len(filled):
            starts = (np.cumsum(sizes) - sizes)[filled]
            sums[filled] = np.add.reduceat(self._vectors[rows[order]], starts, axis=0)
        return sums, sizes

    def _runs(
        self, tokens: list[bytes], of_token: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The features of the runs of letters in words, and the text of each."""
        if not tokens:
            none = np.zeros(0, np.int64)
            return none, none
        whole = b"<" + b"><".join(tokens) + b">"
        letters = np.frombuffer(whole + b"\0" * 4, np.uint8)
        first = np.flatnonzero((letters[: len(whole)] & 0xC0) != 0x80)
        ends = np.cumsum(np.fromiter(map(len, tokens), np.int64, len(tokens)) + 2)
        # Characters of each word, the brackets included, and of each character, how many follow it in its word.
        last = np.searchsorted(first, ends)
        sizes = np.diff(last, prepend=0)
        left = np.repeat(last, sizes) - np.arange(len(first))
        width = np.diff(first, append=len(whole))
        # A byte above 127 is a negative number there.
        signed = letters.view(np.int8).astype(np.int32).view(np.uint32)
        state = np.full(len(first), 2166136261, np.uint32)
        found: list[NDArray[np.int64]] = []
        owners: list[NDArray[np.int64]] = []
        of_letter = np.repeat(of_token, sizes)
        widest = int(width.max())
        for length in range(1, self._most + 1):
            count = len(first) - length + 1
            if count <= 0:
                break
            begin, wide = first[length - 1 :], width[length - 1 :]
            state = state[:count]
            state = (state ^ signed[begin]) * np.uint32(16777619)
            for byte in range(1, widest):
                more = np.flatnonzero(wide > byte)
                state[more] = (state[more] ^ signed[begin[more] + byte]) * np.uint32(16777619)
            if length < self._least:
                continue
            rows = self._rows[state % np.uint32(self._buckets)]
            place = np.flatnonzero((rows > 0) & (left[:count] >= length))
            found.append(rows[place].astype(np.int64))
            owners.append(of_letter[place])
        return np.concatenate(found), np.concatenate(owners)

    def _dequantised(self, content: _File) -> Floats:
        quantised, has_norms = content.take("2?")
        if not quantised:
            raise ValueError("it is not quantised")
        rows, _ = content.take("2q")
        (size,) = content.take("i")
        codes = content.array("u1", size).reshape(rows, -1)
        parts, centroids = content.quantiser()
        vectors = centroids[np.arange(parts), codes].reshape(rows, -1)
        if has_norms:
            norms = content.array("u1", rows)
            _, of_norms = content.quantiser()
            vectors = vectors * of_norms[0, norms]
        return np.ascontiguousarray(vectors, np.float32)

    def _leaves(self, hidden: Floats) -> Floats:
        """The probability of each label from the tree of the hierarchical softmax."""
        # Not by matrix multiplication, whose last digits may depend on how many texts there are.
        output = self._output[: len(self.labels) - 1].astype(np.float64)
        turns = np.einsum("ij,kj->ik", hidden.astype(np.float64), output)
        with np.errstate(over="ignore"):
            right = (1 / (1 + np.exp(-turns))).astype(np.float32)
        scores = np.zeros((len(hidden), 2 * len(self.labels) - 1), np.float32)
        labels = len(self.labels)
        for node, left_child, right_child in self._paths:
            share = right[:, node - labels]
            scores[:, left_child] = scores[:, node] + np.log(1 - share + np.float32(LEAST))
            scores[:, right_child] = scores[:, node] + np.log(share + np.float32(LEAST))
        found = scores[:, :labels]
        return np.where(found < np.log(LEAST), 0, np.exp(found))


def _paths(counts: list[int]) -> list[tuple[int, int, int]]:
    """Each inner node of the labels' Huffman tree with its children, from the root down."""
    labels = len(counts)
    weights = [*counts, *([10**15] * (labels - 1))]
    leaf, node = labels - 1, labels
    found: list[tuple[int, int, int]] = []
    for inner in range(labels, 2 * labels - 1):
        children: list[int] = []
        for _ in range(2):
            if leaf >= 0 and weights[leaf] < weights[node]:
                children.append(leaf)
                leaf -= 1
            else:
                children.append(node)
                node += 1
        weights[inner] = sum(weights[child] for child in children)
        found.append((inner, children[0], children[1]))
    return found[::-1]
