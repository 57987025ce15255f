"""Runs: each way of training learns, goes on bit by bit, and says clearly why it cannot."""

from __future__ import annotations

import hashlib
import importlib
import json
import shutil
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.trainers.conftest import JUDGED, PAIRS, TALKS, TEXTS, Bench, Ear

from yangfan.errors import ConfigurationError, DiskFull, Invalid, OutOfMemory, TrainingDiverged
from yangfan.trainers.base import TrainResult, hyper_parameters
from yangfan.trainers.pipeline import checkpoints
from yangfan.trainers.pipeline.run import named
from yangfan.trainers.pipeline.tokens import Words

LORA = {"lora_dropout": 0.2, "gradient_accumulation_steps": 2, "logging_steps": 2}
SMALL = {"lora_dora": True, "lora_rslora": True, "lora_all_linear": False}
PACKED = {"packing": True, "max_seq_len": 40, "batch_size": 2}
CASES: dict[str, tuple[str, str, list[dict[str, Any]], dict[str, Any]]] = {
    "sft-full": ("sft", "full", TALKS, {"scheduler_name": "cosine"}),
    "sft-lora": ("sft", "lora", TALKS, LORA),
    "sft-dora": ("sft", "lora", TALKS, {**SMALL, "gradient_checkpointing": True}),
    "sft-packed": ("sft", "lora", TALKS, {**PACKED, "pseudo_sampling_prob": 0.3}),
    "sft-prompt": ("sft", "prompt_tuning", TALKS, {"learning_rate": 0.1}),
    "post_pretrain": ("post_pretrain", "full", TEXTS, {"max_seq_len": 16, "packing": True}),
    "dpo-lora": ("dpo", "lora", PAIRS, {}),
    "kto-full": ("kto", "full", JUDGED, {"desirable_weight": 1.5}),
    "reward-lora": ("reward", "lora", PAIRS, {}),
}


def digests(folder: str) -> dict[str, str]:
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in Path(folder).iterdir()
    }


def curve(result: TrainResult) -> list[Any]:
    keys = ("step", "loss", "grad_norm", "learning_rate", "eval_loss", "more")
    return [[row.get(key) for key in keys] for row in result.metrics]


@pytest.mark.parametrize("case", CASES)
def test_a_run_learns_and_goes_on_bit_by_bit(bench: Bench, case: str):
    mode, method, samples, hyper = CASES[case]
    untouched = bench.run(bench.spec(mode, method, samples, "a", samples[:3], **hyper))
    spec = bench.spec(mode, method, samples, "b", samples[:3], **hyper)
    bench.run_stopped(spec, 4)
    gone_on = bench.run(spec)
    assert gone_on.facts["resumed_from"] == checkpoints.name_of(4)
    assert curve(gone_on) == curve(untouched)
    assert digests(gone_on.final) == digests(untouched.final)
    losses = [row["loss"] for row in untouched.metrics]
    assert losses[-1] < losses[0]
    assert untouched.metrics[-1]["eval_loss"] < untouched.metrics[0].get("eval_loss", 1e9)
    assert Path(untouched.report).stat().st_size > 1000


def test_a_damaged_checkpoint_is_passed_over(bench: Bench):
    untouched = bench.run(bench.spec("sft", "lora", TALKS, "a"))
    spec = bench.spec("sft", "lora", TALKS, "b")
    bench.run_stopped(spec, 7)
    folder = Path(spec.output, checkpoints.FOLDER)
    newest = folder / checkpoints.name_of(7) / "adapter_model.safetensors"
    content = bytearray(newest.read_bytes())
    content[-1] ^= 1
    newest.write_bytes(content)
    gone_on = bench.run(spec)
    assert gone_on.facts["resumed_from"] == checkpoints.name_of(6)
    assert curve(gone_on) == curve(untouched)
    assert digests(gone_on.final) == digests(untouched.final)


def test_another_order_does_not_go_on_from_a_checkpoint(bench: Bench):
    bench.run_stopped(bench.spec("sft", "lora", TALKS), 4)
    ear = Ear()
    result = bench.run(bench.spec("sft", "lora", TALKS, learning_rate=1e-3), ear)
    assert result.facts["resumed_from"] == ""
    assert len(result.metrics) == 9


