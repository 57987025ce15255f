"""A smaller version of a model: converted to GGUF where it is not, quantised, and measured before and after.

Qianfan's names for what is done (specification D.2, `CreateModelCompTask`) and what is made of them here:

    Quantization  INT8-PTQ   8-bit weights                        Q8_0
                  W8A16C16   8-bit weights, 16-bit activations    Q8_0
                  W4A16C16   4-bit weights, 16-bit activations    Q4_K_M
    Sparsity      refused: no engine here runs sparse weights any faster or smaller
"""

from __future__ import annotations

import shutil
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import msgspec

from yangfan.errors import ConfigurationError
from yangfan.hub import convert_bert, convert_decoder, inspection
from yangfan.hub.disk import full_disk_said_clearly, sha256_of
from yangfan.hub.importing import COMPANIONS, Imported, Tell, describe
from yangfan.hub.lock import lock
from yangfan.hub.store import Manifest, ModelStore, StoredFile
from yangfan.weights import child, gguf

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from yangfan.hub.inspection import ModelFacts
    from yangfan.hub.store import StoredModel

WEIGHTS: Final = {"INT8-PTQ": "Q8_0", "W8A16C16": "Q8_0", "W4A16C16": "Q4_K_M"}
"""Quantisation by the name that Qianfan gives it."""

_WRITING: Final = frozenset({"chat", "vision"})
_UNQUANTIZED: Final = frozenset({"F32", "F16", "BF16"})


class CompressOrder(msgspec.Struct, frozen=True, kw_only=True):
    """What to compress.

    Attributes:
        files: Of the model, all of them in the store.
        name: Name of the new model in the store.
        strategy: Quantization.
        weight: A key of `WEIGHTS`.
        kind: What the model is for; None to read it from the files.
        source: What to record as its origin, such as the id of the version that it is made from.
    """

    files: tuple[StoredFile, ...]
    name: str
    strategy: str
    weight: str
    kind: inspection.Kind | None = None
    source: str = ""


class Compressed(msgspec.Struct, frozen=True, kw_only=True):
    """The smaller model, and what it cost.

    Attributes:
        imported: The new model.
        quantization: How its weights are kept.
        size_before: Bytes of the model before.
        size_after: Bytes of the new model.
        perplexity_before: On `text`; None for models that write none. Of a model that was converted: in the precision that it had.
        perplexity_after: The same of the new model.
        text: What perplexity was measured on.
    """

    imported: Imported
    quantization: str
    size_before: int
    size_after: int
    perplexity_before: float | None
    perplexity_after: float | None
    text: str


def quantization_for(strategy: str, weight: str) -> str:
    """The quantisation that Qianfan's words ask for.

    Raises:
        ConfigurationError: They ask for something that is not done here; the message names what is.
    """
    choices = ", ".join(f"{name} ({made})" for name, made in WEIGHTS.items())
    if strategy == "Sparsity":
        raise ConfigurationError(
            "strategy Sparsity is not supported: no engine of this platform runs sparse weights any faster or smaller; use "
            f"Quantization with weight {choices}"
        )
    if strategy != "Quantization":
        raise ConfigurationError(f"strategy {strategy[:80]!r} is not known; use Quantization")
    if weight not in WEIGHTS:
        raise ConfigurationError(f"weight {weight[:80]!r} is not known; use {choices}")
    return WEIGHTS[weight]


def convert(folder: Path, target: Path, licence: str, progress: Callable[[int, int], None]) -> None:
    """Write the GGUF file of a safetensors folder.

    Raises:
        ConfigurationError: No converter knows the model; the message names those that are known.
    """
    if convert_bert.is_bert(folder):
        convert_bert.convert(folder, target)
    else:
        convert_decoder.convert(folder, target, licence=licence, progress=progress)


async def compress_model(order: CompressOrder, *, store: ModelStore, tell: Tell) -> Compressed:
    """Make the smaller model and publish it. A killed call is made again with the same order, and goes on behind the last whole file.

    Args:
        order: What to make of what.
        store: Where the files are, and the new model goes.
        tell: Told how far it is; whatever it raises ends the work.

    Raises:
        ConfigurationError: It cannot be done, or there is no space; the message says why.
    """
    quantization = quantization_for(order.strategy, order.weight)
    async with (
        lock(store.lock_file(order.name)),
        lock(store.store_lock_file(), shared=True),
    ):
        return _Compression(order, quantization, store, tell).run()


