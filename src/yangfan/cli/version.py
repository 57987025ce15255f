"""`yangfan version`: what runs here."""

from __future__ import annotations

import importlib.metadata
import platform
import re
from collections.abc import Iterator

import typer

_EXTRA = re.compile(r"([A-Za-z0-9._-]+).*\bextra == ['\"]([a-z]+)['\"]")
_ENGINES = frozenset({"llama", "transformers", "diffusers", "openvino"})
"""Extras that bring one."""


def version() -> None:
    """Show versions. / 显示版本。"""
    typer.echo(f"yangfan {importlib.metadata.version('yangfan')}")
    typer.echo(f"python {platform.python_version()}")
    typer.echo(f"platform {platform.platform()}")
    for library in sorted(set(engine_libraries())):
        try:
            typer.echo(f"{library} {importlib.metadata.version(library)}")
        except importlib.metadata.PackageNotFoundError:
            typer.echo(f"{library} not installed")


def engine_libraries() -> Iterator[str]:
    """Distributions that the engines' extras of this package bring."""
    for requirement in importlib.metadata.requires("yangfan") or ():
        match = _EXTRA.match(requirement)
        if match is not None and match[2] in _ENGINES:
            yield match[1]
