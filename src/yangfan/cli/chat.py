"""`yangfan chat`: ask one question, answer a pipe, or hold a conversation."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from yangfan.cli.connection import Connection, connected, dialect
from yangfan.cli.conversation import Conversation, converse
from yangfan.cli.options import (
    AsJSON,
    Fields,
    Seed,
    Stop,
    Temperature,
    TopP,
    Version,
    fields_of,
    text_of,
)
from yangfan.cli.terminal import document, show_json
from yangfan.errors import ConfigurationError

if TYPE_CHECKING:
    from yangfan.client.options import ChatOptions

DEFAULT_MODEL = "ernie-speed-8k"


@connected
def chat(  # noqa: PLR0913 - one parameter per option
    connection: Connection,
    prompt: Annotated[
        str | None,
        typer.Argument(
            metavar="PROMPT", help="The question; stdin is appended / 问题，标准输入附在其后"
        ),
    ] = None,
    *,
    model: Annotated[
        str, typer.Option("--model", "-m", help="Name of the model / 模型名")
    ] = DEFAULT_MODEL,
    image: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FILE|URL",
            help="A picture for the model to look at; may be repeated / 图片，可多次给出",
        ),
    ] = None,
    system: Annotated[str | None, typer.Option(help="Persona / 人设")] = None,
    temperature: Temperature = None,
    top_p: TopP = None,
    max_tokens: Annotated[
        int | None, typer.Option(help="Longest answer, in tokens / 最大输出 token 数")
    ] = None,
    stop: Stop = None,
    seed: Seed = None,
    schema: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="JSON Schema that the answer follows, v2 / 回答须符合的 JSON Schema",
        ),
    ] = None,
    option: Fields = None,
    as_json: AsJSON = False,
    stream: Annotated[
        bool, typer.Option("--stream/--no-stream", help="Print as it comes / 流式输出")
    ] = True,
    version: Version = None,
    verbose: Annotated[
        bool,
        typer.Option(
            "--verbose", "-v", help="Tell on stderr which model answered / 显示实际应答模型"
        ),
    ] = False,
) -> None:
    """Talk with a model: a question, a pipe or a conversation. / 与模型对话：提问、管道或多轮。

    Without PROMPT in a terminal a conversation starts; /help lists its commands.
    """
    options: ChatOptions = {
        "system": system,
        "temperature": temperature,
        "top_p": top_p,
        "max_output_tokens": max_tokens,
        "stop": stop or None,
        "seed": seed,
        "response_format": None if schema is None else _shape(schema),
        **cast("ChatOptions", fields_of(option)),
    }
    interactive = prompt is None and sys.stdin.isatty() and sys.stdout.isatty()
    if interactive and as_json:
        raise typer.BadParameter("--json needs a PROMPT")
    question = "" if interactive else _question(prompt)
    with connection.client(version=dialect(version)) as client:
        conversation = Conversation(client, model, options, stream=stream, verbose=verbose)
        for address in image or ():
            conversation.show(address)
        if interactive:
            converse(conversation)
        elif as_json:
            asked = [{"role": "user", "content": conversation.content(question)}]
            show_json(document(client.chat(asked, model=model, **options)))
        else:
            conversation.say(question)


def _shape(file: Path) -> dict[str, object]:
    """What asks for an answer that follows the schema in a file.

    Raises:
        ConfigurationError: It holds no JSON.
    """
    try:
        schema: object = json.loads(text_of(file))
    except ValueError as error:
        raise ConfigurationError(f"{file} is not JSON: {error}") from None
    return {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}}


def _question(prompt: str | None) -> str:
    """The prompt, and what stdin holds if it is no terminal.

    Raises:
        ConfigurationError: One of them is not UTF-8.
    """
    try:
        parts = [(prompt or "").encode("utf-8").decode()]
        if prompt is None or not sys.stdin.isatty():
            parts.append(sys.stdin.buffer.read().decode("utf-8"))
    except UnicodeError:
        raise ConfigurationError(
            "the question is not UTF-8 text; convert it first, such as with iconv"
        ) from None
    question = "\n\n".join(part.strip("\n") for part in parts if part.strip())
    if not question:
        raise typer.BadParameter(
            'nothing to ask; write yangfan chat "question", or pipe a text into it'
        )
    return question
