"""Calls made from the server's own OpenAPI document, by schemathesis: no answer may be a 5xx, or other than the document says."""

# pyright: basic, reportAttributeAccessIssue=false, reportArgumentType=false
# schemathesis tells little of its types.

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode, urlsplit

import hypothesis
import schemathesis
from schemathesis.checks import load_all_checks
from schemathesis.core.failures import FailureGroup
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
)
from tests.server.conftest import sign_request

if TYPE_CHECKING:
    from tests.conftest import Server

SKIPPED = frozenset({"keys.revoke"})
"""Would end the credentials that the other calls use."""


def fuzz_document(server: Server, *, examples: int) -> tuple[Counter[int], list[str]]:
    """Make so many calls of every operation, with credentials and, every fourth time, without any; the same ones every time.

    Returns:
        How many answers had each status, and what was wrong, a line each.
    """
    load_all_checks()
    document = schemathesis.openapi.from_url(f"{server.base_url}/openapi.json")
    statuses: Counter[int] = Counter()
    wrong: dict[str, str] = {}
    for found in document.get_all_operations():
        operation = found.ok()
        name = operation.definition.raw["operationId"]
        if name not in SKIPPED:
            _fuzz_operation(server, operation, name, examples, statuses, wrong)
    return statuses, [f"{where}: {text}" for where, text in wrong.items()]


def _fuzz_operation(
    server: Server,
    operation: Any,
    name: str,
    examples: int,
    statuses: Counter[int],
    wrong: dict[str, str],
) -> None:
    @hypothesis.settings(
        max_examples=examples,
        derandomize=True,
        deadline=None,
        database=None,
        suppress_health_check=list(hypothesis.HealthCheck),
        phases=[hypothesis.Phase.explicit, hypothesis.Phase.generate],
    )
    @hypothesis.given(operation.as_strategy())
    def call(case: Any) -> None:
        headers = {} if statuses.total() % 4 == 3 else _credentials(server, case)
        response = case.call(headers=headers, timeout=20)
        statuses[response.status_code] += 1
        where = f"{name} {response.status_code}"
        if response.status_code >= 500:
            wrong.setdefault(where, f"{case.as_curl_command()} -> {response.text[:300]}")
        try:
            case.validate_response(
                response, checks=[response_schema_conformance, content_type_conformance]
            )
        except FailureGroup as group:
            wrong.setdefault(where, f"{group.exceptions[0]}"[:1500])

    call()


def _credentials(server: Server, case: Any) -> dict[str, str]:
    prepared = case.as_transport_kwargs(base_url=server.base_url)
    security = case.operation.definition.raw.get("security") or []
    if not any("bceAuthV1" in way and len(security) == 1 for way in security):
        return {"Authorization": f"Bearer {server.bearer}"}
    parts = urlsplit(prepared["url"])
    query = parts.query
    if prepared.get("params"):
        query = "&".join(filter(None, [query, urlencode(prepared["params"], doseq=True)]))
    return sign_request(
        prepared["method"],
        parts.path + (f"?{query}" if query else ""),
        host=parts.netloc,
        access_key=server.access_key,
        secret=server.secret_access_key,
    )
