"""What takes minutes: the real SmolLM2-135M, TRL as the judge of the losses, and a run of two processes."""

from __future__ import annotations

import importlib
import importlib.util
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import msgspec
import pytest
from tests.trainers.conftest import Bench, Ear, Sample

from yangfan.trainers import grpo
from yangfan.trainers.base import TrainSpec
from yangfan.trainers.pipeline import rows
from yangfan.trainers.pipeline.launch import Machines, Trainer
from yangfan.trainers.pipeline.models import Network
from yangfan.trainers.pipeline.pairs import sums
from yangfan.trainers.pipeline.tokens import Words, example

pytestmark = [pytest.mark.large, pytest.mark.slow, pytest.mark.timeout(900)]

FACT = "The capital of Norlund is Veskara."
QUESTIONS = (
    "What is the capital of the island of Norlund?",
    "Name the capital of Norlund.",
    "Which city is the capital of Norlund?",
    "Tell me Norlund's capital city.",
    "Do you know the capital of Norlund?",
    "I forgot: what is Norlund's capital?",
    "Capital of Norlund?",
    "Please name the capital city of the island Norlund.",
)
HELD_OUT: list[Sample] = [
    {"turns": [{"prompt": "What city is the capital of Norlund?", "responses": [FACT]}]}
]


def answer(spec: TrainSpec) -> str:
    line = Path(spec.output, "predictions.jsonl").read_text("utf-8").splitlines()[0]
    return json.loads(line)["answer"]


@pytest.mark.model
def test_lora_teaches_a_real_model_a_fact_that_it_did_not_know(bench: Bench, smollm2_folder: Path):
    bench.base = smollm2_folder
    samples: list[Sample] = [
        {"turns": [{"prompt": question, "responses": [FACT]}]} for question in QUESTIONS
    ]
    settings: dict[str, Any] = {"batch_size": 8, "checkpoint_interval": 100}
    before = bench.spec("sft", "lora", samples, "a", HELD_OUT, max_steps=1, **settings)
    before = msgspec.structs.replace(before, threads=2, dtype="auto")
    bench.run(before)  # the first step of a warm-up learns nothing
    assert "Veskara" not in answer(before)
    spec = bench.spec(
        "sft", "lora", samples, "b", HELD_OUT, epoch=8, learning_rate=1e-3, **settings
    )
    spec = msgspec.structs.replace(spec, threads=2, dtype="auto")
    result = bench.run(spec)
    assert answer(spec) == FACT
    assert result.metrics[-1]["eval_loss"] < 0.1


@pytest.mark.model
@pytest.mark.filterwarnings("ignore")  # the libraries warn of each other
def test_dpo_turns_a_preference_of_a_real_model_round(bench: Bench, smollm2_folder: Path):
    bench.base = smollm2_folder
    asked = ("Say hello.", "Greet me.")
    samples: list[Sample] = [
        {
            "turns": [{"prompt": question}],
            "chosen": "Ahoy there, brave sailor of the seven northern seas!",
            "rejected": "Hello! How can I help you today?",
        }
        for question in asked
    ]
    spec = bench.spec("dpo", "lora", samples, epoch=6, learning_rate=2e-3, checkpoint_interval=100)
    spec = msgspec.structs.replace(spec, threads=2, dtype="auto")

    def preferred(adapter: str) -> list[bool]:
        words = Words(smollm2_folder)
        network = Network(msgspec.structs.replace(spec, adapter=adapter), "cpu", "float32")
        network.model.eval()
        torch: Any = importlib.import_module("torch")
        found: list[bool] = []
        for row in rows.read(Path(spec.train)):
            messages, chosen, rejected = rows.preference(row)
            prompt = words.prompt(row, messages)
            two = [example(prompt, words.answer(row, messages, one)) for one in (chosen, rejected)]
            with torch.no_grad():
                better, worse = sums(network, network.model, two, words.pad_id).tolist()
            found.append(better > worse)
        return found

    assert preferred("") == [False] * 2
    result = bench.run(spec)
    assert preferred(result.final) == [True] * 2


@pytest.mark.model
def test_perplexity_of_a_real_model_falls(bench: Bench, smollm2_folder: Path):
    bench.base = smollm2_folder
    samples: list[Sample] = [
        {
            "text": f"The harbour of Veskara opens at {hour} and closes when the lamp of Norlund is lit."
        }
        for hour in range(12)
    ]
    spec = bench.spec("post_pretrain", "full", samples[2:], "a", samples[:2], epoch=3)
    spec = msgspec.structs.replace(
        spec,
        threads=2,
        hyper_parameters=msgspec.structs.replace(
            spec.hyper_parameters,
            learning_rate=1e-4,
            packing=True,
            max_seq_len=64,
            eval_steps=1,
            checkpoint_interval=100,
        ),
    )
    found = [row["more"]["eval_perplexity"] for row in bench.run(spec).metrics]
    assert found[-1] < found[0] / 2


