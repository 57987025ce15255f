"""Make a model version of what a training left, and measure whether what will be served is what was trained (specification D.1, D.2).

An adapter is merged into its base, or kept beside it, and a soft prompt becomes tokens; the weights are written as GGUF where the
embedded engine runs them (quantised if that is wanted), and the files go into the model store. Then held-out prompts go through both
sides: the trainer's own tokenizer, template and forward pass (what was learnt beside its base, in 32-bit floats), and the engine that will
serve the files. **The parity gate**: the tokens of every prompt must be equal (a soft prompt's stand before the trainer's), and the log-probabilities that the engine tells of the tokens that it picks may differ from the trainer's by so much on
average:

    weights as trained       F32    0.02
                             F16    0.02
                             BF16   0.05
    quantised                Q8_0   0.10
                             Q4_K_M 0.60

Spec: `_Spec`. Result: as an import's (`yangfan.hub.importing.Imported`), and `parity`: ``passed`` (None: no engine for it runs here),
``reason``, ``engine``, ``weights``, ``prompts``, ``tokens``, ``equal_prompts``, ``mean_difference``, ``greatest_difference``,
``tolerance``, ``same_choices`` (share of the tokens that the trainer's side would have picked, too).
"""

from __future__ import annotations

import asyncio
import random
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import msgspec

from yangfan import extensions
from yangfan.engines.base import (
    ChatRequest,
    CompletionRequest,
    EngineSpec,
    Message,
    ModelFacts,
    Sampling,
)
from yangfan.engines.choice import ENGINES, choose
from yangfan.errors import ConfigurationError, EngineFailed, Invalid
from yangfan.hub import adapters, compression, convert_decoder, inspection
from yangfan.hub.disk import full_disk_said_clearly, sha256_of
from yangfan.hub.importing import COMPANIONS, adapter_file, describe, facts_of
from yangfan.hub.store import Manifest, ModelStore, StoredFile
from yangfan.trainers.base import BaseFile, Method, Source
from yangfan.trainers.pipeline.base_folder import lay_out
from yangfan.weights import child, gguf
from yangfan.worker import pictures

if TYPE_CHECKING:
    from yangfan.engines.wire.types import ChatMessage
    from yangfan.worker.task import Task

PICTURES = "text_to_image"
"""The mode whose models draw."""

SOFT_PROMPT = "prompt_tuning"
"""The method that leaves vectors to read before a conversation."""

PROMPTS = 8
"""How many held-out prompts are compared."""

TOKENS = 16
"""How many tokens of an answer to each."""

CONTEXT_TOKENS = 2048
MAX_TEXT_CHARS = 400
"""Of a plain text, for models that go on from one."""

TOLERANCES = {"F32": 0.02, "F16": 0.02, "BF16": 0.05, "Q8_0": 0.10, "Q4_K_M": 0.60}
"""Most that log-probabilities may differ on average, by how the weights are kept."""

SCORE_TOLERANCE = 0.05
"""Most that a reward model's scores may differ on average; rows are told apart by more."""

STATES = frozenset({"optimizer.safetensors", "state.json", "manifest.json"})
"""Files of a checkpoint that are no part of the model."""


class _Spec(msgspec.Struct, frozen=True, kw_only=True):
    """What to publish.

    Attributes:
        store: Folder of the model store.
        name: Name in the store: the version's id.
        files: Of the base model, in Hugging Face's form.
        base_model: Its name.
        mode: What was learnt.
        method: Which numbers were.
        trained: Folder that the training left: an adapter or a whole model.
        format: gguf or safetensors; None for gguf where it can be; adapter for what LoRA learnt without its base.
        base: Name in the store of the base model; "" where it is no version of its own (a checkpoint of another run).
        quantization: Make a gguf smaller.
        blobs: Folder of the datasets' rows.
        train: What was learnt from.
        validation: What was held out.
        split_percent: Percent of `train` that was held out.
        seed: That the rows were drawn with.
    """

    store: str
    name: str
    files: tuple[BaseFile, ...]
    base_model: str = ""
    mode: str = "sft"
    method: Method
    trained: str
    base: str = ""
    format: Literal["gguf", "safetensors", "adapter"] | None = None
    quantization: Literal["Q8_0", "Q4_K_M"] | None = None
    blobs: str = ""
    train: tuple[Source, ...] = ()
    validation: tuple[Source, ...] = ()
    split_percent: float = 0
    seed: int = 42


