"""Another quantisation of a GGUF model, by the llama-quantize of a build for this CPU: seconds to minutes, once."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

from yangfan.engines import _native_build
from yangfan.engines._gguf import NotGGUFError, check, read_facts
from yangfan.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

QUANTIZATIONS = ("q4_0", "q4_1", "q4_k_m", "q5_0", "q5_1", "q5_k_m", "q6_k", "q8_0", "bf16", "f16")
"""What a model can be turned into, small to large."""

UNQUANTIZED = frozenset({0, 1, 32})
"""`general.file_type` of F32, F16 and BF16."""


async def requantize(
    program: Path,
    source: Path,
    target: Path,
    quantization: str,
    *,
    allow_requantize: bool,
    report: Callable[[str, int, int], None],
) -> None:
    """Write `target`, whole or not at all.

    Args:
        program: llama-quantize.
        source: The model as it is.
        target: The file to make; its folder exists.
        quantization: One of `QUANTIZATIONS`.
        allow_requantize: Whether `source` may be quantised already: what was lost then stays lost, and a little more goes.
        report: Told the stage, tensors done and tensors in all.

    Raises:
        ConfigurationError: There is no such quantisation, `source` is damaged or quantised already, or writing failed.
    """
    if quantization not in QUANTIZATIONS:
        raise ConfigurationError(
            f"quantize = {quantization!r} is no quantisation; there are: {', '.join(QUANTIZATIONS)}"
        )
    try:
        facts = await asyncio.to_thread(read_facts, source)
        await asyncio.to_thread(check, source)
    except (NotGGUFError, OSError) as error:
        raise ConfigurationError(str(error)) from error
    if facts.file_type not in UNQUANTIZED and not allow_requantize:
        raise ConfigurationError(
            f"{source.name} is quantised already, and quantising again loses quality for good: start from an F16 file, or "
            "accept it with allow_requantize = true"
        )
    part = target.with_name(f"{target.name}.{os.getpid()}.part")
    options = ["--allow-requantize"] if allow_requantize else []
    command = [str(program), *options, str(source), str(part), quantization]
    try:
        await _native_build.run(
            command, target.parent, report, failure=f"{source.name} could not be quantised"
        )
        await asyncio.to_thread(part.replace, target)
    finally:
        await asyncio.to_thread(part.unlink, missing_ok=True)
