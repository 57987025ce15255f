"""`POST /wenxinworkshop/modelrepo/eval/…`: evaluating models on datasets, v1 (specification D.14)."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from yangfan.protocol.endpoint import Endpoint
from yangfan.protocol.v1.console import ConsoleReply, Id


class EvaluatedVersion(msgspec.Struct, kw_only=True):
    """A model version to be evaluated."""

    modelVersionId: Id  # noqa: N815 - the wire's spelling
    modelId: Id = ""  # noqa: N815 - the wire's spelling
    engineOptions: dict[str, Any] = {}  # noqa: N815 - the wire's spelling
    """What an engine of its own is told, as in `/v2/service`; `force` runs a version whose parity gate failed. An extension of ours."""


class CreateEval(msgspec.Struct, kw_only=True, omit_defaults=True):
    """What is to be evaluated, on what, and how."""

    name: Annotated[str, Meta(min_length=1, max_length=100)]
    versionEvalInfo: Annotated[list[EvaluatedVersion], Meta(min_length=1, max_length=5)]  # noqa: N815 - the wire's spelling
    datasetId: Id  # noqa: N815 - the wire's spelling
    evalStandardConf: dict[str, Any]  # noqa: N815 - the wire's spelling
    computeResourceConf: dict[str, Any] = {}  # noqa: N815 - the wire's spelling
    description: str = ""
    datasetName: str = ""  # noqa: N815 - the wire's spelling


class NamedEval(msgspec.Struct, kw_only=True):
    """Which one."""

    id: Id


class CreatedEval(msgspec.Struct, kw_only=True):
    """Its ids."""

    evalId: int  # noqa: N815 - the wire's spelling
    evalIdStr: str  # noqa: N815 - the wire's spelling


class ScoreRange(msgspec.Struct, kw_only=True, omit_defaults=True):
    """From `start` to `end`, both included."""

    start: float | None = None
    end: float | None = None


class ListEvalResults(msgspec.Struct, kw_only=True, omit_defaults=True):
    """Which answers to show."""

    id: Id
    pageNo: Annotated[int, Meta(ge=1, le=1_000_000)] = 1  # noqa: N815 - the wire's spelling
    pageSize: Annotated[int, Meta(ge=1, le=1000)] = 10  # noqa: N815 - the wire's spelling
    modelVersionIds: list[Id] = []  # noqa: N815 - the wire's spelling
    evalUnitId: list[str] = []  # noqa: N815 - the wire's spelling
    """Models of the evaluation, as its detail names them."""
    orderBy: str = ""  # noqa: N815 - the wire's spelling
    order: str = ""
    bleu4: ScoreRange | None = None
    rouge_1: ScoreRange | None = None
    rouge_2: ScoreRange | None = None
    rouge_l: ScoreRange | None = None
    judgeScore: ScoreRange | None = None  # noqa: N815 - the wire's spelling
    """The judge's; -1 is an answer that it gave no score."""


class EvalResultPage(msgspec.Struct, kw_only=True):
    """A page of answers."""

    total: int
    items: list[dict[str, Any]] = msgspec.field(name="list")


class PeoplesScore(msgspec.Struct, kw_only=True, omit_defaults=True):
    """What a person says about an answer, in one dimension."""

    resultId: Annotated[str, Meta(min_length=1, max_length=64)]  # noqa: N815 - the wire's spelling
    """Of the answer, as result/list shows it."""
    dimension: Annotated[str, Meta(max_length=64)] = "满意度"
    score: float
    scorer: Annotated[str, Meta(max_length=64)] = ""
    """Who says so, where there are several; the same one's next score takes its place."""
    comment: Annotated[str, Meta(max_length=2000)] = ""


class ScoreEval(msgspec.Struct, kw_only=True):
    """What people say about answers."""

    id: Id
    scores: Annotated[list[PeoplesScore], Meta(min_length=1, max_length=1000)]


class FinishEval(msgspec.Struct, kw_only=True, omit_defaults=True):
    """That people are through."""

    id: Id
    subjectiveImpression: Annotated[str, Meta(max_length=2000)] = ""  # noqa: N815 - the wire's spelling
    """What they say of it all."""


class PeoplesProgress(msgspec.Struct, kw_only=True):
    """How far people are: nobody has begun, they are at it, every answer has all its scores."""

    state: Literal["wait", "doing", "done"]
    scored: int
    """Answers that have all their scores."""
    total: int


