"""What every way of training shares: what is ordered, what a trainer is given, what it tells, and what it leaves.

The server submits a `TrainOrder` as a job of the kind ``train``. The worker makes files of it (base model, rows) and starts a trainer
in a process of its own with a `TrainSpec`, a JSON file. The trainer writes one event a line to its standard output:

    {"event": "progress", "step": 3, "steps": 100, "row": {…}}      `row` is a line of metrics.jsonl
    {"event": "log", "text": "…"}
    {"event": "checkpoint", "name": "step-00000050", "step": 50, "loss": 1.7}
    {"event": "end", "outcome": "done" | "stopped", "result": {…}}   `result` is a `TrainResult`
    {"event": "end", "outcome": "failed", "kind": "Invalid", "message": "…", "retryable": false}

and ends with status 0 if the last line is an ``end``. SIGTERM asks it to write a checkpoint and end with the outcome ``stopped``.
So another trainer is another program that keeps this.

In its output folder it leaves:

    metrics.jsonl       a line for each logged step: `MetricRow`
    checkpoints/step-00000050/      manifest.json is written last: `yangfan.trainers.pipeline.checkpoints`
    final/              adapter (adapter_config.json, adapter_model.safetensors) or a whole Hugging Face folder
    predictions.jsonl   {"row_id", "prompt", "answer", "reference"} of held-out rows, where the mode answers
    events.out.tfevents.…           for TensorBoard
    report.html         the run on one page
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from yangfan.errors import Invalid

Mode = Literal["sft", "post_pretrain", "dpo", "kto", "reward", "grpo", "text_to_image"]
"""What is learnt, and the name of the file that does it."""

Method = Literal["full", "lora", "prompt_tuning"]
"""Which numbers are learnt: all, those of low-rank adapters (arXiv 2106.09685), or of a soft prompt (arXiv 2104.08691)."""

DType = Literal["auto", "float32", "bfloat16"]
"""What a model computes in; auto is bfloat16 where the GPU or CPU computes in it. What is learnt is kept in float32 always."""

Scheduler = Literal[
    "linear", "cosine", "constant", "constant_with_warmup", "polynomial", "cosine_with_restarts"
]


class Reward(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What makes an answer worth something; either a rule or a model.

    Attributes:
        scorer: Name of a scorer (`yangfan.scorers`) that asks no model.
        parameters: Its arguments.
        model: Hugging Face folder of a model that scores, or of its base.
        adapter: Folder of the adapter that makes the base one that scores.
        weight: What it is multiplied by.
    """

    scorer: str = ""
    parameters: dict[str, Any] = {}
    model: str = ""
    adapter: str = ""
    weight: float = 1.0


