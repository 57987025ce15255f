"""A run from its specification to its result, in a process of its own."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import resource
import shutil
import sys
import time
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import msgspec

from yangfan import extensions
from yangfan.engines.process import die_with_parent
from yangfan.errors import ConfigurationError, DiskFull, Invalid, OutOfMemory, YangfanError
from yangfan.hub.disk import sha256_of, sync
from yangfan.trainers.base import TrainResult, TrainSpec
from yangfan.trainers.pipeline import answers, checkpoints, libraries, metrics, report, rows
from yangfan.trainers.pipeline.events import Channel, Stopped
from yangfan.trainers.pipeline.loop import Loop
from yangfan.trainers.pipeline.models import Network
from yangfan.trainers.pipeline.objective import Parts
from yangfan.trainers.pipeline.plan import Peers
from yangfan.trainers.pipeline.tokens import Words

if TYPE_CHECKING:
    from yangfan.trainers.pipeline.objective import Objective, Way

PACKAGE = "yangfan.trainers"
FINAL = "final"
LANGUAGE = Parts("config.json", Words, Network)
REFERENCE = "reference.safetensors"


def main(argv: list[str]) -> int:
    """Run the specification in a file; 0 if the outcome was told."""
    die_with_parent()
    channel = Channel()
    spec = msgspec.json.decode(Path(argv[0]).read_bytes(), type=TrainSpec)
    try:
        result = Run(spec, channel, distributed="--distributed" in argv).run()
    except Stopped:
        channel.end("stopped", _left(spec))
    except Exception as error:  # noqa: BLE001 - a library may fail in any way; whoever started this is told which
        traceback.print_exc(file=sys.stderr)
        told = named(error, Path(spec.output))
        retryable = not isinstance(told, YangfanError)
        message = (
            told.message if isinstance(told, YangfanError) else f"{type(told).__name__}: {told}"
        )
        channel.failed(type(told).__name__, message, retryable=retryable)
    else:
        channel.end("done", result)
    return 0


def named(error: BaseException, output: Path) -> BaseException:
    """The same error under a name that says what to do, where it is one that has such a name."""
    text = str(error)
    full = isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EDQUOT}
    if full or "No space left on device" in text or "os error 28" in text:
        free = shutil.disk_usage(output).free if output.exists() else 0
        return DiskFull(
            f"no space on the disk of {output}: {free} bytes are free; free some and go on with this run, lower checkpoint_count, or "
            "learn LoRA instead of all weights. The last good checkpoint is kept"
        )
    memory = (
        "out of memory",
        "can't allocate memory",
        "not enough memory",
        "Cannot allocate memory",
    )
    if (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"
        or (isinstance(error, (RuntimeError, OSError)) and any(words in text for words in memory))
    ):
        return OutOfMemory(
            "there is not enough memory for a step: raise gradient_accumulation_steps, lower micro_batch_size or max_seq_len, switch "
            f"gradient_checkpointing on, or learn LoRA instead of all weights. The last good checkpoint is kept ({text[:200]})"
        )
    return error


class Run:
    """A run.

    Args:
        spec: What is ordered.
        channel: Whom to tell.
        distributed: Whether torchrun started several of these.
    """

    def __init__(self, spec: TrainSpec, channel: Channel, *, distributed: bool = False) -> None:
        self._spec, self._channel, self._distributed = spec, channel, distributed
        self._hyper = spec.hyper_parameters
        self._output = Path(spec.output)
        self._way = cast("Way", extensions.load(PACKAGE, spec.mode))
        if spec.method not in self._way.METHODS:
            raise Invalid(
                f"{spec.mode} learns {' or '.join(sorted(self._way.METHODS))}, not {spec.method}",
                param="parameterScale",
            )
        self._parts: Parts = getattr(self._way, "PARTS", LANGUAGE)
        if not (Path(spec.base) / self._parts.marker).is_file():
            raise ConfigurationError(
                f"the base model {spec.base_model} is no folder with {self._parts.marker} and safetensors; a GGUF file cannot be tuned"
            )

    def run(self) -> TrainResult:
        """Learn.

        Raises:
            Stopped: That is wanted; a checkpoint is there if a step was taken.
            YangfanError: It cannot be done; the message says why.
        """
        began = time.monotonic()
        self._output.mkdir(parents=True, exist_ok=True)
        words = self._parts.words(Path(self._spec.base))
        learnt, held_out = self._read(words)
        self._channel.log(
            f"{learnt.count()} items to learn, {held_out.count() if held_out else 0} held out, read in {time.monotonic() - began:.1f} s"
        )
        libraries.require()
        peers, where = self._peers()
        dtype = self._dtype(where, peers)
        run = checkpoints.digest(self._ordered(dtype, peers))
        going_on = checkpoints.last(self._output, run)
        _require_agreement(f"{run} {going_on and going_on.name}", where, peers)
        network = self._network(where, dtype, going_on, learnt, held_out)
        metrics.cut(self._output, 0 if going_on is None else checkpoints.state_of(going_on).step)
        loop = Loop(
            self._spec,
            network,
            learnt,
            held_out,
            self._channel,
            run=run,
            peers=peers,
        )
        if going_on is not None:
            loop.go_on(going_on)
            self._channel.log(f"going on from {going_on.name}")
        self._channel.log(
            f"{sum(value.numel() for value in network.learnt.values()):,} of "
            f"{sum(value.numel() for value in network.model.parameters()):,} parameters are learnt in {dtype} on {where}, "
            f"{loop.steps} steps; the first begins after {time.monotonic() - began:.1f} s"
        )
        loop.run()
        return self._result(loop, network, words, learnt, going_on, peers)

    def _read(self, words: Words) -> tuple[Objective, Objective | None]:
        learnt = self._way.objective(rows.read(Path(self._spec.train)), words, self._hyper)
        held_out: Objective | None = None
        if self._spec.validation and Path(self._spec.validation).stat().st_size:
            plain = msgspec.structs.replace(self._hyper, packing=False)
            held_out = self._way.objective(rows.read(Path(self._spec.validation)), words, plain)
        return learnt, held_out

    def _peers(self) -> tuple[Peers, str]:
        torch = libraries.torch()
        torch.set_num_threads(self._spec.threads or libraries.usable_cpus())
        torch.use_deterministic_algorithms(mode=True, warn_only=True)
        torch.manual_seed(self._spec.seed)
        if not self._distributed:
            return Peers(), libraries.device(0)
        distributed = torch.distributed
        has_gpus = torch.cuda.is_available()
        distributed.init_process_group("nccl" if has_gpus else "gloo")
        where = libraries.device(distributed.get_node_local_rank())
        if has_gpus:
            torch.cuda.set_device(where)
        peers = Peers(distributed.get_rank(), distributed.get_world_size())
        if peers.rank != 0:
            self._channel.mute()
        return peers, where

    def _dtype(self, where: str, peers: Peers) -> str:
        if self._spec.dtype != "auto":
            return self._spec.dtype
        able = int(libraries.computes_in_bfloat16(where))
        return "bfloat16" if _extremes(able, where, peers)[0] else "float32"

    def _ordered(self, dtype: str, peers: Peers) -> bytes:
        """All that weights follow from; a run goes on from checkpoints of the same alone."""
        spec = self._spec
        ordered: dict[str, Any] = {
            "mode": spec.mode,
            "method": spec.method,
            "seed": spec.seed,
            "dtype": dtype,
            "processes": peers.size,
            "hyper": msgspec.to_builtins(spec.hyper_parameters),
            "rows": sha256_of(Path(spec.train)),
            "base": {
                file.relative_to(folder).as_posix(): file.stat().st_size
                for folder in (spec.base, spec.adapter)
                if folder
                for file in Path(folder).rglob("*.safetensors")
            },
        }
        for reward in ordered["hyper"]["rewards"]:
            places = (reward.pop("model"), reward.pop("adapter"))  # where they lie is no part of it
            reward["sizes"] = [
                file.stat().st_size
                for folder in filter(None, places)
                for file in sorted(Path(folder).glob("*.safetensors"))
            ]
        for name in ("checkpoint_count", "max_predictions", "max_eval_rows", "eval_steps"):
            ordered["hyper"].pop(name)
        return msgspec.json.encode(ordered, order="sorted")

    def _network(
        self,
        where: str,
        dtype: str,
        going_on: Path | None,
        learnt: Objective,
        held_out: Objective | None,
    ) -> Network:
        """The model; what has to be asked of it before the first step is asked, or was."""
        files = [(learnt, self._output / REFERENCE)]
        if held_out is not None:
            files.append((held_out, self._output / f"held-out-{REFERENCE}"))

        def made(checkpoint: Path | None) -> Network:
            libraries.torch().manual_seed(self._spec.seed)  # adapters begin with random numbers
            return self._parts.network(
                self._spec, where, dtype, checkpoint, scores=self._way.SCORES
            )

        if going_on is None:
            for _, file in files:
                file.unlink(missing_ok=True)
        elif self._way.COMPARES and not all(file.exists() for _, file in files):
            before = made(None)
            for objective, file in files:
                objective.prepare(before, file)
        network = made(going_on)
        network.model.eval()
        with libraries.torch().no_grad():
            for objective, file in files:
                objective.prepare(network, file)
        return network

    def _result(
        self,
        loop: Loop,
        network: Network,
        words: Words,
        learnt: Objective,
        going_on: Path | None,
        peers: Peers,
    ) -> TrainResult:
        if peers.rank == 0:
            if self._way.ANSWERS and self._spec.validation and self._hyper.max_predictions:
                held_out = rows.read(Path(self._spec.validation))
                answers.write(held_out, words, network, self._hyper, self._channel, self._output)
            self._finish(network)
        state = loop.state
        result = msgspec.structs.replace(
            _left(self._spec),
            facts={
                "steps": state.step,
                "items": learnt.count(),
                "tokens": state.tokens,
                "learnt_tokens": state.learnt_tokens,
                "seconds": round(state.seconds, 2),
                "tokens_per_second": round(state.tokens / state.seconds, 1) if state.seconds else 0,
                "parameters": sum(value.numel() for value in network.model.parameters()),
                "learnt_parameters": sum(value.numel() for value in network.learnt.values()),
                "peak_rss_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
                "dtype": network.dtype,
                "device": network.where,
                "processes": peers.size,
                "resumed_from": "" if going_on is None else going_on.name,
            },
        )
        if peers.rank == 0:
            page = report.write(self._output, self._spec, metrics.read(self._output), result)
            result = msgspec.structs.replace(result, report=str(page))
        if self._distributed:
            libraries.torch().distributed.destroy_process_group()
        return result

    def _finish(self, network: Network) -> None:
        """Write the final folder: whole or not there."""
        new, final = self._output / f".{FINAL}.new", self._output / FINAL
        for folder in (new, final):
            shutil.rmtree(folder, ignore_errors=True)
        network.save(new, final=True)
        for file in new.iterdir():
            sync(file)
        new.replace(final)
        sync(self._output)


def _extremes(number: int, where: str, peers: Peers) -> tuple[int, int]:
    """The least and the greatest of what the processes of a run have."""
    if peers.size == 1:
        return number, number
    torch = libraries.torch()
    both = torch.tensor([number, -number], dtype=torch.int64, device=where)
    torch.distributed.all_reduce(both, torch.distributed.ReduceOp.MIN)
    least, greatest = both.tolist()
    return least, -greatest


def _require_agreement(standing: str, where: str, peers: Peers) -> None:
    """Check that all processes are about to do the same: those on other machines read copies.

    Raises:
        ConfigurationError: They are not.
    """
    number = int.from_bytes(hashlib.sha256(standing.encode()).digest()[:7])
    least, greatest = _extremes(number, where, peers)
    if least != greatest:
        raise ConfigurationError(
            "the processes of this run have different rows, base models or checkpoints before them; use one version of Yangfan and of its"
            " libraries on all machines, and begin a new run"
        )


def _left(spec: TrainSpec) -> TrainResult:
    """What lies in a run's folder."""
    output = Path(spec.output)
    page = output / report.FILE
    with contextlib.suppress(OSError):
        return TrainResult(
            checkpoints=tuple(checkpoints.whole(output)),
            final=str(output / FINAL) if (output / FINAL).is_dir() else "",
            method=spec.method,
            metrics=metrics.thinned(metrics.read(output)),
            report=str(page) if page.exists() else "",
        )
    return TrainResult(final="", method=spec.method)
