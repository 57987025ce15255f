"""The published lm-eval, unchanged and in an environment of its own, asks our endpoints about a task in a local file: `make lm-eval-test`."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import Server

RUN_SECONDS = 300
TASK = """
task: cities
dataset_path: json
dataset_kwargs: {{data_files: {{test: {samples}}}}}
test_split: test
output_type: generate_until
doc_to_text: "{{{{prompt}}}}"
doc_to_target: "{{{{response}}}}"
generation_kwargs: {{until: ["\\n"], max_gen_toks: 16, temperature: 0}}
metric_list: [{{metric: exact_match, aggregation: mean, higher_is_better: true}}]
"""
SAMPLES = [("上海", "上海"), ("Lima", "Lima"), ("Oslo", "Bergen"), ("Perth", "Perth")]


@pytest.mark.timeout(2 * RUN_SECONDS)
@pytest.mark.parametrize(
    ("model", "path", "options"),
    [
        ("local-completions", "completions", "tokenizer_backend=None,tokenized_requests=False"),
        ("local-chat-completions", "chat/completions", "num_concurrent=2"),
    ],
)
def test_lm_eval_grades_answers_of_our_endpoints(
    request: pytest.FixtureRequest,
    echo_server: Server,
    tmp_path: Path,
    model: str,
    path: str,
    options: str,
):
    program: str | None = request.config.getoption("--lm-eval")
    if program is None:
        pytest.skip("lm-eval is not named: make lm-eval-test")
    samples = tmp_path / "samples.jsonl"
    rows = [{"prompt": prompt, "response": response} for prompt, response in SAMPLES]
    samples.write_text("\n".join(map(json.dumps, rows)))
    (tmp_path / "cities.yaml").write_text(TASK.format(samples=samples))
    arguments = f"model=echo,base_url={echo_server.base_url}/v2/{path},{options}"
    command = [program, "run", "--model", model, "--model_args", arguments, "--tasks", "cities"]
    command += ["--include_path", str(tmp_path), "--output_path", str(tmp_path / "out")]
    command += ["--apply_chat_template"] if "chat" in model else []
    environ = {
        **os.environ,
        "OPENAI_API_KEY": echo_server.bearer,
        "HF_HOME": str(tmp_path / "hf"),
        "HF_HUB_OFFLINE": "1",
        "HF_DATASETS_OFFLINE": "1",
    }
    done = subprocess.run(
        command, env=environ, capture_output=True, text=True, timeout=RUN_SECONDS, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    (found,) = (tmp_path / "out").rglob("results_*.json")
    figures: dict[str, Any] = json.loads(found.read_text())["results"]["cities"]
    assert figures["exact_match,none"] == 0.75
