"""All rows of a database as lines of JSON, and back: the same text for SQLite and PostgreSQL.

A table begins with ``{"table": NAME, "columns": […]}``; an array a row follows, bytes as ``{"base64": …}``. The table in which the
migrations note where they stand is left out: whoever reads the lines makes the schema first.
"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any, cast

import msgspec
import sqlalchemy as sa

from yangfan.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

BATCH_ROWS = 500
_NOT_ROWS = frozenset({"alembic_version"})
_DERIVED = "fts_"
"""What begins so is an index that triggers keep."""


def dump(connection: sa.Connection) -> Iterator[bytes]:
    """Every row of every table, a line each; as the connection's transaction sees them."""
    for table in _tables(connection):
        # SQLAlchemy's names are of a type of their own, which JSON does not know.
        columns = [f"{column.name}" for column in table.columns]
        yield _line({"table": f"{table.name}", "columns": columns})
        for row in connection.execute(sa.select(table)):
            yield _line([_plain(value) for value in row])


def load(connection: sa.Connection, lines: Iterable[bytes]) -> int:
    """Put rows that `dump` wrote into empty tables of the same schema; how many.

    Raises:
        ConfigurationError: They are damaged, or of another schema.
    """
    tables = {table.name: table for table in _tables(connection)}
    table: sa.Table | None = None
    columns: list[str] = []
    batch: list[dict[str, Any]] = []
    count = 0
    for line in lines:
        document = _document(line)
        if isinstance(document, dict) or len(batch) == BATCH_ROWS:
            count += _insert(connection, table, batch)
            batch = []
        if isinstance(document, dict):
            head = cast("dict[str, Any]", document)
            table, columns = tables.get(str(head.get("table"))), head.get("columns", [])
            if table is None or list(table.columns.keys()) != columns:
                raise ConfigurationError(
                    f"the rows of table {head.get('table')!r} do not fit this release's schema; is the backup damaged?"
                )
        elif isinstance(document, list) and len(cast("list[Any]", document)) == len(columns):
            values = map(_value, cast("list[Any]", document))
            batch.append(dict(zip(columns, values, strict=True)))
        else:
            raise ConfigurationError("the rows are damaged; use another backup")
    count += _insert(connection, table, batch)
    _go_on_counting(connection, tables.values())
    return count


def _insert(connection: sa.Connection, table: sa.Table | None, rows: list[dict[str, Any]]) -> int:
    if rows:
        assert table is not None, "rows follow their table"
        connection.execute(sa.insert(table), rows)
    return len(rows)


def _go_on_counting(connection: sa.Connection, tables: Iterable[sa.Table]) -> None:
    """PostgreSQL's counters do not see numbers that were given."""
    if connection.dialect.name != "postgresql":
        return
    for table in tables:
        for column in table.columns:
            sequence = sa.func.pg_get_serial_sequence(table.name, column.name)
            if connection.scalar(sa.select(sequence)) is not None:
                last = sa.select(sa.func.max(column)).scalar_subquery()
                connection.execute(
                    sa.select(
                        sa.func.setval(sequence, sa.func.coalesce(last, 1), last.is_not(None))
                    )
                )


def _tables(connection: sa.Connection) -> list[sa.Table]:
    """The tables as they are, those that others refer to first."""
    # SQLAlchemy's reflection of indexes counts in 32 bits, which `yangfan.server.db` has done away with.
    found = sa.inspect(connection)
    return [
        sa.Table(
            str(name),
            sa.MetaData(),
            *(sa.Column(str(column["name"]), column["type"]) for column in found.get_columns(name)),
        )
        for name, _ in found.get_sorted_table_and_fkc_names()
        if name is not None and name not in _NOT_ROWS and not name.startswith(_DERIVED)
    ]


def _line(document: object) -> bytes:
    return msgspec.json.encode(document) + b"\n"


def _document(line: bytes) -> object:
    try:
        return msgspec.json.decode(line)
    except msgspec.DecodeError:
        raise ConfigurationError("the rows are damaged; use another backup") from None


def _plain(value: object) -> object:
    if isinstance(value, bytes):
        return {"base64": base64.b64encode(value).decode()}
    return value


def _value(value: object) -> object:
    if isinstance(value, dict):
        return base64.b64decode(str(cast("dict[str, object]", value).get("base64", "")))
    return value
