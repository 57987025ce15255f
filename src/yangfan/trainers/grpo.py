"""Group relative policy optimisation: learn from the model's own answers by what they are worth (arXiv 2402.03300; specification D.6, RFT).

To each question the model writes `num_generations` answers. Those that earn more than the mean of their group are made likelier, the
others less likely; nobody has to write what would have been right.

    advantage = (reward - mean of the group) / (standard deviation of the group + 1e-4)
    loss      = mean over answers of the mean over their tokens of  p / p′ · (-advantage + β (q / p - log (q / p) - 1))

with p the probability of a token, p′ the same number without a gradient (each answer is learnt from once, right after it was written), and q
what the model before the first step would have given it. The distance is weighted by p / p′, too, for only then does its gradient draw the
model back without a bias (arXiv 2512.02556; TRL does so, too). What an answer earns is the sum of what `rewards` say: scorers
(`yangfan.scorers`), and models that were trained to score (`yangfan.trainers.reward`). Answers follow from the seed and the step, as
everything random does, so a run that was killed writes the same ones again.
"""

from __future__ import annotations

import contextlib
import copy
import importlib
from typing import TYPE_CHECKING, Any, NamedTuple

from yangfan.errors import Invalid
from yangfan.trainers.pipeline import libraries, rows
from yangfan.trainers.pipeline.forward import batch, by_row, log_probabilities, mixed
from yangfan.trainers.pipeline.objective import Loss
from yangfan.trainers.pipeline.rewards import Rewards
from yangfan.trainers.pipeline.tokens import example

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from yangfan.engines.wire.types import ChatMessage
    from yangfan.trainers.base import HyperParameters
    from yangfan.trainers.pipeline.models import Network
    from yangfan.trainers.pipeline.rows import Row
    from yangfan.trainers.pipeline.tokens import Words

SUMMARY = "learns from what its own answers are worth"
METHODS = frozenset({"full", "lora"})
SCORES = False
COMPARES = True
ANSWERS = False

_LEAST_SPREAD = 1e-4
"""Added to a group's standard deviation, as TRL's GRPOTrainer does; where all answers earn the same, nothing is learnt."""


class Question(NamedTuple):
    """What is to be answered, its tokens, and what would be right, where the row says that."""

    messages: tuple[ChatMessage, ...]
    ids: list[int]
    references: tuple[str, ...]


