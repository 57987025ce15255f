"""The pictures of a call: gotten, whichever way they are given, and checked from the outside before an engine opens them.

What a picture is, is read from its first bytes, never from a name or a header. Addresses are fetched by the server, through the
guard of outbound fetches; engines get data URIs of checked files and never an address.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
from typing import TYPE_CHECKING, NamedTuple

from yangfan.errors import FetchError, ImageUnreadable, Invalid, InvalidImage
from yangfan.server.pictures import measure

if TYPE_CHECKING:
    from yangfan.egress import Egress

MAX_PICTURES = 16
"""Most pictures of one call."""

V1_PICTURE_BYTES = 4 * 1024 * 1024
V2_PICTURE_BYTES = 10 * 1024 * 1024
"""Largest picture in each dialect (specification B.9, C.4)."""

FETCH_SECONDS = 20.0
"""Longest time that all fetches of one call take together."""

LONGEST_SIDE = 5999
SHORTEST_SIDE = 5
"""Pixels (specification C.6): every side below 6000, the shortest one at least 5."""

FORMATS = "PNG, JPEG, GIF, WebP or BMP"


class Facts(NamedTuple):
    """What the first bytes of a picture say: its media type, and its size in pixels."""

    media_type: str
    width: int
    height: int


class Picture(NamedTuple):
    """A picture that was checked from the outside: the file as it came, and what it is."""

    data: bytes
    facts: Facts

    @property
    def data_uri(self) -> str:
        """The whole picture as an address."""
        return f"data:{self.facts.media_type};base64,{base64.b64encode(self.data).decode('ascii')}"


def read_facts(data: bytes) -> Facts | None:
    """What `data` is; None if it is no picture of a known format, or ends before it says how large it is."""
    try:
        found = measure(data)
    except Invalid:
        return None
    if found.format == "ico":
        return None  # no model's decoder takes icons
    return Facts(f"image/{found.format}", found.width, found.height)


def decode_base64(text: str, *, max_bytes: int, param: str) -> bytes:
    """The bytes that strict base64 stands for.

    Args:
        text: Without white space and without a header; `=` at the end where it belongs.
        max_bytes: Most bytes that it may stand for.
        param: The request field to blame.

    Raises:
        ImageUnreadable: It is not base64.
        InvalidImage: It is larger.
    """
    if len(text) // 4 * 3 > max_bytes + 3:
        raise _too_large(max_bytes, param)
    try:
        # Python takes a sign of padding too many.
        data = binascii.a2b_base64(text if len(text) % 4 == 0 else "=", strict_mode=True)
    except ValueError:
        raise ImageUnreadable(
            f"{param} is not base64, or a part of it is missing; encode the whole file anew",
            param=param,
        ) from None
    if len(data) > max_bytes:
        raise _too_large(max_bytes, param)
    return data


def check(data: bytes, *, param: str) -> Picture:
    """A picture with its facts.

    Raises:
        ImageUnreadable: The bytes are no picture of a known format.
        InvalidImage: It is too large or too small.
    """
    facts = read_facts(data)
    if facts is None:
        raise ImageUnreadable(
            f"{param} is no picture that can be read here, or only a part of one; send a whole {FORMATS} file",
            param=param,
        )
    _, width, height = facts
    if min(width, height) < SHORTEST_SIDE or max(width, height) > LONGEST_SIDE:
        raise InvalidImage(
            f"the image width and height are not within the allowed range: {param} is {width} x {height} pixels; every side must"
            f" be below {LONGEST_SIDE + 1} and the shortest at least {SHORTEST_SIDE}, resize it",
            param=param,
        )
    return Picture(data, facts)


class Pictures:
    """Gets the pictures of a call, whichever way they are given.

    Args:
        egress: The guard of outbound fetches.
        max_total_bytes: Most bytes of all pictures of one call together.
    """

    def __init__(self, egress: Egress, *, max_total_bytes: int) -> None:
        self._egress = egress
        self._max_total_bytes = max_total_bytes

    async def get(self, addresses: list[tuple[str, str]], *, max_bytes: int) -> list[Picture]:
        """The pictures at `addresses`, in order; one that is named twice is fetched once.

        Args:
            addresses: Each an http or https URL or a data URI, with the request field that holds it.
            max_bytes: Most bytes of one picture.

        Raises:
            InvalidImage: There are too many, or one is not to be had, too large or too small; ImageUnreadable if it is none.
        """
        if len(addresses) > MAX_PICTURES:
            raise InvalidImage(
                f"a call may have {MAX_PICTURES} pictures, this one has {len(addresses)}; leave older ones out",
                param=addresses[MAX_PICTURES][1],
            )
        deadline = asyncio.get_running_loop().time() + FETCH_SECONDS
        left, found = self._max_total_bytes, dict[str, Picture]()
        for address, param in addresses:
            if address in found:
                continue
            most = min(max_bytes, left)
            if address[:5].lower() == "data:":
                data = _decode_data_uri(address, max_bytes=most, param=param)
            else:
                data = await self._fetch(address, max_bytes=most, param=param, deadline=deadline)
            left -= len(data)
            found[address] = check(data, param=param)
        return [found[address] for address, _ in addresses]

    async def _fetch(self, url: str, *, max_bytes: int, param: str, deadline: float) -> bytes:
        if url[:8].lower() != "https://" and url[:7].lower() != "http://":
            raise InvalidImage(
                f"{param} must be an https URL or a data URI such as data:image/png;base64,…",
                param=param,
            )
        seconds = max(deadline - asyncio.get_running_loop().time(), 0.0)
        try:
            async with self._egress.open(
                url, max_bytes=max_bytes, headers={"accept": "image/*"}, timeout_seconds=seconds
            ) as response:
                if response.status != 200:
                    raise InvalidImage(
                        f"{param}: {response.name} answered with status {response.status} instead of a picture",
                        param=param,
                    )
                return await response.read()
        except FetchError as error:
            raise InvalidImage(f"{param}: {error.message}", param=param) from error


def _decode_data_uri(uri: str, *, max_bytes: int, param: str) -> bytes:
    head, comma, text = uri.partition(",")
    if not comma or not head.lower().endswith(";base64"):
        raise ImageUnreadable(
            f"{param} must be a data URI such as data:image/png;base64,…", param=param
        )
    return decode_base64(text, max_bytes=max_bytes, param=param)


def _too_large(max_bytes: int, param: str) -> InvalidImage:
    return InvalidImage(
        f"{param} is larger than the {max_bytes} bytes that are left for it; send a smaller picture",
        param=param,
    )
