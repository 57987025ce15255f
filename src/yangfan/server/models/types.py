"""The nouns of models: what is kept of them, and what is known before one runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from yangfan.engines.base import EngineSpec

AtLeastOne = Annotated[int, Meta(ge=1)]

Source = Literal["UserCreate", "PlatformPreset"]
"""Whose set it is."""

State = Literal["Ready", "Creating", "Fail"]
"""Where a version stands (specification D.1). Ready and Fail are final."""

SourceType = Literal["Train", "Import", "Acceleration", "PlatformPreset"]
"""How a version came to be: trained here, brought from elsewhere, compressed from another, or part of the catalogue."""

SetType = Literal["Text2Text", "Text2Image", "TextRepresentation", "ImageUnderstanding", "Industry"]
"""What the models of a set are for (specification D.2)."""

TaskKind = Literal["compress", "export"]
TaskState = Literal["running", "succeeded", "failed", "stopped"]


class InputLimits(msgspec.Struct, frozen=True, kw_only=True):
    """How much one call may bring; None leaves it to the name that was called and to the model.

    Attributes:
        max_inputs: Texts of an embeddings call, documents of a rerank call.
        max_input_chars: Characters of a text to embed, of a document to rank, of a prompt or a conversation.
        max_input_tokens: The same in tokens.
    """

    max_inputs: AtLeastOne | None = None
    max_input_chars: AtLeastOne | None = None
    max_input_tokens: AtLeastOne | None = None


class Plan(msgspec.Struct, frozen=True):
    """A model to serve: the name that calls use, the engine file that runs it, what that is given, and what calls may bring.

    `memory_bytes` is an estimate of what one replica needs, 0 where nothing is known.
    """

    name: str
    engine: str
    spec: EngineSpec
    limits: InputLimits = InputLimits()
    memory_bytes: int = 0


class File(msgspec.Struct, frozen=True):
    """One file of a version: where it goes and what is in it."""

    path: str
    sha256: str
    size_bytes: int


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What was read out of a model's own files, or what the catalogue says; what is not known is empty or 0.

    Attributes:
        architecture: Such as ``LlamaForCausalLM`` or, of a GGUF file, ``llama``.
        context_tokens: Longest input, prompt and answer together.
        parameters: Number of weights.
        chat_template: The Jinja text that turns a conversation into a prompt.
        licence: SPDX identifier.
        quantization: How the weights were made smaller, such as ``Q4_K_M``.
        parity: Of a version that was trained here: how near what is served is to what was trained
            (`yangfan.worker.works.publish_model`); {} where nobody measured.
    """

    architecture: str = ""
    context_tokens: int = 0
    parameters: int = 0
    chat_template: str = ""
    licence: str = ""
    quantization: str = ""
    parity: Mapping[str, Any] = msgspec.field(default_factory=dict[str, Any])


class ModelSet(msgspec.Struct, frozen=True, kw_only=True):
    """A name with versions.

    Attributes:
        number: The integer id that v1 shows.
        id: ``am-…``.
        name: Unique among the sets of a source.
        source: Whose it is.
        type: What its models are for.
        tags: Words to find it by.
        description: For people.
        created_ms: ms since the epoch; `modified_ms` likewise.
    """

    number: int
    id: str
    name: str
    source: Source
    type: SetType
    tags: tuple[str, ...] = ()
    description: str = ""
    created_ms: int
    modified_ms: int


class Version(msgspec.Struct, frozen=True, kw_only=True):
    """A model as it is kept: once it is Ready, its files and facts never change.

    Attributes:
        number: The integer id that v1 shows.
        id: ``amv-…``.
        set_id: The set that it belongs to; `set_number` and `set_name` are that set's.
        version: Counts from 1 within the set; no number is given twice.
        state: Whether it can be used.
        source_type: How it came to be.
        application: What calls it answers: chat, completion, embedding, reranker, Text-to-Image, Image-to-Text.
        kind: The same in the words of engines: chat, vision, embeddings, rerank, images.
        format: gguf, safetensors, diffusers, openvino or echo; "" while it is not known.
        size_bytes: All its files together.
        memory_bytes: Estimate of what one replica needs, 0 where nothing is known.
        facts: What its files say.
        files: Every file with its SHA-256; empty where `brief` lists do not load them.
        source: Address that it came from.
        revision: Commit or version there.
        parent_id: The version that it was made from.
        task_id: The training task, or the compression task, that made it.
        labels: Names that point to it now, such as ``production``.
        origin: What the call that made it said about where it comes from, as it was sent.
        error: Why it failed.
        job_id: The job that makes it, or made it.
    """

    number: int
    id: str
    set_number: int
    set_id: str
    set_name: str
    version: int
    description: str = ""
    state: State
    source_type: SourceType
    application: str = "chat"
    kind: str = "chat"
    format: str = ""
    size_bytes: int = 0
    memory_bytes: int = 0
    facts: Facts = Facts()
    files: tuple[File, ...] = ()
    source: str = ""
    revision: str = ""
    parent_id: str = ""
    task_id: str = ""
    labels: tuple[str, ...] = ()
    origin: Mapping[str, Any] = msgspec.field(default_factory=dict[str, Any])
    error: str = ""
    job_id: str = ""
    created_ms: int
    modified_ms: int

    @property
    def name(self) -> str:
        """SET:VERSION, as people write it."""
        return f"{self.set_name}:{self.version}"

    @property
    def licence(self) -> str:
        """SPDX identifier, "" if unknown."""
        return self.facts.licence

    @property
    def is_preset(self) -> bool:
        """Whether it belongs to the catalogue."""
        return self.source_type == "PlatformPreset"

    @property
    def is_compressible(self) -> bool:
        """Whether CreateModelCompTask takes it: a chat model that is here in a form that can be quantised."""
        return (
            self.state == "Ready"
            and self.kind == "chat"
            and self.format in {"gguf", "safetensors"}
            and not self.is_preset
        )


class SetLine(msgspec.Struct, frozen=True, kw_only=True):
    """A set in a list.

    Attributes:
        set: The set.
        version_count: How many versions it has.
        ids: Ids of the newest 100, newest first; `numbers` are their numbers within the set.
        versions: The same versions themselves, where the list was asked for them.
    """

    set: ModelSet
    version_count: int
    ids: tuple[str, ...]
    numbers: tuple[int, ...]
    versions: tuple[Version, ...] = ()

    @property
    def names(self) -> list[str]:
        """SET:VERSION of each."""
        return [f"{self.set.name}:{number}" for number in self.numbers]


class Task(msgspec.Struct, frozen=True, kw_only=True):
    """Work on a version that was asked for by an Action of its own: a compression or an export.

    Attributes:
        number: Order of creation.
        id: ``amva-…`` for a compression, ``amve-…`` for an export.
        kind: Which.
        state: Where it stands; while it runs, the job knows better.
        source_id: The version to work on.
        version_id: The version that a compression makes.
        set_id: Where that goes.
        config: What was asked for, as it was sent.
        result: What came out.
        error: Why it failed.
        job_id: The job that does it.
    """

    number: int
    id: str
    kind: TaskKind
    name: str = ""
    description: str = ""
    state: TaskState
    source_id: str
    version_id: str = ""
    set_id: str = ""
    config: Mapping[str, Any] = msgspec.field(default_factory=dict[str, Any])
    result: Mapping[str, Any] = msgspec.field(default_factory=dict[str, Any])
    error: str = ""
    job_id: str = ""
    created_ms: int
    finished_ms: int | None = None
