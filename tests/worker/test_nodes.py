"""A run on several machines: here their parts are processes of one machine, which meet on loopback and share no files."""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import signal
import socket
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from tests.conftest import serving, wait_until
from tests.server.jobs.conftest import Desk
from tests.trainers.conftest import TALKS, Bench, Ear, bench
from tests.worker.works.test_train import curve, digests, ended, order

from yangfan.errors import ConfigurationError, EngineFailed, Invalid, OutOfMemory
from yangfan.hub.disk import sha256_of
from yangfan.trainers.base import Reward, TrainSpec
from yangfan.trainers.pipeline import checkpoints, libraries
from yangfan.trainers.pipeline.launch import Machines, Trainer
from yangfan.worker import node as there
from yangfan.worker.node import Part, PartFile, Word, moved, named_files
from yangfan.worker.nodes import Nodes

__all__ = ["bench"]

needs_trainers = pytest.mark.skipif(
    libraries.missing() is not None, reason=str(libraries.missing())
)
GONE_SECONDS = 30.0


def free_place() -> str:
    """A host:port that nobody uses."""
    with socket.create_server(("127.0.0.1", 0)) as found:
        return f"127.0.0.1:{found.getsockname()[1]}"


def command(folder: Path) -> str:
    """What starts a part that keeps its files in a folder."""
    return shlex.join([sys.executable, "-m", "yangfan", "worker", "node", "--folder", str(folder)])


def python(program: str) -> str:
    """A command that runs something else."""
    return shlex.join([sys.executable, "-c", program])


def quiet_task() -> Any:
    """A task whose worker is the test."""
    logged: list[str] = []
    return SimpleNamespace(check=lambda: None, log=logged.append, logged=logged)


def two(
    spec: TrainSpec, commands: list[str], place: str, lock: Path, patience_seconds: float = 0
) -> Nodes:
    return Nodes(
        quiet_task(),
        spec,
        Machines(nodes=2, rendezvous=place),
        processes=1,
        commands=commands,
        lock=lock,
        patience_seconds=patience_seconds,
    )


def made(folder: Path) -> TrainSpec:
    """An order whose files are there, though nobody can learn from them."""
    base = folder / "base"
    base.mkdir()
    for path in (base / "model.safetensors", base / "config.json", folder / "train.jsonl"):
        path.write_bytes(path.name.encode())
    return TrainSpec(
        mode="sft",
        method="lora",
        base=str(base),
        train=str(folder / "train.jsonl"),
        output=str(folder / "out"),
    )


def test_everything_that_a_part_reads_is_named_where_the_part_will_have_it(tmp_path: Path):
    spec = made(tmp_path)
    reward = Reward(model=str(tmp_path / "base"))
    hyper = msgspec.structs.replace(spec.hyper_parameters, rewards=(Reward(scorer="exact"), reward))
    spec = msgspec.structs.replace(spec, hyper_parameters=hyper, adapter=str(tmp_path / "base"))
    state = checkpoints.State(
        step=3, position=(0, 3), random={}, steps_of_optimizer=3, sums={}, tokens=1,
        learnt_tokens=1, seconds=1.0, loss=0.5,
    )  # fmt: skip
    output = Path(spec.output)
    checkpoints.write(output, state, "r", lambda folder: None, keep=1)
    (output / checkpoints.FOLDER / "step-00000009").mkdir()  # one that is not whole
    (output / "reference.safetensors").write_bytes(b"1")
    (output / "metrics.jsonl").write_bytes(b"{}")
    names = [name for name, _ in named_files(spec)]
    assert names == [
        "train.jsonl",
        "base/config.json",
        "base/model.safetensors",
        "adapter/config.json",
        "adapter/model.safetensors",
        "rewards/1/model/config.json",
        "rewards/1/model/model.safetensors",
        "output/checkpoints/step-00000003/manifest.json",
        "output/checkpoints/step-00000003/state.json",
        "output/reference.safetensors",
    ]
    here = moved(spec, Path("/there"))
    assert (here.train, here.base, here.adapter) == (
        "/there/train.jsonl",
        "/there/base",
        "/there/adapter",
    )
    assert (here.output, here.validation) == ("/there/output", "")
    assert [one.model for one in here.hyper_parameters.rewards] == ["", "/there/rewards/1/model"]


@pytest.mark.parametrize(
    ("program", "error", "words"),
    [
        ("raise SystemExit('no route to gpu2')", EngineFailed, r"ended with status 1; .*no route"),
        ("print('Welcome to gpu2')", EngineFailed, "must start `yangfan worker node` there"),
        ("""print('Hi\\n{"version": "0.0.1"}')""", ConfigurationError, r"it has Yangfan 0\.0\.1"),
    ],
)
def test_a_machine_that_cannot_take_part_is_named_with_what_to_do(
    tmp_path: Path, program: str, error: type[Exception], words: str
):
    nodes = two(made(tmp_path), [python(program)], free_place(), tmp_path / "lock")
    with pytest.raises(error, match=rf"(?s)machine 1 of the run, `.*{words}"), nodes:
        pass


