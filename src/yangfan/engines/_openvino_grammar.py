"""Whether OpenVINO GenAI can turn a JSON Schema into a grammar, found out where nothing can be lost: in a process of its own.

A grammar that cannot be built leaves the library's pipeline for many answers in pieces. Its pipeline for one answer only throws, so a
model that always says the same, with the real model's tokenizer, tries each schema first. It is a process, and not only a pipeline,
because a schema may also take all memory or for ever. What is too large is refused before that, by its size (`_schema_size`), and time is
counted as the process's own, however busy the machine is.

The process says whether it is ready (null, or why it never will be), reads one schema a line and answers each with a line of JSON: null,
or why not. It ends with its parent.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import json
import math
import os
import re
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, cast

from yangfan.engines._gguf import copy_header
from yangfan.engines._schema_size import size_of
from yangfan.engines.process import die_with_parent

START_SECONDS = 120.0
CHECK_SECONDS = 3
"""A schema that takes longer, in seconds of a core, is refused: it would hold up all other answers for as long."""

BUSY_TIMES = 20
"""Of a machine that is busy the process gets so small a share, at least; what takes longer still has hung."""

IDLE_SECONDS = 300.0
"""Without a new schema for so long, the process ends; the next one starts another."""

MOST_BYTES = 1 << 30
"""What a schema may make the process grow by."""

TRIED_TOKENS = 48
"""So far each grammar is followed: one may be built and lead nowhere."""

MOST_WORDS = 300
_PLACE = re.compile(r"\.cc:\d+: (?:Check failed: .*? is false: )?(.*)", re.DOTALL)
_UNKNOWN = "it takes too long or too much memory"


class CannotTryError(Exception):
    """No schema can be tried, whatever it says; the message says why."""


class GrammarCheck:
    """The parent's side: schemas are tried one at a time."""

    def __init__(self, model: Path, workdir: Path, check_seconds: int = CHECK_SECONDS) -> None:
        """Nothing runs until the first schema; `workdir` is a private folder."""
        self._model = model
        self._workdir = workdir
        self._check_seconds = check_seconds
        self._unfit: str | None = None
        self._process: asyncio.subprocess.Process | None = None
        self._turn = asyncio.Lock()
        self._idle: asyncio.TimerHandle | None = None

    async def reason(self, schema: str) -> str | None:
        """Why there can be no grammar for a schema (JSON); None if there can.

        Raises:
            CannotTryError: The model's tokenizer does not do for grammars, or the process does not start.
        """
        try:
            size = size_of(json.loads(schema))
            if refused := size.unfolds or size.too_wide:
                return refused
        except RecursionError:
            return _UNKNOWN
        async with self._turn:
            if self._unfit is not None:
                raise CannotTryError(self._unfit)
            if self._idle is not None:
                self._idle.cancel()
            try:
                process = self._process or await self._start()
                return await self._ask(process, schema)
            except (TimeoutError, OSError, ValueError):  # it died of the schema, or was too slow
                await self.close()
                return _UNKNOWN
            except BaseException:
                await self.close()  # its answer would be taken for the next schema's
                raise
            finally:
                self._idle = asyncio.get_running_loop().call_later(IDLE_SECONDS, self.end)

    def end(self) -> None:
        """End the process, if there is one."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
            self._process = None

    async def close(self) -> None:
        """End the process, if there is one, and wait until it has ended."""
        process = self._process
        self.end()
        if self._idle is not None:
            self._idle.cancel()
        if process is not None:
            assert process.stdin is not None
            process.stdin.close()
            await process.wait()

    async def _start(self) -> asyncio.subprocess.Process:
        tokenizer = self._model
        try:
            if self._model.is_file():
                tokenizer = self._workdir / "tokenizer.gguf"
                copy_header(self._model, tokenizer)
            self._process = await asyncio.create_subprocess_exec(
                *[sys.executable, "-m", __spec__.name, str(tokenizer), str(self._check_seconds)],
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
            )
            assert self._process.stdout is not None
            async with asyncio.timeout(START_SECONDS):
                unfit = json.loads(await self._process.stdout.readline())
        except (TimeoutError, OSError, ValueError) as error:
            raise CannotTryError("the process that tries schemas did not start") from error
        if unfit is not None:
            self._unfit = str(unfit)
            raise CannotTryError(self._unfit)
        return self._process

    async def _ask(self, process: asyncio.subprocess.Process, schema: str) -> str | None:
        assert process.stdin is not None
        assert process.stdout is not None
        async with asyncio.timeout(self._check_seconds * BUSY_TIMES):
            process.stdin.write(json.dumps(schema).encode() + b"\n")
            await process.stdin.drain()
            answer = json.loads(await process.stdout.readline())
        return None if answer is None else str(answer)


# The process ----------------------------------------------------------------------------------------


def _pipeline(genai: Any, openvino: Any, numpy: Any, tokenizer_path: str) -> Any:
    """A pipeline of the tokenizer and of a model that gives each token the same chance."""
    operators: Any = importlib.import_module("openvino.opset13")
    tokenizer = genai.Tokenizer(tokenizer_path)
    inputs: list[Any] = []
    for name, shape, kind in (
        ("input_ids", [-1, -1], numpy.int64),
        ("attention_mask", [-1, -1], numpy.int64),
        ("position_ids", [-1, -1], numpy.int64),
        ("beam_idx", [-1], numpy.int32),
    ):
        inputs.append(operators.parameter(shape, kind, name=name))
        inputs[-1].output(0).get_tensor().set_names({name})
    size = operators.constant([len(tokenizer.get_vocab())], dtype=numpy.int64)
    shape = operators.concat([operators.shape_of(inputs[0]), size], 0)
    logits = operators.broadcast(operators.constant(0.0, dtype=numpy.float32), shape)
    logits.output(0).get_tensor().set_names({"logits"})
    model = openvino.Model([operators.result(logits)], inputs, "indifferent")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "indifferent.xml"
        openvino.save_model(model, str(path), compress_to_fp16=False)
        text = path.read_text("utf-8")
        data = numpy.frombuffer(path.with_suffix(".bin").read_bytes(), dtype=numpy.uint8).copy()
    return genai.LLMPipeline(
        text,
        openvino.Tensor(data),
        tokenizer,
        "CPU",
        genai.GenerationConfig(),
        ATTENTION_BACKEND="SDPA",
        INFERENCE_NUM_THREADS=1,
    )


def _why(error: BaseException) -> str:
    """What the library says, without where in its sources it says so."""
    found = _PLACE.search(str(error))
    return (found[1] if found else str(error)).strip()[:MOST_WORDS] or type(error).__name__


def _try(genai: Any, openvino: Any, numpy: Any, pipeline: Any, schema: str) -> str | None:
    config = genai.GenerationConfig()
    config.max_new_tokens = TRIED_TOKENS
    config.apply_chat_template = False
    config.structured_output_config = genai.StructuredOutputConfig()
    config.structured_output_config.json_schema = schema
    try:
        pipeline.generate(openvino.Tensor(numpy.zeros((1, 1), dtype=numpy.int64)), config)
    except (RuntimeError, MemoryError, TypeError) as error:
        return _why(error)
    return None


def main() -> None:
    """Answer schemas until stdin ends."""
    die_with_parent()
    answers = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)  # what the library prints goes to the log
    sys.modules["openvino_telemetry"] = cast("Any", None)  # its statistics leave no machine of ours
    genai, openvino, numpy = map(importlib.import_module, ("openvino_genai", "openvino", "numpy"))
    try:
        pipeline = _pipeline(genai, openvino, numpy, sys.argv[1])
    except (RuntimeError, IndexError, TypeError, ValueError) as error:
        answers.write(json.dumps(_why(error)).encode() + b"\n")
        raise
    _limit_memory()
    answers.write(b"null\n")
    for line in sys.stdin.buffer:
        _limit_time(int(sys.argv[2]))
        answer = _try(genai, openvino, numpy, pipeline, json.loads(line))
        answers.write(json.dumps(answer).encode() + b"\n")


def _limit_time(seconds: int) -> None:
    """End this process after so many more seconds of a core, rounded up."""
    if sys.platform == "linux":
        import resource

        most = math.ceil(time.process_time()) + seconds
        resource.setrlimit(resource.RLIMIT_CPU, (most, resource.RLIM_INFINITY))


def _limit_memory() -> None:
    if sys.platform == "linux":
        import resource

        pages = int(Path("/proc/self/statm").read_text("ascii").split()[0])
        most = pages * resource.getpagesize() + MOST_BYTES
        resource.setrlimit(resource.RLIMIT_AS, (most, most))


if __name__ == "__main__":
    main()
