"""Vectors and scores: one thread computes, and takes whatever has come together as one batch."""

from __future__ import annotations

import importlib
import os
import sys
import threading
import traceback
from collections import deque
from typing import TYPE_CHECKING, Any

import msgspec

from yangfan.engines._transformers.batch import LOOP_DIED

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from yangfan.engines._transformers.loading import Loaded

MAX_ROWS = 64
"""Most texts in one batch."""


class Item:
    """One text in tokens; `done` is called from the computing thread with its numbers, or with what went wrong."""

    __slots__ = ("done", "inputs")

    def __init__(
        self, inputs: dict[str, list[int]], done: Callable[[list[float] | Exception], None]
    ) -> None:
        """Describe it; `inputs` are what the tokenizer made of it."""
        self.inputs = inputs
        self.done = done


class Encoder:
    """The queue of texts of one encoder or cross-encoder."""

    def __init__(self, loaded: Loaded, folder: Path, *, rerank: bool, batch_tokens: int) -> None:
        """Read how the folder wants texts pooled or scores bent.

        Raises:
            ValueError: It asks for something that is not done here.
        """
        self._torch: Any = importlib.import_module("torch")
        self._loaded = loaded
        self._batch_tokens = batch_tokens
        self._waiting: deque[Item] = deque()
        self._work = threading.Condition()
        self._finish = self._scores if rerank else self._vectors
        self._pooling = "mean" if rerank else _pooling(folder)
        self._sigmoid = _wants_sigmoid(folder)
        self.busy = 0

    def start(self) -> None:
        """Compute from now on, in a thread of its own."""
        threading.Thread(target=self._run, name="encoder", daemon=True).start()

    def add(self, items: list[Item]) -> None:
        """Put texts at the end of the queue."""
        with self._work:
            self._waiting.extend(items)
            self._work.notify()

    def _run(self) -> None:
        try:
            with self._torch.inference_mode():
                while True:
                    self._compute(self._take())
        except BaseException:  # noqa: BLE001 - whatever ended the loop ends the child: nobody else would notice
            traceback.print_exc()
            sys.stderr.flush()
            os._exit(LOOP_DIED)

    def _take(self) -> list[Item]:
        """The oldest text and those beside it, as many as one batch may hold."""
        with self._work:
            self.busy = 0
            while not self._waiting:
                self._work.wait()
            # Alike in length costs least padding; the oldest is always among those taken.
            oldest = len(self._waiting[0].inputs["input_ids"])
            ordered = sorted(
                range(len(self._waiting)),
                key=lambda place: abs(len(self._waiting[place].inputs["input_ids"]) - oldest),
            )
            taken: list[int] = []
            longest = 0
            for place in ordered[:MAX_ROWS]:
                length = max(longest, len(self._waiting[place].inputs["input_ids"]))
                if taken and length * (len(taken) + 1) > self._batch_tokens:
                    break
                longest = length
                taken.append(place)
            chosen = set(taken)
            items = [item for place, item in enumerate(self._waiting) if place in chosen]
            self._waiting = deque(
                item for place, item in enumerate(self._waiting) if place not in chosen
            )
            self.busy = len(items)
            return items

    def _compute(self, items: list[Item]) -> None:
        try:
            numbers = self._forward(items)
        except Exception as error:  # noqa: BLE001 - it ends these texts, not those to come
            traceback.print_exc()
            for item in items:
                item.done(error)
            return
        for item, found in zip(items, numbers, strict=True):
            item.done(found)

    def _forward(self, items: list[Item]) -> list[list[float]]:
        torch, tokenizer = self._torch, self._loaded.tokenizer
        longest = max(len(item.inputs["input_ids"]) for item in items)
        rows: dict[str, Any] = {}
        for name in items[0].inputs:
            filling = (tokenizer.pad_token_id or 0) if name == "input_ids" else 0
            rows[name] = torch.tensor(
                [
                    item.inputs[name] + [filling] * (longest - len(item.inputs[name]))
                    for item in items
                ],
                device=self._loaded.device,
            )
        return self._finish(self._loaded.model(**rows), rows["attention_mask"])

    def _vectors(self, output: Any, mask: Any) -> list[list[float]]:
        torch, states = self._torch, output.last_hidden_state.float()
        shown = mask.unsqueeze(-1).float()
        if self._pooling == "cls":
            pooled = states[:, 0]
        elif self._pooling == "lasttoken":
            last = mask.sum(1) - 1
            pooled = states[torch.arange(states.shape[0], device=states.device), last]
        elif self._pooling == "max":
            pooled = states.masked_fill(shown == 0, float("-inf")).amax(1)
        else:
            pooled = (states * shown).sum(1) / shown.sum(1).clamp(min=1e-9)
        return torch.nn.functional.normalize(pooled, dim=1).cpu().tolist()

    def _scores(self, output: Any, mask: Any) -> list[list[float]]:
        del mask
        logits = output.logits.float()
        return (logits.sigmoid() if self._sigmoid else logits).cpu().tolist()


def _pooling(folder: Path) -> str:
    """What Sentence Transformers' own files say (https://sbert.net/docs), mean where there are none."""
    modules = _json(folder / "modules.json", [])
    known = {"Transformer", "Pooling", "Normalize"}
    strange = [entry["type"] for entry in modules if entry["type"].rpartition(".")[2] not in known]
    if strange:
        raise ValueError(f"the model has layers that are not run here: {', '.join(strange)}")
    wanted = _json(folder / "1_Pooling" / "config.json", {})
    modes = {
        "pooling_mode_cls_token": "cls",
        "pooling_mode_max_tokens": "max",
        "pooling_mode_mean_tokens": "mean",
        "pooling_mode_lasttoken": "lasttoken",
    }
    chosen = [mode for name, mode in modes.items() if wanted.get(name)]
    others = [
        name for name, on in wanted.items() if name.startswith("pooling_mode_") and on is True
    ]
    if len(others) > 1 or len(others) != len(chosen):
        raise ValueError(f"the model pools in a way that is not known here: {', '.join(others)}")
    return chosen[0] if chosen else str(wanted.get("pooling_mode") or "mean")


def _wants_sigmoid(folder: Path) -> bool:
    """Cross-encoders with one label end in a sigmoid unless their configuration names another function."""
    config = _json(folder / "config.json", {})
    told: Any = config.get("sentence_transformers") or {}
    named = told.get("activation_fn")
    return not str(named or config.get("sbert_ce_default_activation_function")).endswith("Identity")


def _json(path: Path, default: Any) -> Any:  # their shapes are other people's
    return msgspec.json.decode(path.read_bytes()) if path.is_file() else default
