"""`POST /wenxinworkshop/prompt/{singleOptimize,evaluate}/…`: rewriting and grading prompts, v1 (specification D.13)."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from yangfan.protocol.endpoint import Endpoint
from yangfan.protocol.v1.envelope import Envelope

MAX_GRADED = 1000


class Operation(msgspec.Struct, kw_only=True):
    """1: better, 2: shorter (1 or 0); 3: rounds; 4: chain of thought (1 or 0)."""

    opType: Literal[1, 2, 3, 4]  # noqa: N815 - the wire's spelling
    payload: Annotated[int, Meta(ge=0, le=10)]


class CreateOptimisation(msgspec.Struct, kw_only=True, omit_defaults=True):
    """What is to be rewritten, and how."""

    content: Annotated[str, Meta(min_length=1, max_length=20_000)]
    operations: list[Operation] = []
    appID: int | str | None = None  # noqa: N815 - the wire's spelling
    serviceName: str | None = None  # noqa: N815 - the wire's spelling
    """The model that rewrites."""
    datasetId: str = ""  # noqa: N815 - the wire's spelling
    """A dataset version, or a file of /v2/files with lines `{prompt, response}`, to measure prompts on; they contain {input}. An extension of ours."""
    scorer: str = "f1"
    """What is measured then. An extension of ours."""
    taskModel: str = ""  # noqa: N815 - the wire's spelling
    """The model that answers then; the one that rewrites by default. An extension of ours."""
    budget: Annotated[int, Meta(ge=0, le=1_000_000)] = 0
    """Answers that may be asked for then; 0 for as many as the rounds need. An extension of ours."""
    seed: Annotated[int, Meta(ge=0, le=2_000_000_000)] = 0
    """Of the search's draws and of the model's: the same seed, the same search. An extension of ours."""


class OptimisationId(msgspec.Struct):
    """Which one."""

    id: str


class Optimisation(msgspec.Struct, kw_only=True):
    """A prompt's rewriting. `search` has every prompt that was tried; scores are there where a dataset measured them."""

    id: str
    content: str
    optimizeContent: str  # noqa: N815 - the wire's spelling
    qingfanResult: str = ""  # noqa: N815 - the wire's spelling
    operations: list[Operation]
    processStatus: Literal[1, 2, 3]  # noqa: N815 - the wire's spelling
    appId: str  # noqa: N815 - the wire's spelling
    serviceName: str  # noqa: N815 - the wire's spelling
    projectId: str = ""  # noqa: N815 - the wire's spelling
    creator: str = ""
    inference: str = ""
    createTime: str  # noqa: N815 - the wire's spelling
    modifyTime: str  # noqa: N815 - the wire's spelling
    measured: bool = False
    """Whether a dataset decided; otherwise it is a rewriting that nobody measured."""
    answers: int = 0
    """Answers that were asked for."""
    search: list[dict[str, Any]] = []
    message: str = ""
    jobId: str = ""  # noqa: N815 - the wire's spelling


class Graded(msgspec.Struct, kw_only=True):
    """An expected answer, and what each prompt led to."""

    scene: str
    response_list: Annotated[list[str], Meta(max_length=100)]


class Predict(msgspec.Struct, kw_only=True):
    """What to grade: 1 by meaning, 2 by regular expression, 3 exactly."""

    type: Literal[1, 2, 3]
    data: Annotated[list[Graded], Meta(min_length=1, max_length=MAX_GRADED)]


class Scores(msgspec.Struct, kw_only=True):
    """A row for each scene, a column for each prompt; null where an answer cannot be graded."""

    logID: str  # noqa: N815 - the wire's spelling
    scores: list[list[float | None]]
    errorCode: int = 0  # noqa: N815 - the wire's spelling
    errorMsg: str = ""  # noqa: N815 - the wire's spelling


class Scene(msgspec.Struct, kw_only=True, omit_defaults=True):
    """One answer of a prompt."""

    expected_target: str = ""
    response: str = ""
    new_prompt: str = ""
    variables: dict[str, Any] = {}


class SummedPrompt(msgspec.Struct, kw_only=True, omit_defaults=True):
    """A prompt and what it led to. Some clients call the list `scene`."""

    prompt: str = ""
    scenes: list[Scene] = []
    scene: list[Scene] = []
    response_list: list[str] = []


class Summarise(msgspec.Struct, kw_only=True):
    """What to sum up."""

    data: Annotated[list[SummedPrompt], Meta(min_length=1, max_length=MAX_GRADED)]


class Summary(msgspec.Struct, kw_only=True):
    """How a prompt did, in a sentence."""

    response: str
    id: str
    errorCode: int = 0  # noqa: N815 - the wire's spelling
    errorMsg: str = ""  # noqa: N815 - the wire's spelling


class Summaries(msgspec.Struct):
    """One for each prompt, in the same order."""

    responses: list[Summary]


def _prompts(
    name: str, path: str, request: Any, reply: Any, en: str, zh: str
) -> Endpoint[Any, Any]:
    return Endpoint(
        name=f"v1.prompts.{name}",
        dialect="data",
        method="POST",
        path=f"/wenxinworkshop/prompt/{path}",
        request=request,
        reply=reply,
        auth="signature",
        summary=en,
        summary_zh=zh,
        spec="D.13",
    )


OPTIMISE = _prompts(
    "single_optimize_create",
    "singleOptimize/create",
    CreateOptimisation,
    Envelope[OptimisationId],
    "Have a prompt rewritten; with a dataset, until it scores better.",
    "创建 Prompt 优化任务。",
)
OPTIMISATION = _prompts(
    "single_optimize_info",
    "singleOptimize/info",
    OptimisationId,
    Envelope[Optimisation],
    "Show a prompt's rewriting.",
    "查看 Prompt 优化任务。",
)
PREDICT = _prompts(
    "evaluate_predict",
    "evaluate/predict",
    Predict,
    Envelope[Scores],
    "Grade answers by meaning, by regular expression or exactly.",
    "为 Prompt 的回答打分。",
)
SUMMARY = _prompts(
    "evaluate_summary",
    "evaluate/summary",
    Summarise,
    Envelope[Summaries],
    "Sum up how prompts did.",
    "总结 Prompt 的表现。",
)
