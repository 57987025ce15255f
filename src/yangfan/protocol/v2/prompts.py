"""`POST /v2/promptTemplates` and `/v2/promptLabels`: prompt templates, v2 (specification D.13).

Versions are our own extension: every change is a new one, which never changes again, and labels such as `production` point at one.
Wherever a template is named, its ``pt-…``, its name, or either followed by ``@LABEL`` or ``@VERSION`` will do.

Baidu's pages vlwg55tyy, ylwg56jpb, hlwg57a1t, 4lwg57x6t, Mlwg526y0, alwg7cs0u, Plwg7c61v and tlwg7bbsj.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from yangfan.protocol.endpoint import Actions
from yangfan.protocol.templates import HyperParameters, Identifier
from yangfan.protocol.v1.prompts import (
    MAX_LABELS,
    Framework,
    Id,
    LabelId,
    Name,
    Names,
    OptionalText,
    Text,
)
from yangfan.protocol.v2.keys import ActionReply
from yangfan.protocol.v2.memory import PageInfo

Scene = Literal["TextToText", "TextToImage"]
Kind = Literal["Preset", "User"]
VersionLabel = Annotated[
    str,
    Meta(
        pattern=r"^[a-z][a-z0-9_.-]{0,31}$",
        description="Lower-case letters, digits and `_.-`, at most 32; `latest` is the newest version's own.",
    ),
]
Note = Annotated[str, Meta(max_length=500, description="Why this version, for people.")]
LabelIds = Annotated[list[LabelId], Meta(max_length=MAX_LABELS)]
MaxKeys = Annotated[int, Meta(ge=1, le=100)]


class CreateTemplate(msgspec.Struct, kw_only=True):
    """A new template. Variables that are not listed are found in the text."""

    templateName: Name  # noqa: N815 - the wire's spelling
    templateContent: Text  # noqa: N815 - the wire's spelling
    templateVariables: Names | None = None  # noqa: N815 - the wire's spelling
    variableIdentifier: Identifier = "{}"  # noqa: N815 - the wire's spelling
    sceneType: Scene = "TextToText"  # noqa: N815 - the wire's spelling
    frameworkType: Framework = 0  # noqa: N815 - the wire's spelling
    labels: LabelIds | None = None
    negativeTemplateContent: OptionalText | None = None  # noqa: N815 - the wire's spelling
    negativeTemplateVariables: Names | None = None  # noqa: N815 - the wire's spelling
    hyperParameters: HyperParameters | None = None  # noqa: N815 - the wire's spelling
    note: Note = ""


class ShowTemplate(msgspec.Struct, kw_only=True):
    """Which template, and values for its variables; each may stand beside `templateId` as a field of its own as well."""

    templateId: Id  # noqa: N815 - the wire's spelling
    variables: dict[str, Any] = {}


class ModifyTemplate(msgspec.Struct, kw_only=True):
    """What to change; what is left out stays. A changed text, delimiter or parameter is a new version."""

    templateId: Id  # noqa: N815 - the wire's spelling
    templateName: Name | None = None  # noqa: N815 - the wire's spelling
    templateContent: Text | None = None  # noqa: N815 - the wire's spelling
    templateVariables: Names | None = None  # noqa: N815 - the wire's spelling
    variableIdentifier: Identifier | None = None  # noqa: N815 - the wire's spelling
    frameworkType: Framework | None = None  # noqa: N815 - the wire's spelling
    labels: LabelIds | None = None
    negativeTemplateContent: OptionalText | None = None  # noqa: N815 - the wire's spelling
    negativeTemplateVariables: Names | None = None  # noqa: N815 - the wire's spelling
    hyperParameters: HyperParameters | None = None  # noqa: N815 - the wire's spelling
    note: Note = ""


class NameTemplate(msgspec.Struct, kw_only=True):
    """Which template."""

    templateId: Id  # noqa: N815 - the wire's spelling


class NameTemplates(msgspec.Struct, kw_only=True):
    """Which templates."""

    templateIds: Annotated[list[Id], Meta(min_length=1, max_length=100)]  # noqa: N815 - the wire's spelling


class ListTemplates(msgspec.Struct, kw_only=True):
    """Which page; `name` is a part of the name, `marker` the id to begin with."""

    name: Annotated[str, Meta(max_length=100)] | None = None
    type: Literal["Preset", "User", "preset", "user", "1", "2", ""] | None = None
    labelIds: LabelIds | None = None  # noqa: N815 - the wire's spelling
    marker: Annotated[str, Meta(max_length=64)] | None = None
    maxKeys: MaxKeys | None = None  # noqa: N815 - the wire's spelling
    pageReverse: bool | None = None  # noqa: N815 - the wire's spelling


class ListVersions(msgspec.Struct, kw_only=True):
    """Which page of whose versions; `marker` is the version to begin with, the newest first if `pageReverse`."""

    templateId: Id  # noqa: N815 - the wire's spelling
    marker: Annotated[str, Meta(max_length=64)] | None = None
    maxKeys: MaxKeys | None = None  # noqa: N815 - the wire's spelling
    pageReverse: bool | None = None  # noqa: N815 - the wire's spelling


class MoveLabel(msgspec.Struct, kw_only=True):
    """Where the label is to point: at `version`, or at the one that `templateId` means."""

    templateId: Id  # noqa: N815 - the wire's spelling
    label: VersionLabel
    version: Annotated[int, Meta(ge=1)] | None = None


class RemoveLabel(msgspec.Struct, kw_only=True):
    """Which label of a version to take away."""

    templateId: Id  # noqa: N815 - the wire's spelling
    label: VersionLabel


class RollBack(msgspec.Struct, kw_only=True):
    """Which version to make the newest again, as a copy."""

    templateId: Id  # noqa: N815 - the wire's spelling
    version: Annotated[int, Meta(ge=1)]
    note: Note = ""


class CreateLabels(msgspec.Struct, kw_only=True):
    """What the new labels are called."""

    name: Annotated[
        list[Annotated[str, Meta(min_length=1, max_length=30)]], Meta(min_length=1, max_length=50)
    ]


class NameLabel(msgspec.Struct, kw_only=True):
    """Which label."""

    labelId: LabelId  # noqa: N815 - the wire's spelling


class ListLabels(msgspec.Struct, kw_only=True):
    """Which page; `marker` is the id to begin with."""

    marker: Annotated[str, Meta(max_length=64)] | None = None
    maxKeys: MaxKeys | None = None  # noqa: N815 - the wire's spelling
    pageReverse: bool | None = None  # noqa: N815 - the wire's spelling


class TemplateVersion(msgspec.Struct, kw_only=True):
    """A template's id, and which version it has come to."""

    templateId: str  # noqa: N815 - the wire's spelling
    version: int


