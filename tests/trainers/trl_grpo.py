"""What TRL's GRPOTrainer makes of given answers: `python trl_grpo.py BASE POLICY ANSWERS`, the loss and its gradient's length as JSON.

It is handed the answers and what they earn, for what is drawn at random would not be the same twice.
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


def _nothing(completions: list[Any], **_: Any) -> list[float]:
    """What the trainer wants, and is not asked for here."""
    return [0.0] * len(completions)


def main(base: str, policy: str, given: dict[str, Any]) -> dict[str, float]:
    """The loss of one batch."""
    os.environ.update(dict.fromkeys(QUIET, "1"))
    trl: Any = importlib.import_module("trl")
    datasets: Any = importlib.import_module("datasets")
    transformers: Any = importlib.import_module("transformers")
    torch: Any = importlib.import_module("torch")
    torch.set_num_threads(1)
    first, model = (
        transformers.AutoModelForCausalLM.from_pretrained(each, dtype=torch.float32)
        for each in (base, policy)
    )
    tokenizer = transformers.AutoTokenizer.from_pretrained(base)
    answers: list[list[list[int]]] = given["answers"]
    config = trl.GRPOConfig(
        output_dir=tempfile.mkdtemp(),
        loss_type="grpo",
        beta=given["beta"],
        num_generations=len(answers[0]),
        per_device_train_batch_size=len(answers) * len(answers[0]),
        report_to=[],
        use_cpu=True,
        bf16=False,
        gradient_checkpointing=False,
        disable_tqdm=True,
    )
    trainer = trl.GRPOTrainer(
        model=model,
        args=config,
        reward_funcs=_nothing,
        train_dataset=datasets.Dataset.from_list([{"prompt": "x"}]),
        processing_class=tokenizer,
    )
    pad = tokenizer.pad_token_id
    prompts = [ids for ids, group in zip(given["prompts"], answers, strict=True) for _ in group]
    said = [answer for group in answers for answer in group]

    def padded(rows: list[list[int]], *, on_the_left: bool) -> tuple[Any, Any]:
        longest = max(map(len, rows))
        ids, mask = torch.full((len(rows), longest), pad), torch.zeros(len(rows), longest)
        for place, row in enumerate(rows):
            where = slice(longest - len(row), longest) if on_the_left else slice(0, len(row))
            ids[place, where], mask[place, where] = torch.tensor(row), 1
        return ids, mask.long()

    prompt_ids, prompt_mask = padded(prompts, on_the_left=True)
    ids, mask = padded(said, on_the_left=False)
    earned = torch.tensor(given["rewards"])
    advantages = (earned - earned.mean(1, keepdim=True)) / (earned.std(1, keepdim=True) + 1e-4)
    whole = (torch.cat([prompt_ids, ids], 1), torch.cat([prompt_mask, mask], 1), ids.size(1))
    trainer.ref_model.load_state_dict(
        first.state_dict()
    )  # it takes the policy's own folder for that
    with torch.no_grad():
        before = trainer._get_per_token_logps_and_entropies(trainer.ref_model, *whole)[0]
    trainer.model.eval()
    trainer.current_gradient_accumulation_steps = 1
    inputs = {
        "prompt_ids": prompt_ids,
        "prompt_mask": prompt_mask,
        "completion_ids": ids,
        "completion_mask": mask,
        "advantages": advantages.flatten(),
        "ref_per_token_logps": before,
        "num_items_in_batch": mask.sum(),
    }
    loss = trainer._compute_loss(trainer.model, inputs)
    loss.backward()
    squares = sum(
        float((each.grad**2).sum()) for each in trainer.model.parameters() if each.grad is not None
    )
    return {"loss": float(loss), "gradient": squares**0.5}


if __name__ == "__main__":
    base_folder, policy_folder, file = sys.argv[1:]
    print(json.dumps(main(base_folder, policy_folder, json.loads(Path(file).read_text("utf-8")))))
