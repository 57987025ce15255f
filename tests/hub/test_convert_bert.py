"""The converted file against an independent reference: the forward pass of BERT, written in NumPy from the paper's equations.

BERT: https://arxiv.org/abs/1810.04805; tokens by greedy longest match, as WordPiece defines it; mean pooling and length 1, as the
model's card says (https://huggingface.co/sentence-transformers/all-MiniLM-L6-v2).
"""

# pyright: basic, reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false, reportUnknownParameterType=false, reportMissingParameterType=false, reportMissingImports=false
# NumPy may be absent, so its types are not known.

import json
import math
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from yangfan.engines import llama_cpp
from yangfan.engines._gguf import read_facts
from yangfan.engines.base import EngineSpec
from yangfan.errors import ConfigurationError, ContextTooLong
from yangfan.hub.convert_bert import convert, is_bert

TEXTS = [
    "hello world",
    "a cat sits on the mat",
    "diesel motors burn oil and unbelievably much of it",
    "photosynthesis",
]
VECTOR_TOLERANCE = 1e-2
COSINE_TOLERANCE = 1e-3


@pytest.fixture(scope="module")
def reference(minilm_folder: Path) -> Callable[[str], list[float]]:
    """The model in NumPy, in 32-bit floats from the file that it comes in."""
    np = pytest.importorskip("numpy")
    data = (minilm_folder / "model.safetensors").read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    header.pop("__metadata__", None)
    weights = {
        name: np.frombuffer(data[8 + length :][slice(*entry["data_offsets"])], "<f4").reshape(
            entry["shape"]
        )
        for name, entry in header.items()
        if entry["dtype"] == "F32"
    }
    vocabulary = {
        token: number
        for number, token in enumerate((minilm_folder / "vocab.txt").read_text("utf-8").split("\n"))
    }
    config = json.loads((minilm_folder / "config.json").read_text())
    heads, erf = config["num_attention_heads"], np.vectorize(math.erf)

    def pieces(word: str) -> list[int]:
        found, begin = [], 0
        while begin < len(word):
            end = len(word)
            while ("##" if begin else "") + word[begin:end] not in vocabulary:
                end -= 1
            found.append(vocabulary[("##" if begin else "") + word[begin:end]])
            begin = end
        return found

    def norm(x, name):
        x = x - x.mean(-1, keepdims=True)
        x = x / np.sqrt((x * x).mean(-1, keepdims=True) + config["layer_norm_eps"])
        return x * weights[f"{name}.weight"] + weights[f"{name}.bias"]

    def dense(x, name):
        return x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]

    def attention(x, name):
        tokens, width = x.shape
        query, key, value = (
            dense(x, f"{name}.self.{part}").reshape(tokens, heads, -1).transpose(1, 0, 2)
            for part in ("query", "key", "value")
        )
        scores = query @ key.transpose(0, 2, 1) / math.sqrt(width // heads)
        scores = np.exp(scores - scores.max(-1, keepdims=True))
        mixed = (scores / scores.sum(-1, keepdims=True)) @ value
        return dense(mixed.transpose(1, 0, 2).reshape(tokens, width), f"{name}.output.dense")

    def vector(text: str) -> list[float]:
        words = [piece for word in text.split() for piece in pieces(word)]
        ids = [vocabulary["[CLS]"], *words, vocabulary["[SEP]"]]
        x = weights["embeddings.word_embeddings.weight"][ids]
        x = x + weights["embeddings.position_embeddings.weight"][: len(ids)]
        x = norm(x + weights["embeddings.token_type_embeddings.weight"][0], "embeddings.LayerNorm")
        for block in range(config["num_hidden_layers"]):
            name = f"encoder.layer.{block}"
            x = norm(x + attention(x, f"{name}.attention"), f"{name}.attention.output.LayerNorm")
            inner = dense(x, f"{name}.intermediate.dense")
            inner = inner * 0.5 * (1 + erf(inner / math.sqrt(2)))
            x = norm(x + dense(inner, f"{name}.output.dense"), f"{name}.output.LayerNorm")
        pooled = x.mean(0)
        return (pooled / np.linalg.norm(pooled)).tolist()

    return vector


@pytest.mark.model
@pytest.mark.skipif(llama_cpp.missing() is not None, reason=str(llama_cpp.missing()))
async def test_vectors_and_cosines_are_those_of_the_reference(
    minilm_folder: Path, tmp_path: Path, reference: Callable[[str], list[float]]
) -> None:
    convert(minilm_folder, tmp_path / "m.gguf")
    spec = EngineSpec("tested", str(tmp_path / "m.gguf"), slots=2, threads=1)
    engine = llama_cpp.create(spec, tmp_path)
    await engine.start()
    ours = (await engine.embed(TEXTS)).vectors
    await engine.stop()
    expected = [reference(text) for text in TEXTS]
    for one, other in zip(ours, expected, strict=True):
        assert one == pytest.approx(other, abs=VECTOR_TOLERANCE)
    for a in range(len(TEXTS)):
        for b in range(a):
            assert cosine(ours[a], ours[b]) == pytest.approx(
                cosine(expected[a], expected[b]), abs=COSINE_TOLERANCE
            )


def cosine(one: list[float], other: list[float]) -> float:
    return sum(a * b for a, b in zip(one, other, strict=True))


# A model of four words, small enough to be written here


CONFIG = {
    "model_type": "bert",
    "hidden_size": 4,
    "intermediate_size": 8,
    "num_attention_heads": 2,
    "num_hidden_layers": 1,
    "max_position_embeddings": 32,
    "type_vocab_size": 2,
}
VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "sea", "wind", "##s"]
BLOCK = "encoder.layer.0"
SHAPES = {
    "embeddings.word_embeddings.weight": [8, 4],
    "embeddings.position_embeddings.weight": [32, 4],
    "embeddings.token_type_embeddings.weight": [2, 4],
    **{f"embeddings.LayerNorm.{part}": [4] for part in ("weight", "bias")},
    **{
        f"{BLOCK}.{name}.weight": [4, 4]
        for name in (
            *(f"attention.self.{part}" for part in ("query", "key", "value")),
            "attention.output.dense",
        )
    },
    **{
        f"{BLOCK}.{name}.bias": [4]
        for name in (
            *(f"attention.self.{part}" for part in ("query", "key", "value")),
            "attention.output.dense",
        )
    },
    f"{BLOCK}.intermediate.dense.weight": [8, 4],
    f"{BLOCK}.intermediate.dense.bias": [8],
    f"{BLOCK}.output.dense.weight": [4, 8],
    f"{BLOCK}.output.dense.bias": [4],
    **{
        f"{BLOCK}.{name}.{part}": [4]
        for name in ("attention.output.LayerNorm", "output.LayerNorm")
        for part in ("weight", "bias")
    },
}
CODES = {"F32": "f", "F16": "e", "BF16": "H", "I32": "i"}