class LabelRef(msgspec.Struct, kw_only=True):
    """A label of a template."""

    labelId: str  # noqa: N815 - the wire's spelling
    labelName: str  # noqa: N815 - the wire's spelling
    color: str = ""


class Template(msgspec.Struct, kw_only=True):
    """A template. `content` is its text with the values that were given; a variable without one stays as it stands.

    `version`, `latestVersion`, `versionLabels`, `note` and `undefinedVariables` are ours.
    """

    templateId: str  # noqa: N815 - the wire's spelling
    templateName: str  # noqa: N815 - the wire's spelling
    templateContent: str  # noqa: N815 - the wire's spelling
    content: str | UnsetType = UNSET
    templateVariables: list[str]  # noqa: N815 - the wire's spelling
    variableIdentifier: Identifier  # noqa: N815 - the wire's spelling
    negativeTemplateContent: str | UnsetType = UNSET  # noqa: N815 - the wire's spelling
    negativeTemplateVariables: list[str] | UnsetType = UNSET  # noqa: N815 - the wire's spelling
    negativeContent: str | UnsetType = UNSET  # noqa: N815 - the wire's spelling
    labels: list[LabelRef]
    creatorName: str = ""  # noqa: N815 - the wire's spelling
    type: Kind
    sceneType: Scene  # noqa: N815 - the wire's spelling
    frameworkType: Framework = 0  # noqa: N815 - the wire's spelling
    hyperParameters: HyperParameters | UnsetType = UNSET  # noqa: N815 - the wire's spelling
    createTime: str = ""  # noqa: N815 - the wire's spelling
    updateTime: str = ""  # noqa: N815 - the wire's spelling
    version: int = 1
    latestVersion: int = 1  # noqa: N815 - the wire's spelling
    versionLabels: list[str] = []  # noqa: N815 - the wire's spelling
    note: str = ""
    undefinedVariables: list[str] | UnsetType = UNSET  # noqa: N815 - the wire's spelling


class Templates(msgspec.Struct, kw_only=True):
    """A page of templates."""

    items: list[Template]
    pageInfo: PageInfo  # noqa: N815 - the wire's spelling