def test_only_the_last_checkpoints_are_kept(bench: Bench):
    result = bench.run(bench.spec("sft", "lora", TALKS, checkpoint_interval=1, checkpoint_count=3))
    names = [one.name for one in result.checkpoints]
    assert names == [checkpoints.name_of(step) for step in (7, 8, 9)]
    folder = Path(result.checkpoints[0].folder)
    assert checkpoints.verified(folder) is not None
    assert {*result.checkpoints[0].sha256s} >= {"adapter_model.safetensors", "adapter_config.json"}
    assert not [
        path for path in folder.rglob("*") if path.suffix in {".pt", ".pth", ".bin", ".pkl"}
    ]


def test_a_run_goes_on_from_anothers_adapter(bench: Bench):
    first = bench.run(bench.spec("sft", "lora", TALKS, "a"))
    spec = bench.spec("sft", "lora", TALKS, "b", learning_rate=1e-3)
    ear = Ear()
    bench.run(msgspec.structs.replace(spec, adapter=first.final), ear)
    assert ear.losses[0] < first.metrics[0]["loss"] / 2
    ear = Ear()
    full = bench.spec("sft", "full", TALKS, "c", learning_rate=1e-4)
    bench.run(msgspec.structs.replace(full, adapter=first.final), ear)  # merged first
    assert ear.losses[0] < first.metrics[0]["loss"] / 2


def test_accumulated_parts_are_one_batch(bench: Bench):
    whole, parts = Ear(), Ear()
    bench.run(bench.spec("sft", "lora", TALKS, "a"), whole)
    bench.run(bench.spec("sft", "lora", TALKS, "b", gradient_accumulation_steps=4), parts)
    assert parts.losses == pytest.approx(whole.losses, rel=1e-3)


def test_packed_rows_do_not_see_each_other(bench: Bench):
    apart, packed = Ear(), Ear()
    settings: dict[str, Any] = {"batch_size": 64, "max_steps": 3, "warmup_ratio": 0}
    bench.run(bench.spec("sft", "full", TALKS, "a", **settings), apart)
    bench.run(bench.spec("sft", "full", TALKS, "b", packing=True, **settings), packed)
    assert packed.losses == pytest.approx(apart.losses, rel=1e-4)


def test_a_loss_that_is_no_number_ends_the_run_and_keeps_the_last_checkpoint(bench: Bench):
    numpy: Any = importlib.import_module("numpy")
    library: Any = importlib.import_module("safetensors.torch")
    shutil.copytree(bench.base, bench.folder / "base")
    bench.base = bench.folder / "base"
    weights = library.load_file(str(bench.base / "model.safetensors"))
    token = Words(bench.base).tokens("Z")[0]
    weights["model.embed_tokens.weight"][token] = float("nan")
    library.save_file(weights, str(bench.base / "model.safetensors"), {"format": "pt"})
    order = numpy.random.Generator(numpy.random.PCG64([42, 0])).permutation(len(TALKS))
    rows = [*TALKS]
    rows[order[9]] = {"turns": [{"prompt": "Z", "responses": ["yes"]}]}  # in the third batch
    spec = bench.spec("sft", "lora", rows, checkpoint_interval=1)
    with pytest.raises(TrainingDiverged, match=r"at step 3 .* Lower learning_rate") as caught:
        bench.run(spec)
    assert "the last good checkpoint is step-00000002" in caught.value.message
    assert [one.step for one in checkpoints.whole(Path(spec.output))] == [1, 2]


