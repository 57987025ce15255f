"""What answers are worth: scorers, which are rules, and models that were trained to score."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from yangfan.errors import ConfigurationError, Invalid
from yangfan.scorers import base as scorers
from yangfan.trainers.pipeline import libraries
from yangfan.trainers.pipeline.rows import Row
from yangfan.trainers.pipeline.tokens import Words

if TYPE_CHECKING:
    from collections.abc import Sequence

    from yangfan.engines.wire.types import ChatMessage
    from yangfan.trainers.base import Reward

_ROW = Row(0, "an answer", {})
"""What is named where a reward model's template refuses what it is asked."""


class Rewards:
    """The sum of several.

    Args:
        given: What they are.
        words: Of the model that answers.

    Raises:
        Invalid: There is none, or one is not known.
    """

    def __init__(self, given: Sequence[Reward], words: Words) -> None:
        if not given:
            raise Invalid(
                "nothing says what an answer is worth: name scorers or a reward model in rewardConfig",
                param="rewardConfig",
            )
        self._words = words
        self._rules = [
            (reward.weight, scorers.create(reward.scorer, reward.parameters))
            for reward in given
            if reward.scorer
        ]
        self._given = [reward for reward in given if not reward.scorer]
        self._models: list[tuple[float, RewardModel]] = []

    def load(self, where: str) -> None:
        """Read the models that score, once.

        Raises:
            ConfigurationError: One cannot be read.
        """
        while self._given:
            reward = self._given.pop()
            model = RewardModel(Path(reward.model), reward.adapter, where)
            self._models.append((reward.weight, model))

    def of(
        self, messages: Sequence[ChatMessage], answers: Sequence[str], references: tuple[str, ...]
    ) -> list[float]:
        """What each of several answers to one question is worth; what a scorer cannot grade is worth nothing."""
        asked = str(messages[-1].content)
        earned = [0.0] * len(answers)
        for weight, scorer in self._rules:
            for place, answer in enumerate(answers):
                score = scorer.score(scorers.Sample(answer, references, asked))
                earned[place] += weight * (score.value or 0.0)
        for weight, model in self._models:
            for place, score in enumerate(model.scores(messages, answers)):
                earned[place] += weight * score
        return earned


class RewardModel:
    """A model that gives one score for a conversation with its answer (`yangfan.trainers.reward`).

    Args:
        base: Hugging Face folder.
        adapter: Folder of the adapter that was learnt; "" where the base itself was.
        where: Device.

    Raises:
        ConfigurationError: It cannot be loaded.
    """

    def __init__(self, base: Path, adapter: str, where: str) -> None:
        transformers: Any = importlib.import_module("transformers")
        self._torch, self._where = libraries.torch(), where
        self._words = Words(base)
        try:
            model = transformers.AutoModelForSequenceClassification.from_pretrained(
                str(base),
                num_labels=1,
                dtype=self._torch.float32,
                use_safetensors=True,
                local_files_only=True,
                trust_remote_code=False,
            )
            if adapter:
                peft: Any = importlib.import_module("peft")
                model = peft.PeftModel.from_pretrained(model, adapter)
        except (OSError, ValueError, KeyError, RuntimeError) as error:
            raise ConfigurationError(
                f"the reward model cannot be loaded: {type(error).__name__}: {error}"
            ) from error
        model.config.pad_token_id = self._words.pad_id
        self._model = model.requires_grad_(requires_grad=False).eval().to(where)

    def scores(self, messages: Sequence[ChatMessage], answers: Sequence[str]) -> list[float]:
        """The score of each answer."""
        torch = self._torch
        rows = [self._ids(messages, answer) for answer in answers]
        longest = max(map(len, rows))
        ids = torch.full((len(rows), longest), self._words.pad_id, dtype=torch.long)
        mask = torch.zeros((len(rows), longest), dtype=torch.long)
        for place, row in enumerate(rows):
            ids[place, : len(row)] = torch.tensor(row)
            mask[place, : len(row)] = 1
        with torch.no_grad():
            read = {"input_ids": ids.to(self._where), "attention_mask": mask.to(self._where)}
            return self._model(**read, use_cache=False).logits[:, 0].float().tolist()

    def _ids(self, messages: Sequence[ChatMessage], answer: str) -> list[int]:
        words, row = self._words, _ROW
        said = words.answer(row, messages, answer) if answer.strip() else words.end_ids[:1]
        return [*words.prompt(row, messages), *said]
