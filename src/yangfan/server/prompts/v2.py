"""v2: the Actions of /v2/promptTemplates and /v2/promptLabels (specification D.13; versions are ours)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import UNSET

from yangfan.errors import Invalid, NotFound
from yangfan.protocol.v2 import prompts as wire
from yangfan.protocol.v2.memory import PageInfo
from yangfan.server.http import Call, Reply, Route
from yangfan.server.http.actions import moment, success
from yangfan.server.prompts.logic import rendered
from yangfan.server.prompts.types import Change
from yangfan.server.prompts.wire import (
    content_of,
    names_of,
    values_of,
    variables_aside,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from yangfan.protocol.templates import Value
    from yangfan.server.prompts.logic import Prompts
    from yangfan.server.prompts.types import Label, Template, Version

DEFAULT_PAGE = 10
FIRST_MARKERS = frozenset({None, "", "0"})
"""What stands for the first page."""

_SCENES: dict[int, wire.Scene] = {1: "TextToText", 2: "TextToImage"}
_NUMBERS = {scene: number for number, scene in _SCENES.items()}


def routes(prompts: Prompts) -> list[Route]:
    """What this file answers."""
    return [*_template_routes(prompts), *_version_routes(prompts), *_label_routes(prompts)]


def _template_routes(prompts: Prompts) -> list[Route]:
    async def create(call: Call[wire.CreateTemplate]) -> Reply:
        request = call.request
        found = await prompts.create(
            request.templateName,
            _NUMBERS[request.sceneType],
            content_of(request),
            request.labels or (),
            call.principal.app_id,
            request.note,
        )
        return success(_at(found))

    async def show(call: Call[wire.ShowTemplate]) -> Reply:
        found = await prompts.get(call.request.templateId)
        return success(_rendered(found, values_of(call.request.variables)))

    async def modify(call: Call[wire.ModifyTemplate]) -> Reply:
        request = call.request
        change = Change(
            name=request.templateName,
            label_ids=await prompts.label_ids(request.labels),
            text=request.templateContent,
            variables=names_of(request.templateVariables, param="templateVariables"),
            identifier=request.variableIdentifier,
            negative_text=request.negativeTemplateContent,
            negative_variables=names_of(
                request.negativeTemplateVariables, param="negativeTemplateVariables"
            ),
            framework=request.frameworkType,
            parameters=request.hyperParameters,
            note=request.note,
        )
        return success(_at(await prompts.change(request.templateId, change, call.principal.app_id)))

    async def delete(call: Call[wire.NameTemplate]) -> Reply:
        await prompts.delete([call.request.templateId])
        return success(True)  # noqa: FBT003 - the result of the Action

    async def delete_many(call: Call[wire.NameTemplates]) -> Reply:
        await prompts.delete(call.request.templateIds)
        return success(True)  # noqa: FBT003 - the result of the Action

    async def list_all(call: Call[wire.ListTemplates]) -> Reply:
        request = call.request
        kind = (request.type or "").casefold()
        wanted = await prompts.filter_of(
            request.name,
            preset=kind in {"preset", "1"} if kind else None,
            labels=request.labelIds,
        )
        count = request.maxKeys or DEFAULT_PAGE
        found, next_id = await prompts.page_from(
            wanted,
            None if request.marker in FIRST_MARKERS else request.marker,
            count,
            newest_first=bool(request.pageReverse),
        )
        info = _page_info(request.marker, count, next_id)
        return success(wire.Templates(items=[*map(_template, found)], pageInfo=info))

    return [
        Route(wire.CREATE, create),
        Route(wire.SHOW, show, body=variables_aside("templateId")),
        Route(wire.MODIFY, modify),
        Route(wire.DELETE, delete),
        Route(wire.DELETE_MANY, delete_many),
        Route(wire.LIST, list_all, body=lambda body, _scope: body or b"{}"),
    ]


def _version_routes(prompts: Prompts) -> list[Route]:
    async def list_versions(call: Call[wire.ListVersions]) -> Reply:
        request = call.request
        count = request.maxKeys or DEFAULT_PAGE
        found, following = await prompts.versions(
            request.templateId,
            _version_number(request.marker),
            count,
            newest_first=bool(request.pageReverse),
        )
        info = _page_info(request.marker, count, None if following is None else str(following))
        return success(wire.Versions(items=[*map(_version, found)], pageInfo=info))

    async def move(call: Call[wire.MoveLabel]) -> Reply:
        request = call.request
        return success(_at(await prompts.point(request.templateId, request.label, request.version)))

    async def remove(call: Call[wire.RemoveLabel]) -> Reply:
        await prompts.unpoint(call.request.templateId, call.request.label)
        return success(True)  # noqa: FBT003 - the result of the Action

    async def roll_back(call: Call[wire.RollBack]) -> Reply:
        request = call.request
        found = await prompts.roll_back(
            request.templateId, request.version, call.principal.app_id, request.note
        )
        return success(_at(found))

    return [
        Route(wire.LIST_VERSIONS, list_versions),
        Route(wire.MOVE_LABEL, move),
        Route(wire.REMOVE_LABEL, remove),
        Route(wire.ROLL_BACK, roll_back),
    ]


def _label_routes(prompts: Prompts) -> list[Route]:
    async def create(call: Call[wire.CreateLabels]) -> Reply:
        made = await prompts.create_labels(call.request.name, call.principal.app_id)
        return success([*map(_label_ref, made)])

    async def delete(call: Call[wire.NameLabel]) -> Reply:
        await prompts.delete_label(call.request.labelId)
        return success(True)  # noqa: FBT003 - the result of the Action

    async def list_all(call: Call[wire.ListLabels]) -> Reply:
        request = call.request
        found = await prompts.labels()
        if request.pageReverse:
            found.reverse()
        if request.marker not in FIRST_MARKERS:
            position = next(
                (at for at, label in enumerate(found) if label.id == request.marker), None
            )
            if position is None:
                raise NotFound(
                    f"no label {str(request.marker)!r}; begin with an empty marker and go on with nextMarker"
                )
            found = found[position:]
        count = request.maxKeys or DEFAULT_PAGE
        next_id = found[count].id if len(found) > count else None
        info = _page_info(request.marker, count, next_id)
        return success(wire.Labels(items=[*map(_label, found[:count])], pageInfo=info))

    return [
        Route(wire.CREATE_LABELS, create),
        Route(wire.DELETE_LABEL, delete),
        Route(wire.LIST_LABELS, list_all, body=lambda body, _scope: body or b"{}"),
    ]


def _page_info(marker: str | None, count: int, next_id: str | None) -> PageInfo:
    return PageInfo(
        marker=marker or "",
        maxKeys=count,
        isTruncated=next_id is not None,
        nextMarker=UNSET if next_id is None else next_id,
    )


def _version_number(marker: str | None) -> int | None:
    if marker is None or marker in FIRST_MARKERS:
        return None
    if not (marker.isascii() and marker.isdigit() and len(marker) < 10):
        raise Invalid(
            f"marker must be the number of a version, got {marker!r}; go on with nextMarker",
            param="marker",
        )
    return int(marker)


def _at(template: Template) -> wire.TemplateVersion:
    return wire.TemplateVersion(templateId=template.id, version=template.version.number)


def _rendered(template: Template, values: Mapping[str, Value]) -> wire.Template:
    text, negative = rendered(template, values)
    shown = _template(template)
    shown.content = text.text
    shown.undefinedVariables = [*dict.fromkeys((*text.undefined, *negative.undefined))]
    if shown.negativeTemplateContent is not UNSET:
        shown.negativeContent = negative.text
    return shown


def _template(template: Template) -> wire.Template:
    content = template.version.content
    shown = wire.Template(
        templateId=template.id,
        templateName=template.name,
        templateContent=content.text,
        templateVariables=list(content.variables),
        variableIdentifier=content.identifier,
        labels=[_label_ref(label) for label in template.labels],
        creatorName=template.creator,
        type="Preset" if template.preset else "User",
        sceneType=_SCENES[template.scene],
        frameworkType=content.framework,
        hyperParameters=UNSET if content.parameters is None else content.parameters,
        createTime=moment(template.created_ms),
        updateTime=moment(template.modified_ms),
        version=template.version.number,
        latestVersion=template.latest,
        versionLabels=list(template.version.labels),
        note=template.version.note,
    )
    if template.scene == _NUMBERS["TextToImage"]:
        shown.negativeTemplateContent = content.negative_text
        shown.negativeTemplateVariables = list(content.negative_variables)
    return shown


def _version(version: Version) -> wire.Version:
    return wire.Version(
        version=version.number,
        labels=list(version.labels),
        note=version.note,
        creatorName=version.creator,
        createTime=moment(version.created_ms),
        templateVariables=list(version.content.variables),
    )


def _label_ref(label: Label) -> wire.LabelRef:
    return wire.LabelRef(labelId=label.id, labelName=label.name, color=label.color)


def _label(label: Label) -> wire.Label:
    return wire.Label(
        labelId=label.id,
        labelName=label.name,
        color=label.color,
        creatorName=label.creator,
        type="Preset" if label.preset else "User",
        createTime=moment(label.created_ms),
        updateTime=moment(label.created_ms),
    )