class Prompt(NamedTuple):
    """A held-out prompt: a conversation that is to be answered, or a plain text, and its tokens on the trainer's side."""

    messages: tuple[ChatMessage, ...]
    text: str
    ids: tuple[int, ...]


class Served(NamedTuple):
    """What will be served.

    Attributes:
        model: A GGUF file, or a folder (of an adapter, too).
        weights: How its weights are kept.
        base: The base's GGUF file, if `model` is an adapter that llama.cpp applies to it.
        adapter: The adapter's GGUF file.
    """

    model: Path
    weights: str
    base: Path | None = None
    adapter: Path | None = None


class Said(NamedTuple):
    """What the engine read and wrote: tokens of the prompt, then of the answer, and the log-probability of each of those."""

    prompt_ids: tuple[int, ...]
    ids: tuple[int, ...]
    logprobs: tuple[float, ...]


def run(task: Task) -> dict[str, Any]:
    """Publish.

    Raises:
        Invalid: The spec is not of this kind.
        ConfigurationError: It cannot be made a model that is served; the message says why.
    """
    try:
        spec = msgspec.convert(task.spec, _Spec)
    except msgspec.ValidationError as error:
        raise Invalid(f"this is no publication: {error}") from error
    _require_servable(spec)
    store = ModelStore(Path(spec.store))
    with full_disk_said_clearly(task.folder):
        base = lay_out(spec.files, spec.store, task.folder / "base", spec.base_model)
        if spec.format == adapters.FORMAT:
            served = _beside(task, spec, store)
            whole = served.model
        else:
            whole = _whole(task, spec, base)
            served = _written(task, spec, whole)
        parity = _parity(task, spec, base, whole, served)
        task.log(f"parity: {parity['reason']}")
        result = _stored(spec, store, whole, served.model)
    return {**result, "parity": parity}


def _require_servable(spec: _Spec) -> None:
    if spec.mode == "reward" and (spec.format not in {None, "safetensors"} or spec.quantization):
        raise ConfigurationError(
            "a reward model is served by the transformers engine, which scores with it; publish it as safetensors, without quantization"
        )
    if spec.method == SOFT_PROMPT and spec.mode == "post_pretrain":
        raise ConfigurationError(
            "what prompt tuning learnt of plain texts stands before every text, and only a chat template could put it there; train with"
            " LoRA to publish"
        )
    if spec.mode == PICTURES and spec.format not in {None, "safetensors"}:
        raise ConfigurationError(
            f"a model that draws is published whole, not as {spec.format}; leave the format out"
        )
    if not Path(spec.trained).is_dir():
        raise ConfigurationError(
            f"what was trained is gone: there is no folder {spec.trained}; it was deleted with its run"
        )


def _whole(task: Task, spec: _Spec, base: Path) -> Path:
    """The trained model in Hugging Face's form, without what a trainer alone needs."""
    target = task.folder / "whole"
    if target.exists():
        return target  # an earlier attempt was killed behind this step
    new = task.folder / "whole.new"
    shutil.rmtree(new, ignore_errors=True)
    trained = Path(spec.trained)
    if spec.method == "full":
        new.mkdir()
        for path in sorted(trained.iterdir()):
            if path.is_file() and path.name not in STATES:
                shutil.copyfile(path, new / path.name)
    else:
        task.progress(0, 3, "steps", "merging what was learnt into its base")
        if spec.mode == PICTURES:
            from yangfan.trainers.pipeline import painting

            painting.merge(base, trained, new)
        elif spec.method == SOFT_PROMPT:
            from yangfan.trainers.pipeline import soft_prompt

            soft_prompt.write(base, trained, new)
        else:
            from yangfan.trainers.pipeline.models import merge

            merge(base, trained, new, scores=spec.mode == "reward")
    if spec.mode == "reward":
        _read_conversations(new)
    new.rename(target)
    return target