class Questions:
    """Questions that the model answers itself."""

    def __init__(self, questions: list[Question], words: Words, hyper: HyperParameters) -> None:
        """Keep what is asked."""
        if not questions:
            raise Invalid(
                f"every prompt is longer than max_seq_len = {hyper.max_seq_len} tokens; raise it",
                param="maxSeqLen",
            )
        self._questions, self._words, self._hyper = questions, words, hyper
        self._rewards = Rewards(hyper.rewards, words)
        self._before: Any = None

    def count(self) -> int:
        """Questions."""
        return len(self._questions)

    def tokens(self, item: int) -> int:
        """Tokens of the question: how many the answers will have, nobody knows."""
        return len(self._questions[item].ids)

    def weight(self, item: int) -> float:
        """The loss is a mean over questions."""
        del item
        return 1.0

    def prepare(self, network: Network, folder: Path) -> None:
        """Keep the model as it is before the first step, where it does not stay below an adapter anyway."""
        self._rewards.load(network.where)
        if not self._hyper.beta or network.keeps_base:
            folder.touch()  # nothing has to be asked of the first model when the run goes on
        elif self._before is None:
            self._before = copy.deepcopy(network.model).requires_grad_(requires_grad=False).eval()

    def loss(self, network: Network, model: Any, items: Sequence[int], seed: int) -> Loss:
        """Sum over questions of what their answers cost."""
        torch, hyper = libraries.torch(), self._hyper
        torch.manual_seed(seed)
        asked = [self._questions[item] for item in items]
        learns = network.model.training
        network.model.eval()
        said = [self._answers(network, question) for question in asked]
        network.model.train(learns)
        earned = torch.tensor(
            [self._earned(*each) for each in zip(asked, said, strict=True)], device=network.where
        )
        spread = earned.std(dim=1, keepdim=True)
        advantage = (
            (earned - earned.mean(dim=1, keepdim=True)) / (spread + _LEAST_SPREAD)
        ).flatten()
        answers = [
            example(question.ids, answer, hyper.max_seq_len)
            for question, group in zip(asked, said, strict=True)
            for answer in group
        ]
        given = batch([[answer] for answer in answers], self._words.pad_id, network.where)
        found, row = log_probabilities(network, model, given, temperature=hyper.temperature)
        ratio = (found - found.detach()).exp()
        cost = -advantage[row] * ratio
        more = {"reward": earned.mean(dim=1).sum(), "reward_spread": spread.sum()}
        if hyper.beta:
            with torch.no_grad(), self._as_before(network) as before:
                known, _ = log_probabilities(network, before, given, temperature=hyper.temperature)
            far = known - found
            distance = far.exp() - far - 1
            cost = cost + hyper.beta * distance * ratio
            more["distance"] = self._mean(distance.detach(), row, given).sum()
        lengths = given.learnt.sum(1).float()
        more["answer_tokens"] = lengths.reshape(len(asked), -1).mean(dim=1).sum()
        return Loss(self._mean(cost, row, given).sum(), more)

    def _mean(self, values: Any, row: Any, given: Any) -> Any:
        """Over each answer's tokens, and over the answers of each question."""
        lengths = given.learnt.sum(1).clamp(min=1)
        return by_row(values, row, len(lengths)) / lengths / self._hyper.num_generations

    def _answers(self, network: Network, question: Question) -> list[list[int]]:
        """Answers of the model as it is now, each to the token that ends it."""
        torch, hyper = libraries.torch(), self._hyper
        transformers: Any = importlib.import_module("transformers")
        drawn = transformers.GenerationConfig(
            do_sample=True,
            temperature=hyper.temperature,
            top_k=0,
            top_p=1.0,
            num_return_sequences=hyper.num_generations,
            max_new_tokens=max(
                1, min(hyper.max_completion_length, hyper.max_seq_len - len(question.ids))
            ),
            eos_token_id=self._words.end_ids or None,
            pad_token_id=self._words.pad_id,
            use_cache=True,
        )
        with torch.no_grad(), mixed(network):
            ids = torch.tensor([question.ids], device=network.where)
            made = network.model.generate(
                input_ids=ids, attention_mask=torch.ones_like(ids), generation_config=drawn
            )
        return [self._ended(answer) for answer in made[:, len(question.ids) :].tolist()]

    def _ended(self, answer: list[int]) -> list[int]:
        for place, token in enumerate(answer):
            if token in self._words.end_ids:
                return answer[: place + 1]
        return answer

    def _earned(self, question: Question, answers: list[list[int]]) -> list[float]:
        texts: list[str] = [
            self._words.tokenizer.decode(answer, skip_special_tokens=True) for answer in answers
        ]
        return self._rewards.of(question.messages, texts, question.references)

    @contextlib.contextmanager
    def _as_before(self, network: Network) -> Any:
        """The model before the first step."""
        if self._before is not None:
            yield self._before
            return
        learns = network.model.training
        network.model.eval()
        with network.model.disable_adapter():
            yield network.model
        network.model.train(learns)


def objective(given: Iterable[Row], words: Words, hyper: HyperParameters) -> Questions:
    """Read questions; those that are longer than `max_seq_len` are left out.

    Raises:
        Invalid: A row asks nothing, or nothing says what an answer is worth.
    """
    found: list[Question] = []
    for row in given:
        messages, references = rows.asked(row)
        ids = words.prompt(row, messages)
        if len(ids) < hyper.max_seq_len:
            found.append(Question(tuple(messages), ids, references))
    return Questions(found, words, hyper)
