"""From what the settings name to an engine."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import msgspec
import pytest

from yangfan.egress import Egress
from yangfan.errors import ConfigurationError
from yangfan.hub import catalogue
from yangfan.hub.pull import pull
from yangfan.hub.store import ModelStore
from yangfan.server.models import InputLimits, Models
from yangfan.server.settings import Settings


def models_of(store: Path, settings: Settings | None = None) -> Models:
    return Models(ModelStore(store), Egress(), settings or Settings())


async def test_echo_needs_no_file(tmp_path: Path):
    settings = Settings(slots=3, context_tokens=512, echo_delay_seconds=0.5)
    plan = await models_of(tmp_path, settings).plan("echo")
    assert (plan.name, plan.engine, plan.spec.path) == ("echo", "echo", None)
    assert (plan.spec.slots, plan.spec.context_tokens) == (3, 512)
    assert plan.spec.options == {"delay_seconds": 0.5}


async def test_engine_gets_its_folder(tmp_path: Path):
    models = models_of(tmp_path)
    engine = models.engine(await models.plan("echo"), tmp_path / "engines" / "echo")
    assert (tmp_path / "engines" / "echo").is_dir()
    assert not engine.running


async def test_file_is_served_under_its_own_name(tmp_path: Path):
    file = tmp_path / "My-Model.Q4.gguf"
    file.write_bytes(b"GGUF")
    plan = await models_of(tmp_path).plan(str(file))
    assert (plan.name, plan.engine, plan.spec.path) == ("my-model.q4", "llama_cpp", str(file))


async def test_relative_path_becomes_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "m.gguf").write_bytes(b"GGUF")
    monkeypatch.chdir(tmp_path)
    plan = await models_of(tmp_path).plan("m.gguf")
    assert plan.spec.path == os.fspath(tmp_path / "m.gguf")


@pytest.mark.parametrize("reference", ["/no/such.gguf", "no.gguf", "./echo", "~/no.gguf"])
async def test_missing_file_is_told_with_its_path(tmp_path: Path, reference: str):
    with pytest.raises(ConfigurationError, match=r"no model file /.*; give a \.gguf file, a cat"):
        await models_of(tmp_path).plan(reference)


async def test_options_of_one_model_win_over_the_settings_of_all(tmp_path: Path):
    own = {"slots": 2, "max_inputs": 64, "max_input_tokens": 100, "delay_seconds": 0.25}
    settings = Settings(slots=3, threads=1, options={"echo": own})
    plan = await models_of(tmp_path, settings).plan("echo")
    assert (plan.spec.slots, plan.spec.threads) == (2, 1)
    assert plan.spec.options == {"delay_seconds": 0.25}
    assert plan.limits == InputLimits(max_inputs=64, max_input_tokens=100)


@pytest.mark.parametrize(
    ("own", "text"),
    [
        ({"slots": "many"}, r"options\.echo: .*slots"),
        ({"max_inputs": 0}, r"options\.echo: .*max_inputs"),
    ],
)
async def test_wrong_option_is_told_with_its_model(tmp_path: Path, own: dict[str, Any], text: str):
    settings = Settings(options={"echo": own})
    with pytest.raises(ConfigurationError, match=text):
        await models_of(tmp_path, settings).plan("echo")


async def test_engine_of_the_settings_must_read_the_format(tmp_path: Path):
    file = tmp_path / "m.gguf"
    file.write_bytes(b"GGUF")
    settings = Settings(options={"m": {"engine": "echo"}})
    with pytest.raises(ConfigurationError, match=r"echo does not read gguf models; .*llama_cpp"):
        await models_of(tmp_path, settings).plan(str(file))


@pytest.mark.parametrize("reference", ["gpt-4o", "smollm"])
async def test_unknown_name_is_told_what_there_is(tmp_path: Path, reference: str):
    with pytest.raises(ConfigurationError) as raised:
        await models_of(tmp_path).plan(reference)
    assert raised.value.message.startswith(f"no model named {reference!r}; there are: ")
    assert "echo" in raised.value.message
    assert "smollm2-135m-instruct" in raised.value.message


@pytest.mark.parametrize("reference", ["", "..", "a b", "Ü"])
async def test_name_that_can_be_no_model_is_told_the_rule(tmp_path: Path, reference: str):
    with pytest.raises(ConfigurationError, match="cannot be the name of a model: use"):
        await models_of(tmp_path).plan(reference)


@pytest.mark.model
def test_bert_encoder_is_converted_once_and_removed_with_its_model(
    minilm_folder: Path, tmp_path: Path
):
    store = ModelStore(tmp_path)
    known = catalogue.load().find("all-minilm-l6-v2")
    assert known is not None
    asyncio.run(
        pull(
            msgspec.structs.replace(known, sources=(f"file:{minilm_folder}",)),
            store=store,
            egress=Egress(),
        )
    )
    models = models_of(tmp_path)
    plan = asyncio.run(models.plan("all-minilm-l6-v2"))
    assert (plan.name, plan.engine) == ("all-minilm-l6-v2", "llama_cpp")
    path = Path(str(plan.spec.path))
    assert path.read_bytes()[:4] == b"GGUF"
    made = path.stat().st_mtime_ns
    assert (asyncio.run(models.plan("all-minilm-l6-v2"))).spec.path == str(path)
    assert path.stat().st_mtime_ns == made
    assert models.engine(plan, tmp_path / "work").kinds == {"embeddings"}
    store.remove("all-minilm-l6-v2")
    assert not path.exists()
