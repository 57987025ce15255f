"""A conversation in the terminal: the turns so far, and one more at a time."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import typer

from yangfan.cli.terminal import printable
from yangfan.client.pictures import image_part
from yangfan.errors import YangfanError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from yangfan.client._sync.client import Client
    from yangfan.client.options import ChatOptions
    from yangfan.client.types import ChatResult, FunctionCall

Turns: TypeAlias = "tuple[Mapping[str, object], ...]"

_HELP = """\
/model NAME   ask another model / 更换模型
/image FILE   show a picture with the next question / 附上图片
/reset        forget what was said / 清空对话
/exit         end, as Ctrl-D does / 退出
Ctrl-C        stop the answer / 停止当前回答"""


class Conversation:
    """Turns with one server.

    Args:
        client: Who to ask.
        model: Which model; may be changed between turns.
        options: How the model shall answer.
        stream: Write the answer as it comes, rather than whole.
        verbose: After each answer tell on stderr who gave it; show reasoning there as well.
    """

    def __init__(
        self, client: Client, model: str, options: ChatOptions, *, stream: bool, verbose: bool
    ) -> None:
        """Start without turns."""
        self.model = model
        self._client = client
        self._options = options
        self._stream = stream and (options.get("n") or 1) == 1
        self._verbose = verbose
        self._turns: Turns = ()
        self._shown: list[dict[str, object]] = []

    def show(self, address: str) -> None:
        """Add a picture to the next question: a file, or an address that the server fetches.

        Raises:
            ConfigurationError: The file cannot be read or is no picture.
        """
        remote = address.lower().startswith(("http://", "https://", "data:"))
        self._shown.append(image_part(address if remote else Path(address).expanduser()))

    def content(self, text: str) -> str | list[dict[str, object]]:
        """`text` and the pictures that were added for it."""
        shown, self._shown = self._shown, []
        return [*shown, {"type": "text", "text": text}] if shown else text

    def say(self, text: str) -> None:
        """Ask, and write the answer to stdout. What came of an answer stays in the conversation, even if it was cut off.

        Raises:
            YangfanError: The server refused, failed or could not be reached.
        """
        asked = (*self._turns, {"role": "user", "content": self.content(text)})
        started = time.monotonic()
        if self._stream:
            self._say_streamed(asked, started)
            return
        result = self._client.chat(asked, model=self.model, **self._options)
        self._turns = (*asked, result.message)
        for choice in result.choices:
            if choice.text or not choice.function_calls:
                _write(choice.text + "\n" * (not choice.text.endswith("\n")))
            _write_calls(choice.function_calls)
        self._tell(result, started)

    def _say_streamed(self, asked: Turns, started: float) -> None:
        called = False
        with self._client.chat(asked, model=self.model, stream=True, **self._options) as stream:
            try:
                for event in stream:
                    _write(event.text)
                    called = called or bool(event.function_calls)
                    if self._verbose and event.reasoning:
                        typer.secho(printable(event.reasoning), dim=True, nl=False, err=True)
            finally:
                if stream.text:
                    self._turns = (*asked, {"role": "assistant", "content": stream.text})
                if (stream.text or not called) and not stream.text.endswith("\n"):
                    _write("\n")
            result = stream.result()
            _write_calls(result.function_calls)
            self._tell(result, started)

    def reset(self) -> None:
        """Forget every turn."""
        self._turns, self._shown = (), []

    def _tell(self, result: ChatResult, started: float) -> None:
        if not self._verbose:
            return
        usage = result.usage
        told = [
            f"model {result.served_model or result.model}",
            "tokens unknown"
            if usage is None
            else f"{usage.prompt_tokens} + {usage.completion_tokens} tokens",
            f"{time.monotonic() - started:.2f} s",
            f"request {result.request_id}",
        ]
        typer.secho(printable(" · ".join(told)), dim=True, err=True)


def converse(conversation: Conversation) -> None:
    """Read turns from the terminal until Ctrl-D or ``/exit``."""
    if importlib.util.find_spec("readline"):
        # Importing it is what gives `input` line editing and a history.
        importlib.import_module("readline")
    typer.echo(f"扬帆 Yangfan · {conversation.model} · /help", err=True)
    while (line := _next_line()) is not None and line not in {"/exit", "/quit"}:
        try:
            if not _obeyed(line, conversation):
                conversation.say(line)
        except KeyboardInterrupt:
            continue
        except YangfanError as error:
            typer.echo(f"yangfan: {printable(error.message)}", err=True)


def _next_line() -> str | None:
    while True:
        try:
            return input("> ").strip()
        except EOFError:
            typer.echo()
            return None
        except KeyboardInterrupt:
            typer.echo("\nCtrl-D ends. / 按 Ctrl-D 退出。", err=True)


def _obeyed(line: str, conversation: Conversation) -> bool:
    """Do what an empty line or one with a slash says; False if it is something to ask."""
    match line.split(maxsplit=1):
        case []:
            pass
        case ["/help"]:
            typer.echo(_HELP, err=True)
        case ["/reset"]:
            conversation.reset()
            typer.echo("Forgotten. / 已清空。", err=True)
        case ["/image", address]:
            conversation.show(address)
            typer.echo("Added to the next question. / 将随下一个问题发送。", err=True)
        case ["/image"]:
            typer.echo("Which one? /image FILE or URL / 请给出文件或网址。", err=True)
        case ["/model"]:
            typer.echo(conversation.model, err=True)
        case ["/model", name]:
            conversation.model = name
            typer.echo(f"Now asking {name}. / 现在使用 {name}。", err=True)
        case [word, *_] if word.startswith("/") and word[1:].isalpha():
            typer.echo(f"No command {word}; /help lists them. / 没有此命令。", err=True)
        case _:
            return False
    return True


def _write_calls(calls: Sequence[FunctionCall]) -> None:
    """Write the functions that an answer wants called, each on a line of its own."""
    for call in calls:
        _write(f"{call.name}({call.arguments})\n")


def _write(text: str) -> None:
    sys.stdout.write(printable(text) if sys.stdout.isatty() else text)
    sys.stdout.flush()