def _read_conversations(folder: Path) -> None:
    """Have the engine that ranks with a reward model read questions with answers, as it was trained to."""
    from yangfan.trainers.pipeline.tokens import Words

    path = folder / "config.json"
    told = msgspec.json.decode(path.read_bytes(), type=dict[str, Any])
    told |= {"yangfan_reads": "conversations", "pad_token_id": Words(folder).pad_id}
    # What an answer is worth has no bounds; Sentence Transformers' own field says so.
    told["sbert_ce_default_activation_function"] = "torch.nn.modules.linear.Identity"
    path.write_bytes(msgspec.json.format(msgspec.json.encode(told), indent=2))


def _beside(task: Task, spec: _Spec, store: ModelStore) -> Served:
    """The adapter for itself, and what an engine applies it to."""
    if spec.method != "lora" or spec.quantization:
        raise ConfigurationError(
            "format adapter is for what LoRA learnt, without quantization; publish it as gguf or safetensors"
        )
    base = store.get(spec.base) if spec.base else None
    if base is None:
        raise ConfigurationError(
            "what this adapter changes is a checkpoint of another run and no model version; publish that run first and train from its"
            " version, or publish this one as gguf or safetensors"
        )
    task.progress(0, 3, "steps", "writing the adapter")
    folder = task.folder / "adapter"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for name in (adapters.CONFIG, adapters.WEIGHTS):
        shutil.copyfile(Path(spec.trained) / name, folder / name)
    made = adapter_file(folder, base, store)
    if made is None:
        return Served(folder, adapters.read(folder).dtype)
    model = base.path
    if base.format != "gguf":
        model = store.converted_file(base, convert_decoder.VERSION)
    return Served(folder, _gguf_type(model), model, made)


def _gguf_type(model: Path) -> str:
    """How a GGUF file keeps its weights."""
    number = gguf.read(model).number("general.file_type")
    return gguf.FILE_TYPES.get(-1 if number is None else number, "F16")


def _written(task: Task, spec: _Spec, whole: Path) -> Served:
    """What is served of a whole model: a GGUF file or the folder."""
    facts = inspection.inspect(whole)
    convertible = facts.architecture in convert_decoder.architectures()
    if spec.format == "gguf" and not convertible:
        known = ", ".join(convert_decoder.architectures())
        raise ConfigurationError(
            f"{facts.architecture} cannot be written as GGUF; publish it with the format safetensors. GGUF is for: {known}"
        )
    if spec.format == "safetensors" or not convertible:
        if spec.quantization:
            raise ConfigurationError(
                "only a gguf is made smaller here; publish it without quantization"
            )
        return Served(whole, facts.dtype.upper())
    task.progress(1, 3, "steps", "writing GGUF")
    target = _in(task.folder / "gguf") / "model.gguf"
    if not target.exists():
        compression.convert(whole, target, facts.licence, lambda _done, _total: task.check())
    if not spec.quantization:
        return Served(target, inspection.inspect(target.parent).dtype.upper())
    small = _in(task.folder / spec.quantization) / "model.gguf"
    if not small.exists():
        child.quantize(target, small, spec.quantization, lambda _done, _total: task.check())
    return Served(small, spec.quantization)


def _in(folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    return folder


def _folder(model: Path) -> Path:
    """Where the files of a model lie."""
    return model.parent if model.is_file() else model


def _stored(spec: _Spec, store: ModelStore, whole: Path, model: Path) -> dict[str, Any]:
    """Put the files into the store under the version's id."""
    paths = (
        [model, *(whole / name for name in sorted(COMPANIONS))]
        if model.is_file()
        else sorted(model.rglob("*"))
    )
    files: list[StoredFile] = []
    for path in paths:
        if not path.is_file():
            continue
        if path == model:
            name = f"{spec.name}.gguf"
        else:
            name = path.relative_to(model).as_posix() if model.is_dir() else path.name
        digest, size_bytes = sha256_of(path), path.stat().st_size
        part = store.partial_folder(spec.name) / name
        part.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, part)
        store.adopt(part, digest)
        files.append(StoredFile(name, digest, size_bytes))
    facts = facts_of(_folder(model))
    stored = store.publish(
        Manifest(
            name=spec.name,
            kind="images" if spec.mode == PICTURES else facts.kind,
            format=facts.format,
            licence=facts.licence,
            source=f"trained:{spec.base_model}",
            revision="",
            files=tuple(sorted(files, key=lambda file: file.path)),
            created=datetime.now(UTC),
        )
    )
    return msgspec.to_builtins(describe(stored))


