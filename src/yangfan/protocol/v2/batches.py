"""`/v2/batches`: files of requests that are worked on when the platform has time, in OpenAI's shapes (specification C.5).

https://developers.openai.com/api/reference/resources/batches
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, get_args

import msgspec
from msgspec import UNSET, Meta, UnsetType

from yangfan.protocol.endpoint import Endpoint

BatchEndpoint = Literal[
    "/v2/chat/completions",
    "/v2/completions",
    "/v2/embeddings",
    "/v2/images/generations",
    "/v2/images/edits",
    "/v2/rerank",
]
"""Where the requests of a batch may go. Their OpenAI spellings, with /v1, mean the same."""

ENDPOINTS: tuple[BatchEndpoint, ...] = get_args(BatchEndpoint)

BatchState = Literal[
    "validating",
    "failed",
    "in_progress",
    "finalizing",
    "completed",
    "expired",
    "cancelling",
    "cancelled",
]

PRICE_SHARE = 0.4
"""What a token of a batch costs of one of a call that is answered at once (specification C.5)."""

MAX_LISTED = 100


class CreateBatch(msgspec.Struct, kw_only=True, omit_defaults=True):
    """What is to be worked on."""

    input_file_id: Annotated[str, Meta(max_length=64)]
    """A file of JSON lines with purpose `batch`: {custom_id, method: POST, url, body}."""
    endpoint: Annotated[str, Meta(max_length=64)]
    """Where every request goes; the `url` of each line."""
    completion_window: Annotated[str, Meta(pattern=r"^[1-9]\d{0,3}[hd]$")] = "24h"
    """Hours or days after which what has no answer yet is given up."""
    metadata: Annotated[dict[str, str], Meta(max_length=16)] | None = None
    """Up to 16 words of the caller's own, shown again."""
    output_expires_after: dict[str, Any] | None = None
    """`{anchor: created_at, seconds}`: when the files with results are deleted."""


class BatchRefusal(msgspec.Struct, kw_only=True):
    """Why a file cannot be worked on, and in which line."""

    code: str
    message: str
    param: str | None = None
    line: int | None = None


class BatchRefusals(msgspec.Struct):
    """The first of them."""

    data: list[BatchRefusal]
    object: Literal["list"] = "list"


class RequestCounts(msgspec.Struct):
    """Requests, and how many have an answer or an error."""

    total: int = 0
    completed: int = 0
    failed: int = 0


class BatchUsage(msgspec.Struct, kw_only=True):
    """Tokens of all answers, and what they cost of the price of calls that are answered at once."""

    input_tokens: int = 0
    output_tokens: int = 0
    total_tokens: int = 0
    input_tokens_details: dict[str, int] = msgspec.field(
        default_factory=lambda: {"cached_tokens": 0}
    )
    output_tokens_details: dict[str, int] = msgspec.field(
        default_factory=lambda: {"reasoning_tokens": 0}
    )
    price_share: float = PRICE_SHARE


class Batch(msgspec.Struct, kw_only=True):
    """A batch. Times are seconds since the epoch, null until they have come."""

    id: str
    object: Literal["batch"] = "batch"
    endpoint: str
    errors: BatchRefusals | None = None
    input_file_id: str
    completion_window: str
    status: BatchState
    output_file_id: str | None = None
    error_file_id: str | None = None
    created_at: int
    in_progress_at: int | None = None
    expires_at: int | None = None
    finalizing_at: int | None = None
    completed_at: int | None = None
    failed_at: int | None = None
    expired_at: int | None = None
    cancelling_at: int | None = None
    cancelled_at: int | None = None
    request_counts: RequestCounts
    usage: BatchUsage
    metadata: dict[str, str] | None = None
    job_id: str | UnsetType = UNSET
    """Of the job that works on it: `/v2/jobs` pauses it and lets it go on. An extension of ours."""


class BatchList(msgspec.Struct, kw_only=True):
    """A page of batches, the newest first; `last_id` is the `after` of the next one."""

    object: Literal["list"] = "list"
    data: list[Batch]
    first_id: str | None = None
    last_id: str | None = None
    has_more: bool = False


CREATE: Endpoint[CreateBatch, Batch] = Endpoint(
    name="v2.batches.create",
    dialect="v2",
    method="POST",
    path="/v2/batches",
    aliases=("/v1/batches", "/v2/v1/batches"),
    request=CreateBatch,
    reply=Batch,
    asks_models=False,
    summary="Work on a file of requests when there is time, at 40 % of the price.",
    summary_zh="创建批量推理任务：在空闲时处理请求文件，价格为实时调用的 40%。",
    spec="C.5",
)
LIST = Endpoint[None, BatchList](
    name="v2.batches.list",
    dialect="v2",
    method="GET",
    path="/v2/batches",
    aliases=("/v1/batches", "/v2/v1/batches"),
    request=None,
    reply=BatchList,
    summary="List batches, the newest first: `limit` and `after` in the query.",
    summary_zh="查询批量推理任务列表，查询参数为 limit、after。",
    spec="C.1",
)
SHOW = Endpoint[None, Batch](
    name="v2.batches.retrieve",
    dialect="v2",
    method="GET",
    path="/v2/batches/{batch_id}",
    aliases=("/v1/batches/{batch_id}", "/v2/v1/batches/{batch_id}"),
    request=None,
    reply=Batch,
    summary="Show a batch.",
    summary_zh="查询批量推理任务。",
    spec="C.5",
)
CANCEL = Endpoint[None, Batch](
    name="v2.batches.cancel",
    dialect="v2",
    method="POST",
    path="/v2/batches/{batch_id}/cancel",
    aliases=("/v1/batches/{batch_id}/cancel", "/v2/v1/batches/{batch_id}/cancel"),
    request=None,
    reply=Batch,
    summary="Stop a batch; what it has answered is kept.",
    summary_zh="取消批量推理任务，已完成的结果保留。",
    spec="C.5",
)
