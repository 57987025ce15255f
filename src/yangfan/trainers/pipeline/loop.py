"""The steps of a run: gradients, weights, metrics, checkpoints, and a stop at the next edge.

A run is a function of what was ordered: order, learning rate and every random number follow from the seed and the step, sums are made in
a fixed order, and a checkpoint holds weights and moments exactly. So a run that was killed and goes on ends bit by bit like one that was
never touched, on the same machine with the same number of threads (PyTorch's notes on reproducibility).
"""

from __future__ import annotations

import contextlib
import math
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from yangfan.errors import TrainingDiverged
from yangfan.trainers.base import MetricRow
from yangfan.trainers.pipeline import checkpoints, libraries, metrics
from yangfan.trainers.pipeline.events import Stopped
from yangfan.trainers.pipeline.plan import Peers, Plan, learning_rates
from yangfan.trainers.pipeline.tensorboard import EventFile

if TYPE_CHECKING:
    from collections.abc import Sequence

    from yangfan.trainers.base import CheckpointFacts, TrainSpec
    from yangfan.trainers.pipeline.events import Channel
    from yangfan.trainers.pipeline.models import Network
    from yangfan.trainers.pipeline.objective import Objective

BETAS = (0.9, 0.999)
_LATEST = 20
"""Steps whose time foretells the rest's."""