@pytest.mark.parametrize(
    ("mode", "sample", "words"),
    [
        ("sft", {"turns": [{"prompt": "hello"}]}, "row 4 .r3. .* has no answer"),
        ("sft", {"text": "hello"}, "use the mode PostPretrain"),
        ("sft", {"turns": [{"prompt": "a", "responses": [" "]}]}, "its answer is empty"),
        ("post_pretrain", {"text": " "}, "row 4 .r3. .* has no text"),
        ("dpo", {"turns": [{"prompt": "a"}], "chosen": "b"}, "a chosen and a rejected response"),
        ("dpo", {"turns": [{"prompt": "a"}], "chosen": "b", "rejected": "b"}, "are the same"),
        ("kto", {"turns": [{"prompt": "a"}]}, "a chosen or a rejected response"),
    ],
)
def test_a_row_that_cannot_be_learnt_from_is_named_before_weights_are_read(
    bench: Bench, mode: str, sample: dict[str, Any], words: str
):
    rows = {"sft": TALKS, "post_pretrain": TEXTS, "dpo": PAIRS, "kto": JUDGED}[mode][:3]
    shutil.copytree(bench.base, bench.folder / "base")
    bench.base = bench.folder / "base"
    (bench.base / "model.safetensors").write_bytes(b"not weights")
    with pytest.raises(Invalid, match=words):
        bench.run(bench.spec(mode, "full", [*rows, sample]))


def test_what_a_model_cannot_do_is_said(bench: Bench):
    with pytest.raises(Invalid, match="loraTargetModules"):
        bench.run(bench.spec("sft", "lora", TALKS, lora_target_modules=["nowhere"]))
    with pytest.raises(Invalid, match="dpo learns full or lora, not prompt_tuning"):
        bench.run(bench.spec("dpo", "prompt_tuning", PAIRS))
    with pytest.raises(Invalid, match="switch packing off"):
        bench.run(bench.spec("sft", "prompt_tuning", TALKS, packing=True))
    with pytest.raises(Invalid, match="raise it, or shorten the rows"):
        bench.run(bench.spec("sft", "lora", TALKS, max_seq_len=8))
    bench.base = bench.folder
    with pytest.raises(ConfigurationError, match="a GGUF file cannot be tuned"):
        bench.run(bench.spec("sft", "lora", TALKS))


def test_a_full_disk_and_full_memory_have_names(tmp_path: Path):
    assert isinstance(named(OSError(28, "No space left on device"), tmp_path), DiskFull)
    torch_words = "[enforce fail at alloc_cpu.cpp:124] DefaultCPUAllocator: can't allocate memory"
    found = named(RuntimeError(torch_words), tmp_path)
    assert isinstance(found, OutOfMemory)
    assert "gradient_accumulation_steps" in found.message
    assert isinstance(named(MemoryError(), tmp_path), OutOfMemory)
    other = KeyError("x")
    assert named(other, tmp_path) is other


def test_a_checkpoint_for_which_there_is_no_room_leaves_the_last_good_one(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
):
    spec = bench.spec("sft", "lora", TALKS)
    libraries: Any = importlib.import_module("safetensors.torch")
    written = libraries.save_file
    calls: list[str] = []

    def full(tensors: Any, path: str, *args: Any, **more: Any) -> None:
        calls.append(path)
        if len(calls) > 1:
            raise OSError(28, "No space left on device", path)
        written(tensors, path, *args, **more)

    monkeypatch.setattr(libraries, "save_file", full)
    with pytest.raises(OSError, match="No space left"):
        bench.run(spec)
    monkeypatch.undo()
    kept = checkpoints.whole(Path(spec.output))
    assert [one.step for one in kept] == [3]
    assert not list(Path(spec.output, checkpoints.FOLDER).glob(".new-*"))
    assert bench.run(spec).facts["resumed_from"] == checkpoints.name_of(3)


def test_held_out_questions_are_answered(bench: Bench):
    spec = bench.spec("sft", "full", TALKS, "a", TALKS[:2], epoch=20)
    bench.run(spec)
    lines = Path(spec.output, "predictions.jsonl").read_text("utf-8").splitlines()
    told = [json.loads(line) for line in lines]
    assert [one["reference"] for one in told] == ["yes 0", "yes 1"]
    assert all(one["answer"].startswith("yes") for one in told)
    assert told[1]["prompt"] == "Say 1 word "


def test_unknown_settings_are_named():
    with pytest.raises(Invalid, match="learning_rte"):
        hyper_parameters({"learning_rte": 1})
    with pytest.raises(Invalid, match=r"epoch"):
        hyper_parameters({"epoch": 0})
    assert hyper_parameters({"lora_all_linear": "true"}).lora_all_linear
