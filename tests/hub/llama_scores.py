"""What llama.cpp computes for the tokens of `random_models`, as JSON by file: `python llama_scores.py FILE…`."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from random_models import TOKENS

from yangfan.errors import ConfigurationError
from yangfan.weights.ggml import Library


def main(paths: list[Path]) -> None:
    """Write the scores of each file, or why there are none."""
    library = Library()
    found: dict[str, list[float] | str] = {}
    for path in paths:
        try:
            found[path.stem] = library.scores(path, TOKENS)
        except ConfigurationError as error:
            found[path.stem] = error.message
    sys.stdout.write(json.dumps(found))


if __name__ == "__main__":
    main([Path(name) for name in sys.argv[1:]])
