"""Addresses of services: always on the host that the caller asked."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

V1_ROOT = "/rpc/2.0/ai_custom/v1/wenxinworkshop"
_HOST = re.compile(rb"[A-Za-z0-9.:_\[\]-]{1,255}")


def base_url(scope: Mapping[str, Any]) -> str:
    """Scheme and host as the caller wrote them, else the address that it reached."""
    host = next((value for name, value in scope["headers"] if name == b"host"), b"")
    if not _HOST.fullmatch(host):
        address, port = scope.get("server") or ("127.0.0.1", 80)
        host = f"{address}:{port}".encode()
    return f"{scope.get('scheme', 'http')}://{host.decode('ascii')}"


_CUTS_AT_BAIDUS_HOST = re.compile(rb"qianfan_py_sdk_v0\.(3|4\.[0-5])(\.|$)")
"""The package qianfan up to 0.4.5 takes Baidu's own address off the front, and fails where another one stands."""


def listed_url_of(scope: Mapping[str, Any], kind: str, suffix: str) -> str:
    """The same in a list of services, out of which SDKs read names alone; as the one that asks can read it."""
    for name, value in scope["headers"]:
        if name == b"request-source" and _CUTS_AT_BAIDUS_HOST.match(value):
            return f"https://aip.baidubce.com{V1_ROOT}/{kind}/{suffix}"
    return url_of(scope, kind, suffix)


def url_of(scope: Mapping[str, Any], kind: str, suffix: str) -> str:
    """The v1 address of an endpoint; SDKs read its last two segments."""
    return f"{base_url(scope)}{V1_ROOT}/{kind}/{suffix}"
