"""The published lm-eval, unchanged and in an environment of its own, asks our endpoints about tasks in local files: `make lm-eval-test`."""

from __future__ import annotations

import json
import os
import subprocess
from importlib import import_module
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
CHOICES = """
task: sea
dataset_path: json
dataset_kwargs: {{data_files: {{test: {samples}}}}}
test_split: test
output_type: multiple_choice
doc_to_text: "{{{{prompt}}}}"
doc_to_choice: "{{{{choices}}}}"
doc_to_target: "{{{{answer}}}}"
metric_list: [{{metric: acc, aggregation: mean, higher_is_better: true}}]
"""
SAMPLES = [("上海", "上海"), ("Lima", "Lima"), ("Oslo", "Bergen"), ("Perth", "Perth")]
KNOWN = [
    ("Once upon a time there was a", ["boat by the moon", "lighthouse by the sea"], 1),
    ("The sea was calm and the old keeper", ["lit the lamp", "read the ships"], 0),
    ("Every night the wind", ["came home", "sang to the ships", "lit the lamp"], 1),
]
"""How the very small model's book and story go on (tests/tiny_model.py), and how they do not."""


@pytest.fixture(name="evaluate")
def evaluate_fixture(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    """Runs lm-eval on rows; the figures of its one task."""
    program: str | None = request.config.getoption("--lm-eval")
    if program is None:
        pytest.skip("lm-eval is not named: make lm-eval-test")

    def evaluate(
        server: Server,
        model: str,
        arguments: str,
        task: str,
        rows: list[dict[str, Any]],
        *,
        batch: int = 1,
    ) -> dict[str, Any]:
        samples = tmp_path / "samples.jsonl"
        samples.write_text("\n".join(map(json.dumps, rows)))
        (tmp_path / "task.yaml").write_text(task.format(samples=samples))
        name = task.split()[1]
        command = [program, "run", "--model", model, "--model_args", arguments, "--tasks", name]
        command += ["--include_path", str(tmp_path), "--output_path", str(tmp_path / "out")]
        command += ["--log_samples", "--batch_size", str(batch)]
        command += ["--apply_chat_template"] if "chat" in model else []
        environ = {
            **os.environ,
            "OPENAI_API_KEY": server.bearer,
            "HF_HOME": str(tmp_path / "hf"),
            "HF_HUB_OFFLINE": "1",
            "HF_DATASETS_OFFLINE": "1",
        }
        done = subprocess.run(
            command, env=environ, capture_output=True, text=True, timeout=RUN_SECONDS, check=False
        )
        assert done.returncode == 0, done.stderr[-3000:]
        (found,) = (tmp_path / "out").rglob("results_*.json")
        return json.loads(found.read_text())["results"][name]

    return evaluate


@pytest.mark.timeout(2 * RUN_SECONDS)
@pytest.mark.parametrize(
    ("model", "path", "options"),
    [
        ("local-completions", "completions", "tokenizer_backend=None,tokenized_requests=False"),
        ("local-chat-completions", "chat/completions", "num_concurrent=2"),
    ],
)
def test_lm_eval_grades_answers_of_our_endpoints(
    evaluate: Any, echo_server: Server, model: str, path: str, options: str
):
    arguments = f"model=echo,base_url={echo_server.base_url}/v2/{path},{options}"
    rows = [{"prompt": prompt, "response": response} for prompt, response in SAMPLES]
    assert evaluate(echo_server, model, arguments, TASK, rows)["exact_match,none"] == 0.75


@pytest.mark.timeout(2 * RUN_SECONDS)
@pytest.mark.parametrize(
    ("path", "batch", "tokenized"),
    [("v2", 1, False), ("v1", 3, False), ("v2", 1, True), ("v2", 3, True)],
)
def test_lm_eval_compares_how_likely_answers_are(
    evaluate: Any,
    folder_server: Server,
    tiny_chat_folder: Path,
    tmp_path: Path,
    path: str,
    batch: int,
    tokenized: bool,
):
    arguments = (
        f"model=tiny-chat,base_url={folder_server.base_url}/{path}/completions,tokenizer={tiny_chat_folder},"
        f"tokenized_requests={tokenized}"
    )
    rows = [
        {"prompt": prompt, "choices": choices, "answer": answer}
        for prompt, choices, answer in KNOWN
    ]
    found = evaluate(folder_server, "local-completions", arguments, CHOICES, rows, batch=batch)
    assert found["acc,none"] == 1.0
    (logged,) = (tmp_path / "out").rglob("samples_*.jsonl")
    lines = sorted(
        map(json.loads, logged.read_text().splitlines()), key=lambda line: line["doc_id"]
    )
    told = [[float(chance) for chance, _ in line["filtered_resps"]] for line in lines]
    wanted = [
        [_likelihood(tiny_chat_folder, prompt, f" {choice}") for choice in choices]
        for prompt, choices, _ in KNOWN
    ]
    for mine, theirs in zip(told, wanted, strict=True):
        # The engine computes in bfloat16 where the processor does.
        assert mine == pytest.approx(theirs, rel=0.05, abs=0.2)


def _likelihood(folder: Path, prompt: str, answer: str) -> float:
    """The logarithm of the chance that `answer` follows, by the library."""
    torch, known = import_module("torch"), import_module("transformers")
    tokenizer = known.AutoTokenizer.from_pretrained(folder)
    model = known.AutoModelForCausalLM.from_pretrained(folder, dtype="float32")
    before = len(tokenizer(prompt)["input_ids"])
    ids = tokenizer(prompt + answer)["input_ids"]
    with torch.no_grad():
        chances = model(torch.tensor([ids])).logits[0].log_softmax(-1)
    return sum(float(chances[place - 1][ids[place]]) for place in range(before, len(ids)))
