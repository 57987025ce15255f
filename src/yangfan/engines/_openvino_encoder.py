"""Vectors and scores from OpenVINO's IR folders: an encoder or a cross-encoder, computed in batches of what comes together.

The library's own pipelines for texts tell no numbers of tokens, which usage is made of, and pool in three ways only; so the network and the
tokenizer are used bare, and the rest is what the other engines do (`yangfan.engines._texts`).
"""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING, Any, cast

from yangfan.engines._safetensors import vocabulary_of
from yangfan.engines._texts import Inputs, TextBatches, padded, pooling_of, wants_sigmoid

if TYPE_CHECKING:
    from pathlib import Path

FILES = tuple(
    f"openvino_{part}.{ending}" for part in ("model", "tokenizer") for ending in ("xml", "bin")
)

DETOKENIZER = "openvino_detokenizer.xml"
"""What some exports bring besides."""

STATES = ("last_hidden_state", "token_embeddings")
"""What exports call an encoder's states."""

_KNOWN_INPUTS = frozenset({"input_ids", "attention_mask", "token_type_ids", "position_ids"})


class OpenVINOEncoder:
    """The network of an IR folder, its tokenizer, and the queue of its texts."""

    def __init__(
        self, folder: Path, *, rerank: bool, device: str, threads: int | None, batch_tokens: int
    ) -> None:
        """Read the folder.

        Raises:
            RuntimeError: OpenVINO cannot load it.
            ValueError: It is no encoder that is known here, or pools in a way that is not.
        """
        self._numpy: Any = importlib.import_module("numpy")
        openvino: Any = importlib.import_module("openvino")
        genai: Any = importlib.import_module("openvino_genai")
        core = openvino.Core()
        model = core.read_model(folder / "openvino_model.xml")
        self._inputs = [cast("str", port.any_name) for port in model.inputs]
        strange = sorted(set(self._inputs) - _KNOWN_INPUTS)
        if strange:
            raise ValueError(f"the model has inputs that are not known here: {', '.join(strange)}")
        self._output = _output(model, rerank=rerank)
        self._pooling = "mean" if rerank else pooling_of(folder)
        self._sigmoid = wants_sigmoid(folder)
        self._finish = self._scores if rerank else self._vectors
        properties: dict[str, Any] = {"PERFORMANCE_HINT": "LATENCY"}
        # Otherwise a CPU that has 16-bit floats computes in them, and the numbers are others than elsewhere.
        properties["INFERENCE_PRECISION_HINT"] = "f32"
        if threads is not None and device == "CPU":
            properties["INFERENCE_NUM_THREADS"] = threads
        self._request = core.compile_model(model, device, properties).create_infer_request()
        self._tokenizer = genai.Tokenizer(str(folder), add_second_input=rerank)
        padding: int = self._tokenizer.get_pad_token_id()
        self._padding = max(padding, 0)
        self._has_text = (folder / DETOKENIZER).is_file()
        self.vocabulary_tokens = vocabulary_of(folder)
        """0 where the folder does not say."""
        self.batches = TextBatches(self._forward, batch_tokens=batch_tokens)

    def tokens(self, text: str, *, special: bool = True) -> list[int]:
        """The tokens of a text."""
        made = self._tokenizer.encode([text], add_special_tokens=special)
        return made.input_ids.data[0].tolist()

    def text(self, ids: list[int]) -> str | None:
        """The text that tokens are; None where the folder brings nothing to make it with, which an encoder does without."""
        if not self._has_text:
            return None
        return cast("str", self._tokenizer.decode(ids, skip_special_tokens=False))

    def tokenize(self, *texts: str) -> Inputs:
        """A text, or a query and a document, as the network takes it."""
        if len(texts) == 1:
            ids, first = self.tokens(*texts), None
        else:
            ids = self._tokenizer.encode([list(texts)]).input_ids.data[0].tolist()
            first = len(self.tokens(texts[0]))
        made: Inputs = {"input_ids": ids, "attention_mask": [1] * len(ids)}
        if first is not None:
            made["token_type_ids"] = [int(place >= first) for place in range(len(ids))]
        return made

    def require_known(self, ids: list[int]) -> None:
        """Refuse tokens that the model has no row for.

        Raises:
            ValueError: One is.
        """
        if ids and not (min(ids) >= 0 and max(ids) < (self.vocabulary_tokens or sys.maxsize)):
            raise ValueError(f"the model's tokens are 0 to {self.vocabulary_tokens - 1}")

    def _forward(self, inputs: list[Inputs]) -> list[list[float]]:
        rows = padded(inputs, self._padding)
        length = len(rows["input_ids"][0])
        rows.setdefault("token_type_ids", [[0] * length] * len(inputs))
        rows["position_ids"] = [list(range(length))] * len(inputs)
        given = {name: self._numpy.array(rows[name], dtype="int64") for name in self._inputs}
        mask = self._numpy.array(rows["attention_mask"], dtype="float32")
        result = self._request.infer(given)
        return self._finish(result[self._output], mask)

    def _vectors(self, states: Any, mask: Any) -> list[list[float]]:
        numpy, shown = self._numpy, mask[..., None]
        if self._pooling == "cls":
            pooled = states[:, 0]
        elif self._pooling == "lasttoken":
            last = mask.sum(1).astype("int64") - 1
            pooled = states[numpy.arange(len(states)), last]
        elif self._pooling == "max":
            pooled = numpy.where(shown == 0, -numpy.inf, states).max(1)
        else:
            pooled = (states * shown).sum(1) / numpy.maximum(shown.sum(1), 1e-9)
        lengths = numpy.linalg.norm(pooled, axis=1, keepdims=True)
        return (pooled / numpy.maximum(lengths, 1e-12)).tolist()

    def _scores(self, logits: Any, mask: Any) -> list[list[float]]:
        del mask
        if self._sigmoid:
            logits = 1 / (1 + self._numpy.exp(-logits.astype("float64")))
        return logits.tolist()


def _output(model: Any, *, rerank: bool) -> int:
    """The place of the output that is wanted."""
    places = {name: place for place, port in enumerate(model.outputs) for name in port.get_names()}
    wanted = ("logits",) if rerank else STATES
    for name in wanted:
        if name in places:
            return places[name]
    known = ", ".join(sorted(places)) or "none with a name"
    raise ValueError(
        f"the model has no output {' or '.join(wanted)} (it has {known}); export it with `optimum-cli export openvino --task "
        f"{'text-classification' if rerank else 'feature-extraction'}`"
    )
