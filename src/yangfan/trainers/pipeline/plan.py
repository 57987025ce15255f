"""Which items a step reads, and how fast it learns: functions of the step alone, so that a run goes on anywhere."""

from __future__ import annotations

import importlib
import math
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from yangfan.trainers.base import HyperParameters
    from yangfan.trainers.pipeline.objective import Objective


class Peers(NamedTuple):
    """The processes of a run."""

    rank: int = 0
    size: int = 1


class Plan:
    """The steps of a run.

    Args:
        objective: Its items.
        hyper: What is set.
        seed: Of the order.

    Attributes:
        steps: All of them.
        steps_an_epoch: Until every item was read once.
    """

    def __init__(self, objective: Objective, hyper: HyperParameters, seed: int) -> None:
        self._objective, self._hyper, self._seed = objective, hyper, seed
        self._items = objective.count()
        self.steps_an_epoch = math.ceil(self._items / hyper.batch_size)
        self.steps = hyper.max_steps or max(1, math.ceil(self.steps_an_epoch * hyper.epoch))
        self._epoch, self._order = -1, list[int]()

    def batch(self, step: int) -> list[int]:
        """The items of a step, counted from 0; the longest first."""
        epoch, place = divmod(step, self.steps_an_epoch)
        if epoch != self._epoch:
            numpy: Any = importlib.import_module("numpy")
            shuffled = numpy.random.Generator(numpy.random.PCG64([self._seed, epoch])).permutation(
                self._items
            )
            self._epoch, self._order = epoch, shuffled.tolist()
        size = self._hyper.batch_size
        items = self._order[place * size : (place + 1) * size]
        return sorted(items, key=lambda item: (-self._objective.tokens(item), item))

    def parts(self, items: list[int], peers: Peers) -> list[list[int]]:
        """What one of several processes computes at once; as many parts for each of them."""
        size = self._hyper.micro_batch_size or math.ceil(
            self._hyper.batch_size / self._hyper.gradient_accumulation_steps / peers.size
        )
        count = math.ceil(len(items) / (size * peers.size))
        own = items[peers.rank :: peers.size]
        return [own[place * size : (place + 1) * size] for place in range(count)]

    def seed(self, step: int, part: int = 0, rank: int = 0) -> int:
        """Of everything random in a part of a step."""
        return ((self._seed * 1_000_003 + step) * 8191 + part) * 4099 + rank & 0x7FFF_FFFF_FFFF_FFFF

    def checkpoint_steps(self) -> int:
        """Steps between two checkpoints."""
        return self._hyper.checkpoint_interval or self.steps_an_epoch


def learning_rates(hyper: HyperParameters, steps: int) -> Any:
    """The learning rate as a function of the steps that are done, as a share of the highest.

    The library's own schedules are functions of the step, too; only their bookkeeping is left out.
    """
    transformers: Any = importlib.import_module("transformers")
    torch: Any = importlib.import_module("torch")
    unused = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=hyper.learning_rate)
    made = transformers.get_scheduler(
        hyper.scheduler_name,
        unused,
        num_warmup_steps=math.ceil(steps * hyper.warmup_ratio),
        num_training_steps=steps,
    )
    return made.lr_lambdas[0]