class ExportEval(msgspec.Struct, kw_only=True, omit_defaults=True):
    """What to export."""

    id: Id
    exportType: Literal["local", "storage"] = "local"  # noqa: N815 - the wire's spelling
    exportOpt: Literal["total", "part"] = "total"  # noqa: N815 - the wire's spelling
    exportContent: list[Literal["prompt", "prediction", "completion", "metrics"]] = []  # noqa: N815 - the wire's spelling
    """All of it by default."""
    resultIds: list[str] = []  # noqa: N815 - the wire's spelling
    volumeId: str = ""  # noqa: N815 - the wire's spelling


class CreatedExport(msgspec.Struct, kw_only=True):
    """Its ids."""

    exportID: int  # noqa: N815 - the wire's spelling
    exportIDStr: str  # noqa: N815 - the wire's spelling


class NamedExport(msgspec.Struct, kw_only=True):
    """Which one."""

    exportID: Id  # noqa: N815 - the wire's spelling


class Export(msgspec.Struct, kw_only=True):
    """An export."""

    id: int
    exportID: int  # noqa: N815 - the wire's spelling
    exportIDStr: str  # noqa: N815 - the wire's spelling
    state: Literal["Pending", "Uploading", "Fail", "Done"]
    exportType: str  # noqa: N815 - the wire's spelling
    volumeId: str = ""  # noqa: N815 - the wire's spelling
    exportPath: str = ""  # noqa: N815 - the wire's spelling
    downloadUrl: str = ""  # noqa: N815 - the wire's spelling


class DeleteEvals(msgspec.Struct, kw_only=True):
    """Which ones."""

    evalIds: list[Id]  # noqa: N815 - the wire's spelling


class Cancelled(msgspec.Struct, kw_only=True):
    """That it is being stopped."""

    result: bool = True
    errorMessage: str = ""  # noqa: N815 - the wire's spelling


def _eval(name: str, path: str, request: Any, reply: Any, en: str, zh: str) -> Endpoint[Any, Any]:
    return Endpoint(
        name=f"v1.evaluation.{name}",
        dialect="v1",
        method="POST",
        path=f"/wenxinworkshop/modelrepo/eval/{path}",
        request=request,
        reply=reply,
        auth="signature",
        summary=en,
        summary_zh=zh,
        spec="D.14",
    )


CREATE = _eval(
    "create",
    "create",
    CreateEval,
    ConsoleReply[CreatedEval],
    "Evaluate model versions on a dataset.",
    "创建评估任务。",
)
DETAIL = _eval(
    "detail",
    "detail",
    NamedEval,
    ConsoleReply[dict[str, Any]],
    "Show an evaluation.",
    "查看评估任务。",
)
REPORT = _eval(
    "report",
    "report",
    NamedEval,
    ConsoleReply[list[dict[str, Any]]],
    "Show the figures of an evaluation.",
    "查看评估报告。",
)
CANCEL = _eval(
    "cancel",
    "cancel",
    NamedEval,
    ConsoleReply[Cancelled],
    "Stop an evaluation.",
    "停止评估任务。",
)
EXPORT = _eval(
    "result_export",
    "result/export",
    ExportEval,
    ConsoleReply[CreatedExport],
    "Export answers and scores.",
    "导出评估结果。",
)
EXPORT_INFO = _eval(
    "result_export_info",
    "result/export/info",
    NamedExport,
    ConsoleReply[Export],
    "Show an export, and where it can be fetched.",
    "查看评估结果导出任务。",
)
RESULTS = _eval(
    "result_list",
    "result/list",
    ListEvalResults,
    ConsoleReply[EvalResultPage],
    "List answers with their scores.",
    "查看评估结果列表。",
)
SCORE = _eval(
    "result_score",
    "result/score",
    ScoreEval,
    ConsoleReply[PeoplesProgress],
    "Enter people's scores of answers. An extension of ours.",
    "提交人工评分（扬帆扩展）。",
)
FINISH = _eval(
    "result_finish",
    "result/finish",
    FinishEval,
    ConsoleReply[bool],
    "Say that people are through. An extension of ours.",
    "结束人工评分（扬帆扩展）。",
)
DELETE = _eval(
    "delete",
    "delete",
    DeleteEvals,
    ConsoleReply[bool],
    "Delete evaluations.",
    "删除评估任务。",
)
DOWNLOAD: Endpoint[None, bytes] = Endpoint(
    name="v1.evaluation.download",
    dialect="v2",
    method="GET",
    path="/v2/evalexports/{token}",
    request=None,
    reply=bytes,
    auth="none",
    summary="Fetch an export; its address is the secret.",
    summary_zh="下载评估结果（地址即凭证）。",
    spec="D.14",
)
