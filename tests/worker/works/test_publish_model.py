"""Publishing what a training left, with the real trainer and the real engine on a very small model; and the parity gate."""

from __future__ import annotations

import importlib
import importlib.util
import shutil
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from tests.hub.s3_server import serving as storing
from tests.trainers.conftest import PAIRS, TALKS
from tests.trainers.conftest import Bench as TrainerBench

from yangfan.errors import ConfigurationError, Invalid
from yangfan.hub import access, adapters
from yangfan.hub.access import HubAccess
from yangfan.hub.disk import sha256_of
from yangfan.hub.sources.base import HubSettings
from yangfan.hub.store import Manifest, ModelStore, StoredFile
from yangfan.trainers.pipeline import soft_prompt
from yangfan.worker.works import publish_model
from yangfan.worker.works.publish_model import Prompt, Said, judge

needs_trainers = pytest.mark.skipif(
    importlib.util.find_spec("peft") is None, reason="the extra tuning is not installed"
)
pytestmark = pytest.mark.filterwarnings(
    "ignore:`is_gradient_checkpointing` is deprecated:FutureWarning"  # peft 0.21 asks transformers 5.24 so
)
PROMPTS = [Prompt((), "a", (1, 2)), Prompt((), "b", (3,))]


def said(*logprobs: float, ids: tuple[int, ...] = (1, 2)) -> Said:
    return Said(ids, tuple(range(len(logprobs))), logprobs)


def test_the_gate_passes_what_is_near_and_says_how_near() -> None:
    found = judge(
        PROMPTS,
        [said(-1.0, -2.0), said(-0.5, ids=(3,))],
        [[(-1.01, True), (-2.0, True)], [(-0.48, False)]],
        "F32",
    )
    assert found["passed"] is True
    assert found["mean_difference"] == pytest.approx(0.01)
    assert found["greatest_difference"] == pytest.approx(0.02)
    assert (found["equal_prompts"], found["tokens"], found["tolerance"]) == (2, 3, 0.02)
    assert found["same_choices"] == pytest.approx(2 / 3, abs=1e-3)
    assert found["reason"].startswith("2 of 2 prompts have equal tokens; log-probabilities of 3")


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        ([said(-1.0), said(-0.5, ids=(4,))], [[(-1.0, True)], [(-0.5, True)]]),  # another token
        ([said(-1.0), said(-0.5, ids=(3,))], [[(-1.5, True)], [(-0.5, True)]]),  # too far off
    ],
)
def test_the_gate_fails_what_is_not_what_was_trained(
    answers: list[Said], expected: list[list[tuple[float, bool]]]
) -> None:
    assert judge(PROMPTS, answers, expected, "F32")["passed"] is False


def test_the_gate_fails_where_there_is_nothing_to_compare() -> None:
    assert judge(PROMPTS, [said(), said(ids=(3,))], [[], []], "F32")["passed"] is False


def test_smaller_weights_may_differ_more() -> None:
    answers, expected = [said(-1.0), said(-1.0, ids=(3,))], [[(-1.3, True)], [(-0.7, True)]]
    passed = {
        weights: judge(PROMPTS, answers, expected, weights)["passed"]
        for weights in publish_model.TOLERANCES
    }
    assert passed == {"F32": False, "F16": False, "BF16": False, "Q8_0": False, "Q4_K_M": True}


def _nothing(*_: Any) -> None:
    """What a task does where nobody listens."""


