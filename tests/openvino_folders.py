"""Write two models in OpenVINO's own format, and what Transformers computes of the same weights: `python openvino_folders.py FOLDER`.

FOLDER/embeddings holds a BERT that pools by mean, FOLDER/rerank a cross-encoder; FOLDER/wanted.json what they give for `TEXTS`. Their
weights are random. The folders are what `optimum-cli export openvino` writes, as far as an engine reads it.

`python openvino_folders.py FOLDER MODEL` writes the encoder in the folder MODEL to FOLDER instead, for benchmarks.
"""

from __future__ import annotations

import importlib
import json
import shutil
import sys
from pathlib import Path
from typing import Any

QUERY = "the sea"
TEXTS = ["a lighthouse by the sea", "wind", "one two three " * 12, "the stars and the ships"]
SHAPE = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 128,
    "initializer_range": 0.5,
}


def library(name: str) -> Any:
    return importlib.import_module(name)


def make_tokenizer() -> Any:
    """Words, and the frame that BERT has around one text and around two."""
    tokenizers = library("tokenizers")
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    words = sorted({word for text in [QUERY, *TEXTS] for word in text.split()})
    vocabulary = {word: number for number, word in enumerate([*special, *words])}
    tokenizer = tokenizers.Tokenizer(tokenizers.models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = tokenizers.normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = tokenizers.processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    return library("transformers").PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        model_max_length=SHAPE["max_position_embeddings"],
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
    )


def write(folder: Path, tokenizer: Any, class_name: str, output: str) -> Any:
    """One model in its folder; returns the network that was written."""
    torch, known = map(library, ("torch", "transformers"))
    torch.manual_seed(7)
    config = known.BertConfig(vocab_size=len(tokenizer), num_labels=1, **SHAPE)
    config.architectures = [class_name]
    network = getattr(known, class_name)(config)
    export(folder, network, tokenizer, output)
    return network


def export(folder: Path, network: Any, tokenizer: Any, output: str) -> None:
    """A network that reads texts as BERT does, with one of its outputs."""
    torch, openvino = map(library, ("torch", "openvino"))
    network.eval().requires_grad_(requires_grad=False)

    class Bare(torch.nn.Module):
        """With one output, as a plain tensor."""

        def __init__(self) -> None:
            torch.nn.Module.__init__(self)
            self.network = network

        def forward(self, input_ids: Any, attention_mask: Any, token_type_ids: Any) -> Any:
            given = {
                "input_ids": input_ids,
                "attention_mask": attention_mask,
                "token_type_ids": token_type_ids,
            }
            return getattr(self.network(**given), output)

    rows = tokenizer(TEXTS[:2], padding=True, return_tensors="pt")
    model = openvino.convert_model(Bare(), example_input=dict(rows))
    model.outputs[0].get_tensor().set_names({output})
    folder.mkdir(parents=True)
    openvino.save_model(model, folder / "openvino_model.xml", compress_to_fp16=False)
    convert = library("openvino_tokenizers").convert_tokenizer
    openvino.save_model(convert(tokenizer), folder / "openvino_tokenizer.xml")
    network.config.save_pretrained(folder)


def main(folder: Path) -> None:
    """Write everything."""
    torch = library("torch")
    torch.set_num_threads(1)
    tokenizer = make_tokenizer()
    encoder = write(folder / "embeddings", tokenizer, "BertModel", "last_hidden_state")
    ranker = write(folder / "rerank", tokenizer, "BertForSequenceClassification", "logits")
    vectors: list[list[float]] = []
    scores: list[float] = []
    tokens = 0
    for text in TEXTS:
        one = tokenizer(text, return_tensors="pt")
        tokens += one["input_ids"].shape[1]
        pooled = encoder(**one).last_hidden_state.mean(1)[0]
        vectors.append(torch.nn.functional.normalize(pooled, dim=0).tolist())
        two = tokenizer(QUERY, text, return_tensors="pt")
        scores.append(float(ranker(**two).logits.sigmoid()[0, 0]))
    told = {"query": QUERY, "texts": TEXTS, "vectors": vectors, "scores": scores, "tokens": tokens}
    (folder / "wanted.json").write_text(json.dumps(told))


def of(model: Path, folder: Path) -> None:
    """Write an encoder that is there, and how it pools."""
    known = library("transformers")
    network = known.AutoModel.from_pretrained(str(model))
    export(folder, network, known.AutoTokenizer.from_pretrained(str(model)), "last_hidden_state")
    for file in ("modules.json", "1_Pooling/config.json"):
        (folder / file).parent.mkdir(exist_ok=True)
        shutil.copyfile(model / file, folder / file)


if __name__ == "__main__":
    if len(sys.argv) > 2:
        of(Path(sys.argv[2]), Path(sys.argv[1]))
    else:
        main(Path(sys.argv[1]))