def write_model(
    folder: Path,
    *,
    dtype: str = "F32",
    prefix: str = "",
    without: str = "",
    config: dict | None = None,
    pooling: dict | None = None,
    vocabulary: list[str] = VOCABULARY,
    labels: int = 0,
    scale: float = 1.0,
) -> Path:
    """Write a model folder with made-up weights; with labels it has a classifier, whose weights are scaled and whose bias is 0.5."""
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps({**CONFIG, **(config or {})}))
    (folder / "vocab.txt").write_text("\n".join(vocabulary) + "\n", "utf-8")
    if pooling is not None:
        (folder / "1_Pooling").mkdir()
        (folder / "1_Pooling" / "config.json").write_text(json.dumps(pooling))
    header, data = {}, b""
    head = {
        "pooler.dense.weight": [4, 4],
        "pooler.dense.bias": [4],
        "classifier.weight": [labels, 4],
        "classifier.bias": [labels],
    }
    for seed, (name, shape) in enumerate({**SHAPES, **(head if labels else {})}.items()):
        if name == without:
            continue
        values = [math.sin(seed * 37 + index) for index in range(math.prod(shape))]
        if name.startswith("classifier"):
            values = [0.5 if name.endswith("bias") else scale * value for value in values]
        numbers = (
            [struct.unpack("<I", struct.pack("<f", value))[0] >> 16 for value in values]
            if dtype == "BF16"
            else [int(value * 10) for value in values]
            if dtype == "I32"
            else values
        )
        tensor = struct.pack(f"<{len(values)}{CODES[dtype]}", *numbers)
        header[("" if name.startswith("classifier") else prefix) + name] = {
            "dtype": dtype,
            "shape": shape,
            "data_offsets": [len(data), len(data) + len(tensor)],
        }
        data += tensor
    encoded = json.dumps(header).encode()
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(encoded)) + encoded + data)
    return folder


@pytest.mark.parametrize(("dtype", "prefix"), [("F32", ""), ("F16", "bert."), ("BF16", "")])
@pytest.mark.skipif(llama_cpp.missing() is not None, reason=str(llama_cpp.missing()))
async def test_weights_of_every_float_type_are_converted(
    tmp_path: Path, dtype: str, prefix: str
) -> None:
    vectors: list[list[float]] = []
    for kind in ("F32", dtype):
        folder = write_model(tmp_path / kind, dtype=kind, prefix=prefix if kind == dtype else "")
        target = tmp_path / "out" / f"{kind}.gguf"
        convert(folder, target)
        assert [path.name for path in target.parent.glob("*.part")] == []
        engine = llama_cpp.create(EngineSpec("tiny", str(target), slots=1, threads=1), tmp_path)
        await engine.start()
        assert engine.kinds == {"embeddings"}
        vectors.append((await engine.embed(["sea winds"])).vectors[0])
        await engine.stop()
    assert cosine(*vectors) > 0.999


