"""The nouns of `client.batches`."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from yangfan.protocol.v2 import batches as wire
    from yangfan.protocol.v2.batches import BatchState

FINAL = frozenset({"completed", "failed", "expired", "cancelled"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """A batch.

    Attributes:
        id: ``batch_…``.
        state: validating, in_progress, finalizing, completed, failed, expired, cancelling or cancelled.
        endpoint: Where its requests go.
        input_file_id: The file of requests.
        output_file_id: The file of answers, once it has ended; None if there are none.
        error_file_id: The file of what was refused, likewise.
        total: Requests; 0 until they are counted.
        completed: Those with an answer; `failed` those with an error.
        prompt_tokens: Of all answers; `completion_tokens` likewise.
        price_share: What they cost of the price of calls that are answered at once.
        problems: Why the file could not be worked on, a line each.
        created_at: When it was made; aware.
        expires_at: When what has no answer is given up.
        job_id: What works on it: `client.jobs` pauses it and lets it go on.
        metadata: The maker's own words.
    """

    id: str
    state: BatchState
    endpoint: str
    input_file_id: str
    output_file_id: str | None
    error_file_id: str | None
    total: int
    completed: int
    failed: int
    prompt_tokens: int
    completion_tokens: int
    price_share: float
    problems: tuple[str, ...]
    created_at: datetime
    expires_at: datetime | None
    job_id: str
    metadata: Mapping[str, str] = field(default_factory=dict[str, str])

    @property
    def final(self) -> bool:
        """Whether it has ended."""
        return self.state in FINAL


@dataclass(frozen=True, slots=True)
class BatchResult:
    """What became of a request.

    Attributes:
        custom_id: The caller's own id of it.
        body: The answer, as a call would have got it; None if there is none.
        error: Code and message where it was refused, or never asked.
    """

    custom_id: str
    body: Mapping[str, Any] | None
    error: Mapping[str, Any] | None


def batch_of(item: wire.Batch) -> Batch:
    """What the wire says."""
    problems = item.errors.data if item.errors is not None else []
    return Batch(
        id=item.id,
        state=item.status,
        endpoint=item.endpoint,
        input_file_id=item.input_file_id,
        output_file_id=item.output_file_id,
        error_file_id=item.error_file_id,
        total=item.request_counts.total,
        completed=item.request_counts.completed,
        failed=item.request_counts.failed,
        prompt_tokens=item.usage.input_tokens,
        completion_tokens=item.usage.output_tokens,
        price_share=item.usage.price_share,
        problems=tuple(
            f"{'' if each.line is None else f'line {each.line}: '}{each.code}: {each.message}"
            for each in problems
        ),
        created_at=datetime.fromtimestamp(item.created_at, UTC),
        expires_at=None
        if item.expires_at is None
        else datetime.fromtimestamp(item.expires_at, UTC),
        job_id=item.job_id if isinstance(item.job_id, str) else "",
        metadata=item.metadata or {},
    )


def result_of(line: dict[str, Any]) -> BatchResult:
    """A line of one of a batch's files."""
    response: dict[str, Any] = line.get("response") or {}
    body: dict[str, Any] | None = response.get("body")
    error: dict[str, Any] | None = line.get("error")
    if response.get("status_code", 200) != 200:
        error, body = (body or {}).get("error") or {"code": "", "message": ""}, None
    return BatchResult(str(line.get("custom_id", "")), body, error)
