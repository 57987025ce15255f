"""Cleaning on a Ray cluster of two nodes gives what this machine gives, byte for byte. `make ray-test` installs Ray and runs this."""

# pyright: reportMissingImports=false, reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false, reportMissingTypeStubs=false

from __future__ import annotations

import importlib
import json
import random
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.conftest import serving
from tests.server.jobs.conftest import Desk

from yangfan.datasets.formats import DataFormat, Sample, Turn
from yangfan.datasets.shards import BlobFolder, ShardWriter
from yangfan.errors import ConfigurationError, OperatorFailed
from yangfan.operators.pipeline import cluster as clusters
from yangfan.operators.pipeline import recipe as recipes
from yangfan.operators.pipeline.chain import Chain
from yangfan.operators.pipeline.rows import Batch
from yangfan.operators.pipeline.run import Progress, Run

ROWS = 12_000
WORDS = [
    "river",
    "mountain",
    "engine",
    "copper",
    "window",
    "garden",
    "signal",
    "winter",
    "paper",
    "bridge",
    "模型",
    "数据",
    "平台",
    "训练",
    "服务",
    "文本",
]

SHOUT = """
from yangfan.operators import base
STAGE, SUMMARY = "clean", {"en": "", "zh": ""}
class Parameters(base.Parameters, frozen=True):
    pass
class Shout(base.Cleaner):
    def change(self, texts):
        return texts.replaced([text.replace("river", "RIVER") for text in texts.strings])
def create(parameters, common):
    return Shout()
"""


class Nodes:
    """A cluster of two nodes of one processor each, all on this machine."""

    def __init__(self) -> None:
        self.ray: Any = pytest.importorskip("ray", reason="the extra `ray` is not installed")
        utilities = importlib.import_module("ray.cluster_utils")
        self.cluster = utilities.Cluster(
            initialize_head=True,
            head_node_args={"num_cpus": 1, "include_dashboard": False},
        )
        self.other = self.cluster.add_node(num_cpus=1)
        self.address: str = self.cluster.address

    def lose_one(self) -> None:
        """The second node goes without a word."""
        self.cluster.remove_node(self.other, allow_graceful=False)


