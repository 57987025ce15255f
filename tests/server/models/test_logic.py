"""From what the settings name to an engine."""

from __future__ import annotations

import asyncio
import hashlib
import os
import platform
import shutil
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from yangfan.egress import Egress
from yangfan.engines import _native, llama_cpp, transformers, vllm
from yangfan.errors import ConfigurationError
from yangfan.hub import catalogue
from yangfan.hub.progress import Progress
from yangfan.hub.pull import pull
from yangfan.hub.store import Manifest, ModelStore, StoredFile
from yangfan.server.models import InputLimits, Models, Plan
from yangfan.server.settings import Settings
from yangfan.weights import gguf


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


async def test_a_vllm_for_all_models_is_told_to_vllm_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "config.json").write_text('{"architectures": ["LlamaForCausalLM"]}')
    (folder / "model.safetensors").write_bytes(b"\2\0\0\0\0\0\0\0{}")
    monkeypatch.setattr(transformers, "missing", lambda: None)
    monkeypatch.setattr(vllm, "GPU_DRIVERS", (tmp_path,))
    settings = Settings(vllm_python=sys.executable)
    plan = await models_of(tmp_path, settings).plan(str(folder))
    assert (plan.engine, plan.spec.options) == ("vllm", {"python": sys.executable})
    settings = Settings(vllm_python=sys.executable, options={"mine": {"engine": "transformers"}})
    plan = await models_of(tmp_path, settings).plan(str(folder))
    assert (plan.engine, plan.spec.options) == ("transformers", {})
    monkeypatch.setattr(vllm, "GPU_DRIVERS", ())
    own = {"python": sys.executable, "dtype": "float32"}
    plan = await models_of(tmp_path, Settings(options={"mine": own})).plan(str(folder))
    assert (plan.engine, plan.spec.options) == ("transformers", {"dtype": "float32"})


