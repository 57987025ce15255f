"""A real model behind a service: published by its version, rolled over and back, loaded by a call."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.conftest import MODEL, Server, serving, wait_until
from tests.server.deployments.conftest import Console

import yangfan

LOAD_SECONDS = 120.0


@pytest.mark.model
def test_a_real_model_is_published_rolled_over_and_back(
    tmp_path: Path, model_cache: Path, model_path: Path
):
    assert model_path.is_file()
    environ = {"YANGFAN_MODEL_STORE": str(model_cache)}
    with serving(tmp_path, environ=environ) as server:
        console = Console(server)
        options = {"slots": 2, "context_tokens": 512}
        evaluated_without_a_service(server, options)
        console.act(
            "CreateService",
            modelId=f"{MODEL}:1",
            urlSuffix="small",
            engineOptions=options,
            loadPolicy="onDemand",
        )
        # The first call loads it.
        assert console.caller.v2(ask("small")).json["usage"]["completion_tokens"] > 0
        shown = console.show("small")
        assert shown["modelVersionId"].startswith("amv-")
        assert shown["modelId"].startswith("am-")
        too_long = console.caller.v2(ask("small", "word " * 1000))
        assert too_long.json["error"]["code"] == "tokens_too_long"
        for model, more in (("echo", {}), (MODEL, {"engineOptions": options})):
            console.act("RolloutService", serviceId="small", modelId=model, bakeSeconds=0, **more)
            wait_until(
                lambda: (
                    len(console.show("small")["deployments"]) == 2
                    and all(d["role"] != "candidate" for d in console.show("small")["deployments"])
                ),
                f"the rollout to {model}",
                LOAD_SECONDS,
            )
            assert console.caller.v2(ask("small")).status == 200


def evaluated_without_a_service(server: Server, options: dict[str, int]) -> None:
    """An evaluation has the model run for as long as it asks it."""
    with yangfan.Client(
        server.base_url,
        bearer=server.bearer,
        access_key=server.access_key,
        secret_access_key=server.secret_access_key,
    ) as client:
        sample = b'{"prompt": "Say hello.", "response": "Hello"}\n'
        model = {"modelId": f"{MODEL}:1", "maxTokens": 4, "engineOptions": options}
        id = client.evaluations.create(
            "unserved",
            dataset=client.files.upload(sample, "evals", name="samples.jsonl").id,
            models=[model],
            scorers=["f1"],
        )
        found = client.evaluations.wait(id, poll_seconds=0.1, timeout_seconds=LOAD_SECONDS)
        assert [each.state for each in found.models] == ["Done"]
        (report,) = client.evaluations.report(id).models
        assert (report.answered, report.name) == (1, f"{MODEL}:1")
        assert 0 < report.completion_tokens <= 4
        assert client.services.list() == ()


def ask(model: str, text: str = "hello") -> dict[str, object]:
    """A short question."""
    return {
        "model": model,
        "messages": [{"role": "user", "content": text}],
        "max_completion_tokens": 4,
    }
