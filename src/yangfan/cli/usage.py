"""`yangfan usage`: who used how much."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from yangfan.cli.connection import Connection, connected
from yangfan.cli.terminal import show_json, show_table


@connected
def usage(
    connection: Connection,
    *,
    days: Annotated[
        int, typer.Option(min=1, max=3650, help="How many days back, today included / 天数")
    ] = 30,
    key: Annotated[
        str | None, typer.Option(metavar="KEY_ID", help="One key only / 只看某个密钥")
    ] = None,
    model: Annotated[
        str | None, typer.Option(metavar="NAME", help="One served model only / 只看某个模型")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON / 以 JSON 输出")] = False,
) -> None:
    """Show requests and tokens by day (UTC), key and model. / 按日期、密钥、模型查看用量。"""
    last = datetime.now(UTC).date()
    with connection.client() as client:
        found = client.usage.list(
            first=last - timedelta(days=days - 1), last=last, key_id=key, model=model
        )
    if as_json:
        show_json(found)
        return
    show_table(
        ("day", "key", "model", "requests", "prompt tokens", "completion tokens", "tokens"),
        [
            (
                item.day.isoformat(),
                item.key_id,
                item.model,
                str(item.requests),
                str(item.prompt_tokens),
                str(item.completion_tokens),
                str(item.total_tokens),
            )
            for item in found
        ],
    )
