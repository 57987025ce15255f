"""What goes out and what comes back, without an HTTP library."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

if TYPE_CHECKING:
    from collections.abc import Mapping

    from yangfan.client.types import JSON


@dataclass(frozen=True, slots=True)
class Request:
    """A request ready to send. Its repr leaves out what may be secret: query, headers and body."""

    method: str
    url: str
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""

    def with_headers(self, *headers: tuple[str, str]) -> Request:
        """A copy with these headers; each takes the place of one of the same name."""
        names = {name.lower() for name, _ in headers}
        kept = tuple((name, value) for name, value in self.headers if name.lower() not in names)
        return replace(self, headers=(*kept, *headers))

    def with_query(self, key: str, value: str) -> Request:
        """A copy with one more query item."""
        joint = "&" if urlsplit(self.url).query else "?"
        return replace(self, url=f"{self.url}{joint}{key}={quote(value, safe='')}")

    def __repr__(self) -> str:
        """Method and address only."""
        return f"Request({self.method} {self.url.partition('?')[0]})"


@dataclass(frozen=True, slots=True)
class Reply:
    """A reply read to its end. `headers` has lower-case names."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Answer:
    """A reply that is no failure: its JSON object without nulls, and its headers with lower-case names."""

    document: JSON
    headers: Mapping[str, str]
