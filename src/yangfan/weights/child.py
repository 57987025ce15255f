"""What llama.cpp's library does here, in a process of its own: `python -m yangfan.weights.child`, one order on standard input.

It answers with JSON lines: ``{"done": …, "total": …}`` on the way, and at last ``{"result": …}`` or ``{"error": "…"}``. A model that is
damaged in a way that only llama.cpp finds ends this process and no other, and `run` says so.
"""

from __future__ import annotations

import contextlib
import importlib.resources
import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from yangfan.computing import environment
from yangfan.errors import ConfigurationError, YangfanError

if TYPE_CHECKING:
    from collections.abc import Callable

WINDOW_TOKENS: Final = 512
MOST_WINDOWS: Final = 8
TEXT: Final = "perplexity.txt"
TEXT_SOURCE: Final = (
    "Lewis Carroll, Alice's Adventures in Wonderland, chapter I (beginning); 鲁迅《故乡》（开头）"
)
"""What `perplexity` measures on; both are in the public domain."""

STOP_SECONDS: Final = 10.0


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """One piece of work.

    Attributes:
        work: quantize or perplexity.
        source: GGUF file to read.
        target: File to write, for quantize.
        quantization: For quantize.
        window_tokens: For perplexity.
        most_windows: For perplexity.
    """

    work: str
    source: str
    target: str = ""
    quantization: str = ""
    window_tokens: int = WINDOW_TOKENS
    most_windows: int = MOST_WINDOWS


class Perplexity(msgspec.Struct, frozen=True):
    """How surprised a model is by a text: lower is better; only models with the same tokens can be compared.

    Attributes:
        value: ``exp(-mean of the logarithms of the scored tokens' probabilities)``.
        tokens: Scored tokens.
        error: Standard error of `value`, as llama-perplexity tells it.
    """

    value: float
    tokens: int
    error: float


class _Answer(msgspec.Struct):
    done: float | None = None
    total: float | None = None
    result: Any = None
    error: str | None = None


def quantize(
    source: Path, target: Path, quantization: str, progress: Callable[[float, float], None]
) -> None:
    """Write a model in another quantisation; `target` appears whole or not at all.

    Raises:
        ConfigurationError: It cannot be done; the message says why.
    """
    part = target.with_name(f"{target.name}.{os.getpid()}.part")
    try:
        order = Order(
            work="quantize", source=str(source), target=str(part), quantization=quantization
        )
        run(order, progress)
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)


def perplexity(
    source: Path,
    progress: Callable[[float, float], None],
    *,
    window_tokens: int = WINDOW_TOKENS,
    most_windows: int = MOST_WINDOWS,
) -> Perplexity:
    """Measure a model on the text that comes with this package.

    Windows of `window_tokens` tokens, each evaluated by itself, the second half of each scored: the method of llama.cpp's
    program llama-perplexity.

    Raises:
        ConfigurationError: The model cannot be loaded.
    """
    order = Order(
        work="perplexity",
        source=str(source),
        window_tokens=window_tokens,
        most_windows=most_windows,
    )
    return msgspec.convert(run(order, progress), Perplexity)


def run(order: Order, progress: Callable[[float, float], None]) -> Any:
    """Have a process of its own carry out an order, and end it if `progress` raises.

    Raises:
        ConfigurationError: The order cannot be carried out, or its process died.
    """
    with subprocess.Popen(
        [sys.executable, "-m", "yangfan.weights.child"],
        env=environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(msgspec.json.encode(order))
            process.stdin.close()
            for line in process.stdout:
                answer = msgspec.json.decode(line, type=_Answer)
                if answer.error is not None:
                    raise ConfigurationError(answer.error)
                if answer.done is None:
                    return answer.result
                progress(answer.done, answer.total or 0)
        except BrokenPipeError:
            pass
        finally:
            process.kill()
        status = process.wait(STOP_SECONDS)
    raise ConfigurationError(
        f"llama.cpp could not {order.work.replace('perplexity', 'run')} {Path(order.source).name}: its process ended with status "
        f"{status}; the model is damaged, or memory ran out"
    )


def _tell(**answer: Any) -> None:
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


def _carry_out(order: Order) -> Any:
    from yangfan.weights.ggml import Library
    from yangfan.weights.quantize import quantize as write_quantized

    library, source = Library(), Path(order.source)

    def progress(done: float, total: float) -> None:
        _tell(done=done, total=total)

    if order.work == "quantize":
        write_quantized(library, source, Path(order.target), order.quantization, progress)
        return None
    text = importlib.resources.files("yangfan.weights").joinpath("data", TEXT).read_text("utf-8")
    found = library.log_likelihoods(
        source,
        text,
        context_tokens=order.window_tokens,
        most_windows=order.most_windows,
        progress=progress,
    )
    mean = -sum(found) / len(found)
    spread = sum((value + mean) ** 2 for value in found) / max(1, len(found) - 1)
    value = math.exp(min(mean, 700.0))
    return {
        "value": value,
        "tokens": len(found),
        "error": value * math.sqrt(spread / len(found)),
    }


def main() -> None:
    """Read an order, carry it out, answer."""
    order = msgspec.json.decode(sys.stdin.buffer.read(), type=Order)
    # What llama.cpp prints must not get between the answers.
    with contextlib.redirect_stdout(os.fdopen(os.dup(1), "w")):
        os.dup2(2, 1)
        try:
            _tell(result=_carry_out(order))
        except (YangfanError, ValueError, OSError, MemoryError) as error:
            _tell(
                error=error.message
                if isinstance(error, YangfanError)
                else str(error) or type(error).__name__
            )


if __name__ == "__main__":
    main()