# The parity gate


def _parity(task: Task, spec: _Spec, base: Path, whole: Path, served: Served) -> dict[str, Any]:
    task.progress(2, 3, "steps", "comparing what is served with what was trained")
    if spec.mode == PICTURES:
        captions = [str(turn["prompt"]) for _, row in _rows(spec) for turn in row.get("turns", ())]
        trained = Path(spec.trained)
        return pictures.parity(base, trained, served.model, captions, task.folder / "engine")
    prompts = _prompts(spec, base)
    engine, why = _engine(served)
    told = {"engine": engine, "weights": served.weights, "prompts": len(prompts)}
    if engine is None or not prompts:
        why = why if engine is None else "there are no rows to ask with"
        return {"passed": None, "reason": f"not measured: {why}", **told}
    limit = inspection.inspect(base).context_tokens
    context = min(CONTEXT_TOKENS, limit or CONTEXT_TOKENS)
    if spec.mode == "reward":
        return {**told, **_scored_alike(task, spec, base, served, engine, context)}
    before = _read_before(spec, whole)
    prompts = [prompt._replace(ids=(*before, *prompt.ids)) for prompt in prompts]
    prompts = [prompt for prompt in prompts if len(before) < len(prompt.ids) <= context - TOKENS]
    workdir = _in(task.folder / "engine")
    try:
        said = asyncio.run(_ask(engine, served, context, prompts, workdir))
    except (EngineFailed, ConfigurationError) as error:
        return {"passed": False, "reason": f"the engine cannot run it: {error.message}", **told}
    task.check()
    expected = _expected(spec, base, prompts, said, len(before))
    return {**told, **judge(prompts, said, expected, served.weights)}


def _read_before(spec: _Spec, whole: Path) -> tuple[int, ...]:
    """Tokens that stand before all others where the trainer's side has vectors."""
    if spec.method != SOFT_PROMPT:
        return ()
    from yangfan.trainers.pipeline import soft_prompt

    return soft_prompt.token_ids(whole)


def _engine(served: Served) -> tuple[str | None, str]:
    """Which engine here will serve it; None and the reason if none does."""
    if served.base is not None:
        return "llama_cpp", ""
    facts = facts_of(_folder(served.model))
    if facts.format == adapters.FORMAT:
        return None, "only vllm serves adapters of this architecture"
    path, size_bytes = str(served.model), facts.weights_bytes
    found = choose(
        ModelFacts(facts.format, facts.kind, facts.architecture, path, size_bytes)
        if facts.format != "gguf"
        else ModelFacts("gguf", path=path, size_bytes=size_bytes)
    )
    return found.engine, found.reason


def judge(
    prompts: list[Prompt], said: list[Said], expected: list[list[tuple[float, bool]]], weights: str
) -> dict[str, Any]:
    """Compare what the engine said with what the trainer's side expected.

    Args:
        prompts: What was asked.
        said: What the engine read and wrote.
        expected: For each token of each answer, the trainer's log-probability of it, and whether it would have been picked there, too.
        weights: How the weights are kept, a key of `TOLERANCES`.
    """
    equal = sum(
        prompt.ids == answer.prompt_ids for prompt, answer in zip(prompts, said, strict=True)
    )
    pairs = [
        (there, here, same)
        for answer, known in zip(said, expected, strict=True)
        for there, (here, same) in zip(answer.logprobs, known, strict=True)
    ]
    differences = [abs(there - here) for there, here, _ in pairs]
    mean = sum(differences) / len(differences) if differences else 0.0
    greatest = max(differences, default=0.0)
    same = sum(picked for _, _, picked in pairs) / len(pairs) if pairs else 0.0
    tolerance = TOLERANCES.get(weights, TOLERANCES["BF16"])
    figures = (
        f"{equal} of {len(prompts)} prompts have equal tokens; log-probabilities of {len(pairs)} tokens differ by {mean:.4f} on average"
        f" (at most {greatest:.4f}; {tolerance} on average is allowed for {weights})"
    )
    return {
        "passed": equal == len(prompts) and bool(pairs) and mean <= tolerance,
        "reason": figures,
        "tokens": len(pairs),
        "equal_prompts": equal,
        "mean_difference": round(mean, 6),
        "greatest_difference": round(greatest, 6),
        "same_choices": round(same, 4),
        "tolerance": tolerance,
    }


