"""The version of this package, asked for when it is needed: looking it up takes longer than the rest of the import."""

from __future__ import annotations


def package_version() -> str:
    """Such as ``0.1.0``; ``0`` when the package runs without having been installed."""
    from importlib import metadata

    try:
        return metadata.version("yangfan")
    except metadata.PackageNotFoundError:
        return "0"