class HyperParameters(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What can be set of a run. The server keeps each model's ranges and defaults; these are what a trainer takes at all.

    Attributes:
        epoch: How often every row is seen.
        batch_size: Rows of a step of the optimiser, on all devices together.
        micro_batch_size: Rows that are computed at once; 0 takes `batch_size` / `gradient_accumulation_steps`.
        gradient_accumulation_steps: Parts in which a batch is computed; their gradients are summed.
        learning_rate: The highest it gets.
        max_seq_len: Tokens of a row; longer ones are cut at their end (sft: turns that do not fit are left out).
        logging_steps: Steps between two lines of metrics.
        warmup_ratio: Share of all steps in which the learning rate rises from 0.
        weight_decay: Of AdamW (arXiv 1711.05101); not of biases and norms.
        scheduler_name: How the learning rate falls.
        max_grad_norm: Gradients are scaled down to this length; 0 leaves them.
        packing: Put several short rows into one; no row sees another.
        gradient_checkpointing: Compute activations again instead of keeping them: less memory, a third slower.
        checkpoint_interval: Steps between two checkpoints; 0 for one an epoch.
        checkpoint_count: How many are kept (the last ones).
        eval_steps: Steps between two measurements on held-out rows; 0 for one at each checkpoint.
        max_eval_rows: Held-out rows that are measured.
        max_predictions: Held-out rows that are answered at the end, for BLEU and ROUGE; 0 for none.
        max_steps: End after so many steps; 0 for whole epochs.
        lora_rank: Rank of the adapters.
        lora_alpha: Their scale is alpha / rank.
        lora_dropout: Share of an adapter's inputs that is left out in a step.
        lora_all_linear: Adapt every linear layer instead of `lora_target_modules`.
        lora_target_modules: Names of the layers to adapt; empty for the attention's (or all linear ones where those have other names).
        lora_rslora: Scale by alpha / √rank (arXiv 2312.03732).
        lora_dora: Learn lengths beside directions (arXiv 2402.09353).
        num_virtual_tokens: Length of a soft prompt.
        pseudo_sampling_prob: Share of tokens whose input is replaced by what the model itself would have said (scheduled sampling).
        beta: dpo, kto: how far the model may go from where it began (arXiv 2305.18290); grpo: weight of that distance.
        label_smoothing: dpo: share of preferences that are taken to be wrong.
        desirable_weight: kto: weight of good answers (arXiv 2402.01306).
        undesirable_weight: kto: weight of bad answers.
        num_generations: grpo: answers to each question.
        max_completion_length: grpo: tokens of an answer.
        temperature: grpo: of those answers.
        rewards: grpo: what an answer is worth, added up.
        learn_prompts: sft: learn what is asked, too, not the answers alone.
    """

    epoch: Annotated[float, Meta(gt=0, le=1000)] = 1
    batch_size: Annotated[int, Meta(ge=1, le=4096)] = 8
    micro_batch_size: Annotated[int, Meta(ge=0, le=4096)] = 0
    gradient_accumulation_steps: Annotated[int, Meta(ge=1, le=4096)] = 1
    learning_rate: Annotated[float, Meta(gt=0, le=10)] = 2e-4
    max_seq_len: Annotated[int, Meta(ge=8, le=1_048_576)] = 1024
    logging_steps: Annotated[int, Meta(ge=1, le=10_000)] = 1
    warmup_ratio: Annotated[float, Meta(ge=0, le=1)] = 0.03
    weight_decay: Annotated[float, Meta(ge=0, le=1)] = 0.01
    scheduler_name: Scheduler = "linear"
    max_grad_norm: Annotated[float, Meta(ge=0)] = 1.0
    packing: bool = False
    gradient_checkpointing: bool = False
    checkpoint_interval: Annotated[int, Meta(ge=0)] = 0
    checkpoint_count: Annotated[int, Meta(ge=1, le=100)] = 2
    eval_steps: Annotated[int, Meta(ge=0)] = 0
    max_eval_rows: Annotated[int, Meta(ge=1)] = 256
    max_predictions: Annotated[int, Meta(ge=0)] = 20
    max_steps: Annotated[int, Meta(ge=0)] = 0
    lora_rank: Annotated[int, Meta(ge=1, le=1024)] = 8
    lora_alpha: Annotated[int, Meta(ge=1, le=4096)] = 32
    lora_dropout: Annotated[float, Meta(ge=0, lt=1)] = 0.0
    lora_all_linear: bool = True
    lora_target_modules: tuple[str, ...] = ()
    lora_rslora: bool = False
    lora_dora: bool = False
    num_virtual_tokens: Annotated[int, Meta(ge=1, le=1024)] = 20
    pseudo_sampling_prob: Annotated[float, Meta(ge=0, le=1)] = 0.0
    beta: Annotated[float, Meta(ge=0, le=100)] = 0.1
    label_smoothing: Annotated[float, Meta(ge=0, lt=0.5)] = 0.0
    desirable_weight: Annotated[float, Meta(ge=0)] = 1.0
    undesirable_weight: Annotated[float, Meta(ge=0)] = 1.0
    num_generations: Annotated[int, Meta(ge=2, le=64)] = 4
    max_completion_length: Annotated[int, Meta(ge=1)] = 64
    temperature: Annotated[float, Meta(gt=0)] = 1.0
    rewards: tuple[Reward, ...] = ()
    learn_prompts: bool = False


class BaseFile(msgspec.Struct, frozen=True):
    """A file of the base model, in the model store."""

    path: str
    sha256: str
    size_bytes: int


class RewardModel(msgspec.Struct, frozen=True, kw_only=True):
    """A model that a run of the mode reward left.

    Attributes:
        files: Of its base, in the model store.
        method: full or lora.
        trained: Folder that the run left.
        weight: What its scores are multiplied by.
    """

    files: tuple[BaseFile, ...]
    method: Method
    trained: str
    weight: float = 1.0


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """A dataset version to learn from, or files of a bucket.

    Attributes:
        manifest: Its manifest (`yangfan.datasets.manifest.Manifest`) as JSON's objects; {} of a bucket.
        sampling_rate: How often each row is taken: 0.5 takes every other one, 2 takes each twice.
        name: What messages call it, such as ``faq:2``.
        uri: ``bos:/bucket/folder/`` or ``s3:bucket/file`` of files that are brought (`yangfan.worker.sources`).
        folder: Where their rows are put, with a manifest.
        formats: Of rows, one of which they must have.
    """

    manifest: dict[str, Any] = {}
    sampling_rate: Annotated[float, Meta(ge=0.01, le=10)] = 1.0
    name: str = ""
    uri: str = ""
    folder: str = ""
    formats: tuple[str, ...] = ()


class TrainOrder(msgspec.Struct, frozen=True, kw_only=True):
    """The spec of a job of the kind ``train``: everything that a worker needs, and never the database.

    Attributes:
        mode: What is learnt.
        method: Which numbers are learnt.
        store: Folder of the model store.
        files: Of the base model, a Hugging Face folder in safetensors or one GGUF file, all of them in the store.
        blobs: Folder of the datasets' blobs.
        train: What to learn from, in this order.
        validation: What to hold out; empty to hold out `split_percent` of `train`.
        split_percent: Percent of the rows that are held out.
        adapter: Folder of an adapter to go on from (``final`` or a checkpoint's folder of another run); "" for a new one. With the method
            full, or of another shape, it is merged into the base first.
        reward_model: grpo: what scores answers besides `rewards`.
        base_model: Name of the base, for the report and the model's card.
        hyper_parameters: Fields of `HyperParameters`; those left out keep their defaults.
        output: Folder of the run. It stays after the job; another attempt goes on with what lies there.
        seed: Two runs with the same seed, rows and machine are equal bit by bit.
        dtype: What the model computes in.
        threads: Processor threads; 0 for all.
        processes: Processes of each machine, one for each GPU; more than one are started by torchrun. 0 for all GPUs that there are, and one
            process where there are none.
        nodes: Machines of a run; the worker, which is on the first, starts the others' parts (`yangfan.worker.nodes`).
    """

    mode: Mode
    method: Method
    store: str
    files: tuple[BaseFile, ...]
    blobs: str
    train: tuple[Source, ...]
    validation: tuple[Source, ...] = ()
    split_percent: Annotated[float, Meta(ge=0, le=100)] = 0
    adapter: str = ""
    reward_model: RewardModel | None = None
    base_model: str = ""
    hyper_parameters: dict[str, Any] = {}
    output: str
    seed: int = 42
    dtype: DType = "auto"
    threads: Annotated[int, Meta(ge=0)] = 0
    processes: Annotated[int, Meta(ge=0)] = 1
    nodes: Annotated[int, Meta(ge=1)] = 1


class TrainSpec(msgspec.Struct, frozen=True, kw_only=True):
    """What a trainer is given: files alone.

    Attributes:
        mode: Which trainer.
        method: Which numbers are learnt.
        base: Hugging Face folder.
        adapter: Adapter to go on from; "" for none.
        train: JSON lines: {"row_id": …, "sample": {…}}; the shape of a sample is in `yangfan.trainers.pipeline.rows`.
        validation: The same of the rows that are held out; "" for none.
        hyper_parameters: What is set.
        output: Folder of the run.
        base_model: Name of the base.
        seed: Of everything random.
        dtype: What the model computes in.
        threads: Processor threads; 0 for all.
    """

    mode: Mode
    method: Method
    base: str
    adapter: str = ""
    train: str
    validation: str = ""
    hyper_parameters: HyperParameters = HyperParameters()
    output: str
    base_model: str = ""
    seed: int = 42
    dtype: DType = "auto"
    threads: int = 0


class MetricRow(msgspec.Struct, kw_only=True, omit_defaults=True):
    """A line of metrics.jsonl.

    Attributes:
        step: Steps of the optimiser that are done.
        epoch: How often the rows were seen so far.
        loss: Mean over the trained tokens (of preferences: over rows) since the last line.
        learning_rate: Of the last step.
        tokens_per_second: Tokens that were read, of all devices, padding not counted.
        grad_norm: Length of the last step's gradient, before it was scaled down.
        eta_seconds: How long the rest should take.
        eval_loss: The loss of the held-out rows, where it was measured.
        more: What the mode adds: dpo and reward: ``accuracy`` and ``margin``; post_pretrain: ``perplexity``; grpo:
            ``reward``, ``reward_spread``, ``answer_tokens`` and ``distance``.
        time_ms: When.
    """

    step: int
    epoch: float
    loss: float | None = None
    learning_rate: float | None = None
    tokens_per_second: float | None = None
    grad_norm: float | None = None
    eta_seconds: float | None = None
    eval_loss: float | None = None
    more: dict[str, float] = {}
    time_ms: int = 0


class CheckpointFacts(msgspec.Struct, frozen=True, kw_only=True):
    """A checkpoint that is whole.

    Attributes:
        name: Of its folder in ``checkpoints``.
        step: After how many steps of the optimiser it was written.
        folder: Where it lies. An adapter's checkpoint holds what `final` would.
        sha256s: Digest of each file by its path in the folder.
        loss: Of the step before it; None before the first.
    """

    name: str
    step: int
    folder: str
    sha256s: dict[str, str]
    loss: float | None = None


class TrainResult(msgspec.Struct, frozen=True, kw_only=True):
    """What a run leaves; the result of the job.

    Attributes:
        checkpoints: Those that are kept, oldest first.
        final: Folder with the adapter or the whole model.
        method: Which of the two: full is a whole model.
        metrics: All lines of metrics.jsonl (thinned out evenly beyond 2,000).
        scores: ``bleu_4``, ``rouge_1``, ``rouge_2``, ``rouge_l`` from 0 to 1, of the held-out answers; empty where none were made.
        facts: Numbers of the run: ``steps``, ``rows``, ``tokens``, ``trained_tokens``, ``seconds``, ``parameters``,
            ``trained_parameters``, ``peak_rss_bytes``, ``dtype``, ``device``, ``processes``, ``resumed_from``.
        report: Path of report.html.
    """

    checkpoints: tuple[CheckpointFacts, ...] = ()
    final: str
    method: Method
    metrics: tuple[dict[str, Any], ...] = ()
    scores: dict[str, float] = {}
    facts: dict[str, Any] = {}
    report: str = ""


def hyper_parameters(given: dict[str, Any]) -> HyperParameters:
    """The hyper-parameters of an order.

    Raises:
        Invalid: One is unknown, of a wrong type, or out of what a trainer takes; the message names it.
    """
    try:
        return msgspec.convert(given, HyperParameters, strict=False)
    except msgspec.ValidationError as error:
        raise Invalid(f"hyper-parameters: {error}", param="hyperParameterConfig") from error
