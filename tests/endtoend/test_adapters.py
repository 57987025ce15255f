"""An adapter is a served name: in both dialects, in lists, in usage, in a key's models."""

from __future__ import annotations

import random
import struct
from typing import TYPE_CHECKING, Any

import pytest

import yangfan
from yangfan import errors
from yangfan.engines import llama_cpp
from yangfan.weights import gguf

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from tests.conftest import Server

pytestmark = pytest.mark.skipif(llama_cpp.missing() is not None, reason=str(llama_cpp.missing()))

MODEL = "smollm2-135m-instruct"
POET = f"{MODEL}:poet"
WIDTH, LORA_RANK = 576, 2


def write_adapter(path: Path) -> None:
    """Random numbers for the first query projections of SmolLM2."""
    numbers, count = random.Random(1), WIDTH * LORA_RANK

    def noise() -> bytes:
        return struct.pack(f"<{count}f", *(numbers.gauss(0, 1) for _ in range(count)))

    shapes = (("a", (LORA_RANK, WIDTH)), ("b", (WIDTH, LORA_RANK)))
    tensors = [
        gguf.Tensor(f"blk.{layer}.attn_q.weight.lora_{part}", shape, "F32", noise)
        for layer in range(12)
        for part, shape in shapes
    ]
    facts: dict[str, gguf.Value] = {
        "general.type": "adapter",
        "general.architecture": "llama",
        "adapter.type": "lora",
        "adapter.lora.alpha": 8.0,
    }
    gguf.write(path, facts, tensors)


@pytest.fixture(scope="module")
def server(
    start_server: Callable[..., AbstractContextManager[Server]],
    tmp_path_factory: pytest.TempPathFactory,
    model_cache: Path,
    model_path: Path,
) -> Generator[Server]:
    """A server with the real model and one adapter."""
    assert model_path.is_file()
    home = tmp_path_factory.mktemp("adapter-home")
    write_adapter(home / "poet.gguf")
    (home / "yangfan.toml").write_text(
        f'[options."{MODEL}"]\ncontext_tokens = 512\nslots = 2\n'
        f'[options."{MODEL}".adapters]\npoet = "{home}/poet.gguf"\n'
    )
    with start_server(
        home, models=(MODEL,), environ={"YANGFAN_MODEL_STORE": str(model_cache)}
    ) as server:
        yield server


@pytest.mark.parametrize("version", [1, 2])
def test_an_adapter_answers_under_its_name_and_is_booked_under_it(
    server: Server, version: int
) -> None:
    credentials: dict[str, Any] = {
        "access_key": server.access_key,
        "secret_access_key": server.secret_access_key,
        "version": version,
    }
    with yangfan.Client(server.base_url, **credentials) as client:
        texts = {
            name: client.chat(
                "Tell me of the sea.", model=name, temperature=0.01, max_output_tokens=12
            ).text
            for name in (MODEL, POET)
        }
        assert texts[MODEL] != texts[POET]
        used = {item.model: item.requests for item in client.usage.list()}
        assert used[POET] >= 1
        assert used[MODEL] >= 1
        with pytest.raises(errors.ModelNotFound, match=f"there are: {POET}"):
            client.chat("Hi", model=f"{MODEL}:painter")


def test_an_adapter_is_listed_beside_its_model(server: Server) -> None:
    with yangfan.Client(server.base_url, bearer=server.bearer) as client:
        listed = {model.id: model.served_by for model in client.models.list()}
    assert listed[POET] == POET
    assert listed[MODEL] == MODEL


def test_a_key_for_the_adapter_alone_does_not_open_its_model(server: Server) -> None:
    with yangfan.Client(
        server.base_url, access_key=server.access_key, secret_access_key=server.secret_access_key
    ) as client:
        narrow = client.keys.create(name="narrow", models=[POET])
        wide = client.keys.create(name="wide", models=[MODEL])
    for key, name, allowed in ((narrow, POET, True), (narrow, MODEL, False), (wide, POET, True)):
        with yangfan.Client(server.base_url, bearer=key.secret) as caller:
            if allowed:
                assert caller.chat("Hi", model=name, max_output_tokens=2).text is not None
            else:
                with pytest.raises(errors.ModelForbidden):
                    caller.chat("Hi", model=name, max_output_tokens=2)
