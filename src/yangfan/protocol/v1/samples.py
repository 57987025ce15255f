"""`POST /wenxinworkshop/entity/…`: the samples of a dataset version, v1 (specification D.11)."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from yangfan.protocol.endpoint import Endpoint
from yangfan.protocol.v1.datasets import Id
from yangfan.protocol.v1.envelope import Envelope

RowId = Annotated[str, Meta(min_length=1, max_length=256)]
Moments = Annotated[list[Annotated[int, Meta(ge=0, le=10**15)]], Meta(min_length=2, max_length=2)]
"""First and last moment, in seconds since 1970; milliseconds are taken too."""


class LabelName(msgspec.Struct, kw_only=True):
    """A label of a sample: its name, which is its id as well."""

    label_id: str | None = None
    name: str | None = None


class Annotate(msgspec.Struct, kw_only=True):
    """What a sample is to say: a row of the dataset's format. `labels` are names of labels."""

    id: RowId
    datasetId: Id  # noqa: N815 - the wire's spelling
    content: list[Any] | dict[str, Any] | str | None = None
    labels: list[str | int | LabelName] | LabelName | None = None


class Delete(msgspec.Struct, kw_only=True):
    """Which samples."""

    id: Annotated[list[RowId], Meta(min_length=1, max_length=1000)]
    datasetId: Id  # noqa: N815 - the wire's spelling


class ListSamples(msgspec.Struct, kw_only=True):
    """Which page; `tabType` 0 all, 1 annotated, 2 not."""

    datasetId: Id  # noqa: N815 - the wire's spelling
    offset: Annotated[int, Meta(ge=0, le=2_000_000_000)] = 0
    pageSize: Annotated[int, Meta(ge=1, le=30)] = 20  # noqa: N815 - the wire's spelling
    tabType: Literal[0, 1, 2] = 0  # noqa: N815 - the wire's spelling
    importTime: Moments | None = None  # noqa: N815 - the wire's spelling
    annoTime: Moments | None = None  # noqa: N815 - the wire's spelling
    labelId: Annotated[str, Meta(max_length=64)] | None = None  # noqa: N815 - the wire's spelling


class Failed(msgspec.Struct, kw_only=True):
    """Ids of samples that there were not; null for none."""

    failedOnes: list[str] | None  # noqa: N815 - the wire's spelling


class Label(msgspec.Struct, kw_only=True):
    """A label of a sample."""

    label_id: str
    name: str
    color: str


class TextExtra(msgspec.Struct, kw_only=True):
    """What was measured of a sample; a measure is left out where nobody has measured."""

    domainType: str = ""  # noqa: N815 - the wire's spelling
    taskType: str = ""  # noqa: N815 - the wire's spelling
    wordNum: int | UnsetType = UNSET  # noqa: N815 - the wire's spelling
    repetitiveCharRatio: float | UnsetType = UNSET  # noqa: N815 - the wire's spelling
    specialCharRatio: float | UnsetType = UNSET  # noqa: N815 - the wire's spelling
    flaggedWordRatio: float | UnsetType = UNSET  # noqa: N815 - the wire's spelling
    langProb: float | UnsetType = UNSET  # noqa: N815 - the wire's spelling
    perplexity: float | UnsetType = UNSET


class Sample(msgspec.Struct, kw_only=True):
    """A sample; a plain GET of `url` gives what it says, for a day."""

    id: str
    name: str
    labels: list[Label]
    url: str
    memorySize: int  # noqa: N815 - the wire's spelling
    isEncrypted: bool = False  # noqa: N815 - the wire's spelling
    isAnnotated: bool = False  # noqa: N815 - the wire's spelling
    textExtra: TextExtra  # noqa: N815 - the wire's spelling


class Samples(msgspec.Struct, kw_only=True):
    """A page: `totalAll` samples in the version, `total` in the window."""

    totalAll: int  # noqa: N815 - the wire's spelling
    total: int
    items: list[Sample]


def _samples(
    name: str, path: str, request: type[Any], reply: Any, en: str, zh: str
) -> Endpoint[Any, Any]:
    return Endpoint(
        name=f"v1.samples.{name}",
        dialect="data",
        method="POST",
        path=f"/wenxinworkshop/entity/{path}",
        request=request,
        reply=reply,
        auth="signature",
        summary=en,
        summary_zh=zh,
        spec="D.11",
    )


ANNOTATE = _samples(
    "annotate",
    "annotate",
    Annotate,
    Envelope[bool],
    "Say what a sample is to say, or label it.",
    "标注样本。",
)
DELETE = _samples("delete", "delete", Delete, Envelope[Failed], "Delete samples.", "删除样本。")
LIST = _samples("list", "list", ListSamples, Envelope[Samples], "List samples.", "查询样本列表。")
