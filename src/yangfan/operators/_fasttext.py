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

from yangfan.operators._texts import Texts

if TYPE_CHECKING:
    from pathlib import Path

    from yangfan.operators._texts import Codes, Counts, Flags, Hashes

MAGIC, VERSION = 793712314, 12
HIERARCHICAL_SOFTMAX = 1
CENTROIDS = 256
END = b"</s>"
LABEL = b"__label__"
LEAST = 1e-5
"""Added before a logarithm is taken; what is less likely is not told."""

MOST_WORDS, MOST_LETTERS = 1 << 16, 24
"""Words that are remembered, a power of two, and the longest of them."""

FNV_OFFSET, FNV_PRIME = np.uint32(2166136261), np.uint32(16777619)

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
        # What is no UTF-8 becomes surrogates, which no text has here.
        listed = Texts([word.decode("utf-8", "surrogateescape") for word, _, _ in entries[:words]])
        hashes = listed.hashes(listed.offsets[:-1], listed.offsets[1:])
        self._word_ids = np.argsort(hashes)
        self._word_hashes = hashes[self._word_ids]
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
        self._levels = _levels(_paths([count for _, count, _ in entries[words:]]))
        # No word has the hash 0, as good as certainly.
        self._seen = np.zeros(MOST_WORDS, np.uint64)
        self._sums = np.zeros((MOST_WORDS, shape[1]), np.float32)
        self._sizes = np.zeros(MOST_WORDS, np.int64)

    def probabilities(self, texts: Texts) -> Floats:
        """Of each text, as one line, the probability of each label."""
        texts = _without_surrogates(texts)
        starts, ends, counts = _tokens(texts)
        sums, sizes = self._of_tokens(texts, starts, ends)
        # Each text ends with the end of texts, the feature 0.
        hidden = np.tile(self._vectors[:1], (len(texts), 1))
        features = np.ones(len(texts), np.int64)
        filled = np.flatnonzero(counts)
        if len(filled):
            firsts = (np.cumsum(counts) - counts)[filled]
            hidden[filled] += np.add.reduceat(sums, firsts, axis=0)
            features[filled] += np.add.reduceat(sizes, firsts)
        return self._leaves(hidden / features[:, None].astype(np.float32))

    def _of_tokens(
        self, texts: Texts, starts: Counts, ends: Counts
    ) -> tuple[Floats, NDArray[np.int64]]:
        """Of each token, the sum of its features' vectors and how many they are; those of words seen before are remembered.

        A word is remembered in the one place that its hash names, until another one comes that belongs there.
        """
        hashes = texts.hashes(starts, ends)
        places = (hashes & np.uint64(len(self._seen) - 1)).astype(np.intp)
        fresh = np.flatnonzero(self._seen[places] != hashes)
        sums, sizes = self._sums[places], self._sizes[places]
        if len(fresh):
            _, firsts, of_word = np.unique(hashes[fresh], return_index=True, return_inverse=True)
            at = fresh[firsts]
            of_words, in_words = self._computed(texts, starts[at], ends[at], hashes[at])
            sums[fresh], sizes[fresh] = of_words[of_word], in_words[of_word]
            at = at[ends[at] - starts[at] <= MOST_LETTERS]
            kept, firsts = np.unique(places[at], return_index=True)
            at = at[firsts]
            self._seen[kept], self._sums[kept], self._sizes[kept] = hashes[at], sums[at], sizes[at]
        return sums, sizes

    def _computed(
        self, texts: Texts, starts: Counts, ends: Counts, hashes: Hashes
    ) -> tuple[Floats, Counts]:
        """The same of words that are not remembered."""
        places = np.searchsorted(self._word_hashes[:-1], hashes)
        known = np.flatnonzero(self._word_hashes[places] == hashes)
        features, of_feature = self._runs(*_bracketed(texts.codes, starts, ends - starts))
        rows = np.append(self._word_ids[places[known]], features)
        of_row = np.append(known, of_feature)
        order = np.argsort(of_row, kind="stable")
        sizes = np.bincount(of_row, minlength=len(starts))
        sums = np.zeros((len(starts), self._vectors.shape[1]), np.float32)
        filled = np.flatnonzero(sizes)
        if len(filled):
            firsts = (np.cumsum(sizes) - sizes)[filled]
            sums[filled] = np.add.reduceat(self._vectors[rows[order]], firsts, axis=0)
        return sums, sizes

    def _runs(self, letters: Codes, left: Counts, words: Counts) -> tuple[Counts, Counts]:
        """The features of the runs of letters in words, and the word of each.

        Args:
            letters: Of all words, in brackets.
            left: Of each letter, how many its word has from there on.
            words: The word of each letter.
        """
        utf8 = _utf8(letters)
        state = np.full(len(letters), FNV_OFFSET, np.uint32)
        buckets = np.uint32(self._buckets)
        found: list[Counts] = []
        owners: list[Counts] = []
        for length in range(1, self._most + 1):
            count = max(len(letters) - length + 1, 0)
            state = state[:count]
            for byte, has in utf8:
                stepped = (state ^ byte[length - 1 :]) * FNV_PRIME
                state = stepped if has is None else np.where(has[length - 1 :], stepped, state)
            if length < self._least:
                continue
            # Dividing is quicker than asking for the remainder.
            rows = self._rows[state - state // buckets * buckets]
            place = np.flatnonzero((rows > 0) & (left[:count] >= length))
            found.append(rows[place].astype(np.int64))
            owners.append(words[place])
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
        labels = len(self.labels)
        # Not by matrix multiplication, whose last digits may depend on how many texts there are.
        output = self._output[: labels - 1].astype(np.float64)
        turns = np.einsum("kj,ij->ki", output, hidden.astype(np.float64))
        with np.errstate(over="ignore"):
            right = (1 / (1 + np.exp(-turns))).astype(np.float32)
        to_left, to_right = np.log(1 - right + np.float32(LEAST)), np.log(right + np.float32(LEAST))
        scores = np.zeros((2 * labels - 1, len(hidden)), np.float32)
        for nodes, left, right_child in self._levels:
            above = scores[nodes]
            scores[left] = above + to_left[nodes - labels]
            scores[right_child] = above + to_right[nodes - labels]
        found = np.ascontiguousarray(scores[:labels].T)
        return np.where(found < np.log(LEAST), 0, np.exp(found))


def _without_surrogates(texts: Texts) -> Texts:
    """A lone surrogate has no UTF-8."""
    alone = texts.codes - np.uint32(0xD800) < 0x800
    return texts.mapped(np.where(alone, np.uint32(ord("?")), texts.codes)) if alone.any() else texts


def _tokens(texts: Texts) -> tuple[Counts, Counts, Counts]:
    """Where what stands between white space begins and ends, and how much of it each text has; nothing of it is a label."""
    codes = texts.codes
    # White space of ASCII; the library takes a zero for the end.
    blank = (codes == ord(" ")) | (codes - np.uint32(ord("\t")) <= ord("\r") - ord("\t"))
    blank |= codes == 0
    edges = np.zeros(len(codes) + 1, np.bool_)
    edges[texts.offsets] = True
    after, before = edges.copy(), edges
    after[1:] |= blank
    before[:-1] |= blank
    starts = np.flatnonzero(after[:-1] & ~blank)
    ends = np.flatnonzero(before[1:] & ~blank) + 1
    kept = ~_labels(texts, starts, ends)
    bounds = np.searchsorted(starts, texts.offsets)
    for end in np.flatnonzero(_are(texts, starts, ends, END)).tolist():
        # What stands behind the end of a text is not read.
        kept[end : bounds[np.searchsorted(bounds, end, side="right")]] = False
    if not kept.all():
        starts, ends = starts[kept], ends[kept]
        bounds = np.searchsorted(starts, texts.offsets)
    return starts, ends, np.diff(bounds)


def _labels(texts: Texts, starts: Counts, ends: Counts) -> Flags:
    """Which tokens begin as a label does."""
    found = np.zeros(len(starts), np.bool_)
    at = np.flatnonzero((texts.codes[starts] == LABEL[0]) & (ends - starts >= len(LABEL)))
    found[at] = _are(texts, starts[at], starts[at] + len(LABEL), LABEL)
    return found


def _are(texts: Texts, starts: Counts, ends: Counts, word: bytes) -> Flags:
    """Which tokens are this word of ASCII."""
    found = ends - starts == len(word)
    for place, letter in enumerate(word):
        found[found] = texts.codes[starts[found] + place] == letter
    return found


def _bracketed(codes: Codes, starts: Counts, sizes: Counts) -> tuple[Codes, Counts, Counts]:
    """Words in brackets one after another; of each letter, how many its word has from there on, and which word that is."""
    words = np.repeat(np.arange(len(sizes)), sizes + 2)
    ends = np.cumsum(sizes + 2)
    left = ends[words] - np.arange(len(words))
    letters = np.empty(len(words), np.uint32)
    inner = np.ones(len(words), np.bool_)
    for place, bracket in ((ends - sizes - 2, ord("<")), (ends - 1, ord(">"))):
        letters[place], inner[place] = bracket, False
    letters[inner] = codes[np.flatnonzero(inner) + (starts - (ends - sizes - 1))[words[inner]]]
    return letters, left, words


def _utf8(letters: Codes) -> list[tuple[Codes, Flags | None]]:
    """The first bytes of letters, the second ones, and so on, each with who has one, None for all; those above 127 as negative numbers."""
    widest = int(letters.max(initial=0))
    if widest < 0x80:
        return [(letters, None)]
    wide = [letters >= least for least in (0x80, 0x800, 0x10000)]
    width = np.sum(wide, axis=0, dtype=np.uint32)
    # Lead bytes have as many ones at the top as there are bytes; six bits go into each of the others.
    lead = np.array([0, 0xFFFFFFC0, 0xFFFFFFE0, 0xFFFFFFF0], np.uint32)[width]
    found: list[tuple[Codes, Flags | None]] = [(lead | letters >> 6 * width, None)]
    for number, has in enumerate(wide, 1):
        low = letters >> 6 * (np.maximum(width, number) - number)
        found.append(((low & 0x3F | 0xFFFFFF80).astype(np.uint32, copy=False), has))
    return found[: 1 + sum(widest >= least for least in (0x80, 0x800, 0x10000))]


def _levels(
    paths: list[tuple[int, int, int]],
) -> list[tuple[Counts, Counts, Counts]]:
    """Inner nodes that are equally far from the root, with their children, from the root down."""
    depths: dict[int, int] = {}
    found: list[list[tuple[int, int, int]]] = []
    for path in paths:
        depth = depths.get(path[0], 0)
        depths[path[1]] = depths[path[2]] = depth + 1
        if depth == len(found):
            found.append([])
        found[depth].append(path)
    return [
        (nodes, left, right)
        for nodes, left, right in (np.array(level, np.int64).T for level in found)
    ]


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