@pytest.mark.model
def test_bert_encoder_is_converted_once_and_removed_with_its_model(
    minilm_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(transformers, "missing", lambda: "pip install it")
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


@pytest.mark.model
@pytest.mark.parametrize("wanted", [None, "llama_cpp"])
async def test_bert_folder_by_path_is_converted_where_nothing_runs_it_or_settings_say_so(
    minilm_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wanted: str | None
):
    folder = tmp_path / "My-Encoder"
    shutil.copytree(minilm_folder, folder)
    options: dict[str, Any] = {} if wanted is None else {"my-encoder": {"engine": wanted}}
    if wanted is None:
        monkeypatch.setattr(transformers, "missing", lambda: "pip install it")
    models = models_of(tmp_path, Settings(options=options))
    plan = await models.plan(str(folder))
    assert (plan.name, plan.engine, plan.spec.kind) == ("my-encoder", "llama_cpp", "embeddings")
    assert content_of(plan)[:4] == b"GGUF"
    made = file_of(plan).stat().st_mtime_ns
    assert file_of(await models.plan(str(folder))).stat().st_mtime_ns == made
    (folder / "README.md").write_text("changed")
    again = await models.plan(str(folder))
    assert again.spec.path != plan.spec.path
    assert [path.name for path in (tmp_path / "converted").iterdir()] == [file_of(again).name]


# Quantisations ------------------------------------------------------------------------------------

PROGRAM = f"""#!{sys.executable}
import sys
source, target, quantization = sys.argv[-3:]
print("[   1/ 2] a tensor", flush=True)
if "--fail" in open(source, "rb").read().decode("latin1"):
    sys.exit("no such luck")
open(target, "wb").write(quantization.encode() + open(source, "rb").read())
print("[   2/ 2] another", flush=True)
"""
"""Stands for llama-quantize: it writes the quantisation's name in front of the file."""


def publish(store: ModelStore, file_type: int, name: str = "mine", more: str = "") -> bytes:
    """A GGUF model in the store; its content."""
    part = store.partial_folder(name) / "part"
    gguf.write(part, {"general.file_type": file_type, "general.name": more}, [])
    content = part.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    store.adopt(part, digest)
    file = StoredFile("mine.gguf", digest, len(content))
    manifest = Manifest(
        name=name,
        kind="chat",
        format="gguf",
        licence="MIT",
        source="file:/mine.gguf",
        revision="",
        files=(file,),
        created=datetime.now(UTC),
    )
    store.publish(manifest)
    return content


@pytest.fixture
def build(tmp_path: Path) -> Path:
    """A build for this CPU in the home folder, whose programs are stand-ins."""
    folder = tmp_path / "engines/llama_cpp" / _native.folder_name(llama_cpp.VERSION)
    (folder / "bin").mkdir(parents=True)
    (folder / "bin/llama-server").touch()
    (folder / "bin/llama-quantize").write_text(PROGRAM)
    (folder / "bin/llama-quantize").chmod(0o755)
    manifest = _native.Manifest(
        source=llama_cpp.SOURCE,
        version=llama_cpp.VERSION,
        sha256="",
        machine=platform.machine(),
        cpu_flags=(),
        cmake_flags=(),
        compiler="",
    )
    (folder / "manifest.json").write_bytes(msgspec.json.encode(manifest))
    return folder


def file_of(plan: Plan) -> Path:
    assert plan.spec.path is not None
    return Path(plan.spec.path)


def content_of(plan: Plan) -> bytes:
    return file_of(plan).read_bytes()


def made_below(home: Path) -> list[str]:
    return [path.name for path in (home / "models/mine/converted").iterdir()]


def quantizing(home: Path, **own: Any) -> Models:
    return models_of(home, Settings(home=str(home), options={"mine": own}))


async def test_a_quantisation_is_made_once_and_served(tmp_path: Path, build: Path):
    content = publish(ModelStore(tmp_path), file_type=1)
    steps: list[Progress] = []
    plan = await quantizing(tmp_path, quantize="Q8_0").plan("mine", steps.append)
    made = file_of(plan)
    assert content_of(plan) == b"q8_0" + content
    assert [step.stage for step in steps] == ["quantising"] * 2
    assert (steps[-1].done_bytes, steps[-1].total_bytes) == (len(content), len(content))
    assert made_below(tmp_path) == [made.name]
    shutil.rmtree(build)
    again = await quantizing(tmp_path, quantize="q8_0").plan("mine")
    assert again.spec.path == plan.spec.path
    plain = await quantizing(tmp_path).plan("mine")
    assert plain.spec.path != plan.spec.path


@pytest.mark.usefixtures("build")
async def test_what_is_quantised_already_is_only_quantised_again_if_that_is_wanted(tmp_path: Path):
    content = publish(ModelStore(tmp_path), file_type=3)
    with pytest.raises(ConfigurationError, match="allow_requantize = true"):
        await quantizing(tmp_path, quantize="q8_0").plan("mine")
    plan = await quantizing(tmp_path, quantize="q8_0", allow_requantize=True).plan("mine")
    assert content_of(plan) == b"q8_0" + content


@pytest.mark.usefixtures("build")
async def test_a_quantisation_that_fails_says_why_and_leaves_nothing(tmp_path: Path):
    store = ModelStore(tmp_path)
    publish(store, file_type=1, more="--fail")
    with pytest.raises(ConfigurationError, match=r"could not be quantised(.|\n)*no such luck"):
        await quantizing(tmp_path, quantize="q8_0").plan("mine")
    assert made_below(tmp_path) == []


async def test_quantising_without_a_build_or_to_nonsense_says_what_to_do(
    tmp_path: Path, request: pytest.FixtureRequest
):
    publish(ModelStore(tmp_path), file_type=1)
    with pytest.raises(ConfigurationError, match="yangfan engines build llama_cpp"):
        await quantizing(tmp_path, quantize="q8_0").plan("mine")
    request.getfixturevalue("build")
    with pytest.raises(ConfigurationError, match="'q9' is no quantisation; there are: q4_0"):
        await quantizing(tmp_path, quantize="q9").plan("mine")