class _Compression:
    """One compression under its lock."""

    def __init__(
        self, order: CompressOrder, quantization: str, store: ModelStore, tell: Tell
    ) -> None:
        self._order = order
        self._quantization = quantization
        self._store = store
        self._tell = tell
        self._folder = store.partial_folder(order.name)
        self._size_before = sum(file.size_bytes for file in order.files)

    def run(self) -> Compressed:
        tree = self._folder / "tree"
        shutil.rmtree(tree, ignore_errors=True)
        for file in self._order.files:
            self._store.require_whole(file)
        self._store.lay_out(tree, self._order.files)
        facts = inspection.inspect(tree, kind=self._order.kind)
        # The converted file, the new one, and room for neither to fill the disk.
        self._store.require_free(2 * facts.weights_bytes)
        with full_disk_said_clearly(self._store.root):
            whole = self._whole(tree, facts)
            small = self._quantized(whole)
            before, after = self._perplexity(facts, whole, small)
            model = self._publish(facts, small, tree)
        return Compressed(
            imported=describe(model),
            quantization=self._quantization,
            size_before=self._size_before,
            size_after=model.size_bytes,
            perplexity_before=before and before.value,
            perplexity_after=after and after.value,
            text=child.TEXT_SOURCE if before else "",
        )

    def _whole(self, tree: Path, facts: ModelFacts) -> Path:
        """The model as one GGUF file, in the precision that it has."""
        if facts.format == "gguf":
            files = sorted(tree.rglob("*.gguf"))
            if len(files) > 1:
                raise ConfigurationError(
                    f"the model has {len(files)} GGUF files; only a model of one file can be compressed: merge them with llama-gguf-split"
                )
            return files[0]
        target = self._folder / "whole.gguf"
        if not target.exists():
            convert(
                tree,
                target,
                facts.licence,
                lambda done, total: self._tell(done, total, "bytes", "converting to GGUF"),
            )
        return target

    def _quantized(self, whole: Path) -> Path:
        target = self._folder / f"{self._quantization}.gguf"
        if not target.exists():
            child.quantize(
                whole,
                target,
                self._quantization,
                lambda done, total: self._tell(
                    done, total, "bytes", f"quantising to {self._quantization}"
                ),
            )
        return target

    def _perplexity(
        self, facts: ModelFacts, whole: Path, small: Path
    ) -> tuple[child.Perplexity | None, child.Perplexity | None]:
        if facts.kind not in _WRITING:
            return None, None
        window = min(child.WINDOW_TOKENS, facts.context_tokens or child.WINDOW_TOKENS)
        found = [
            child.perplexity(
                path,
                lambda done, total, when=when: self._tell(
                    done, total, "windows", f"measuring perplexity {when}"
                ),
                window_tokens=window,
            )
            for path, when in ((whole, "before"), (small, "after"))
        ]
        return found[0], found[1]

    def _publish(self, facts: ModelFacts, small: Path, tree: Path) -> StoredModel:
        gguf.read(small)
        digest = sha256_of(small)
        size_bytes = small.stat().st_size
        self._store.adopt(small, digest)
        shutil.rmtree(tree, ignore_errors=True)
        files = [
            StoredFile(f"{self._order.name}-{self._quantization}.gguf", digest, size_bytes),
            *(file for file in self._order.files if file.path in COMPANIONS),
        ]
        return self._store.publish(
            Manifest(
                name=self._order.name,
                kind=facts.kind,
                format="gguf",
                licence=facts.licence,
                source=self._order.source or f"compressed:{self._order.weight}",
                revision="",
                files=tuple(sorted(files, key=lambda file: file.path)),
                created=datetime.now(UTC),
            )
        )


def is_compressible(facts: ModelFacts) -> bool:
    """Whether a model can be made smaller here: `isSupportModelComp` of the specification (D.2)."""
    if facts.format == "gguf":
        return facts.dtype in _UNQUANTIZED or facts.dtype == "Q8_0"
    return facts.architecture in convert_decoder.architectures() or facts.architecture.startswith(
        "Bert"
    )
