"""`yangfan kb`: knowledge bases."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from yangfan.cli.connection import Connection, connected
from yangfan.cli.terminal import human_size, printable, show_json, show_table
from yangfan.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from yangfan.client._sync.client import Client
    from yangfan.client.knowledge import KnowledgeBase

AsJSON = Annotated[bool, typer.Option("--json", help="Print JSON / 以 JSON 输出")]
Base = Annotated[str, typer.Argument(metavar="BASE", help="Id or name, see `kb list` / 知识库")]
Watch = Annotated[bool, typer.Option("--watch", "-w", help="Wait until it is done / 等待完成")]
_STYLES = {"failed": "red", "ready": "green", "indexing": "cyan", "waiting": "yellow"}


def kb() -> None:
    """Knowledge bases: make, fill, search. / 管理知识库：创建、导入文档、检索。"""


@connected
def create(
    connection: Connection,
    name: Annotated[str, typer.Argument(metavar="NAME", help="What to call it / 名称")],
    *,
    description: Annotated[str, typer.Option(help="What it holds / 说明")] = "",
    embedder: Annotated[str, typer.Option(help="A served model of embeddings / 向量模型")] = "",
    length: Annotated[
        int | None, typer.Option(help="Length of chunks, in Chinese characters / 切片长度")
    ] = None,
) -> None:
    """Make an empty base and print its id. / 创建知识库并输出其 ID。"""
    with connection.client(version=2) as client:
        made = client.knowledge.create(
            name, description=description, embedder=embedder, target_length=length
        )
    typer.echo(made.id)


@connected
def list_bases(connection: Connection, *, as_json: AsJSON = False) -> None:
    """List the bases that can be searched. / 列出可检索的知识库。"""
    with connection.client(version=2) as client:
        found = client.knowledge.list()
    if as_json:
        show_json(found)
        return
    show_table(
        ("base", "name", "embedder", "chunks", "job", "created"),
        [
            (base.id, base.name, base.embedder, str(base.chunks), base.job_id, base.created)
            for base in found
        ],
    )


@connected
def add(
    connection: Connection,
    base: Base,
    files: Annotated[
        list[str],
        typer.Argument(
            metavar="FILE...",
            help="pdf, docx, pptx, xlsx, html, md, txt, csv, or the URL of a page / 文档或网址",
        ),
    ],
    *,
    watch: Watch = False,
) -> None:
    """Add documents; of a folder, all that it holds and that can be read. / 添加文档，可为文件夹。"""
    with connection.client(version=2) as client:
        found = _base(client, base)
        for url in filter(_is_url, files):
            typer.echo(client.knowledge.add_page(found.id, url).id)
        paths = [Path(each) for each in files if not _is_url(each)]
        for file in _files(paths) if paths else ():
            document = client.knowledge.upload(found.id, file)
            typer.echo(document.id)
        if watch:
            _follow(client, found.id)


@connected
def documents(connection: Connection, base: Base, *, as_json: AsJSON = False) -> None:
    """List the documents of a base. / 列出知识库的文档。"""
    with connection.client(version=2) as client:
        found = client.knowledge.documents(_base(client, base).id)
    if as_json:
        show_json(found)
        return
    show_table(
        ("document", "name", "state", "chunks", "size", "error"),
        [
            (
                item.id,
                printable(item.name),
                item.state,
                str(item.chunks),
                human_size(item.size_bytes),
                printable(item.error),
            )
            for item in found
        ],
        _STYLES,
    )


@connected
def search(
    connection: Connection,
    base: Base,
    query: Annotated[str, typer.Argument(metavar="QUESTION", help="What to look for / 问题")],
    *,
    top: Annotated[int, typer.Option(min=1, max=100, help="How many / 条数")] = 5,
    as_json: AsJSON = False,
) -> None:
    """Find the passages that answer a question. / 检索能回答问题的段落。"""
    with connection.client(version=2) as client:
        found = client.knowledge.search(_base(client, base).id, query, top=top)
    if as_json:
        show_json(found)
        return
    if not found:
        typer.echo("nothing found / 未找到相关内容", err=True)
    for number, passage in enumerate(found, 1):
        place = " > ".join(filter(None, (passage.document_name, passage.headings)))
        page = f" p. {passage.page}" if passage.page else ""
        typer.echo(printable(f"[{number}] {place}{page}"))
        for line in passage.text.splitlines():
            typer.echo(f"    {printable(line)}")


@connected
def evaluate(
    connection: Connection,
    base: Base,
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            exists=True,
            dir_okay=False,
            help='A line for each question: {"query": …, "relevant": [document, …]} / 每行一个问题',
        ),
    ],
    *,
    as_json: AsJSON = False,
) -> None:
    """Measure how well a base answers questions whose answers are known. / 用已知答案的问题评测检索质量。"""
    questions = _questions(file)
    with connection.client(version=2) as client:
        figures = client.knowledge.evaluate(_base(client, base).id, questions)
    if as_json:
        show_json(figures)
        return
    cutoffs = [*figures[0].recall]
    show_table(
        ("search", *(f"recall@{k}" for k in cutoffs), *(f"nDCG@{k}" for k in cutoffs), "MRR"),
        [
            (
                each.mode,
                *(f"{each.recall[k]:.3f}" for k in cutoffs),
                *(f"{each.ndcg[k]:.3f}" for k in cutoffs),
                f"{each.reciprocal_rank:.3f}",
            )
            for each in figures
        ],
    )


@connected
def rm(
    connection: Connection,
    base: Base,
    documents: Annotated[
        list[str] | None,
        typer.Argument(metavar="[DOCUMENT]...", help="Only these / 只删除这些文档"),
    ] = None,
    *,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask / 不询问")] = False,
) -> None:
    """Delete documents, or a whole base. / 删除文档或整个知识库。"""
    with connection.client(version=2) as client:
        found = _base(client, base)
        for document in documents or ():
            client.knowledge.delete_document(found.id, document)
        if documents:
            return
        if not yes and not (
            sys.stdin.isatty() and typer.confirm(f"Delete {found.name} with {found.chunks} chunks?")
        ):
            raise ConfigurationError("nothing was deleted; --yes deletes without asking")
        client.knowledge.delete(found.id)


def _base(client: Client, name: str) -> KnowledgeBase:
    bases = client.knowledge.list()
    for base in bases:
        if name in {base.id, base.name}:
            return base
    there = (
        ", ".join(base.name for base in bases) or "none is there yet, `yangfan kb create` makes one"
    )
    raise ConfigurationError(f"no knowledge base {name!r}; there are: {there}")


class _Line(msgspec.Struct):
    query: str
    relevant: dict[str, int] | list[str]


def _questions(file: Path) -> list[tuple[str, Mapping[str, int] | Sequence[str]]]:
    questions: list[tuple[str, Mapping[str, int] | Sequence[str]]] = []
    for number, line in enumerate(file.read_bytes().splitlines(), 1):
        if not line.strip():
            continue
        try:
            read = msgspec.json.decode(line, type=_Line)
        except msgspec.MsgspecError as error:
            raise ConfigurationError(
                f'line {number} of {file} is no {{"query": …, "relevant": [document, …]}}: {error}'
            ) from None
        questions.append((read.query, read.relevant))
    return questions


def _is_url(text: str) -> bool:
    return text.lower().startswith(("https://", "http://"))


def _files(given: list[Path]) -> list[Path]:
    found: list[Path] = []
    for path in given:
        if path.is_dir():
            found += sorted(
                file
                for file in path.rglob("*")
                if file.is_file() and file.suffix[1:].casefold() in _ENDINGS
            )
        else:
            found.append(path)
    if not found:
        raise ConfigurationError("the folder holds no document that can be read")
    return found


_ENDINGS = frozenset(
    [
        "pdf",
        "docx",
        "pptx",
        "xlsx",
        "xls",
        "html",
        "htm",
        "md",
        "markdown",
        "txt",
        "text",
        "log",
        "csv",
        "tsv",
    ]
)


def _follow(client: Client, base_id: str) -> None:
    """Follow the jobs of a base until it has none, and say how it went."""
    from yangfan.cli.following import follow

    while job := client.knowledge.get(base_id).job_id:
        follow(client, job)
    failed = client.knowledge.documents(base_id, state="failed")
    for document in failed:
        typer.echo(printable(f"{document.name}: {document.error}"), err=True)
    if failed:
        raise ConfigurationError(f"{len(failed)} documents could not be read")


SUBCOMMANDS = {
    "create": create,
    "list": list_bases,
    "add": add,
    "documents": documents,
    "search": search,
    "evaluate": evaluate,
    "rm": rm,
}
