"""v1: /wenxinworkshop/prompt/… (specification D.13), and the older rendering call (B.1)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec import UNSET

from yangfan.errors import MalformedArgument
from yangfan.protocol.v1 import prompts as wire
from yangfan.protocol.v1.envelope import Envelope
from yangfan.server.http import Call, Reply, Route
from yangfan.server.http.actions import moment
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
    from yangfan.server.prompts.types import Label, Template

PRESET, USER = 1, 2


def routes(prompts: Prompts) -> list[Route]:
    """What this file answers."""

    async def create(call: Call[wire.CreateTemplate]) -> Reply:
        request = call.request
        found = await prompts.create(
            request.templateName,
            request.sceneType,
            content_of(request),
            request.labelIds or (),
            call.principal.app_id,
            "",
        )
        return _success(call, _ids(found))

    async def show(call: Call[wire.ShowTemplate]) -> Reply:
        found = await prompts.get(call.request.id)
        return _success(call, _rendered(found, values_of(call.request.variables)))

    async def render(call: Call[None]) -> Reply:
        variables = call.query
        reference = variables.pop("id", "")
        variables.pop("access_token", None)
        if not reference:
            raise MalformedArgument(
                "id is missing; put it and the variables into the query", param="id"
            )
        found = await prompts.get(reference)
        return _success(call, _rendered(found, values_of(variables)))

    async def update(call: Call[wire.UpdateTemplate]) -> Reply:
        request = call.request
        change = Change(
            name=request.templateName,
            label_ids=await prompts.label_ids(request.labelIds),
            text=request.templateContent,
            variables=names_of(request.templateVariables, param="templateVariables"),
            identifier=request.variableIdentifier,
            negative_text=request.negativeTemplateContent,
            negative_variables=names_of(
                request.negativeTemplateVariables, param="negativeTemplateVariables"
            ),
            framework=request.frameworkType,
            parameters=request.hyperParameters,
        )
        return _success(
            call, _ids(await prompts.change(request.templateId, change, call.principal.app_id))
        )

    async def delete(call: Call[wire.NameTemplate]) -> Reply:
        await prompts.delete([call.request.templateId])
        return _success(call, True)  # noqa: FBT003 - the result of the call

    async def list_all(call: Call[wire.ListTemplates]) -> Reply:
        request = call.request
        wanted = await prompts.filter_of(
            request.name,
            preset=None if request.type is None else request.type == PRESET,
            labels=request.labelIds,
        )
        total, found = await prompts.page(wanted, offset=request.offset, count=request.pageSize)
        return _success(call, wire.Templates(total=total, items=[*map(_template, found)]))

    async def list_labels(call: Call[wire.ListLabels]) -> Reply:
        request = call.request
        found = await prompts.labels()
        page = found[request.offset : request.offset + request.pageSize]
        return _success(call, wire.Labels(total=len(found), items=[*map(_label, page)]))

    return [
        Route(wire.CREATE, create),
        Route(wire.SHOW, show, body=variables_aside("id")),
        Route(wire.UPDATE, update),
        Route(wire.DELETE, delete),
        Route(wire.LIST, list_all),
        Route(wire.LIST_LABELS, list_labels),
        Route(wire.RENDER, render),
    ]


def _success(call: Call[Any], result: Any) -> Reply:
    return Reply(Envelope(call.request_id, result))


def _ids(template: Template) -> wire.TemplateId:
    return wire.TemplateId(templateId=template.number, templatePK=template.id)


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
        templateId=template.number,
        templatePK=template.id,
        templateName=template.name,
        templateContent=content.text,
        templateVariables=",".join(content.variables),
        variableIdentifier=content.identifier,
        labels=[_label_ref(label) for label in template.labels],
        creatorName=template.creator,
        type=PRESET if template.preset else USER,
        sceneType=template.scene,
        frameworkType=content.framework,
        hyperParametersStatus=content.parameters is not None,
        hyperParameters=UNSET if content.parameters is None else content.parameters,
        createTime=moment(template.created_ms),
        updateTime=moment(template.modified_ms),
        version=template.version.number,
        versionLabels=list(template.version.labels),
    )
    if template.scene == 2:
        shown.negativeTemplateContent = content.negative_text
        if content.negative_variables:
            # An empty list is left out: the published SDK would read "" as one variable without a name.
            shown.negativeTemplateVariables = ",".join(content.negative_variables)
    return shown


def _label_ref(label: Label) -> wire.LabelRef:
    return wire.LabelRef(
        labelId=label.number, labelPK=label.id, labelName=label.name, color=label.color
    )


def _label(label: Label) -> wire.Label:
    return wire.Label(
        labelId=label.number,
        labelPK=label.id,
        labelName=label.name,
        color=label.color,
        creatorName=label.creator,
        type=PRESET if label.preset else USER,
        createTime=moment(label.created_ms),
        updateTime=moment(label.created_ms),
    )
