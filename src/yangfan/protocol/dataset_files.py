"""What both dialects say about files of rows: where they are, and how to read them."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

MAX_FILES = 100
FileFormat = Literal["jsonl", "json", "csv", "tsv", "xlsx", "parquet", "txt"]

FileAddress = Annotated[str, Meta(min_length=1, max_length=4096)]
"""``bos:/bucket/key``, ``s3:bucket/key``, ``https://…``, ``file-…`` (of /v2/files), ``upload:up-…``, or an absolute path of the server."""

VersionId = int | Annotated[str, Meta(min_length=1, max_length=256)]
"""A version's ``ds-…``, its integer, or ``NAME:VERSION``."""


class Reading(msgspec.Struct, kw_only=True):
    """How to read files; all of it is ours, and nothing of it is needed.

    Attributes:
        format: Of files whose names do not say it.
        columns: Which column or key holds a field of the sample, by the field.
        encoding: utf-8, gbk, gb18030 or utf-16; found out if absent.
        delimiter: Between the fields of a csv file.
        sheet: Of an xlsx file.
        wholeFiles: Whether a txt file is one text, and not one a line.
    """

    format: FileFormat | None = None
    columns: Annotated[dict[str, str], Meta(max_length=100)] | None = None
    encoding: Annotated[str, Meta(max_length=40)] | None = None
    delimiter: Annotated[str, Meta(max_length=8)] | None = None
    sheet: Annotated[str, Meta(max_length=100)] | None = None
    wholeFiles: bool = False  # noqa: N815 - the wire's spelling
