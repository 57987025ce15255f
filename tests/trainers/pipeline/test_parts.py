"""The parts of a run that need no model."""

from __future__ import annotations

import signal
import struct
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from yangfan.errors import ConfigurationError, EngineFailed
from yangfan.trainers.base import MetricRow, TrainResult, TrainSpec
from yangfan.trainers.pipeline import checkpoints, metrics, report
from yangfan.trainers.pipeline.launch import Machines, Trainer, command, interface
from yangfan.trainers.pipeline.packing import pack
from yangfan.trainers.pipeline.tensorboard import EventFile, crc32c

SPEC = TrainSpec(mode="sft", method="lora", base="/b", train="/t", output="/o", base_model="<b>")


@given(st.lists(st.integers(1, 120), max_size=60), st.integers(50, 100))
def test_packing_keeps_every_row_once_and_no_group_too_long(lengths: list[int], limit: int):
    groups = pack(lengths, limit)
    assert sorted(row for group in groups for row in group) == list(range(len(lengths)))
    for group in groups:
        assert len(group) == 1 or sum(lengths[row] for row in group) <= limit
    short = [length for length in lengths if length <= limit]
    fewest = -(-sum(short) // limit) + len(lengths) - len(short)
    assert len(groups) <= 2 * fewest + 1


def test_packing_fills_gaps_with_the_longest_row_that_fits():
    assert sorted(map(tuple, pack([6, 5, 4, 3, 2], 10))) == [(0, 2), (1, 3, 4)]


def test_a_checkpoint_is_whole_or_not_there(tmp_path: Path):
    state = checkpoints.State(
        step=3,
        position=(0, 3),
        random={"seed": 1},
        steps_of_optimizer=3,
        sums={},
        tokens=1,
        learnt_tokens=1,
        seconds=1.0,
        loss=0.5,
    )

    def save(folder: Path) -> None:
        (folder / "weights").write_bytes(b"12345")

    facts = checkpoints.write(tmp_path, state, "run", save, keep=2)
    assert checkpoints.last(tmp_path, "run") == Path(facts.folder)
    assert checkpoints.last(tmp_path, "another") is None
    assert checkpoints.state_of(Path(facts.folder)) == state

    def refuse(folder: Path) -> None:
        (folder / "weights").write_bytes(b"1")
        raise OSError(28, "No space left on device")

    state.step = 4
    with pytest.raises(OSError, match="No space"):
        checkpoints.write(tmp_path, state, "run", refuse, keep=1)
    assert [one.step for one in checkpoints.whole(tmp_path)] == [3]
    (Path(facts.folder) / "weights").write_bytes(b"1234")
    assert checkpoints.last(tmp_path, "run") is None


def test_metrics_are_cut_back_to_a_checkpoint(tmp_path: Path):
    for step in range(1, 8):
        metrics.append(tmp_path, MetricRow(step=step, epoch=step / 4, loss=1 / step))
    with (tmp_path / metrics.FILE).open("ab") as file:
        file.write(b'{"step":8,"ep')  # killed while it wrote
    metrics.cut(tmp_path, 5)
    assert [row.step for row in metrics.read(tmp_path)] == [1, 2, 3, 4, 5]
    rows = [MetricRow(step=step, epoch=0) for step in range(10_000)]
    thin = metrics.thinned(rows, 100)
    assert len(thin) == 101
    assert thin[-1]["step"] == 9_999


def test_the_report_needs_nothing_else(tmp_path: Path):
    rows = [MetricRow(step=n, epoch=n, loss=2 / n, learning_rate=1e-3) for n in range(1, 5)]
    rows[2].eval_loss = 1.0
    result = TrainResult(final="", method="lora", scores={"bleu_4": 0.1656}, facts={"a": "<i>"})
    page = report.write(tmp_path, SPEC, rows, result).read_text("utf-8")
    assert page.count("<polyline") == 2
    assert "16.56 %" in page
    assert "<b>" not in page
    assert "<i>" not in page
    assert "<script" not in page
    assert "src=" not in page.replace("default-src='", "")


def test_tensorboards_records_carry_their_checksums(tmp_path: Path):
    assert crc32c(b"123456789") == 0xE3069283  # RFC 3720, and every table of checksums
    file = EventFile(tmp_path)
    file.scalars(300, {"train/loss": 1.5})
    EventFile(tmp_path).scalars(301, {"train/loss": 1.25})
    (path,) = tmp_path.glob("events.out.tfevents.*")
    data, events = path.read_bytes(), list[bytes]()
    while data:
        (length,) = struct.unpack_from("<Q", data)
        events.append(data[12 : 12 + length])
        data = data[16 + length :]
    assert len(events) == 3
    assert b"brain.Event:2" in events[0]
    assert b"\x10\xac\x02" in events[1]  # field 2, 300
    assert b"train/loss" in events[1]
    assert events[1].endswith(struct.pack("<f", 1.5))


def test_one_process_is_started_plainly_and_several_by_torchrun(tmp_path: Path):
    spec = tmp_path / "spec.json"
    program = ["-m", "yangfan.trainers", str(spec)]
    assert command(spec, Machines()) == [sys.executable, *program]
    torchrun = [sys.executable, "-m", "torch.distributed.run"]
    assert command(spec, Machines(processes=2)) == [
        *torchrun,
        "--standalone",
        "--nproc-per-node=2",
        *program,
        "--distributed",
    ]
    far = Machines(processes=8, nodes=2, node_rank=1, rendezvous="10.0.0.1:29500")
    assert command(spec, far) == [
        *torchrun,
        "--nnodes=2",
        "--node-rank=1",
        "--rdzv-backend=static",
        "--rdzv-endpoint=10.0.0.1:29500",
        "--rdzv-conf=timeout=180",
        "--nproc-per-node=8",
        *program,
        "--distributed",
    ]
    with pytest.raises(ConfigurationError, match="rendezvous host:port"):
        command(spec, Machines(nodes=2))


def test_the_network_of_a_rendezvous_is_found():
    assert interface("127.0.0.1:29400").startswith("lo")
    assert interface("127.0.0.1:port") == ""
    assert interface("") == ""


@pytest.mark.parametrize(
    ("program", "words"),
    [
        (f"import os; os.kill(os.getpid(), {int(signal.SIGKILL)})", "not enough memory"),
        (f"import os; os.kill(os.getpid(), {int(signal.SIGSEGV)})", "was ended by SIGSEGV"),
        ("raise SystemExit(3)", "ended with status 3"),
    ],
)
def test_a_trainer_that_dies_is_told_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str, words: str
):
    def replaced(spec: Path, machines: Machines) -> list[str]:
        return [sys.executable, "-c", program]

    monkeypatch.setattr("yangfan.trainers.pipeline.launch.command", replaced)
    spec = TrainSpec(mode="sft", method="lora", base="/b", train="/t", output=str(tmp_path))
    with Trainer(spec) as trainer, pytest.raises(EngineFailed, match=words):
        list(trainer.events())
