"""`POST /wenxinworkshop/prompt/…`: prompt templates, v1 (specification D.13), and the older rendering call (B.1).

Baidu's pages Hlp7waib4, Olp7ysef9, plp7tp3kx, Hlp7tri81, ulp7tycbq and zlp7u6inp (https://cloud.baidu.com/doc/WENXINWORKSHOP/s/…).
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from yangfan.protocol.endpoint import Endpoint
from yangfan.protocol.templates import (
    MAX_TEMPLATE_CHARACTERS,
    HyperParameters,
    Identifier,
)
from yangfan.protocol.v1.envelope import Envelope

MAX_NAME_CHARACTERS = 100
MAX_PAGE_SIZE = 100
MAX_LABELS = 20

Id = int | Annotated[str, Meta(min_length=1, max_length=256)]
"""A template's integer, the same in digits, its ``pt-…``, or its name; ``…@production`` and ``…@3`` mean a version."""

LabelId = int | Annotated[str, Meta(min_length=1, max_length=64)]
"""A label's integer, the same in digits, its ``pl-…``, or its name."""

Name = Annotated[str, Meta(min_length=1, max_length=MAX_NAME_CHARACTERS)]
Text = Annotated[str, Meta(min_length=1, max_length=MAX_TEMPLATE_CHARACTERS)]
OptionalText = Annotated[str, Meta(max_length=MAX_TEMPLATE_CHARACTERS)]
Names = Annotated[str, Meta(max_length=8000)] | list[Annotated[str, Meta(max_length=64)]]
"""Names of variables: ``"a,b"``, or a list."""
LabelIds = Annotated[list[LabelId], Meta(max_length=MAX_LABELS)]

Scene = Literal[1, 2]
"""1 text to text, 2 text to image."""
Framework = Literal[0, 1, 2, 3]
"""0 none, 1 basic, 2 CRISPE, 3 few-shot."""


class CreateTemplate(msgspec.Struct, kw_only=True):
    """A new template. Variables that are not listed are found in the text."""

    templateName: Name  # noqa: N815 - the wire's spelling
    templateContent: Text  # noqa: N815 - the wire's spelling
    templateVariables: Names | None = None  # noqa: N815 - the wire's spelling
    variableIdentifier: Identifier = "{}"  # noqa: N815 - the wire's spelling
    sceneType: Scene = 1  # noqa: N815 - the wire's spelling
    frameworkType: Framework = 0  # noqa: N815 - the wire's spelling
    labelIds: LabelIds | None = None  # noqa: N815 - the wire's spelling
    negativeTemplateContent: OptionalText | None = None  # noqa: N815 - the wire's spelling
    negativeTemplateVariables: Names | None = None  # noqa: N815 - the wire's spelling
    hyperParameters: HyperParameters | None = None  # noqa: N815 - the wire's spelling


class ShowTemplate(msgspec.Struct, kw_only=True):
    """Which template, and values for its variables; each may stand beside `id` as a field of its own as well."""

    id: Id
    variables: dict[str, Any] = {}


class UpdateTemplate(msgspec.Struct, kw_only=True):
    """What to change; what is left out stays. A changed text, delimiter or parameter is a new version."""

    templateId: Id  # noqa: N815 - the wire's spelling
    templateName: Name | None = None  # noqa: N815 - the wire's spelling
    templateContent: Text | None = None  # noqa: N815 - the wire's spelling
    templateVariables: Names | None = None  # noqa: N815 - the wire's spelling
    variableIdentifier: Identifier | None = None  # noqa: N815 - the wire's spelling
    frameworkType: Framework | None = None  # noqa: N815 - the wire's spelling
    labelIds: LabelIds | None = None  # noqa: N815 - the wire's spelling
    negativeTemplateContent: OptionalText | None = None  # noqa: N815 - the wire's spelling
    negativeTemplateVariables: Names | None = None  # noqa: N815 - the wire's spelling
    hyperParameters: HyperParameters | None = None  # noqa: N815 - the wire's spelling


class NameTemplate(msgspec.Struct, kw_only=True):
    """Which template."""

    templateId: Id  # noqa: N815 - the wire's spelling


class ListTemplates(msgspec.Struct, kw_only=True):
    """Which page; `name` is a part of the name, `type` 1 preset or 2 made here."""

    offset: Annotated[int, Meta(ge=0, le=1_000_000)] = 0
    pageSize: Annotated[int, Meta(ge=1, le=MAX_PAGE_SIZE)] = 10  # noqa: N815 - the wire's spelling
    name: Annotated[str, Meta(max_length=MAX_NAME_CHARACTERS)] | None = None
    labelIds: LabelIds | None = None  # noqa: N815 - the wire's spelling
    type: Literal[1, 2] | None = None


