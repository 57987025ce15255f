"""Web pages that call from a browser: which may, and how they are told (https://fetch.spec.whatwg.org/#http-cors-protocol)."""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING, Any

from yangfan.errors import ConfigurationError, Forbidden

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from yangfan.server.http.dialects import Header

ANY = "*"
HERE = "localhost"
"""Every page that comes from this machine, whatever its port."""

_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://[^/\s*]+|null")
_HERE = re.compile(rb"https?://(localhost|127\.0\.0\.1|\[::1\])(:[0-9]{1,5})?")
_NAMES = re.compile(rb"[\w!#$%&'*+.^`|~, \t-]+")
_MAX_AGE_SECONDS = b"7200"
"""How long a browser may remember what it was told: Chromium's own limit."""

_LOCAL_ENDINGS = (".localhost", ".local", ".internal")
"""Of names that no stranger can point at this machine; neither can one without a dot be a stranger's."""

_NO_HEADERS: tuple[Header, ...] = ()


class Origins:
    """The web pages that may call.

    Nothing here goes by cookies: a page has to know a key. Only a server that asks for none has to fear strangers' pages, which
    can send simple requests without asking first; it refuses them, also where such a page makes its own name point here (DNS
    rebinding), with which a browser takes it for one of this server's.

    Args:
        allowed: Origins such as ``https://chat.example.com`` or ``app://obsidian.md``, ``*`` for every page, ``localhost`` for those of this
            machine, or ``null`` for files of one's own disk.
        keys: Whether calls need credentials.
    """

    def __init__(self, allowed: Iterable[str], *, keys: bool) -> None:
        """Check what was given.

        Raises:
            ConfigurationError: One is no origin.
        """
        listed = [origin.strip().rstrip("/").lower() for origin in allowed]
        for origin in listed:
            if origin not in {ANY, HERE} and not _ORIGIN.fullmatch(origin):
                raise ConfigurationError(
                    f"settings: cors_origins must be *, localhost, or addresses such as https://chat.example.com, without a path; got {origin[:64]!r}"
                )
        self._any, self._here = ANY in listed, HERE in listed
        self._allowed = frozenset(origin.encode() for origin in listed)
        self._hosts = frozenset(host_name(origin.partition("://")[2]) for origin in listed)
        self._keys = keys

    @property
    def checks_hosts(self) -> bool:
        """Whether every request has to come by a name of this machine's."""
        return not self._keys and not self._any

    def check_host(self, scope: Mapping[str, Any]) -> None:
        """Look by which name a request came.

        Raises:
            Forbidden: It is neither an address, nor a local name, nor that of a listed origin.
        """
        name = host_name((_value(scope, b"host") or b"").decode("latin-1"))
        if name not in self._hosts and not is_local_name(name):
            raise Forbidden(
                f"this server needs no key, so it is not to be called {name[:200]!r}; call it localhost, list that address in"
                " the setting cors_origins (YANGFAN_CORS_ORIGINS), or start with --auth"
            )

    def headers(self, scope: Mapping[str, Any]) -> tuple[Header, ...]:
        """What to add to the answer; nothing for programs, which name no origin, and for pages that may not call.

        Raises:
            Forbidden: Somebody else's page asks a server that needs no key.
        """
        origin = _value(scope, b"origin")
        if origin is None:
            return _NO_HEADERS
        if self._any:
            # A star suffices, as nothing goes by cookies; answers then are the same for every page.
            return ((b"Access-Control-Allow-Origin", b"*"), _EXPOSED)
        known = origin.lower()
        if known in self._allowed or (self._here and _HERE.fullmatch(known)):
            return ((b"Access-Control-Allow-Origin", origin), (b"Vary", b"Origin"), _EXPOSED)
        if not self._keys and not _of_this_server(origin, scope):
            raise Forbidden(
                f"this server needs no key, so pages of {origin[:200].decode('ascii', 'replace')} may not call it;"
                " list that address in the setting cors_origins (YANGFAN_CORS_ORIGINS), or start with --auth"
            )
        return _NO_HEADERS

    def preflight(
        self, scope: Mapping[str, Any], granted: tuple[Header, ...]
    ) -> tuple[Header, ...] | None:
        """The whole answer's headers to a browser that asks first; None if this is no such question.

        Raises:
            Forbidden: The page may not call.
        """
        if scope["method"] != "OPTIONS":
            return None
        method = _value(scope, b"access-control-request-method")
        origin = _value(scope, b"origin")
        if method is None or origin is None:
            return None
        if not granted and not _of_this_server(origin, scope):
            raise Forbidden(
                f"pages of {origin[:200].decode('ascii', 'replace')} may not call; list that address in the setting cors_origins"
                " (YANGFAN_CORS_ORIGINS)"
            )
        wanted = _value(scope, b"access-control-request-headers")
        answer = [*granted, (b"Access-Control-Allow-Methods", b"GET, HEAD, POST, DELETE")]
        if wanted is not None and _NAMES.fullmatch(wanted):
            # Named one by one, because a star does not stand for Authorization.
            answer.append((b"Access-Control-Allow-Headers", wanted))
        if _value(scope, b"access-control-request-private-network") == b"true":
            answer.append((b"Access-Control-Allow-Private-Network", b"true"))
        answer.append((b"Access-Control-Max-Age", _MAX_AGE_SECONDS))
        return tuple(answer)


_EXPOSED: Header = (b"Access-Control-Expose-Headers", b"*")
"""Request ids, limits, the model's name and when to try again, for the page's own program."""


def host_name(host: str) -> str:
    """The name or address in a Host header, without the port."""
    bracketed, _, rest = host.lower().partition("]")
    return bracketed.lstrip("[") if rest or host.endswith("]") else bracketed.partition(":")[0]


def is_local_name(name: str) -> bool:
    """Whether it is an address, or a name that only this machine or its network gives.

    A page whose name its owner lets point here (DNS rebinding) comes by another.
    """
    name = name.rstrip(".")
    if "." not in name and ":" not in name:
        return True
    if name.endswith(_LOCAL_ENDINGS):
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _of_this_server(origin: bytes, scope: Mapping[str, Any]) -> bool:
    """Whether the page came from here, such as /docs."""
    host = _value(scope, b"host")
    return host is not None and origin.lower().partition(b"://")[2] == host.lower()


def _value(scope: Mapping[str, Any], wanted: bytes) -> bytes | None:
    for name, value in scope["headers"]:
        if name == wanted:
            return value
    return None
