"""`yangfan rerank`: documents sorted by how well they answer a query."""

from __future__ import annotations

import dataclasses
from typing import Annotated

import typer

from yangfan.cli.connection import Connection, connected, dialect
from yangfan.cli.embed import lines_of_stdin
from yangfan.cli.options import User, Version
from yangfan.cli.terminal import printable, show_json, show_table

DEFAULT_MODEL = "bce-reranker-base_v1"


@connected
def rerank(
    connection: Connection,
    query: Annotated[str, typer.Argument(metavar="QUERY", help="What is looked for / 查询")],
    documents: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="DOCUMENT...",
            help="Texts; lines of stdin without any / 文档，缺省读标准输入各行",
        ),
    ] = None,
    *,
    model: Annotated[
        str, typer.Option("--model", "-m", help="Name of the model / 模型名")
    ] = DEFAULT_MODEL,
    top_n: Annotated[
        int | None, typer.Option(min=1, help="How many to show, default all / 返回数量，默认全部")
    ] = None,
    user: User = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON / 以 JSON 输出")] = False,
    version: Version = None,
) -> None:
    """Sort documents by how well they answer a query. / 按与查询的相关性对文档排序。"""
    with connection.client(version=dialect(version)) as client:
        result = client.rerank(
            query, documents or lines_of_stdin(), model=model, top_n=top_n, user=user
        )
    if as_json:
        show_json([dataclasses.asdict(ranked) for ranked in result])
        return
    rows = [
        (f"{ranked.score:.3f}", str(ranked.index), printable(ranked.document)) for ranked in result
    ]
    show_table(("score", "index", "document"), rows)
    if result.is_by_similarity:
        typer.echo(f"by similarity: {result.info.served_model} is no reranker", err=True)
