"""The nouns of batches."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec

State = Literal[
    "validating", "in_progress", "finalizing", "completed", "failed", "expired", "cancelled"
]
Form = Literal["openai", "qianfan"]
FINAL: tuple[State, ...] = ("completed", "failed", "expired", "cancelled")


class Order(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What was asked for.

    Attributes:
        endpoint: Path of the calls.
        input_file_id: File of requests; "" where they come from a folder of somebody else's.
        window: Time for it as the caller wrote it; "" for none.
        metadata: The caller's own words.
        output_expires_seconds: How long the files with results are kept; 0 for ever.
        name, description, model, model_id, parameters, input_uri, output_uri: What Qianfan's tasks have beside.
        options: What an engine of its own is told, where no service serves the model version.
    """

    endpoint: str
    input_file_id: str = ""
    window: str = ""
    metadata: dict[str, str] | None = None
    output_expires_seconds: int = 0
    name: str = ""
    description: str = ""
    model: str = ""
    model_id: str = ""
    parameters: dict[str, Any] = {}
    input_uri: str = ""
    output_uri: str = ""
    options: dict[str, Any] = {}


class Refused(msgspec.Struct, frozen=True):
    """Why a file cannot be worked on."""

    code: str
    message: str
    param: str | None = None
    line: int | None = None


class Outcome(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What has become of it so far.

    Attributes:
        total: Requests; 0 until they are counted.
        completed: Those with an answer; `failed` those with an error.
        prompt_tokens: Of all answers; `completion_tokens` likewise.
        output_bytes: How much of the file of answers was saved; `error_bytes` likewise. What stands behind it is cut off.
        output_file_id: File of the answers, once it is there; `error_file_id` likewise.
        end: The state after finalizing.
        refused: Why there was nothing to work on.
        at: When each state began, ms since the epoch.
    """

    total: int = 0
    completed: int = 0
    failed: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    output_bytes: int = 0
    error_bytes: int = 0
    output_file_id: str = ""
    error_file_id: str = ""
    end: State = "completed"
    refused: tuple[Refused, ...] = ()
    at: dict[str, int] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """A batch.

    Attributes:
        number: Order of creation.
        id: ``batch_…``, or ``infer-…`` where it was made in Qianfan's shape.
        app_id: Application of the key that made it; nobody else sees it.
        job_id: What works on it.
        form: Whose shape its files have.
        state: Where it stands.
        created_ms: When it was made, ms since the epoch.
        expires_ms: When what has no answer is given up; 0 for never.
    """

    number: int
    id: str
    app_id: str
    job_id: str
    form: Form
    state: State
    created_ms: int
    expires_ms: int
    order: Order
    outcome: Outcome = field(default_factory=Outcome)
