"""What a model says of itself, read from its headers and small JSON files before any engine sees it; nothing in it is run.

Weights are GGUF or safetensors by content, whatever their names say. Every header is read whole and held against its file
(`yangfan.weights`), so files that lie are refused here with a reason.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, cast

import msgspec

from yangfan.errors import ConfigurationError
from yangfan.hub import folder
from yangfan.weights import gguf
from yangfan.weights.safetensors import SafetensorsFile

if TYPE_CHECKING:
    from pathlib import Path

Format = Literal["gguf", "safetensors", "adapter"]
Kind = Literal["chat", "vision", "embeddings", "rerank", "images"]

MAX_TOKENIZER_BYTES: Final = 256 * 1024 * 1024
MAX_README_BYTES: Final = 1024 * 1024
MAX_TEMPLATE_CHARACTERS: Final = 256 * 1024

ESTIMATE_TOKENS: Final = 8192
"""Longest context that the memory estimate of one slot counts; larger windows are a choice, and `kv_bytes_per_token` says their price."""

CACHE_ITEM_BYTES: Final = 2
"""Keys and values are cached as 16-bit floats, in llama.cpp by default and in Transformers with the weights' type."""

OVERHEAD_BYTES: Final = {"gguf": 96 << 20, "safetensors": 512 << 20, "adapter": 0}
"""Of a process without weights and cache: llama.cpp's wheel with its buffers, and torch with Transformers. Measured once, rounded up."""

BATCH_TOKENS: Final = 512
"""Tokens that llama.cpp computes at once (`n_ubatch`); the scores of each stand in memory as 32-bit floats."""

_NO_MODELS: Final = {
    "adapter": "an adapter and no model; serve its base model and name the adapter in that model's options",
    "mmproj": "the part of a model that reads pictures; give it together with its language model",
    "vocab": "a vocabulary without weights",
    "imatrix": "a table of weights' importance and no model",
}
"""`general.type` of GGUF files that no engine can load by themselves."""

_PICKLE: Final = re.compile(rb"PK\x03\x04|\x80[\x02-\x05]")


class ModelFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What was read out of a model.

    Attributes:
        format: How its weights are kept.
        kind: What it can be asked for.
        architecture: ``llama`` (GGUF) or ``LlamaForCausalLM`` (safetensors); "" where nothing says.
        context_tokens: Longest input that it was trained for; None where nothing says.
        parameters: Numbers in its weights.
        dtype: How most of its weights' bytes are kept: ``BF16``, ``Q4_K_M``.
        chat_template: Its own Jinja template, as text; "" if it has none.
        licence: As it names it (``apache-2.0``), "" if it names none.
        tokenizer: ``BPE``, ``Unigram``, ``WordPiece``, ``SentencePiece`` or the name in a GGUF file; "" where nothing says.
        weights_bytes: All weights together.
        kv_bytes_per_token: What one token of one conversation keeps in memory; 0 for encoders.
        memory_bytes_estimate: See `estimate`.
    """

    format: Format
    kind: Kind
    architecture: str
    context_tokens: int | None
    parameters: int
    dtype: str
    chat_template: str
    licence: str
    tokenizer: str
    weights_bytes: int
    kv_bytes_per_token: int
    memory_bytes_estimate: int


def inspect(path: Path, *, kind: Kind | None = None) -> ModelFacts:
    """Read the facts of the model in a folder.

    Args:
        path: The folder; it holds .gguf files, or .safetensors files with a config.json (or model_index.json).
        kind: What the caller says that the model is for; it wins over what is read, where both can be.

    Raises:
        ConfigurationError: It is no model, or not the kind, or a file is not what it says; the message tells which and why.
    """
    require_no_pickles(path)
    if any(path.rglob("*.gguf")):
        return _inspect_gguf(path, kind)
    return _inspect_folder(path, kind)


def estimate(
    weights_bytes: int,
    kv_bytes_per_token: int,
    context_tokens: int | None,
    vocabulary: int,
    form: Format,
) -> int:
    """Memory that one replica with one slot needs, in bytes, about.

    ``weights + tokens · kv_bytes_per_token + batch · vocabulary · 4 + overhead``, with tokens the context, at most
    `ESTIMATE_TOKENS`. ``kv_bytes_per_token = layers · key-value heads · (key length + value length) · 2``: the size of llama.cpp's
    cache (`llama_kv_cache` in https://github.com/ggml-org/llama.cpp/blob/master/src/llama-kv-cache.cpp) and of the paper that
    shares heads (https://arxiv.org/abs/2305.13245). It is a bound to plan with, not a measurement.
    """
    tokens = min(context_tokens or ESTIMATE_TOKENS, ESTIMATE_TOKENS)
    scores = BATCH_TOKENS * vocabulary * 4
    return weights_bytes + tokens * kv_bytes_per_token + scores + OVERHEAD_BYTES[form]


def require_no_pickles(path: Path) -> None:
    """Refuse pickles by their first bytes, whatever they are called: loading one runs code.

    Raises:
        ConfigurationError: A file in the folder is one.
    """
    for file in sorted(path.rglob("*")):
        if not file.is_file():
            continue
        with file.open("rb") as opened:
            head = opened.read(9)
        # The length of a safetensors header may begin with a pickle's sign; only then a brace follows.
        if _PICKLE.match(head) and not (file.suffix == ".safetensors" and head[8:] == b"{"):
            raise ConfigurationError(
                f"{file.relative_to(path)} is a pickle (or a zip that may hold one), whatever its name says; pickles can run code "
                "and are not taken: get the model as safetensors or GGUF"
            )


# GGUF -------------------------------------------------------------------------------------------------


def _inspect_gguf(path: Path, kind: Kind | None) -> ModelFacts:
    files = sorted(path.rglob("*.gguf"))
    try:
        headers = [gguf.read(file) for file in files]
    except (gguf.NotGGUFError, OSError) as error:
        raise ConfigurationError(str(error).replace(f"{path}/", "")) from error
    parts = [header for header in headers if header.text("general.type") != "mmproj"]
    seeing = len(parts) < len(headers)
    if not parts:
        raise ConfigurationError(f"{files[0].name} is {_NO_MODELS['mmproj']}")
    main = parts[0]
    kind_of_file = main.text("general.type")
    if kind_of_file in _NO_MODELS:
        raise ConfigurationError(f"{files[0].name} is {_NO_MODELS[kind_of_file]}")
    architecture = main.text("general.architecture")
    if not architecture:
        raise ConfigurationError(f"{files[0].name} names no architecture; get the model again")
    if not any(header.tensors for header in parts):
        raise ConfigurationError(f"{files[0].name} holds no weights; get the model again")
    read_kind: Kind = gguf.kind_of(architecture, main.number(f"{architecture}.pooling_type"))
    if seeing and read_kind == "chat":
        read_kind = "vision"
    tensors = [tensor for header in headers for tensor in header.tensors]
    unknown = sorted({tensor.type for tensor in tensors} - gguf.TYPES.keys())
    if unknown:
        raise ConfigurationError(
            f"{files[0].name} keeps weights in a way that is not known here (type {unknown[0]}); get another quantisation"
        )
    context = main.number(f"{architecture}.context_length")
    if context is not None and not 0 < context < 1 << 31:
        raise ConfigurationError(
            f"{files[0].name} says that its context has {context} tokens; get the model again"
        )
    weights_bytes = sum(header.size_bytes for header in headers)
    per_token = (
        0
        if read_kind in {"embeddings", "rerank"}
        else _gguf_cache(main, architecture, files[0].name)
    )
    vocabulary = main.facts.get("tokenizer.ggml.tokens")
    return ModelFacts(
        format="gguf",
        kind=_settle(read_kind, kind),
        architecture=architecture,
        context_tokens=context,
        parameters=sum(tensor.items for tensor in tensors),
        dtype=_gguf_dtype(main, tensors),
        chat_template=main.text("tokenizer.chat_template")[:MAX_TEMPLATE_CHARACTERS],
        licence=main.text("general.license") or _licence_beside(path),
        tokenizer=main.text("tokenizer.ggml.model"),
        weights_bytes=weights_bytes,
        kv_bytes_per_token=per_token,
        memory_bytes_estimate=estimate(
            weights_bytes, per_token, context, vocabulary.length if vocabulary else 0, "gguf"
        ),
    )


def _gguf_cache(header: gguf.Header, architecture: str, name: str) -> int:
    """Bytes that one token keeps; where the file does not say a number, llama.cpp's own default."""

    def number(key: str, default: int) -> int:
        found = header.number(f"{architecture}.{key}")
        if found is not None and not 0 <= found < 1 << 31:
            raise ConfigurationError(f"{name} says {found} for {key}; get the model again")
        return default if found is None else found

    heads = number("attention.head_count", 0)
    head_size = number("embedding_length", 0) // heads if heads else 0
    key, value = (number(f"attention.{part}_length", head_size) for part in ("key", "value"))
    shared = number("attention.head_count_kv", heads)
    return number("block_count", 0) * shared * (key + value) * CACHE_ITEM_BYTES


def _gguf_dtype(header: gguf.Header, tensors: list[gguf.TensorPlace]) -> str:
    told = header.number("general.file_type")
    if told is not None and told in gguf.FILE_TYPES:
        return gguf.FILE_TYPES[told]
    sizes = Counter[int]()
    for tensor in tensors:
        sizes[tensor.type] += tensor.size_bytes
    return gguf.TYPES[sizes.most_common(1)[0][0]].name


# safetensors ------------------------------------------------------------------------------------------


class _Config(NamedTuple):
    """config.json, or the part of it that describes the language model."""

    all: dict[str, Any]
    text: dict[str, Any]

    def number(self, *names: str) -> int | None:
        for name in names:
            value = self.text.get(name)
            if isinstance(value, int) and not isinstance(value, bool):
                if not 0 <= value < 1 << 31:
                    raise ConfigurationError(
                        f"config.json says {value} for {name}; get the model again"
                    )
                return value
        return None


def _inspect_folder(path: Path, kind: Kind | None) -> ModelFacts:
    try:
        described = folder.describe(path)
        folder.require_safe(path)
        files = [SafetensorsFile(file) for file in sorted(path.rglob("*.safetensors"))]
    except ConfigurationError as error:
        # People know the model by its name, not by the folder that it passes through.
        raise ConfigurationError(
            error.message.replace(f"{path}/", "").replace(f"{path}", "the model")
        ) from error
    if described.format == "openvino":
        raise ConfigurationError(
            "the model is an OpenVINO model; only safetensors and GGUF can be imported: serve the folder itself with the engine openvino"
        )
    _require_index(path, files)
    config = _config(path)
    _require_shapes(config, files)
    sizes = Counter[str]()
    parameters = 0
    for file in files:
        for tensor in file.tensors.values():
            begin, end = tensor.data_offsets
            sizes[tensor.dtype] += end - begin
            items = 1
            for length in tensor.shape:
                items *= length
            parameters += items
    if not parameters:
        raise ConfigurationError("the model's files hold no weights; get the model again")
    context = config.number(
        "max_position_embeddings", "n_positions", "max_sequence_length", "seq_length"
    )
    weights_bytes = sum(sizes.values())
    per_token = 0 if described.kind in {"embeddings", "rerank", "images"} else _folder_cache(config)
    return ModelFacts(
        format="safetensors",
        kind=_settle(described.kind, kind),
        architecture=described.architecture,
        context_tokens=context,
        parameters=parameters,
        dtype=sizes.most_common(1)[0][0],
        chat_template=_template(path),
        licence=_licence_beside(path) or _text(config.all.get("license")),
        tokenizer=_tokenizer(path),
        weights_bytes=weights_bytes,
        kv_bytes_per_token=per_token,
        memory_bytes_estimate=estimate(
            weights_bytes, per_token, context, config.number("vocab_size") or 0, "safetensors"
        ),
    )


def _require_index(path: Path, files: list[SafetensorsFile]) -> None:
    """An index must say of each tensor what the files say."""
    held = {file.path.name: set(file.tensors) for file in files if file.path.parent == path}
    for index in path.glob("*.safetensors.index.json"):
        places = cast("dict[str, Any]", read_json(index)["weight_map"])
        for tensor, name in places.items():
            if tensor not in held.get(str(name), set[str]()):
                raise ConfigurationError(
                    f"{index.name} says that {tensor[:80]!r} is in {str(name)[:80]!r}, and it is not; get the model again"
                )


def _require_shapes(config: _Config, files: list[SafetensorsFile]) -> None:
    """The embeddings' table must be as large as the configuration says: engines allocate by the latter."""
    hidden, words = config.number("hidden_size"), config.number("vocab_size")
    for file in files:
        for name, tensor in file.tensors.items():
            if not name.endswith(("embed_tokens.weight", "word_embeddings.weight")):
                continue
            if "vision" in name or len(tensor.shape) != 2 or hidden is None or words is None:
                continue
            if tensor.shape[0] < words or ("embed_tokens" in name and tensor.shape[1] != hidden):
                raise ConfigurationError(
                    f"config.json says {words} tokens of {hidden} numbers each, and {name[:80]!r} has "
                    f"{tensor.shape[0]} of {tensor.shape[1]}; get the model again"
                )


def _folder_cache(config: _Config) -> int:
    layers = config.number("num_hidden_layers", "n_layer") or 0
    heads = config.number("num_attention_heads", "n_head") or 0
    hidden = config.number("hidden_size", "n_embd") or 0
    head_size = config.number("head_dim") or (hidden // heads if heads else 0)
    shared = config.number("num_key_value_heads") or heads
    return layers * shared * 2 * head_size * CACHE_ITEM_BYTES


def _config(path: Path) -> _Config:
    file = path / "config.json"
    whole = read_json(file) if file.is_file() else {}
    inner = whole.get("text_config")
    return _Config(whole, cast("dict[str, Any]", inner) if isinstance(inner, dict) else whole)


def _template(path: Path) -> str:
    """The chat template of a Hugging Face folder: a file of its own in new ones, a field in older ones."""
    file = path / "chat_template.jinja"
    if file.is_file() and file.stat().st_size <= 4 * MAX_TEMPLATE_CHARACTERS:
        return file.read_text("utf-8", "replace")[:MAX_TEMPLATE_CHARACTERS]
    if not (path / "tokenizer_config.json").is_file():
        return ""
    told = read_json(path / "tokenizer_config.json").get("chat_template")
    if isinstance(told, list):
        named = [
            cast("dict[str, Any]", entry)
            for entry in cast("list[Any]", told)
            if isinstance(entry, dict)
        ]
        told = next(
            (entry.get("template") for entry in named if entry.get("name") == "default"), ""
        )
    return _text(told)[:MAX_TEMPLATE_CHARACTERS]


class _TokenizerModel(msgspec.Struct):
    type: str = ""


class _Tokenizer(msgspec.Struct):
    model: _TokenizerModel | None = None


def _tokenizer(path: Path) -> str:
    file = path / "tokenizer.json"
    if not file.is_file():
        file = path / "tokenizer" / "tokenizer.json"
    if file.is_file() and file.stat().st_size <= MAX_TOKENIZER_BYTES:
        try:
            found = msgspec.json.decode(file.read_bytes(), type=_Tokenizer)
        except msgspec.MsgspecError as error:
            raise ConfigurationError(
                f"tokenizer.json cannot be read: {error}; get the model again"
            ) from error
        if found.model is not None and found.model.type:
            return found.model.type
    if (path / "tokenizer.model").is_file():
        return "SentencePiece"
    return "WordPiece" if (path / "vocab.txt").is_file() else ""


# Both -------------------------------------------------------------------------------------------------


def _settle(found: Kind, told: Kind | None) -> Kind:
    """What the caller says wins where a model can be either: those that write can also be asked for embeddings."""
    if told is None or told == found:
        return found
    if (found, told) in {("chat", "embeddings"), ("embeddings", "rerank"), ("vision", "chat")}:
        return told
    raise ConfigurationError(f"the model is for {found}, not for {told}")


_FRONT_MATTER: Final = re.compile(r"\A---\s*\n(.*?)\n---", re.DOTALL)
_LICENCE: Final = re.compile(
    r"^license(_name)?:[ \t]*['\"]?([A-Za-z0-9._+ -]{1,64}?)['\"]?[ \t]*$", re.MULTILINE
)
_LICENCE_TEXTS: Final = (
    ("Apache License", "apache-2.0"),
    ("MIT License", "mit"),
    ("BSD 3-Clause", "bsd-3-clause"),
)
_LICENCE_FILES: Final = ("LICENSE", "LICENSE.txt", "LICENCE", "LICENSE.md")


def _licence_beside(path: Path) -> str:
    """The licence that a model card names (https://huggingface.co/docs/hub/model-cards), or that the text of a licence is."""
    card = path / "README.md"
    if card.is_file() and card.stat().st_size <= MAX_README_BYTES:
        matter = _FRONT_MATTER.match(card.read_text("utf-8", "replace"))
        named = {found[1]: found[2] for found in _LICENCE.finditer(matter[1])} if matter else {}
        plain, name = named.get(None, ""), named.get("_name", "")
        if plain or name:
            return name if plain in {"", "other"} and name else plain
    for file in (path / name for name in _LICENCE_FILES):
        if file.is_file():
            with file.open("rb") as opened:
                head = opened.read(512).decode("utf-8", "replace")
            for sign, licence in _LICENCE_TEXTS:
                if sign in head:
                    return licence
    return ""


def read_json(path: Path) -> dict[str, Any]:
    """The object in a configuration file.

    Raises:
        ConfigurationError: It is too large, or no JSON object.
    """
    try:
        if path.stat().st_size > 64 * 1024 * 1024:
            raise ConfigurationError(f"{path.name} is too large to be a configuration")
        return msgspec.json.decode(path.read_bytes(), type=dict[str, Any])
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ConfigurationError(
            f"{path.name} cannot be read as JSON: {error}; get the model again"
        ) from error


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