class ListLabels(msgspec.Struct, kw_only=True):
    """Which page."""

    offset: Annotated[int, Meta(ge=0, le=1_000_000)] = 0
    pageSize: Annotated[int, Meta(ge=1, le=MAX_PAGE_SIZE)] = 10  # noqa: N815 - the wire's spelling


class TemplateId(msgspec.Struct, kw_only=True):
    """Both ids of a template."""

    templateId: int  # noqa: N815 - the wire's spelling
    templatePK: str  # noqa: N815 - the wire's spelling


class LabelRef(msgspec.Struct, kw_only=True):
    """A label of a template; `labelPK` is its string id."""

    labelId: int  # noqa: N815 - the wire's spelling
    labelPK: str  # noqa: N815 - the wire's spelling
    labelName: str  # noqa: N815 - the wire's spelling
    color: str


class Template(msgspec.Struct, kw_only=True):
    """A template. `content` is its text with the values that were given; a variable without one stays as it stands.

    `version`, `versionLabels` and `undefinedVariables` are ours.
    """

    templateId: int  # noqa: N815 - the wire's spelling
    templatePK: str  # noqa: N815 - the wire's spelling
    templateName: str  # noqa: N815 - the wire's spelling
    templateContent: str  # noqa: N815 - the wire's spelling
    content: str | UnsetType = UNSET
    templateVariables: str  # noqa: N815 - the wire's spelling
    variableIdentifier: Identifier  # noqa: N815 - the wire's spelling
    negativeTemplateContent: str | UnsetType = UNSET  # noqa: N815 - the wire's spelling
    negativeTemplateVariables: str | UnsetType = UNSET  # noqa: N815 - the wire's spelling
    negativeContent: str | UnsetType = UNSET  # noqa: N815 - the wire's spelling
    labels: list[LabelRef]
    creatorName: str  # noqa: N815 - the wire's spelling
    type: Literal[1, 2]
    sceneType: Scene  # noqa: N815 - the wire's spelling
    frameworkType: Framework  # noqa: N815 - the wire's spelling
    hyperParametersStatus: bool  # noqa: N815 - the wire's spelling
    hyperParameters: HyperParameters | UnsetType = UNSET  # noqa: N815 - the wire's spelling
    createTime: str  # noqa: N815 - the wire's spelling
    updateTime: str  # noqa: N815 - the wire's spelling
    version: int
    versionLabels: list[str]  # noqa: N815 - the wire's spelling
    undefinedVariables: list[str] | UnsetType = UNSET  # noqa: N815 - the wire's spelling


class Templates(msgspec.Struct, kw_only=True):
    """A page of templates, the newest first."""

    total: int
    items: list[Template]


class Label(msgspec.Struct, kw_only=True):
    """A label; `type` 1 preset or 2 made here."""

    labelId: int  # noqa: N815 - the wire's spelling
    labelPK: str  # noqa: N815 - the wire's spelling
    labelName: str  # noqa: N815 - the wire's spelling
    color: str
    creatorName: str  # noqa: N815 - the wire's spelling
    type: Literal[1, 2]
    createTime: str  # noqa: N815 - the wire's spelling
    updateTime: str  # noqa: N815 - the wire's spelling


class Labels(msgspec.Struct, kw_only=True):
    """A page of labels."""

    total: int
    items: list[Label]


def _prompts(
    name: str, path: str, request: type[Any], reply: type[Any], en: str, zh: str
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


CREATE = _prompts(
    "template_create",
    "template/create",
    CreateTemplate,
    Envelope[TemplateId],
    "Make a prompt template.",
    "创建 Prompt 模板。",
)
SHOW = _prompts(
    "template_info",
    "template/info",
    ShowTemplate,
    Envelope[Template],
    "Show a template, and its text with the values that are given.",
    "查看并渲染 Prompt 模板。",
)
UPDATE = _prompts(
    "template_update",
    "template/update",
    UpdateTemplate,
    Envelope[TemplateId],
    "Change a template; a changed text is a new version.",
    "更新 Prompt 模板。",
)
DELETE = _prompts(
    "template_delete",
    "template/delete",
    NameTemplate,
    Envelope[bool],
    "Delete a template with all its versions.",
    "删除 Prompt 模板。",
)
LIST = _prompts(
    "template_list",
    "template/list",
    ListTemplates,
    Envelope[Templates],
    "List templates.",
    "查询 Prompt 模板列表。",
)
LIST_LABELS = _prompts(
    "label_list",
    "label/list",
    ListLabels,
    Envelope[Labels],
    "List labels of templates.",
    "查询 Prompt 模板标签列表。",
)
RENDER = Endpoint[None, Envelope[Template]](
    name="v1.prompts.render",
    dialect="v1",
    method="GET",
    path="/rest/2.0/wenxinworkshop/api/v1/template/info",
    request=None,
    reply=Envelope[Template],
    summary="Render a template: its `id` and its variables are query parameters.",
    summary_zh="渲染 Prompt 模板，参数在查询串中。",
    spec="B.1",
)
