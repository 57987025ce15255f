"""`yangfan complete`: let a model go on from a text."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, cast

import typer

from yangfan.cli.connection import Connection, connected, dialect
from yangfan.cli.options import AsJSON, Fields, Seed, Stop, Temperature, TopP, Version, fields_of
from yangfan.cli.terminal import document, given_text, printable, show_json

if TYPE_CHECKING:
    from yangfan.client.options import CompletionOptions

DEFAULT_MODEL = "ernie-speed-8k"
DEFAULT_OUTPUT_TOKENS = 256


@connected
def complete(  # noqa: PLR0913 - one parameter per option
    connection: Connection,
    prompt: Annotated[
        str | None,
        typer.Argument(
            metavar="PROMPT", help="Text to go on from, else stdin / 开头，缺省读标准输入"
        ),
    ] = None,
    *,
    model: Annotated[
        str, typer.Option("--model", "-m", help="Name of the model / 模型名")
    ] = DEFAULT_MODEL,
    temperature: Temperature = None,
    top_p: TopP = None,
    max_tokens: Annotated[
        int, typer.Option(help="Longest text, in tokens / 最大输出 token 数")
    ] = DEFAULT_OUTPUT_TOKENS,
    stop: Stop = None,
    seed: Seed = None,
    option: Fields = None,
    as_json: AsJSON = False,
    version: Version = None,
) -> None:
    """Let a model go on from a text. / 让模型续写文本。

    What is printed is what follows PROMPT, as it comes. A line feed at the end of stdin is not part of the text.
    """
    text = given_text(prompt) if prompt is not None else given_text(None).removesuffix("\n")
    if not text:
        raise typer.BadParameter(
            'nothing to go on from; write yangfan complete "text", or pipe a text into it'
        )
    options: CompletionOptions = {
        "temperature": temperature,
        "top_p": top_p,
        "max_output_tokens": max_tokens,
        "stop": stop or None,
        "seed": seed,
        **cast("CompletionOptions", fields_of(option)),
    }
    with connection.client(version=dialect(version)) as client:
        if as_json:
            show_json(document(client.completions(text, model=model, **options)))
            return
        if (options.get("n") or 1) != 1:
            for choice in client.completions(text, model=model, **options).choices:
                typer.echo(printable(choice.text) if sys.stdout.isatty() else choice.text)
            return
        with client.completions(text, model=model, stream=True, **options) as stream:
            for event in stream:
                sys.stdout.write(printable(event.text) if sys.stdout.isatty() else event.text)
                sys.stdout.flush()
        if not stream.text.endswith("\n"):
            sys.stdout.write("\n")
