"""Vectors and scores of the openvino engine, beside those that Transformers computes of the same weights."""

import hashlib
import json
import shutil
import subprocess
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from yangfan.engines import openvino
from yangfan.engines.base import Engine, EngineSpec, Kind, ModelFacts
from yangfan.engines.wire.engine import ChildEngine
from yangfan.errors import ConfigurationError, ContextTooLong, EngineFailed, Invalid
from yangfan.hub.folder import describe

lacking = openvino.missing()
pytestmark = pytest.mark.skipif(lacking is not None, reason=f"openvino: {lacking}")

Start = Callable[[Path, Kind], Awaitable[Engine]]


class Made(NamedTuple):
    """The folders, and what Transformers says."""

    folder: Path
    wanted: dict[str, Any]


@pytest.fixture(scope="module")
def made(request: pytest.FixtureRequest) -> Made:
    """Written once for all runs: Transformers and a conversion take seconds."""
    pytest.importorskip("transformers", reason='pip install "yangfan[transformers]"')
    program = Path(__file__).parents[1] / "openvino_folders.py"
    version = hashlib.sha256(program.read_bytes()).hexdigest()[:16]
    folder = request.config.cache.mkdir("openvino-folders") / version
    if not (folder / "wanted.json").exists():
        part = folder.with_name(f"{version}-part")
        shutil.rmtree(part, ignore_errors=True)
        subprocess.run([sys.executable, str(program), str(part)], check=True, capture_output=True)
        part.rename(folder)
    return Made(folder, json.loads((folder / "wanted.json").read_text()))


@pytest.fixture
async def start(tmp_path: Path) -> AsyncGenerator[Start]:
    """Starts an engine on a folder; it is stopped after the test."""
    engines: list[Engine] = []

    async def start(folder: Path, kind: Kind) -> Engine:
        spec = EngineSpec("tested", str(folder), slots=4, threads=1, kind=kind)
        engine = openvino.create(spec, tmp_path)
        engines.append(engine)
        await engine.start()
        return engine

    yield start
    for engine in engines:
        await engine.stop()


async def test_vectors_are_those_of_transformers(made: Made, start: Start) -> None:
    engine = await start(made.folder / "embeddings", "embeddings")
    assert engine.kinds == {"embeddings"}
    assert engine.context_tokens == 128
    reply = await engine.embed(made.wanted["texts"])
    for vector, wanted in zip(reply.vectors, made.wanted["vectors"], strict=True):
        assert vector == pytest.approx(wanted, abs=1e-4)
    assert reply.usage.prompt_tokens == made.wanted["tokens"]
    with pytest.raises(ContextTooLong, match="128"):
        await engine.embed(["sea " * 200])
    cut = await engine.embed(["sea " * 200], max_tokens=20)
    assert cut.usage.prompt_tokens == 20
    assert (await engine.slots()).total == openvino.CALLS_AT_ONCE
    assert isinstance(engine, ChildEngine)
    ids = tuple(await engine.text_tokens(made.wanted["texts"][0]))
    (vector,) = (await engine.embed([ids])).vectors
    assert vector == pytest.approx(made.wanted["vectors"][0], abs=1e-4)
    assert await engine.decode(ids) is None  # this folder has no detokenizer
    with pytest.raises(Invalid, match="tested has no token 100000, its ids are 0 to"):
        await engine.decode([100_000])


async def test_scores_are_those_of_transformers(made: Made, start: Start) -> None:
    engine = await start(made.folder / "rerank", "rerank")
    assert engine.kinds == {"rerank"}
    reply = await engine.rerank(made.wanted["query"], made.wanted["texts"])
    assert reply.scores == pytest.approx(made.wanted["scores"], abs=1e-4)


@pytest.mark.parametrize("kind", ["embeddings", "rerank"])
def test_it_is_taken_for_folders_of_its_own_format_and_for_no_gguf(made: Made, kind: Kind) -> None:
    found = describe(made.folder / kind)
    assert (found.format, found.kind) == ("openvino", kind)
    assert openvino.fit(ModelFacts("openvino", kind)).rank == openvino.IR_RANK
    assert openvino.fit(ModelFacts("gguf", kind)).rank is None


async def test_what_it_cannot_read_is_said(made: Made, start: Start, tmp_path: Path) -> None:
    folder = tmp_path / "no-tokenizer"
    shutil.copytree(made.folder / "embeddings", folder)
    with pytest.raises(EngineFailed, match=r"no output logits .*--task text-classification"):
        await start(folder, "rerank")
    (folder / "openvino_tokenizer.bin").unlink()
    with pytest.raises(EngineFailed, match=r"lacks openvino_tokenizer\.bin"):
        await start(folder, "embeddings")


def test_a_classifier_of_several_labels_is_refused(made: Made, tmp_path: Path) -> None:
    folder = tmp_path / "classes"
    shutil.copytree(made.folder / "rerank", folder)
    config = json.loads((folder / "config.json").read_text())
    config["id2label"] = {"0": "good", "1": "bad"}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ConfigurationError, match="sorts texts into 2 classes"):
        describe(folder)
