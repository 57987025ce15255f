"""Files on their way to the server. Pure but for reading them: both clients use it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from yangfan.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


def content_of(path: Path) -> bytes:
    """What a file holds.

    Raises:
        ConfigurationError: It cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"cannot read {path}: {error.strerror}") from None


def form(boundary: str, fields: Mapping[str, str], name: str, content: bytes) -> bytes:
    """multipart/form-data with a file; its name is escaped as browsers do it (RFC 7578)."""
    safe = name.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")
    parts = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="{key}"\r\n\r\n{value}\r\n'.encode()
        for key, value in fields.items()
    ]
    parts.append(
        f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{safe}"\r\n'
        "Content-Type: application/octet-stream\r\n\r\n".encode()
    )
    return b"".join((*parts, content, f"\r\n--{boundary}--\r\n".encode()))