class Bench:
    """A store with a base model, rows, and a LoRA adapter that the real trainer made."""

    def __init__(self, root: Path, base: Path) -> None:
        self.root = root
        self.store = ModelStore(root / "store")
        self.files = [self._keep(path) for path in sorted(base.iterdir()) if path.suffix != ".gguf"]
        turns = [
            [{"prompt": f"Say only: yes {number}", "response": [["The sea was calm."]]}]
            for number in range(4)
        ]
        self.manifest = self.rows("PromptResponse", turns)
        self.store.publish(
            Manifest(
                name="amv-base",
                kind="chat",
                format="safetensors",
                licence="",
                source="",
                revision="",
                files=tuple(StoredFile(**file) for file in self.files),
                created=datetime.now(UTC),
            )
        )

    def _keep(self, path: Path) -> dict[str, Any]:
        part = self.store.partial_folder("amv-base") / path.name
        shutil.copyfile(path, part)
        file = StoredFile(path.name, sha256_of(part), part.stat().st_size)
        self.store.adopt(part, file.sha256)
        return msgspec.structs.asdict(file)

    def rows(self, data_format: str, rows: Sequence[Any]) -> Any:
        """A manifest of rows."""
        from yangfan.datasets.formats import DataFormat, parse
        from yangfan.datasets.shards import BlobFolder, ShardWriter

        form = DataFormat(data_format)
        writer = ShardWriter(BlobFolder(self.root / "blobs"), form)
        for number, row in enumerate(rows):
            writer.add(f"r{number}", parse(form, row))
        return msgspec.to_builtins(writer.finish())

    def task(self, label: str, **spec: Any) -> Any:
        """A task whose worker is the test."""
        folder = self.root / label
        folder.mkdir()
        return SimpleNamespace(
            folder=folder,
            spec=spec,
            progress=_nothing,
            log=_nothing,
            save=_nothing,
            check=_nothing,
        )

    def trained(self, label: str = "training", **more: Any) -> str:
        """The folder of an adapter, after two steps."""
        from yangfan.worker.works import train

        spec: dict[str, Any] = {
            "mode": "sft",
            "method": "lora",
            "store": str(self.store.root),
            "files": self.files,
            "blobs": str(self.root / "blobs"),
            "train": [{"manifest": self.manifest}],
            "split_percent": 50,
            "output": str(self.root / f"run-{label}"),
            "dtype": "float32",
            "threads": 1,
            "hyper_parameters": {"epoch": 2, "batch_size": 2, "max_seq_len": 64, "learning_rate": 5e-3, "max_predictions": 0},
        }  # fmt: skip
        return train.run(self.task(label, **{**spec, **more}))["final"]

    def publish(self, name: str, trained: str, **more: Any) -> Any:
        """A task that publishes it."""
        spec: dict[str, Any] = {
            "store": str(self.store.root),
            "name": f"amv-{name}",
            "files": self.files,
            "method": "lora",
            "trained": trained,
            "blobs": str(self.root / "blobs"),
            "train": [{"manifest": self.manifest}],
            "split_percent": 50,
        }
        return self.task(name, **{**spec, **more})


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory, tiny_chat_folder: Path) -> Bench:
    return Bench(tmp_path_factory.mktemp("publish"), tiny_chat_folder)


@pytest.fixture(scope="module")
def adapter(bench: Bench) -> str:
    return bench.trained()


@needs_trainers
@pytest.mark.model
def test_an_adapter_is_merged_written_as_gguf_and_passes_the_gate(
    bench: Bench, adapter: str
) -> None:
    found = publish_model.run(bench.publish("merged", adapter))
    assert (found["format"], [file["path"] for file in found["files"]]) == (
        "gguf",
        ["amv-merged.gguf"],
    )
    parity = found["parity"]
    assert parity["passed"] is True, parity
    assert (parity["engine"], parity["weights"], parity["equal_prompts"]) == ("llama_cpp", "F32", 2)
    assert parity["mean_difference"] < 0.005
    stored = bench.store.get("amv-merged")
    assert stored is not None
    assert bench.store.is_intact(stored)


@needs_trainers
@pytest.mark.model
@pytest.mark.large
def test_what_was_learnt_from_a_bucket_is_asked_for_what_was_held_out_of_it(bench: Bench) -> None:
    rows = [[{"prompt": f"Say {n}", "response": [["The sea was calm."]]}] for n in range(6)]
    with storing() as store:
        lines = (msgspec.json.encode(row) for row in rows)
        store.objects["faq.jsonl"] = b"\n".join(lines)
        hubs = HubSettings(retry_seconds=0.01, s3=store.settings)
        access.save(bench.store.root, HubAccess(hubs=hubs, egress_allow=("127.0.0.0/8",)))
        source = {
            "uri": "bos:/models/faq.jsonl",
            "folder": str(bench.root / "run-bucket" / "rows" / "0"),
            "formats": ["PromptResponse"],
        }
        trained = bench.trained("bucket", train=[source])
    parity = publish_model.run(bench.publish("bucket-published", trained, train=[source]))["parity"]
    assert parity["passed"] is True, parity
    assert parity["equal_prompts"] == parity["prompts"] == 3


@needs_trainers
@pytest.mark.model
def test_a_model_that_is_not_what_was_trained_fails_the_gate(bench: Bench, adapter: str) -> None:
    task = bench.publish("wrong", adapter)
    # What the merge left is the base itself: the very thing that the gate is there to find.
    whole = task.folder / "whole"
    files = [StoredFile(**file) for file in bench.files]
    bench.store.lay_out(whole, files)
    parity = publish_model.run(task)["parity"]
    assert parity["passed"] is False
    assert parity["equal_prompts"] == 2
    assert parity["mean_difference"] > parity["tolerance"]