class Loop:
    """A run.

    Args:
        spec: What is ordered.
        network: The model.
        learnt: What is learnt.
        held_out: What is measured, not learnt.
        channel: Whom to tell.
        run: Digest of what was ordered.
        peers: The processes of the run.

    Attributes:
        state: Where it stands.
        steps: All that there are.
    """

    def __init__(
        self,
        spec: TrainSpec,
        network: Network,
        learnt: Objective,
        held_out: Objective | None,
        channel: Channel,
        *,
        run: str,
        peers: Peers,
    ) -> None:
        torch = libraries.torch()
        self._spec, self._hyper = spec, spec.hyper_parameters
        self._network, self._objective, self._held_out = network, learnt, held_out
        self._channel, self._run, self._peers = channel, run, peers
        self._output = Path(spec.output)
        self._events = EventFile(self._output)
        self._plan = Plan(learnt, self._hyper, spec.seed)
        self.steps = self._plan.steps
        self._rates = learning_rates(self._hyper, self.steps)
        parameters = network.learnt.values()
        groups = [
            {
                "params": [value for value in parameters if (value.ndim > 1) is heavy],
                "weight_decay": self._hyper.weight_decay if heavy else 0.0,
            }
            for heavy in (True, False)
        ]
        self._optimizer: Any = torch.optim.AdamW(
            [group for group in groups if group["params"]],
            lr=self._hyper.learning_rate,
            betas=BETAS,
            fused=True,
        )
        self._model: Any = network.model
        if peers.size > 1:
            device = [network.where] if network.where != "cpu" else None
            self._model = torch.nn.parallel.DistributedDataParallel(
                network.model, device_ids=device
            )
        self.state = checkpoints.State(
            step=0,
            position=(0, 0),
            random={"scheme": "seeded for each step", "seed": spec.seed},
            steps_of_optimizer=0,
            sums={},
            tokens=0,
            learnt_tokens=0,
            seconds=0.0,
            loss=None,
        )
        self._times: list[float] = []
        self._began = time.monotonic()

    def go_on(self, checkpoint: Path) -> None:
        """Stand where a checkpoint stands; its weights are in the model already."""
        safetensors = __import__("safetensors.torch", fromlist=["load_file"])
        self.state = checkpoints.state_of(checkpoint)
        moments = safetensors.load_file(str(checkpoint / checkpoints.OPTIMIZER))
        torch = libraries.torch()
        for name, value in self._network.learnt.items():
            if f"{name}/exp_avg" not in moments:
                continue  # the first step was not taken yet
            self._optimizer.state[value] = {
                "step": torch.tensor(
                    float(self.state.steps_of_optimizer),
                    device=value.device if value.device.type == "cuda" else "cpu",
                ),
                "exp_avg": moments[f"{name}/exp_avg"].to(value.device),
                "exp_avg_sq": moments[f"{name}/exp_avg_sq"].to(value.device),
            }
        self._began = time.monotonic() - self.state.seconds

    def run(self) -> None:
        """Take all the steps that are left, and leave a checkpoint behind the last one.

        Raises:
            Stopped: That is wanted; a checkpoint is there.
            TrainingDiverged: The loss is no number.
        """
        self._network.model.train()
        every = self._plan.checkpoint_steps()
        while self.state.step < self.steps:
            began = time.monotonic()
            row = self._step()
            self._times = [*self._times[-_LATEST + 1 :], time.monotonic() - began]
            at_edge = self.state.step % every == 0 or self.state.step == self.steps
            if self._is_eval(at_edge=at_edge):
                row = row or self._row()
                row.eval_loss = self.evaluate(row)
            if row is not None:
                self._tell(row)
            if at_edge:
                self.save()

    def evaluate(self, row: MetricRow | None = None) -> float | None:
        """The loss of held-out rows; what else is worth to be seen goes into `row`."""
        if self._held_out is None:
            return None
        torch = libraries.torch()
        count = min(self._held_out.count(), self._hyper.max_eval_rows)
        order = sorted(range(count), key=self._held_out.tokens)
        size = self._plan_size()
        total, weight, more = 0.0, 0.0, dict[str, float]()
        self._network.model.eval()
        with torch.no_grad():
            for start in range(0, count, size):
                self._check_stop()
                items = order[start : start + size]
                found = self._held_out.loss(self._network, self._network.model, items, 0)
                total += float(found.total)
                weight += sum(self._held_out.weight(item) for item in items)
                for name, value in found.more.items():
                    more[f"eval_{name}"] = more.get(f"eval_{name}", 0.0) + float(value)
        self._network.model.train()
        loss = total / weight if weight else None
        if row is not None and loss is not None:
            row.more = {**row.more, **{name: value / count for name, value in more.items()}}
            if self._spec.mode == "post_pretrain":
                row.more["eval_perplexity"] = math.exp(min(loss, 700.0))
        return loss

    def save(self) -> CheckpointFacts | None:
        """Write a checkpoint; the first of several processes does."""
        if self._peers.rank != 0:
            return None
        self.state.seconds = time.monotonic() - self._began
        facts = checkpoints.write(
            self._output, self.state, self._run, self._write, keep=self._hyper.checkpoint_count
        )
        self._channel.checkpoint(facts)
        return facts

    def _write(self, folder: Path) -> None:
        safetensors = __import__("safetensors.torch", fromlist=["save_file"])
        self._network.save(folder)
        moments = {
            f"{name}/{kind}": self._optimizer.state[value][kind].contiguous()
            for name, value in self._network.learnt.items()
            if value in self._optimizer.state
            for kind in ("exp_avg", "exp_avg_sq")
        }
        safetensors.save_file(moments, str(folder / checkpoints.OPTIMIZER))

    def _step(self) -> MetricRow | None:
        torch = libraries.torch()
        state, step = self.state, self.state.step
        self._check_stop()
        items = self._plan.batch(step)
        weight = sum(self._objective.weight(item) for item in items)
        rate = self._hyper.learning_rate * self._rates(step)
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        parts = self._plan.parts(items, self._peers)
        sums: dict[str, Any] = {}
        for number, part in enumerate(parts):
            if self._peers.size == 1:
                self._check_stop()  # what was summed up so far is made again when the run goes on
            self._part(part, number == len(parts) - 1, number, weight, sums)
        self._share(sums)
        loss = sums.pop("loss", 0.0) / (weight or 1)
        norm = float(
            torch.nn.utils.clip_grad_norm_(
                list(self._network.learnt.values()), self._hyper.max_grad_norm or math.inf
            )
        )
        if not (math.isfinite(loss) and math.isfinite(norm)):
            self._diverged(step + 1, loss, norm)
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)
        state.step = step + 1
        state.position = divmod(state.step, self._plan.steps_an_epoch)
        state.steps_of_optimizer += 1
        state.loss = loss
        tokens = sum(self._objective.tokens(item) for item in items)
        state.tokens += tokens
        state.learnt_tokens += int(weight)
        self._add(loss=loss * weight, weight=weight, rows=len(items), tokens=tokens)
        self._add(**{f"more.{name}": value for name, value in sums.items()})
        self._rate, self._norm = rate, norm
        if state.step % self._hyper.logging_steps and state.step != self.steps:
            return None
        return self._row()

    def _part(
        self, part: Sequence[int], is_last: bool, number: int, weight: float, sums: dict[str, Any]
    ) -> None:
        torch = libraries.torch()
        seed = self._plan.seed(self.state.step, number, self._peers.rank)
        torch.manual_seed(seed)
        several = self._peers.size > 1
        quiet = self._model.no_sync() if several and not is_last else contextlib.nullcontext()
        # A process whose share of a short batch is empty computes another's row and counts it for nothing.
        items = part or self._plan.batch(self.state.step)[:1]
        with quiet:
            found = self._objective.loss(self._network, self._model, items, seed)
            share = self._peers.size / (weight or 1) if part else 0.0
            (found.total * share).backward()
        if part:
            for name, value in (("loss", found.total), *found.more.items()):
                sums[name] = sums.get(name, 0.0) + float(value.detach())

    def _share(self, sums: dict[str, Any]) -> None:
        """Add up over all processes."""
        if self._peers.size == 1:
            return
        torch = libraries.torch()
        names = sorted({"loss", *sums})
        values = torch.tensor(
            [sums.get(name, 0.0) for name in names], dtype=torch.float64, device=self._network.where
        )
        torch.distributed.all_reduce(values)
        sums.update(zip(names, values.tolist(), strict=True))

    def _add(self, **values: float) -> None:
        for name, value in values.items():
            self.state.sums[name] = self.state.sums.get(name, 0.0) + value

    def _row(self) -> MetricRow:
        """A line of metrics about the steps since the last one."""
        sums, state = self.state.sums, self.state
        since = sums.get("rows", 0.0)
        loss = sums["loss"] / sums["weight"] if sums.get("weight") else None
        more = {
            name.removeprefix("more."): value / since
            for name, value in sums.items()
            if name.startswith("more.") and since
        }
        if self._spec.mode == "post_pretrain" and loss is not None:
            more["perplexity"] = math.exp(min(loss, 700.0))
        now = time.monotonic()
        seconds = now - getattr(self, "_logged", self._began)
        self._logged = now
        mean = sum(self._times) / len(self._times) if self._times else None
        row = MetricRow(
            step=state.step,
            epoch=round(state.step / self._plan.steps_an_epoch, 4),
            loss=loss,
            learning_rate=self._rate,
            tokens_per_second=round(sums.get("tokens", 0.0) / seconds, 2) if seconds > 0 else None,
            grad_norm=self._norm,
            eta_seconds=None if mean is None else round(mean * (self.steps - state.step), 1),
            more=more,
            time_ms=time.time_ns() // 1_000_000,
        )
        state.sums = {}
        return row

    def _tell(self, row: MetricRow) -> None:
        if self._peers.rank != 0:
            return
        metrics.append(self._output, row)
        values = {"train/loss": row.loss, "train/learning_rate": row.learning_rate}
        values |= {"train/grad_norm": row.grad_norm, "eval/loss": row.eval_loss}
        values |= {"train/tokens_per_second": row.tokens_per_second}
        values |= {f"train/{name}": value for name, value in row.more.items()}
        self._events.scalars(
            row.step, {name: value for name, value in values.items() if value is not None}
        )
        self._channel.progress(row, self.steps)

    def _is_eval(self, *, at_edge: bool) -> bool:
        if self._held_out is None:
            return False
        every = self._hyper.eval_steps
        return (
            at_edge if not every else self.state.step % every == 0 or self.state.step == self.steps
        )

    def _plan_size(self) -> int:
        hyper = self._hyper
        return hyper.micro_batch_size or max(
            1, hyper.batch_size // hyper.gradient_accumulation_steps // self._peers.size
        )

    def _check_stop(self) -> None:
        """Stop if that is wanted, and in all processes at the same step.

        Raises:
            Stopped: It is; a checkpoint is there.
        """
        wanted = self._channel.stop_wanted
        if self._peers.size > 1:
            torch = libraries.torch()
            vote = torch.tensor([float(wanted)], device=self._network.where)
            torch.distributed.all_reduce(vote)
            wanted = bool(vote.item())
        if wanted:
            self._optimizer.zero_grad(set_to_none=True)
            self.save()
            raise Stopped

    def _diverged(self, step: int, loss: float, norm: float) -> None:
        kept = checkpoints.whole(self._output, self._run)
        where = (
            f"the last good checkpoint is {kept[-1].name}"
            if kept
            else "no checkpoint was written yet"
        )
        raise TrainingDiverged(
            f"at step {step} the loss is {loss:g} and the gradient's length {norm:g}: the run diverged; {where}. Lower learning_rate "
            "(a tenth of it), raise warmup_ratio, or look at the rows of this step"
        )
