"""Vectors and scores, computed by an encoder or a cross-encoder of the library."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from yangfan.engines._texts import Inputs, TextBatches, padded, pooling_of, wants_sigmoid

if TYPE_CHECKING:
    from pathlib import Path

    from yangfan.engines._transformers.loading import Loaded
    from yangfan.engines._transformers.prompts import Prompts


READS = "yangfan_reads"
"""Field of config.json: ``conversations`` where a query is a question and a document its answer, in the model's own template."""


def reads_conversations(loaded: Loaded) -> bool:
    """Whether it is a reward model that was published here."""
    return getattr(loaded.model.config, READS, "") == "conversations"


class Conversations:
    """Questions with answers, as a reward model was trained to read them.

    Args:
        prompts: The model's template.
        endings: Tokens that end an answer.
    """

    def __init__(self, prompts: Prompts, endings: list[int]) -> None:
        self._prompts, self._endings = prompts, endings

    def tokenize(self, question: str, *answers: str) -> Inputs:
        """A question and its answer in tokens, to the one that ends it."""
        ids, said = self._prompts.asked_and_said(question, answers[0] if answers else "")
        for place, token in enumerate(said):
            if token in self._endings:
                said = said[: place + 1]
                break
        else:
            said = [*said, *self._endings[:1]]
        whole = [*ids, *said]
        return {"input_ids": whole, "attention_mask": [1] * len(whole)}


class Encoder:
    """The network of one encoder or cross-encoder, and the queue of its texts."""

    def __init__(self, loaded: Loaded, folder: Path, *, rerank: bool, batch_tokens: int) -> None:
        """Read how the folder wants texts pooled or scores bent.

        Raises:
            ValueError: It asks for something that is not done here.
        """
        self._torch: Any = importlib.import_module("torch")
        self._loaded = loaded
        self._finish = self._scores if rerank else self._vectors
        self._pooling = "mean" if rerank else pooling_of(folder)
        self._sigmoid = wants_sigmoid(folder)
        self.batches = TextBatches(
            self._forward, batch_tokens=batch_tokens, mode=self._torch.inference_mode
        )

    def tokenize(self, *texts: str) -> Inputs:
        """A text, or a query and a document, in tokens."""
        made = self._loaded.tokenizer(*texts, truncation=False)
        return {name: list(values) for name, values in made.items()}

    def _forward(self, inputs: list[Inputs]) -> list[list[float]]:
        known = getattr(self._loaded.model.config, "pad_token_id", None)
        filling: int = known if isinstance(known, int) else self._loaded.tokenizer.pad_token_id or 0
        rows = {
            name: self._torch.tensor(values, device=self._loaded.device)
            for name, values in padded(inputs, filling).items()
        }
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
