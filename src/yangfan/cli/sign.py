"""`yangfan sign`: bce-auth-v1 headers for people who call with curl or write their own client."""

from __future__ import annotations

import re
import shlex
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlsplit

import typer

from yangfan.cli.connection import Connection, connected
from yangfan.errors import ConfigurationError
from yangfan.protocol import signing

if TYPE_CHECKING:
    from collections.abc import Sequence

_VISIBLE = re.compile(r"[!-~]+")
_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")


@connected
def sign(
    connection: Connection,
    method: Annotated[str, typer.Argument(metavar="METHOD", help="HTTP method / 请求方法")],
    url: Annotated[
        str,
        typer.Argument(
            metavar="URL", help="Address, or a path of the server / 完整地址或服务内路径"
        ),
    ],
    *,
    header: Annotated[
        list[str] | None,
        typer.Option(
            "--header",
            "-H",
            metavar='"NAME: VALUE"',
            help="Also cover this; repeatable / 一并签名的请求头，可重复",
        ),
    ] = None,
    explain: Annotated[
        bool, typer.Option("--explain", help="Show each step, on stderr / 逐步说明签名过程")
    ] = False,
    expires_in: Annotated[
        int,
        typer.Option(min=1, max=129600, metavar="SECONDS", help="How long it holds / 有效期（秒）"),
    ] = 1800,
    curl: Annotated[
        bool, typer.Option("--curl", help="Print a curl command / 输出 curl 命令")
    ] = False,
) -> None:
    """Sign a request with bce-auth-v1, for curl. / 为请求计算 bce-auth-v1 签名。

    Prints the headers to send, one per line: yangfan sign POST URL | curl -X POST URL -H @- …
    """
    if not _TOKEN.fullmatch(method):
        raise typer.BadParameter(f"{method!r} is no HTTP method; write GET, POST …")
    headers = [_header(line) for line in header or ()]
    settings = connection.settings()
    url = _absolute(url, settings.v2_url)
    credentials = settings.credentials
    if not credentials.has_signature:
        raise ConfigurationError(
            "nothing to sign with: pass --access-key and --secret-access-key, set YANGFAN_ACCESS_KEY and"
            " YANGFAN_SECRET_ACCESS_KEY, or start `yangfan serve`"
        )
    signed = signing.sign(
        credentials.access_key,
        credentials.secret_access_key,
        method=method.upper(),
        url=url,
        now=datetime.now(UTC),
        headers=headers,
        expiration_seconds=expires_in,
    )
    if explain:
        typer.echo(explanation(signed), err=True)
    sent = {**dict(headers), **signed.headers}
    lines = [f"{name}: {value}" for name, value in sent.items()]
    typer.echo(_curl(method.upper(), url, lines) if curl else "\n".join(lines))


def explanation(signed: signing.Signed) -> str:
    """How a signature came about, step by step, without the secret and the key derived from it."""
    method, path, query, *headers = signed.canonical.split("\n")
    authorization = signed.authorization
    lines = [
        "1. Canonical request, four parts joined by line feeds / 规范请求",
        f"     method                   {method}",
        f"     path, percent-encoded    {path}",
        f"     query, encoded, sorted   {query or '(empty line)'}",
        *(f"     header, encoded, sorted  {line}" for line in headers),
        "2. Signing key = HMAC-SHA256(secret access key, prefix), as lower-case hex text / 派生密钥",
        f"     prefix                   {authorization.prefix}",
        "     (bce-auth-v1 / access key / UTC time / seconds it holds)",
        "3. Signature = HMAC-SHA256(that hex text, canonical request), as lower-case hex text / 签名",
        f"     signature                {authorization.signature}",
        "4. Authorization = prefix / signed header names / signature / 组成请求头",
        f"     signed headers           {';'.join(authorization.signed_headers)}",
        "Send these headers exactly so; a changed or added x-bce-* header breaks the signature.",
        "",
        "The canonical request as it is hashed / 规范请求原文:",
        signed.canonical,
        "",
    ]
    return "\n".join(lines)


def _header(line: str) -> tuple[str, str]:
    name, colon, value = line.partition(":")
    name, value = name.strip(), value.strip()
    if not colon or not _TOKEN.fullmatch(name) or not value.isprintable():
        raise typer.BadParameter(
            f'{line!r} is no header; write -H "Content-Type: application/json"'
        )
    return name, value


def _absolute(url: str, base_url: str) -> str:
    whole = base_url + url if url.startswith("/") else url
    parts = urlsplit(whole)
    if parts.scheme not in {"http", "https"} or not parts.hostname or not _VISIBLE.fullmatch(whole):
        raise typer.BadParameter(
            f"{url!r} is no address; write http://127.0.0.1:8000/v2/models, percent-encoded"
        )
    return whole


def _curl(method: str, url: str, lines: Sequence[str]) -> str:
    words = ["curl", "-X", method, url, *(word for line in lines for word in ("-H", line))]
    return shlex.join(words)