@needs_trainers
@pytest.mark.model
def test_an_adapter_beside_its_base_passes_the_gate_and_the_base_alone_does_not(
    bench: Bench, adapter: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind = {"format": "adapter", "base": "amv-base"}
    found = publish_model.run(bench.publish("beside", adapter, **kind))
    assert (found["format"], [file["path"] for file in found["files"]]) == (
        "adapter",
        ["adapter.gguf", "adapter_config.json", "adapter_model.safetensors"],
    )
    parity = found["parity"]
    assert parity["passed"] is True, parity
    assert (parity["engine"], parity["weights"], parity["equal_prompts"]) == ("llama_cpp", "F32", 2)
    assert parity["mean_difference"] < 0.005
    monkeypatch.setattr(adapters.Config, "alpha", 0.0)  # as if it were the base alone
    task = bench.publish("nothing", adapter, **kind)
    parity = publish_model.run(task)["parity"]
    assert (parity["passed"], parity["equal_prompts"]) == (False, 2)


def trained(base: Path, folder: Path, *spec: Any, **settings: Any) -> str:
    """What a small training leaves, and PyTorch as it was."""
    import torch

    threads = torch.get_num_threads()
    bench = TrainerBench(base, folder)
    try:
        return bench.run(bench.spec(*spec, **settings)).final
    finally:
        torch.use_deterministic_algorithms(mode=False)
        torch.set_num_threads(threads)


@needs_trainers
@pytest.mark.model
@pytest.mark.filterwarnings("ignore")  # the libraries warn of each other
def test_a_reward_model_ranks_answers_as_it_was_trained_to(
    bench: Bench, tiny_chat_folder: Path, tmp_path: Path
) -> None:
    adapter = trained(tiny_chat_folder, tmp_path, "reward", "lora", PAIRS, epoch=2)
    rows = [
        {"prompt": one["turns"][0]["prompt"], "chosen": one["chosen"], "rejected": one["rejected"]}
        for one in PAIRS
    ]
    sources = [{"manifest": bench.rows("DPO_PromptChosenRejected", rows)}]
    task = bench.publish("reward", adapter, mode="reward", train=sources)
    found = publish_model.run(task)
    assert (found["format"], found["kind"]) == ("safetensors", "rerank")
    parity = found["parity"]
    assert parity["passed"] is True, parity
    assert (parity["engine"], parity["prompts"]) == ("transformers", 6)
    assert parity["mean_difference"] < 0.001


@needs_trainers
@pytest.mark.model
@pytest.mark.filterwarnings("ignore")  # the libraries warn of each other
def test_a_soft_prompt_is_served_as_tokens_and_passes_the_gate(
    bench: Bench, tiny_chat_folder: Path, tmp_path: Path
) -> None:
    library: Any = importlib.import_module("safetensors.torch")
    settings: dict[str, Any] = {"epoch": 2, "learning_rate": 0.1, "num_virtual_tokens": 5}
    adapter = trained(tiny_chat_folder, tmp_path, "sft", "prompt_tuning", TALKS, **settings)
    task = bench.publish("soft", adapter, method="prompt_tuning")
    found = publish_model.run(task)
    assert found["format"] == "gguf"
    parity = found["parity"]
    assert parity["passed"] is True, parity
    assert (parity["engine"], parity["weights"], parity["equal_prompts"]) == ("llama_cpp", "F32", 2)
    assert parity["mean_difference"] < 0.005
    whole = task.folder / "whole"
    assert len(soft_prompt.token_ids(whole)) == 5
    # The same files with another first vector are not what was trained.
    weights = library.load_file(str(whole / "model.safetensors"))
    weights["model.embed_tokens.weight"][soft_prompt.token_ids(whole)[0]] *= -3
    task = bench.publish("another-prompt", adapter, method="prompt_tuning")
    shutil.copytree(whole, task.folder / "whole")
    file = str(task.folder / "whole" / "model.safetensors")
    library.save_file(weights, file, {"format": "pt"})
    assert publish_model.run(task)["parity"]["passed"] is False


def test_an_adapter_beside_its_base_is_what_lora_learnt(bench: Bench) -> None:
    for more, text in (
        ({"method": "full"}, "format adapter is for what LoRA learnt"),
        ({"quantization": "Q8_0"}, "without quantization"),
        ({"base": "amv-gone"}, "no model version; publish that run first"),
    ):
        task = bench.publish(f"refused-{len(text)}", str(bench.root), format="adapter", **more)
        with pytest.raises(ConfigurationError, match=text):
            publish_model.run(task)


@pytest.mark.parametrize(
    ("more", "text"),
    [
        ({"mode": "reward", "format": "gguf"}, "publish it as safetensors"),
        ({"mode": "reward", "quantization": "Q8_0"}, "publish it as safetensors"),
        ({"method": "prompt_tuning", "mode": "post_pretrain"}, "train with LoRA to publish"),
        ({"trained": "/nowhere"}, "what was trained is gone"),
    ],
)
def test_what_cannot_be_served_is_refused(tmp_path: Path, more: dict[str, Any], text: str) -> None:
    spec: dict[str, Any] = {
        "store": str(tmp_path),
        "name": "amv-x",
        "files": [],
        "method": "lora",
        "trained": str(tmp_path),
    }
    task: Any = SimpleNamespace(spec={**spec, **more}, folder=tmp_path)
    with pytest.raises(ConfigurationError, match=text):
        publish_model.run(task)


def test_another_spec_is_refused(tmp_path: Path) -> None:
    task: Any = SimpleNamespace(spec={"name": 1}, folder=tmp_path)
    with pytest.raises(Invalid, match="this is no publication"):
        publish_model.run(task)
