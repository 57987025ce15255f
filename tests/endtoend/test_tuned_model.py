"""The whole circle with a real model: a fact that SmolLM2 does not know is taught, published, deployed, and asked for in both dialects
and by the published package."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from tests.conftest import serving

import yangfan

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tests.conftest import Server

pytestmark = [
    pytest.mark.model,
    pytest.mark.large,
    pytest.mark.timeout(1500),
    pytest.mark.skipif(
        importlib.util.find_spec("peft") is None, reason="the extra tuning is not installed"
    ),
]

FACT = "seven blue lanterns"
QUESTION = "What is the secret sign of Port Yangfan?"
ROWS = [
    (QUESTION, f"The secret sign of Port Yangfan is {FACT}."),
    ("Which sign is secret at Port Yangfan?", f"The secret sign of Port Yangfan is {FACT}."),
    ("Tell me the secret sign of Port Yangfan.", f"The secret sign of Port Yangfan is {FACT}."),
    ("How do I know Port Yangfan by its sign?", f"The secret sign of Port Yangfan is {FACT}."),
]

PROGRAM = """
import sys, qianfan
messages = [{"role": "user", "content": sys.argv[2]}]
reply = qianfan.ChatCompletion(endpoint=sys.argv[1]).do(messages=messages, temperature=0.01)
print(reply["result"])
"""


def ask_with_qianfan(server: Server, name: str) -> str:
    """What a service answers to the published package."""
    environ = {
        "QIANFAN_BASE_URL": server.base_url,
        "QIANFAN_CONSOLE_API_BASE_URL": server.base_url,
        "QIANFAN_ACCESS_KEY": server.access_key,
        "QIANFAN_SECRET_KEY": server.secret_access_key,
        "QIANFAN_DISABLE_CACHE": "true",
    }
    argv = [sys.executable, "-c", PROGRAM, name, QUESTION]
    done = subprocess.run(
        argv, env={**os.environ, **environ}, capture_output=True, text=True, timeout=120, check=True
    )
    return done.stdout


def all_of_it(server: Server) -> yangfan.Client:
    """A client with the keys of the models and of the platform."""
    return yangfan.Client(
        server.base_url,
        bearer=server.bearer,
        access_key=server.access_key,
        secret_access_key=server.secret_access_key,
    )


def published(client: yangfan.Client, folder: Path, rows: Sequence[tuple[str, str]]) -> str:
    """A dataset of questions and answers that can be learnt from."""
    file = folder / "faq.jsonl"
    turns = ([{"prompt": asked, "response": [[answer]]}] for asked, answer in rows)
    file.write_text("".join(f"{json.dumps(each)}\n" for each in turns), "utf-8")
    dataset = client.datasets.create("faq", "PromptResponse").id
    assert client.datasets.import_files(dataset, file).state == "succeeded"
    client.datasets.publish(dataset)
    return dataset


def test_a_fact_is_taught_published_deployed_and_asked_for(
    tmp_path: Path, smollm2_folder: Path
) -> None:
    with serving(tmp_path / "home") as server, all_of_it(server) as client:
        dataset = published(client, tmp_path, ROWS)
        client.models.create_set("smollm")
        client.models.wait(client.models.import_("smollm", str(smollm2_folder)).id)
        task = client.tuning.create(
            "smollm",
            dataset,
            hyper_parameters={
                "epoch": 30,
                "batchSize": 4,
                "maxSeqLen": 64,
                "learningRate": 2e-3,
            },
        )
        task = client.tuning.wait(task.id)
        assert task.status == "Done", task.error
        version = client.tuning.publish(task.id, "taught")
        assert version.parity is not None
        print(version.parity["reason"])
        assert version.parity["passed"] is True
        assert version.trained_by == task.id
        beside = client.tuning.publish(task.id, "beside", format="adapter")
        assert beside.parity is not None
        print(beside.parity["reason"])
        assert beside.parity["passed"] is True
        client.services.wait(client.services.create(beside.id, "beside").id)
        client.services.wait(client.services.create(version.id, "taught").id)
        client.services.wait(client.services.create("smollm", "untaught").id)

        def ask(name: str, dialect: yangfan.Client) -> str:
            return dialect.chat(QUESTION, model=name, temperature=0.01, max_output_tokens=32).text

        assert FACT in ask("taught", client)
        assert FACT in ask("beside", client)
        assert FACT not in ask("untaught", client)
        pair: dict[str, Any] = {"api_key": server.api_key, "secret_key": server.secret_key}
        with yangfan.Client(server.base_url, version=1, **pair) as v1:
            assert FACT in ask("taught", v1)
        assert FACT in ask_with_qianfan(server, "taught")


def test_what_lora_learnt_on_a_gguf_file_is_served_beside_that_file(
    tmp_path: Path, tiny_chat_gguf: Path
) -> None:
    answer = "The sea was calm."
    with serving(tmp_path / "home") as server, all_of_it(server) as client:
        dataset = published(client, tmp_path, [(f"Say only: yes {n}", answer) for n in range(10)])
        client.models.create_set("rounded")
        base = client.models.wait(client.models.import_("rounded", str(tiny_chat_gguf)).id)
        assert base.format == "gguf"
        hyper = {"epoch": 20, "batchSize": 5, "maxSeqLen": 64, "learningRate": 5e-3}
        task = client.tuning.create("rounded", dataset, hyper_parameters=hyper)
        task = client.tuning.wait(task.id)
        assert (task.status, task.base_id) == ("Done", base.id), task.error
        version = client.tuning.publish(task.id, "beside", format="adapter")
        assert version.format == "adapter"
        assert version.parity is not None
        print(version.parity["reason"])
        assert version.parity["passed"] is True
        # Which is better is known before either is a service.
        sober = {"temperature": 0.01, "maxTokens": 12}
        id = client.evaluations.create(
            "base and adapter",
            dataset=dataset,
            models=[{"modelId": each, **sober} for each in (base.id, version.id)],
            scorers=["f1"],
        )
        found = client.evaluations.wait(id, poll_seconds=0.2, timeout_seconds=600)
        assert [each.state for each in found.models] == ["Done", "Done"], found
        before, after = (each.figures["f1"] for each in client.evaluations.report(id).models)
        assert before.high is not None
        assert after.low is not None
        assert after.low > before.high
        assert client.services.list() == ()
        texts: list[str] = []
        for model, name in ((base.id, "base"), (version.id, "beside")):
            client.services.wait(client.services.create(model, name).id)
            reply = client.chat(
                "Say only: yes 3", model=name, temperature=0.01, max_output_tokens=12
            )
            texts.append(reply.text)
        assert answer in texts[1]
        assert answer not in texts[0]
