"""Reading a document in a process of its own, with limits: whatever a file does, only that process dies of it.

The process takes one document after another and is replaced after some, for parsers leak. Over its stdin it gets a line of JSON a
document, and answers with a line of JSON: the blocks, or why not.
"""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from yangfan.errors import Invalid
from yangfan.plugins.knowledge_base.blocks import Block

if TYPE_CHECKING:
    from types import TracebackType

MAX_FILE_BYTES = 256 * 1024 * 1024
MEMORY_BYTES = 2 * 1024 * 1024 * 1024
SECONDS = 120.0
DOCUMENTS_A_PROCESS = 50
MAX_BLOCKS_BYTES = 64 * 1024 * 1024

ENDINGS = {
    "pdf": "pdf",
    "docx": "docx",
    "pptx": "pptx",
    "xlsx": "xlsx",
    "xls": "xlsx",
    "html": "html",
    "htm": "html",
    "md": "md",
    "markdown": "md",
    "txt": "txt",
    "text": "txt",
    "log": "txt",
    "csv": "csv",
    "tsv": "csv",
}
"""Endings of names, and the reader of each."""


class _Order(msgspec.Struct):
    path: str
    reader: str


class _Answer(msgspec.Struct):
    blocks: list[Block] = []
    error: str = ""


def reader_of(name: str) -> str:
    """The reader for a document of that name.

    Raises:
        Invalid: There is none; the text lists the endings that there are.
    """
    ending = name.rpartition(".")[2].casefold() if "." in name else ""
    if ending not in ENDINGS:
        raise Invalid(
            f"{name[:200]!r} is none of the kinds of document that are read; the name must end in one of {', '.join(sorted(ENDINGS))}",
            param="file",
        )
    return ENDINGS[ending]


class Parser:
    """The parent's side. Use it in a `with` block.

    Args:
        seconds: How long one document may take.
        memory_bytes: How much memory.
    """

    def __init__(self, *, seconds: float = SECONDS, memory_bytes: int = MEMORY_BYTES) -> None:
        """Nothing runs until the first document."""
        self._seconds = seconds
        self._memory_bytes = memory_bytes
        self._process: subprocess.Popen[bytes] | None = None
        self._parsed = 0

    def __enter__(self) -> Parser:
        """Itself."""
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        """End the process."""
        self.close()

    def close(self) -> None:
        """End the process, if there is one."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.communicate()

    def blocks(self, path: Path, name: str) -> list[Block]:
        """The blocks of a document.

        Args:
            path: Where it lies.
            name: What it is called; its ending says what it is.

        Raises:
            Invalid: It cannot be read; the text says why.
        """
        reader = reader_of(name)
        if (size := path.stat().st_size) > MAX_FILE_BYTES:
            raise Invalid(f"{name} has {size} bytes; at most {MAX_FILE_BYTES} are read, split it")
        if self._process is None or self._parsed >= DOCUMENTS_A_PROCESS:
            self.close()
            self._process = self._start()
        self._parsed += 1
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        # A thread's timer ends the process, and with it the wait for its line.
        timer = threading.Timer(self._seconds, process.kill)
        timer.start()
        try:
            process.stdin.write(msgspec.json.encode(_Order(str(path), reader)) + b"\n")
            process.stdin.flush()
            line = process.stdout.readline()
            slow = not timer.is_alive()
        except BrokenPipeError:
            line, slow = b"", not timer.is_alive()
        finally:
            timer.cancel()
        if not line.endswith(b"\n"):
            self.close()
            why = (
                f"took longer than {self._seconds:g} seconds"
                if slow
                else f"needed more than {self._memory_bytes >> 20} MiB, or broke its reader"
            )
            raise Invalid(f"{name} {why}; split it, or save it in another format")
        answer = msgspec.json.decode(line, type=_Answer)
        if answer.error:
            raise Invalid(f"{name}: {answer.error}")
        return answer.blocks

    def _start(self) -> subprocess.Popen[bytes]:
        self._parsed = 0
        return subprocess.Popen(  # noqa: S603 - our own program
            [sys.executable, "-I", "-m", __name__, str(self._memory_bytes)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )


def main() -> None:
    """The process: answer documents until stdin ends."""
    from yangfan.engines.process import confine

    confine(int(sys.argv[1]))
    answers = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)
    for line in sys.stdin.buffer:
        answers.write(msgspec.json.encode(_answer(msgspec.json.decode(line, type=_Order))) + b"\n")


def _answer(order: _Order) -> _Answer:
    reader = importlib.import_module(f"yangfan.plugins.knowledge_base.readers.{order.reader}")
    blocks: list[Block] = []
    size = 0
    try:
        for block in reader.read(Path(order.path)):
            size += len(block.text.encode("utf-8", "replace"))
            if size > MAX_BLOCKS_BYTES:
                return _Answer(error=f"its text is longer than {MAX_BLOCKS_BYTES} bytes; split it")
            # A lone surrogate, which broken files hold, is nothing that JSON or a database could keep.
            clean = block.text.encode("utf-8", "replace").decode().replace("\0", "")
            blocks.append(msgspec.structs.replace(block, text=clean))
    except Invalid as error:
        return _Answer(error=error.message)
    except ModuleNotFoundError as error:
        return _Answer(error=f"reading it needs {error.name}: pip install 'yangfan[knowledge]'")
    except Exception as error:  # noqa: BLE001 - a parser fails in its own ways, and the next document waits
        return _Answer(
            error=f"it cannot be read ({type(error).__name__}: {str(error)[:300]}); save it again"
        )
    if not blocks:
        return _Answer(error="it holds no text")
    return _Answer(blocks)


if __name__ == "__main__":
    main()