def test_a_machine_that_is_starting_is_asked_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("yangfan.worker.nodes.AGAIN_SECONDS", 0.0)
    flag = tmp_path / "up"
    program = f"import pathlib, sys; up = pathlib.Path({str(flag)!r}); " + (
        "up.exists() or (up.touch(), sys.exit('starting')); print('{\"version\": \"0.0.1\"}')"
    )
    nodes = two(made(tmp_path), [python(program)], free_place(), tmp_path / "lock", 60)
    with pytest.raises(ConfigurationError, match="it has Yangfan"), nodes:
        pass
    assert flag.exists()


def test_what_is_lacking_is_said(tmp_path: Path):
    spec, place, lock = made(tmp_path), free_place(), tmp_path / "lock"
    with pytest.raises(ConfigurationError, match="wants 2 machines: name the others"):
        two(spec, [], place, lock).__enter__()
    with pytest.raises(ConfigurationError, match="in tuning_rendezvous host:port of this one"):
        two(spec, [python("1")], "", lock).__enter__()
    with pytest.raises(ConfigurationError, match="cannot be started"):
        two(spec, ["/nowhere/ssh gpu2"], place, lock).__enter__()


@needs_trainers
def test_a_place_that_cannot_be_reached_is_said_on_either_side(tmp_path: Path):
    spec, lock, folder = made(tmp_path), tmp_path / "lock", tmp_path / "node"
    with (
        socket.create_server(("", 0)) as taken,
        pytest.raises(ConfigurationError, match="of a port that nothing else uses"),
        two(spec, [command(folder)], f"127.0.0.1:{taken.getsockname()[1]}", lock),
    ):
        pass
    answers = talk(folder, part(tmp_path, rendezvous=free_place()), b"rows")
    assert answers[0].needed == ("train.jsonl",)
    assert "tuning_rendezvous must be an address of the first machine" in answers[-1].refused


@needs_trainers
def test_a_part_takes_no_file_from_elsewhere_and_none_that_is_damaged(tmp_path: Path):
    for path in ("../train.jsonl", "/train.jsonl", ""):
        (answer,) = talk(tmp_path / "node", part(tmp_path, path=path))
        assert "a part of a run has no file" in answer.refused
    answers = talk(tmp_path / "node", part(tmp_path), b"ROWS")
    assert "train.jsonl arrived damaged" in answers[-1].refused
    (answer,) = talk(tmp_path / "node", {"spec": 1})
    assert "this is no part of a run" in answer.refused
    assert [path.name for path in (tmp_path / "node").iterdir()] == [there.FILES]


def part(folder: Path, path: str = "train.jsonl", rendezvous: str = "127.0.0.1:1") -> Part:
    """A part that reads one file."""
    digest = hashlib.sha256(b"rows").hexdigest()
    return Part(
        spec=TrainSpec(mode="sft", method="lora", base="/b", train="/t", output=str(folder)),
        files=(PartFile(path=path, sha256=digest, size_bytes=4),),
        processes=1,
        nodes=2,
        node_rank=1,
        rendezvous=rendezvous,
    )


def talk(folder: Path, told: Any, content: bytes = b"") -> list[Word]:
    """What a part answers."""
    done = subprocess.run(
        shlex.split(command(folder)),
        input=msgspec.json.encode(told) + b"\n" + content,
        capture_output=True,
        check=True,
        timeout=60,
    )
    greeting, *words = done.stdout.splitlines()
    assert "version" in json.loads(greeting)
    return [msgspec.json.decode(word, type=Word) for word in words]


@pytest.mark.parametrize(
    ("last", "error", "words"),
    [
        (
            '{"failed": {"event": "end", "kind": "OutOfMemory", "message": "no room"}}\n{"ended": 0}',
            OutOfMemory,
            "machine 1 of the run, .*: no room",
        ),
        ('{"ended": 1, "printed": "the trainer was killed"}', EngineFailed, "trainer was killed"),
        ("", EngineFailed, "ended with status 0"),
    ],
)
def test_the_cause_of_a_failure_is_what_another_machine_says_of_it(
    tmp_path: Path, last: str, error: type[Exception], words: str
):
    greeting = msgspec.json.encode(there.hello()).decode()
    first = f'{greeting}\n{{"needed": []}}\n{{"ready": true}}'
    program = (
        f"import sys; print({first!r}, flush=True); "
        f"[sys.stdin.readline() for line in ('part', 'begin')]; print({last!r})"
    )
    stopped: list[float] = []
    trainer: Any = SimpleNamespace(stop=stopped.append)
    with two(made(tmp_path), [python(program)], free_place(), tmp_path / "lock") as nodes:
        nodes.end_with(trainer)
        wait_until(lambda: stopped, "the trainer's stop")
        cause = nodes.cause(RuntimeError("connection closed by peer"))
        assert isinstance(nodes.cause(Invalid("row 4")), Invalid)
    with pytest.raises(error, match=rf"(?s){words}"):
        raise cause


# What takes long: torchrun and its processes on two sides; then under a real server, with real kills.


