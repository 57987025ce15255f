"""The `qianfan` package's local operators over a file of JSON lines: `python qianfan_operators_peer.py SETTINGS.json TOLD.json`.

It segments Chinese with a SentencePiece model that does not come with it, and splits sentences with ltp, which these filters do not
need: both are stood in for, the first by the segmenter that ours has.
"""

from __future__ import annotations

import importlib
import json
import sys
import time
import types
from pathlib import Path
from typing import Any

PACKAGE = "qianfan.dataset.local_data_operators"


class Segmenter:
    """What it takes for a SentencePiece model."""

    def Load(self, _: str) -> None:  # noqa: N802 -- SentencePiece's name
        """Nothing to load."""

    def EncodeAsPieces(self, text: str) -> list[str]:  # noqa: N802 -- likewise
        """The words of a text."""
        import rjieba  # pyright: ignore[reportMissingTypeStubs]

        return rjieba.cut(text)


def main(settings: dict[str, Any]) -> dict[str, Any]:
    """Filter, and what it cost."""
    sentencepiece: Any = types.ModuleType("sentencepiece")
    sentencepiece.SentencePieceProcessor = Segmenter
    ltp: Any = types.ModuleType("ltp")
    ltp.StnSplit = object
    sys.modules.update(sentencepiece=sentencepiece, ltp=ltp)

    def operator(module: str, name: str) -> Any:
        return getattr(importlib.import_module(f"{PACKAGE}.{module}"), name)

    limits = settings["limits"]
    common = {"filter_column": "text", "text_language": settings["language"].upper()}
    words = {**common, "sentence_piece_model_path": ""}
    operators = [
        operator("check_word_repetition_filter", "LocalCheckWordRepetitionFilter")(
            **words,
            word_repetition_length=limits["word_repetition_length"],
            word_repetition_max_cutoff=limits["word_repetition_max"],
        ),
        operator("check_character_repetition_filter", "LocalCheckCharacterRepetitionFilter")(
            **common,
            character_repetition_length=limits["character_repetition_length"],
            character_repetition_max_cutoff=limits["character_repetition_max"],
        ),
        operator("check_special_characters", "LocalCheckSpecialCharactersFilter")(
            **common, special_characters_max_cutoff=limits["special_characters_max"]
        ),
        operator("check_flagged_words", "LocalCheckFlaggedWordsFilter")(
            **words, flagged_words_max_cutoff=limits["flagged_words_max"]
        ),
    ]
    begun = time.perf_counter()
    with Path(settings["file"]).open("rb") as rows, Path(settings["out"]).open("wb") as out:
        for line in rows:
            row = json.loads(line)
            if all(stays(row) for stays in operators):
                out.write(line)
    return {"seconds": time.perf_counter() - begun}


if __name__ == "__main__":
    told = main(json.loads(Path(sys.argv[1]).read_text()))
    Path(sys.argv[2]).write_text(json.dumps(told))
