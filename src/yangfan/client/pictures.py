"""Pictures in what is asked: a file, its bytes or an address, as a part of a message."""

from __future__ import annotations

import base64
from os import PathLike
from pathlib import Path
from typing import TypeAlias

from yangfan.errors import ConfigurationError

Image: TypeAlias = bytes | PathLike[str] | str
"""A picture: the bytes of a PNG, JPEG, GIF, WebP or BMP file, the path of one, or as text its URL or data URI."""

_ADDRESSES = ("https://", "http://", "data:")
_BEGINNINGS = (
    (b"\x89PNG\r\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF8", "image/gif"),
    (b"RIFF", "image/webp"),
    (b"BM", "image/bmp"),
)


def image_part(image: Image, *, detail: str | None = None) -> dict[str, object]:
    """A picture as a part of a message, to stand beside ``{"type": "text", "text": …}`` in its `content`.

    Args:
        image: Bytes and paths are sent along; an address is fetched by the server.
        detail: How closely to look, ``low``, ``high`` or ``auto``, for models that have a choice.

    Raises:
        ConfigurationError: The file cannot be read or is no picture, or a text is no address.
    """
    url = address_of(image)
    address = {"url": url} if detail is None else {"url": url, "detail": detail}
    return {"type": "image_url", "image_url": address}


def address_of(image: Image) -> str:
    """The URL of a picture, or a data URI that holds it.

    Raises:
        ConfigurationError: The file cannot be read or is no picture, or a text is no address.
    """
    url = image if isinstance(image, str) else _data_uri(bytes_of(image))
    if not url.lower().startswith(_ADDRESSES):
        raise ConfigurationError(
            "a picture given as text must be an https URL or a data URI; give a file as pathlib.Path(…)"
        )
    return url


def bytes_of(image: bytes | PathLike[str]) -> bytes:
    """The file.

    Raises:
        ConfigurationError: It cannot be read, or is no picture.
    """
    if isinstance(image, bytes):
        data, name = image, "these bytes"
    else:
        name = str(Path(image))
        try:
            data = Path(image).read_bytes()
        except OSError as error:
            raise ConfigurationError(f"cannot read {name}: {error.strerror}") from None
    if not data.startswith(tuple(beginning for beginning, _ in _BEGINNINGS)):
        raise ConfigurationError(f"{name}: no PNG, JPEG, GIF, WebP or BMP picture")
    return data


def base64_of(image: Image) -> str:
    """The base64 of a picture, as v1's `image` takes it.

    Raises:
        ConfigurationError: It cannot be read or is no picture, or is the address of one somewhere else.
    """
    if not isinstance(image, str):
        return base64.b64encode(bytes_of(image)).decode("ascii")
    _, sign, text = image.partition(";base64,")
    if not sign or not image.lower().startswith("data:"):
        raise ConfigurationError(
            "v1's image2text takes a file, not an address: give pathlib.Path(…) or bytes, or make the client with version=2"
        )
    return text


def _data_uri(data: bytes) -> str:
    media_type = next(kind for beginning, kind in _BEGINNINGS if data.startswith(beginning))
    return f"data:{media_type};base64,{base64.b64encode(data).decode('ascii')}"