@needs_trainers
@pytest.mark.large
@pytest.mark.timeout(300)
def test_two_machines_learn_what_one_learns(bench: Bench, tmp_path: Path):
    alone = Ear()
    settings: dict[str, Any] = {"epoch": 2, "checkpoint_interval": 100}
    bench.run(bench.spec("sft", "lora", TALKS, "alone", TALKS[:2], **settings), alone)
    spec = bench.spec("sft", "lora", TALKS, "both", TALKS[:2], **settings)
    place, lock = free_place(), tmp_path / "lock"
    with (
        two(spec, [command(tmp_path / "node")], place, lock) as nodes,
        Trainer(spec, nodes.machines) as trainer,
    ):
        nodes.end_with(trainer)
        events = list(trainer.events())
    assert events[-1]["outcome"] == "done", events[-1]
    assert events[-1]["result"]["facts"]["processes"] == 2
    losses = [event["row"]["loss"] for event in events if event["event"] == "progress"]
    assert losses == pytest.approx(alone.losses, rel=1e-3)
    kept = {path.name for path in (tmp_path / "node" / there.FILES).iterdir()}
    assert {sha256_of(path) for path in bench.base.iterdir() if path.is_file()} == kept
    assert not list((tmp_path / "node").glob("run-*"))


@pytest.fixture(scope="module")
def node_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("machine-1")


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory, node_folder: Path) -> Generator[Desk]:
    """A server that knows of another machine."""
    environ = {
        "YANGFAN_TUNING_NODES": command(node_folder),
        "YANGFAN_TUNING_RENDEZVOUS": free_place(),
    }
    with serving(tmp_path_factory.mktemp("nodes") / "home", environ=environ) as server:
        yield Desk(server)


def processes(folder: Path, *, of_trainer: bool = False) -> list[int]:
    """What runs for the other machine: its part, torchrun and its trainer, or the trainer alone."""
    found: list[int] = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                words = (entry / "cmdline").read_bytes().decode().split("\0")
            except OSError:
                continue
            is_trainer = "yangfan.trainers" in words and "torch.distributed.run" not in words
            if any(str(folder) in word for word in words) and (is_trainer or not of_trainer):
                found.append(int(entry.name))
    return found


@needs_trainers
@pytest.mark.large
@pytest.mark.timeout(900)
def test_a_run_whose_machines_are_killed_ends_bit_equal_to_one_never_touched(
    desk: Desk, node_folder: Path, tiny_chat_folder: Path, tmp_path: Path
) -> None:
    results: list[dict[str, Any]] = []
    for name in ("untouched", "killed"):
        wanted = order(desk, tiny_chat_folder, tmp_path / name, nodes=2)
        id = desk.ask("submit", "train", wanted).id
        if name == "killed":
            desk.until(id, lambda job: job.checkpoint.get("step", 0) >= 20, "a checkpoint")
            os.kill(processes(node_folder, of_trainer=True)[0], signal.SIGKILL)
            desk.until(id, lambda job: job.fence > 1, "a second attempt")
            desk.until(id, lambda job: job.checkpoint.get("step", 0) >= 60, "more checkpoints")
            os.kill(min(processes(node_folder)), signal.SIGKILL)  # the part, and not its trainer
        job = ended(desk, id)
        assert (job.state, job.error) == ("succeeded", None)
        results.append(dict(job.result or {}))
    untouched, killed = results
    assert untouched["facts"]["processes"] == killed["facts"]["processes"] == 2
    assert untouched["facts"]["resumed_from"] == ""
    assert killed["facts"]["resumed_from"].startswith("step-")
    assert len(curve(untouched)) == 120
    assert curve(untouched) == curve(killed)
    assert digests(Path(untouched["final"])) == digests(Path(killed["final"]))
    wait_until(lambda: not processes(node_folder), "the other machine to be idle", GONE_SECONDS)


@needs_trainers
@pytest.mark.large
@pytest.mark.timeout(600)
@pytest.mark.parametrize("how", ["stop", "kill"])
def test_all_machines_stop_when_the_first_does(
    desk: Desk, node_folder: Path, tiny_chat_folder: Path, tmp_path: Path, how: str
) -> None:
    hyper = {"epoch": 1000, "checkpoint_interval": 100_000, "checkpoint_count": 3}
    wanted = order(desk, tiny_chat_folder, tmp_path / "run", nodes=2, hyper=hyper)
    id = desk.ask("submit", "train", wanted).id
    desk.until(id, lambda job: job.progress.done > 3, "some steps")
    assert processes(node_folder, of_trainer=True)
    if how == "kill":
        os.kill(desk.worker(id), signal.SIGKILL)
        desk.ask("cancel", id)
    else:
        desk.ask("cancel", id)
    assert ended(desk, id).state == "cancelled"
    if how == "stop":
        (manifest,) = (tmp_path / "run").glob("checkpoints/step-*/manifest.json")
        assert json.loads(manifest.read_bytes())["step"] > 3
    wait_until(lambda: not processes(node_folder), "the other machine to be idle", GONE_SECONDS)