@pytest.fixture(scope="module")
def nodes() -> Iterator[Nodes]:
    made = Nodes()
    yield made
    made.ray.shutdown()
    made.cluster.shutdown()


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Rows of which some go, some change, and some repeat one far before them."""
    draw = random.Random(41)
    lines: list[str] = []
    texts: list[str] = []
    for row in range(ROWS):
        text = " ".join(draw.choices(WORDS, k=draw.randrange(5, 60))) + f" {row}"
        chance = draw.random()
        if chance < 0.1 and texts:
            text = draw.choice(texts) + "!"
        elif chance < 0.2:
            text += f" <b>user{row}@example.com</b> 😀 13800138000"
        elif chance < 0.23:
            text = "ha" * 60
        texts.append(text)
        lines.append(json.dumps({"text": text, "n": row}, ensure_ascii=False))
        if chance > 0.999:
            lines.append("no json")
    file = tmp_path_factory.mktemp("cluster") / "in.jsonl"
    file.write_text("\n".join(lines) + "\n", "utf-8")
    return file


def outcome(run: Run) -> tuple[bytes, bytes, Any]:
    """Every byte that a run wrote, and its counts."""
    report = msgspec.structs.replace(run(), seconds=0)
    return run.out.read_bytes(), run.dropped.read_bytes(), report


@pytest.fixture(scope="module")
def native(file: Path) -> tuple[bytes, bytes, Any]:
    return outcome(Run(recipes.everything(), file, file.with_name("native.jsonl")))


@pytest.mark.slow
def test_a_cluster_of_two_nodes_writes_the_same_bytes(
    nodes: Nodes, file: Path, native: tuple[bytes, bytes, Any]
) -> None:
    run = Run(recipes.everything(), file, file.with_name("ray.jsonl"), cluster=nodes.address)
    assert outcome(run) == native
    assert ROWS // 20 < native[2].remaining_entity < ROWS


@pytest.mark.slow
def test_a_run_that_is_stopped_goes_on_inside_of_the_file_on_either_side(
    nodes: Nodes, file: Path, native: tuple[bytes, bytes, Any]
) -> None:
    out = file.with_name("stopped.jsonl")

    def stop(progress: Progress) -> None:
        if progress.rows > ROWS // 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Run(recipes.everything(), file, out, stop, cluster=nodes.address)()
    rest = Run(recipes.everything(), file, out)
    assert rest.can_go_on
    assert outcome(rest) == native


@pytest.mark.slow
def test_operators_that_are_one_file_are_sent_along(nodes: Nodes, tmp_path: Path) -> None:
    (tmp_path / "shout.py").write_text(SHOUT, "utf-8")
    recipe = recipes.parse({"clean": ["shout", "remove_emoji"]})
    chain = Chain(recipe, operators=tmp_path, cluster=nodes.address)
    batch = Batch(["a river 😀", "hill", "by the river"], [0, 1, 2])
    batch.sizes = [2, 1]
    try:
        (((_, cleaned),),) = chain.over([batch])
    finally:
        chain.close()
    assert cleaned.texts == ["a RIVER ", "hill", "by the RIVER"]


@pytest.mark.slow
def test_a_node_with_another_version_is_told(nodes: Nodes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clusters, "_version", lambda: "0.0.0")
    chain = Chain(recipes.parse({"clean": ["remove_emoji"]}), cluster=nodes.address)
    try:
        with pytest.raises(
            OperatorFailed, match=r"a node of the cluster has Yangfan .*, this is 0\.0\.0"
        ):
            list(chain.over([Batch(["a"], [0])]))
    finally:
        chain.close()


@pytest.mark.slow
def test_a_dataset_is_cleaned_on_the_cluster_of_the_settings(nodes: Nodes, tmp_path: Path) -> None:
    home = tmp_path / "home"
    with serving(home, environ={"YANGFAN_RAY_ADDRESS": nodes.address}) as server:
        desk = Desk(server)
        blobs = BlobFolder(home / "datasets")
        draw = random.Random(6)
        with ShardWriter(blobs, DataFormat.PROMPT_RESPONSE, rows_per_shard=700) as writer:
            for row in range(2_000):
                said = " ".join(draw.choices(WORDS, k=20))
                writer.add(f"r{row:05d}", Sample(turns=(Turn(f"{said} 😀", (f"{said} {row}",)),)))
            manifest = writer.finish()
        made: list[Any] = []
        for address in ("", nodes.address):
            spec = {
                "blobs": str(blobs.root),
                "manifest": msgspec.to_builtins(manifest),
                "recipe": msgspec.to_builtins(recipes.everything()),
                "out": str(home / "processing"),
                "cluster": address,
            }
            id = desk.ask("submit", "clean_dataset", spec).id
            job = desk.until(id, lambda job: job.final, "the end")
            assert (job.state, job.error) == ("succeeded", None)
            assert job.result is not None
            job.result["report"]["seconds"] = 0
            made.append((job.result["manifest"], job.result["report"]))
        assert made[0] == made[1]


@pytest.mark.slow
def test_a_node_that_dies_changes_nothing(
    nodes: Nodes, file: Path, native: tuple[bytes, bytes, Any]
) -> None:
    lost: list[int] = []

    def lose(progress: Progress) -> None:
        if progress.rows > ROWS // 4 and not lost:
            lost.append(progress.rows)
            nodes.lose_one()

    out = file.with_name("lost.jsonl")
    run = Run(recipes.everything(), file, out, lose, cluster=nodes.address)
    assert outcome(run) == native
    assert lost


def test_without_ray_or_a_cluster_it_is_said_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ConfigurationError, match=r'pip install "yangfan\[ray\]"'):
        Chain(recipes.parse({"clean": ["remove_emoji"]}), cluster="auto")
