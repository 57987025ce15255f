"""TRL as its pages show it, on the same rows, model and settings: `python trl_peer.py SETTINGS.json`; seconds of each step, as JSON."""

from __future__ import annotations

import importlib
import json
import os
import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import Any


def main(settings: dict[str, Any]) -> dict[str, Any]:
    """Train, and how long each step took."""
    for name in ("HF_HUB_OFFLINE", "HF_HUB_DISABLE_TELEMETRY", "DO_NOT_TRACK"):
        os.environ[name] = "1"
    torch: Any = importlib.import_module("torch")
    torch.set_num_threads(settings["threads"])
    transformers: Any = importlib.import_module("transformers")
    datasets: Any = importlib.import_module("datasets")
    trl: Any = importlib.import_module("trl")
    peft: Any = importlib.import_module("peft")
    lines = Path(settings["rows"]).read_text("utf-8").splitlines()
    turns = [json.loads(line)["sample"]["turns"][0] for line in lines]
    rows = [
        {
            "prompt": [{"role": "user", "content": turn["prompt"]}],
            "completion": [{"role": "assistant", "content": turn["responses"][0]}],
        }
        for turn in turns
    ]
    is_lora = settings["method"] == "lora"
    is_bf16 = settings["dtype"] == "bfloat16"
    model = transformers.AutoModelForCausalLM.from_pretrained(
        settings["base"], dtype=torch.bfloat16 if is_bf16 and is_lora else torch.float32
    )
    seconds: list[float] = []

    class Clock(transformers.TrainerCallback):
        def on_step_begin(self, *_: object, **__: object) -> None:
            self.began = time.perf_counter()

        def on_step_end(self, *_: object, **__: object) -> None:
            seconds.append(time.perf_counter() - self.began)

    trainer = trl.SFTTrainer(
        model=model,
        args=trl.SFTConfig(
            output_dir=tempfile.mkdtemp(),
            per_device_train_batch_size=settings["batch_size"],
            max_steps=settings["steps"],
            max_length=settings["max_seq_len"],
            learning_rate=2e-4,
            logging_steps=1,
            report_to=[],
            save_strategy="no",
            use_cpu=not torch.cuda.is_available(),
            bf16=is_bf16,
            gradient_checkpointing=False,
            disable_tqdm=True,
        ),
        train_dataset=datasets.Dataset.from_list(rows),
        processing_class=transformers.AutoTokenizer.from_pretrained(settings["base"]),
        peft_config=peft.LoraConfig(
            r=8, lora_alpha=32, target_modules="all-linear", task_type="CAUSAL_LM"
        )
        if is_lora
        else None,
        callbacks=[Clock()],
    )
    trainer.train()
    return {
        "seconds": seconds,
        "peak_rss_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "losses": [row["loss"] for row in trainer.state.log_history if "loss" in row],
    }


if __name__ == "__main__":
    print(json.dumps(main(json.loads(Path(sys.argv[1]).read_text("utf-8")))))