def _prompts(spec: _Spec, base: Path) -> list[Prompt]:
    """Held-out prompts as the trainer's own code reads them."""
    from yangfan.trainers.pipeline import rows
    from yangfan.trainers.pipeline.tokens import Words

    words = Words(base)
    found: list[Prompt] = []
    for number, (name, sample) in enumerate(_rows(spec), 1):
        row = rows.Row(number, name, sample)
        try:
            if spec.mode == "post_pretrain":
                text = (rows.text(row) or "")[:MAX_TEXT_CHARS].rstrip()
                if text:
                    found.append(Prompt((), text, tuple(words.tokens(text, special=True))))
                continue
            messages = tuple(_asked(spec.mode, row))
            found.append(Prompt(messages, "", tuple(words.prompt(row, messages))))
        except Invalid:
            continue  # a row that is held out and cannot be read was measured by nobody
    return found


def _asked(mode: str, row: Any) -> list[ChatMessage]:
    """The conversation of a row up to the answer."""
    from yangfan.trainers.pipeline import rows

    if mode in {"dpo", "reward"}:
        return list(rows.preference(row).messages)
    if mode == "kto":
        return list(rows.judged(row)[0].messages)
    if mode == "grpo":
        return rows.asked(row)[0]
    messages = rows.conversation(row)
    last = max(place for place, each in enumerate(messages) if each.role == "assistant")
    return messages[:last]


def _rows(spec: _Spec) -> list[tuple[str, dict[str, Any]]]:
    """Rows that were held out; where none were, the first that were learnt from."""
    from yangfan.datasets import formats
    from yangfan.datasets.shards import read_rows
    from yangfan.worker import sources

    given = spec.validation or spec.train
    manifests = [sources.manifest_of(source) for source in given]
    count = sum(manifest.rows for manifest in manifests)
    wanted = list(range(min(PROMPTS, count)))
    if not spec.validation and spec.split_percent and count > 1:
        held = min(max(round(count * spec.split_percent / 100), 1), count - 1)
        # As the training drew them: `yangfan.worker.works.train`.
        wanted = sorted(random.Random(spec.seed).sample(range(count), held))[:PROMPTS]  # noqa: S311
    found: list[tuple[str, dict[str, Any]]] = []
    first = 0
    for source, manifest in zip(given, manifests, strict=True):
        blobs = sources.blobs_of(source, spec.blobs)
        for number in wanted:
            if first <= number < first + manifest.rows:
                for row in read_rows(blobs, manifest, number - first, 1):
                    sample = msgspec.json.decode(formats.encode(row.sample))
                    found.append((row.row_id, sample))
        first += manifest.rows
    return found


def _scored_alike(
    task: Task, spec: _Spec, base: Path, served: Served, engine: str, context: int
) -> dict[str, Any]:
    """Compare the scores of answers: the trainer's, and those that the engine ranks by."""
    from yangfan.trainers.pipeline import rows
    from yangfan.trainers.pipeline.rewards import RewardModel

    adapter = "" if spec.method == "full" else spec.trained
    model = RewardModel(Path(spec.trained) if spec.method == "full" else base, adapter, "cpu")
    asked: list[tuple[str, list[str]]] = []
    expected: list[float] = []
    for number, (name, sample) in enumerate(_rows(spec), 1):
        pair = rows.preference(rows.Row(number, name, sample))
        answers = [pair.chosen, pair.rejected]
        if (
            len(pair.messages) == 1
        ):  # a ranking knows a question and answers, no longer conversation
            asked.append((str(pair.messages[0].content), answers))
            expected += model.scores(pair.messages, answers)
    if not asked:
        return {"passed": None, "reason": "not measured: no row is a question with answers alone"}
    try:
        found = asyncio.run(_rank(engine, served, context, asked, _in(task.folder / "engine")))
    except (EngineFailed, ConfigurationError) as error:
        return {"passed": False, "reason": f"the engine cannot run it: {error.message}"}
    differences = [abs(here - there) for here, there in zip(found, expected, strict=True)]
    mean, tolerance = sum(differences) / len(differences), SCORE_TOLERANCE
    return {
        "passed": mean <= tolerance,
        "reason": f"scores of {len(found)} answers differ by {mean:.4f} on average (at most {max(differences):.4f}; {tolerance} on average is"
        " allowed)",
        "prompts": len(asked),
        "mean_difference": round(mean, 6),
        "greatest_difference": round(max(differences), 6),
        "tolerance": tolerance,
    }