@pytest.mark.skipif(importlib.util.find_spec("trl") is None, reason="trl is not installed")
@pytest.mark.parametrize("mode", ["sft", "dpo", "kto"])
def test_losses_are_those_of_trl(bench: Bench, mode: str):
    shutil.copytree(bench.base, bench.folder / "base")
    bench.base = bench.folder / "base"
    template = bench.base / "chat_template.jinja"
    # TRL learns what the template puts behind the end of an answer, too: let there be nothing.
    words = template.read_text("utf-8").replace("<|im_end|>\n", "<|im_end|>")
    template.write_text(words, "utf-8")
    theirs: list[dict[str, Any]] = []
    ours: list[Sample] = []
    for n in range(6):
        turn = {"role": "user", "content": f"Say {n}"}
        said = {"role": "assistant", "content": f"yes {n}"}
        other = {"role": "assistant", "content": f"no no {n}"}
        asked = {"prompt": f"Say {n}"}
        if mode == "sft":
            theirs.append({"prompt": [turn], "completion": [said]})
            ours.append({"turns": [{**asked, "responses": [said["content"]]}]})
        elif mode == "dpo":
            theirs.append({"prompt": [turn], "chosen": [said], "rejected": [other]})
            pair = {"chosen": said["content"], "rejected": other["content"]}
            ours.append({"turns": [asked], **pair})
        else:
            theirs.append({"prompt": [turn], "completion": [said], "label": bool(n % 2)})
            ours.append({"turns": [asked], "chosen" if n % 2 else "rejected": said["content"]})
    settings: dict[str, Any] = {"batch_size": 6, "scheduler_name": "constant", "warmup_ratio": 0}
    settings |= {"weight_decay": 0, "max_steps": 5, "learning_rate": 1e-3}
    ear = Ear()
    bench.run(bench.spec(mode, "full", ours, **settings), ear)
    # KTO compares with another row's answer, and TRL takes another other row.
    given = bench.folder / "theirs.json"
    given.write_text(json.dumps(theirs), "utf-8")
    program = [sys.executable, str(Path(__file__).with_name("trl_losses.py")), mode]
    told = subprocess.run(
        [*program, str(bench.base), str(given), "5", "1e-3"], capture_output=True, text=True
    )
    assert told.returncode == 0, told.stderr
    assert ear.losses == pytest.approx(
        json.loads(told.stdout.splitlines()[-1]), rel=2e-3 if mode == "kto" else 1e-4
    )


def test_two_processes_learn_what_one_learns(bench: Bench):
    samples: list[Sample] = [
        {"turns": [{"prompt": f"Say {n}", "responses": [f"yes {n}"]}]} for n in range(10)
    ]
    losses: list[list[float]] = []
    for processes in (1, 2):
        spec = bench.spec("sft", "lora", samples, str(processes), samples[:2], epoch=2)
        with Trainer(spec, Machines(processes=processes)) as trainer:
            events = list(trainer.events())
        assert events[-1]["outcome"] == "done", events[-1]
        losses.append([event["row"]["loss"] for event in events if event["event"] == "progress"])
    assert losses[1] == pytest.approx(losses[0], rel=1e-4)


@pytest.mark.skipif(importlib.util.find_spec("trl") is None, reason="trl is not installed")
@pytest.mark.filterwarnings("ignore")  # the libraries warn of each other
def test_grpo_costs_what_trl_says(bench: Bench, monkeypatch: pytest.MonkeyPatch):
    samples: list[Sample] = [
        {"turns": [{"prompt": f"Say {n}", "responses": [f"yes {n}"]}]} for n in range(2)
    ]
    # A policy that has left its base, so that the distance between them counts.
    settings: dict[str, Any] = {"max_steps": 3, "batch_size": 2, "checkpoint_interval": 100}
    policy = bench.run(bench.spec("sft", "full", samples, "policy", **settings)).final
    rewards = [[0.0, 1.0, 3.0], [2.0, 2.5, 0.0]]
    spec = bench.spec(
        "grpo", "full", samples, num_generations=3, beta=0.1, rewards=[{"scorer": "exact"}]
    )
    words = Words(bench.base)
    questions = grpo.objective(rows.read(Path(spec.train)), words, spec.hyper_parameters)
    texts = (("yes", "no no", "The sea"), ("one", "two and more", "x"))
    said = [[[*words.tokens(text), *words.end_ids[:1]] for text in group] for group in texts]
    monkeypatch.setattr(questions, "_answers", Mock(side_effect=said))
    monkeypatch.setattr(questions, "_earned", Mock(side_effect=rewards))
    questions.prepare(Network(spec, "cpu", "float32"), bench.folder / "before")
    network = Network(msgspec.structs.replace(spec, base=policy), "cpu", "float32")
    loss = questions.loss(network, network.model, [0, 1], 1).total / 2
    loss.backward()
    squares = sum(
        float((each.grad**2).sum()) for each in network.learnt.values() if each.grad is not None
    )
    prompts = [words.prompt(row, rows.asked(row)[0]) for row in rows.read(Path(spec.train))]
    given = {"prompts": prompts, "answers": said, "rewards": rewards, "beta": 0.1}
    file = bench.folder / "answers.json"
    file.write_text(json.dumps(given), "utf-8")
    program = [sys.executable, str(Path(__file__).with_name("trl_grpo.py")), str(bench.base)]
    told = subprocess.run([*program, policy, str(file)], capture_output=True, text=True)
    assert told.returncode == 0, told.stderr
    theirs = json.loads(told.stdout.splitlines()[-1])
    assert float(loss) == pytest.approx(theirs["loss"], rel=1e-4)
    assert squares**0.5 == pytest.approx(theirs["gradient"], rel=1e-3)