class Version(msgspec.Struct, kw_only=True):
    """One version of a template, without its text."""

    version: int
    labels: list[str]
    note: str
    creatorName: str  # noqa: N815 - the wire's spelling
    createTime: str  # noqa: N815 - the wire's spelling
    templateVariables: list[str]  # noqa: N815 - the wire's spelling


class Versions(msgspec.Struct, kw_only=True):
    """A page of versions."""

    items: list[Version]
    pageInfo: PageInfo  # noqa: N815 - the wire's spelling


class Label(msgspec.Struct, kw_only=True):
    """A label."""

    labelId: str  # noqa: N815 - the wire's spelling
    labelName: str  # noqa: N815 - the wire's spelling
    color: str = ""
    creatorName: str = ""  # noqa: N815 - the wire's spelling
    type: Kind = "User"
    createTime: str = ""  # noqa: N815 - the wire's spelling
    updateTime: str = ""  # noqa: N815 - the wire's spelling


class Labels(msgspec.Struct, kw_only=True):
    """A page of labels."""

    items: list[Label]
    pageInfo: PageInfo  # noqa: N815 - the wire's spelling


_action = Actions("v2.prompts", "/v2/promptTemplates", "D.13")


CREATE = _action(
    "create_prompt_template",
    "CreatePromptTemplate",
    CreateTemplate,
    ActionReply[TemplateVersion],
    "Make a prompt template.",
    "创建 Prompt 模板。",
)
SHOW = _action(
    "describe_prompt_template",
    "DescribePromptTemplate",
    ShowTemplate,
    ActionReply[Template],
    "Show a template, and its text with the values that are given.",
    "查看并渲染 Prompt 模板。",
)
MODIFY = _action(
    "modify_prompt_template",
    "ModifyPromptTemplate",
    ModifyTemplate,
    ActionReply[TemplateVersion],
    "Change a template; a changed text is a new version.",
    "更新 Prompt 模板。",
)
DELETE = _action(
    "delete_prompt_template",
    "DeletePromptTemplate",
    NameTemplate,
    ActionReply[bool],
    "Delete a template with all its versions.",
    "删除 Prompt 模板。",
)
DELETE_MANY = _action(
    "delete_prompt_templates",
    "DeletePromptTemplates",
    NameTemplates,
    ActionReply[bool],
    "Delete several templates, all or none.",
    "批量删除 Prompt 模板。",
)
LIST = _action(
    "describe_prompt_templates",
    "DescribePromptTemplates",
    ListTemplates,
    ActionReply[Templates],
    "List templates.",
    "查询 Prompt 模板列表。",
)
LIST_VERSIONS = _action(
    "describe_prompt_template_versions",
    "DescribePromptTemplateVersions",
    ListVersions,
    ActionReply[Versions],
    "List the versions of a template.",
    "查询 Prompt 模板的版本。",
)
MOVE_LABEL = _action(
    "label_prompt_template",
    "LabelPromptTemplate",
    MoveLabel,
    ActionReply[TemplateVersion],
    "Point a label, such as `production`, at a version.",
    "让标签（如 production）指向某个版本。",
)
REMOVE_LABEL = _action(
    "unlabel_prompt_template",
    "UnlabelPromptTemplate",
    RemoveLabel,
    ActionReply[bool],
    "Take a label of versions away.",
    "移除版本标签。",
)
ROLL_BACK = _action(
    "rollback_prompt_template",
    "RollbackPromptTemplate",
    RollBack,
    ActionReply[TemplateVersion],
    "Make a former version the newest again, as a copy.",
    "将历史版本复制为最新版本。",
)
CREATE_LABELS = _action(
    "create_prompt_label",
    "CreatePromptLabel",
    CreateLabels,
    ActionReply[list[LabelRef]],
    "Make labels to sort templates by.",
    "创建 Prompt 模板标签。",
    path="/v2/promptLabels",
)
DELETE_LABEL = _action(
    "delete_prompt_label",
    "DeletePromptLabel",
    NameLabel,
    ActionReply[bool],
    "Delete a label; templates lose it.",
    "删除 Prompt 模板标签。",
    path="/v2/promptLabels",
)
LIST_LABELS = _action(
    "describe_prompt_labels",
    "DescribePromptLabels",
    ListLabels,
    ActionReply[Labels],
    "List labels.",
    "查询 Prompt 模板标签列表。",
    path="/v2/promptLabels",
)
