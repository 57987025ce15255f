"""The circle of a model of one's own: imported, published, called in both dialects, compressed, rolled out under load, rolled back."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import pytest
from tests.server.deployments.conftest import Console, under_load

import yangfan
from yangfan.engines import transformers

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from tests.conftest import Server  # pyright: ignore[reportMissingImports] - for readers; importlib mode has no packages

SUFFIX = "my-own"
ANSWER_TOKENS = 8


def journey(
    server: Server, folder: Path, weight: str, options: dict[str, Any] | None = None
) -> None:
    """Everything that this file's title says, with the model in `folder`; `options` are those of its first service."""
    with yangfan.Client(
        server.base_url,
        access_key=server.access_key,
        secret_access_key=server.secret_access_key,
        bearer=server.bearer,
    ) as client:
        made = client.models.create_set("mine")
        original = client.models.import_(made.id, str(folder))
        original = client.models.wait(original.id, poll_seconds=0.2)
        assert original.status == "Ready"

        service = client.services.create(
            original.id, SUFFIX, model_set=made.id, engine_options=options
        )
        service = client.services.wait(service.id)
        assert service.status == "Serving"
        for version in (1, 2):
            with yangfan.Client(server.base_url, bearer=server.bearer, version=version) as caller:
                reply = caller.chat("hello", model=SUFFIX, max_output_tokens=ANSWER_TOKENS)
                assert reply.text
                assert reply.usage is not None
                assert 0 < reply.usage.completion_tokens <= ANSWER_TOKENS

        task = client.models.compress(original.id, weight=weight)
        task = client.models.wait_compression(task.id, poll_seconds=0.2)
        smaller = client.models.version(task.version_id)
        assert smaller.status == "Ready"
        assert smaller.size_bytes < original.size_bytes

        with under_load(Console(server), SUFFIX, 1, max_completion_tokens=2) as load:
            client.services.rollout(service.id, smaller.id, model_set=made.id, bake_seconds=0.5)
            service = client.services.wait(service.id, rolled_out=True)
            assert service.model == smaller.id
            client.services.rollback(service.id)
            service = client.services.wait(service.id, rolled_out=True)
            assert service.model == original.id
        assert load.answers
        assert load.failures == []


@pytest.fixture
def server(
    start_server: Callable[..., AbstractContextManager[Server]], tmp_path: Path
) -> Generator[Server]:
    with start_server(tmp_path / "home") as server:
        yield server


def test_a_small_model_goes_the_whole_way(
    server: Server, tiny_chat_folder: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "tiny"
    shutil.copytree(tiny_chat_folder, folder, ignore=shutil.ignore_patterns("*.gguf"))
    # Converted by our own hands when it is first served: five seconds, where Transformers takes twenty to start twice.
    journey(server, folder, "W8A16C16", {"engine": "llama_cpp"})


@pytest.mark.model
@pytest.mark.large
@pytest.mark.timeout(900)
@pytest.mark.skipif(transformers.missing() is not None, reason=str(transformers.missing()))
def test_the_embedded_model_goes_the_whole_way(server: Server, smollm2_folder: Path) -> None:
    journey(server, smollm2_folder, "W4A16C16")