async def _rank(
    name: str, served: Served, context: int, asked: list[tuple[str, list[str]]], workdir: Path
) -> list[float]:
    """The scores that the engine gives to answers, in order."""
    spec = EngineSpec("parity", str(served.model), context_tokens=context, slots=1, kind="rerank")
    engine: Any = extensions.load(ENGINES, name).create(spec, workdir)
    await engine.start()
    try:
        return [
            score
            for question, answers in asked
            for score in (await engine.rerank(question, answers)).scores
        ]
    finally:
        await engine.stop()


async def _ask(
    name: str, served: Served, context: int, prompts: list[Prompt], workdir: Path
) -> list[Said]:
    """Let the engine that will serve the model read the prompts and write a little."""
    module = extensions.load(ENGINES, name)
    beside = {} if served.adapter is None else {"trained": str(served.adapter)}
    adapter = next(iter(beside), None)
    spec = EngineSpec(
        "parity", str(served.base or served.model), context_tokens=context, slots=1, adapters=beside
    )
    engine: Any = module.create(spec, workdir)
    greedy = Sampling(temperature=0.0, max_output_tokens=TOKENS, repetition_penalty=1.0)
    await engine.start()
    try:
        said: list[Said] = []
        for prompt in prompts:
            if prompt.messages:
                messages = tuple(Message(each.role, str(each.content)) for each in prompt.messages)
                ids = await engine.prompt_tokens(messages)
                request = ChatRequest(
                    messages, sampling=greedy, logprobs=True, top_logprobs=1, adapter=adapter
                )
                reply = await engine.chat(request)
            else:
                ids = await engine.text_tokens(prompt.text)
                reply = await engine.complete(
                    CompletionRequest(prompt.text, sampling=greedy, logprobs=1, adapter=adapter)
                )
            logprobs: Any = reply.answers[0].logprobs or {}
            told: list[dict[str, Any]] = logprobs.get("content") or []
            said.append(
                Said(
                    tuple(ids),
                    tuple(int(token.get("id", -1)) for token in told),
                    tuple(float(token["logprob"]) for token in told),
                )
            )
        return said
    finally:
        await engine.stop()


def _expected(
    spec: _Spec, base: Path, prompts: list[Prompt], said: list[Said], vectors: int = 0
) -> list[list[tuple[float, bool]]]:
    """The trainer's log-probability of each token that the engine wrote, and whether it would have picked that, too."""
    import importlib

    torch: Any = importlib.import_module("torch")
    transformers: Any = importlib.import_module("transformers")
    safe: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    folder = Path(spec.trained) if spec.method == "full" else base
    model = transformers.AutoModelForCausalLM.from_pretrained(
        str(folder), dtype=torch.float32, use_safetensors=True, **safe
    )
    if spec.method != "full":
        peft: Any = importlib.import_module("peft")
        model = peft.PeftModel.from_pretrained(model, spec.trained)
    model.eval()
    found: list[list[tuple[float, bool]]] = []
    with torch.inference_mode():
        for prompt, answer in zip(prompts, said, strict=True):
            ids = [*prompt.ids, *answer.ids][
                vectors:
            ]  # peft puts the vectors in the place of those
            logits = model(input_ids=torch.tensor([ids])).logits[0].float()
            told = torch.log_softmax(logits, dim=-1)
            start = len(prompt.ids) - 1
            found.append(
                [
                    (
                        float(told[start + place, token]),
                        int(told[start + place].argmax()) == token,
                    )
                    for place, token in enumerate(answer.ids)
                ]
            )
    return found
