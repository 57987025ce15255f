"""The losses that TRL makes of the same rows, model and settings: `python trl_losses.py MODE MODEL ROWS STEPS RATE`, as JSON.

Every step reads all rows at once, so the order of rows does not matter.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

QUIET = ("HF_HUB_OFFLINE", "HF_HUB_DISABLE_TELEMETRY", "DO_NOT_TRACK")
NAMES = {"sft": "SFT", "dpo": "DPO", "kto": "KTO"}


def main(mode: str, model: str, rows: str, steps: int, rate: float) -> list[float]:
    """Train, and what each step lost."""
    os.environ.update(dict.fromkeys(QUIET, "1"))
    trl: Any = importlib.import_module("trl")
    datasets: Any = importlib.import_module("datasets")
    transformers: Any = importlib.import_module("transformers")
    torch: Any = importlib.import_module("torch")
    torch.set_num_threads(1)
    given: list[dict[str, Any]] = json.loads(Path(rows).read_text("utf-8"))
    more: dict[str, Any] = {} if mode == "sft" else {"beta": 0.1}
    config = getattr(trl, f"{NAMES[mode]}Config")(
        output_dir=tempfile.mkdtemp(),
        per_device_train_batch_size=len(given),
        max_steps=steps,
        max_length=512,
        learning_rate=rate,
        lr_scheduler_type="constant",
        warmup_steps=0,
        logging_steps=1,
        report_to=[],
        save_strategy="no",
        use_cpu=True,
        bf16=False,
        weight_decay=0.0,
        max_grad_norm=1.0,
        gradient_checkpointing=False,
        disable_tqdm=True,
        **more,
    )
    trainer = getattr(trl, f"{NAMES[mode]}Trainer")(
        model=transformers.AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32),
        args=config,
        train_dataset=datasets.Dataset.from_list(given),
        processing_class=transformers.AutoTokenizer.from_pretrained(model),
    )
    trainer.train()
    return [row["loss"] for row in trainer.state.log_history if "loss" in row]


if __name__ == "__main__":
    asked_mode, asked_model, asked_rows, asked_steps, asked_rate = sys.argv[1:]
    print(
        json.dumps(main(asked_mode, asked_model, asked_rows, int(asked_steps), float(asked_rate)))
    )