@pytest.mark.skipif(llama_cpp.missing() is not None, reason=str(llama_cpp.missing()))
async def test_an_encoder_with_a_classifier_of_one_label_ranks(tmp_path: Path) -> None:
    scores: dict[float, tuple[float, ...]] = {}
    for scale in (0.0, 1.0, 2.0):
        folder = write_model(tmp_path / str(scale), prefix="bert.", labels=1, scale=scale)
        target = tmp_path / f"{scale}.gguf"
        convert(folder, target)
        engine = llama_cpp.create(EngineSpec("tiny", str(target), slots=4, threads=1), tmp_path)
        assert engine.kinds == {"rerank"}
        await engine.start()
        reply = await engine.rerank("sea", ["wind", "seas", "wind wind seas"] * 3)
        assert reply.usage.prompt_tokens > 9 * 5
        with pytest.raises(ContextTooLong, match="32"):
            await engine.rerank("sea", ["wind " * 40])
        await engine.stop()
        scores[scale] = reply.scores
    # score = scale * (weights . tanh(pooled)) + 0.5, whatever the encoder makes of the texts.
    assert scores[0.0] == pytest.approx([0.5] * 9)
    assert len(set(scores[1.0][:3])) == 3
    assert scores[1.0][:3] == pytest.approx(scores[1.0][3:6], abs=1e-5)
    doubled = [2 * (score - 0.5) + 0.5 for score in scores[1.0]]
    assert scores[2.0] == pytest.approx(doubled, abs=1e-3)


@pytest.mark.parametrize(
    ("pooling", "number"),
    [
        (None, 1),
        ({"pooling_mode_mean_tokens": True}, 1),
        ({"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}, 2),
    ],
)
def test_pooling_is_the_models_own(tmp_path: Path, pooling: dict | None, number: int) -> None:
    convert(write_model(tmp_path / "m", pooling=pooling), tmp_path / "m.gguf")
    facts = read_facts(tmp_path / "m.gguf")
    assert (facts.architecture, facts.context_tokens, facts.pooling_type) == ("bert", 32, number)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"config": {"model_type": "xlm-roberta"}}, "'xlm-roberta', and only bert encoders"),
        ({"config": {"hidden_act": "relu"}}, "unusual bert .hidden_act 'relu'"),
        ({"config": {"hidden_size": "wide"}}, r"config\.json cannot be used: Expected `int`"),
        ({"pooling": {"pooling_mode_mean_tokens": False}}, "neither mean nor cls"),
        ({"without": f"{BLOCK}.output.dense.bias"}, "lacks 1 tensors of a bert encoder"),
        ({"labels": 3}, "into 3 classes instead of scoring"),
        ({"labels": 1, "without": "pooler.dense.bias"}, "lacks 1 tensors"),
        ({"dtype": "I32"}, "of type I32; F32, F16 and BF16"),
        ({"vocabulary": ["sea"]}, r"vocab\.txt lacks a token"),
    ],
)
def test_folder_that_is_no_such_model_is_refused_with_the_reason(
    tmp_path: Path, changes: dict, says: str
) -> None:
    folder = write_model(tmp_path / "m", **changes)
    with pytest.raises(ConfigurationError, match=says):
        convert(folder, tmp_path / "m.gguf")
    assert not (tmp_path / "m.gguf").exists()


@pytest.mark.parametrize("name", ["config.json", "vocab.txt", "model.safetensors"])
def test_missing_file_is_named(tmp_path: Path, name: str) -> None:
    folder = write_model(tmp_path / "m")
    (folder / name).unlink()
    with pytest.raises((ConfigurationError, FileNotFoundError), match=name.replace(".", r"\.")):
        convert(folder, tmp_path / "m.gguf")


def test_every_cut_of_the_weights_is_noticed(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "m")
    whole = (folder / "model.safetensors").read_bytes()
    for length in (0, 4, 9, 100, len(whole) // 2, len(whole) - 1):
        (folder / "model.safetensors").write_bytes(whole[:length])
        with pytest.raises(ConfigurationError, match="get it again"):
            convert(folder, tmp_path / "m.gguf")


def test_only_bert_is_bert(tmp_path: Path) -> None:
    assert is_bert(write_model(tmp_path / "a"))
    assert not is_bert(write_model(tmp_path / "b", config={"model_type": "llama"}))
    assert not is_bert(tmp_path)
