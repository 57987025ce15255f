"""Where a run's report is: always on the host that the caller asked."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from yangfan.protocol.v2.tuning import REPORT

if TYPE_CHECKING:
    from collections.abc import Mapping

_HOST = re.compile(rb"[A-Za-z0-9.:_\[\]-]{1,255}")


def report_url(scope: Mapping[str, Any], task_id: str) -> str:
    """Address of a run's report, with the scheme and host that the caller wrote."""
    host = next((value for name, value in scope["headers"] if name == b"host"), b"")
    if not _HOST.fullmatch(host):
        address, port = scope.get("server") or ("127.0.0.1", 80)
        host = f"{address}:{port}".encode()
    path = REPORT.path.replace("{task}", task_id)
    return f"{scope.get('scheme', 'http')}://{host.decode('ascii')}{path}"
