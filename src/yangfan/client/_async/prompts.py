"""`client.prompts`: prompt templates in versions, and labels that say which one is used (versions: Yangfan servers)."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from msgspec import UNSET

from yangfan import errors
from yangfan.client.call import convert
from yangfan.client.prompts import (
    FRAMEWORKS,
    Prompt,
    PromptTag,
    PromptVersion,
    difference,
    hyper_parameters,
    optimization_of,
    parameters_of,
)
from yangfan.protocol.v2 import prompt_work as work
from yangfan.protocol.v2 import prompts as wire

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from yangfan.client._async.session import AsyncSession
    from yangfan.client.prompts import Framework, Optimization, RenderedPrompt, Scene
    from yangfan.client.types import JSON
    from yangfan.protocol.endpoint import Endpoint
    from yangfan.protocol.templates import Identifier, Value

CACHE_SECONDS = 60.0
"""How long a template is used before it is asked for again."""

RETRY_SECONDS = 5.0
"""How long after a failure it is asked for again; until then the one at hand is used."""

REFRESH_TIMEOUT_SECONDS = 10.0
"""How long a server may keep a caller waiting who has one at hand."""

MAX_CACHED = 1000

_SCENES: Mapping[Scene, wire.Scene] = {"text": "TextToText", "image": "TextToImage"}


@dataclass(frozen=True, slots=True)
class _Cached:
    prompt: Prompt
    ask_again_at: float


class AsyncPrompts:
    """Prompt templates. Every call is signed: the client needs access_key and secret_access_key.

    A reference is a template's id or name, alone for its newest version, or followed by ``@LABEL`` or ``@VERSION``.

    Attributes:
        cache_seconds: How long `render` uses a template before it asks for it again. Default 60.
    """

    def __init__(self, session: AsyncSession) -> None:
        """Made by the client."""
        self._session = session
        self._cache: dict[str, _Cached] = {}
        self._clock = time.monotonic
        self.cache_seconds = CACHE_SECONDS

    async def render(
        self, reference: str, variables: Mapping[str, Value] | None = None, /, **values: Value
    ) -> RenderedPrompt:
        """A template's text with values for its variables: ``client.chat(client.prompts.render("greet@production", name="Jin"))``.

        The template is asked for once in `cache_seconds`. While the server cannot be reached the last one is used; a version by its
        number never changes and is asked for once.

        Args:
            reference: Which template, and which version of it.
            variables: Values by name, for names that are no keywords of Python's.
            **values: The same as keywords.

        Raises:
            NotFound: There is no such template, label or version.
            Invalid: A variable has no value.
        """
        return (await self._cached(reference)).render(variables, **values)

    async def get(self, reference: str) -> Prompt:
        """A template, as the server has it now.

        Raises:
            NotFound: There is no such template, label or version.
        """
        return await self._fetch(reference, self._session.settings.timeout_seconds)

    async def create(  # noqa: PLR0913 - a template's fields, one argument each
        self,
        name: str,
        text: str,
        *,
        identifier: Identifier = "{}",
        variables: Sequence[str] | None = None,
        scene: Scene = "text",
        framework: Framework = "none",
        negative_text: str = "",
        negative_variables: Sequence[str] | None = None,
        parameters: Mapping[str, object] | None = None,
        tags: Sequence[str] = (),
        note: str = "",
    ) -> Prompt:
        """Make a template with its first version.

        Args:
            name: What it is called, at most 100 characters, without @.
            text: The template, at most 100,000 characters.
            identifier: What stands around a variable's name.
            variables: Names of its variables; by default those in the text.
            scene: text or image.
            framework: How it is built, for people.
            negative_text: What a picture is not to show; scene image only.
            negative_variables: Names of the variables in that.
            parameters: How a model is to answer: model, temperature, top_p, penalty_score, system, stop.
            tags: Ids or names of tags.
            note: Why, for people.

        Raises:
            Conflict: There is one of that name.
        """
        body: JSON = {
            "templateName": name,
            "templateContent": text,
            "variableIdentifier": identifier,
            "sceneType": _SCENES[scene],
            "frameworkType": FRAMEWORKS.index(framework),
            "labels": list(tags),
            "note": note,
        }
        if variables is not None:
            body["templateVariables"] = ",".join(variables)
        if negative_text:
            body["negativeTemplateContent"] = negative_text
        if negative_variables is not None:
            body["negativeTemplateVariables"] = ",".join(negative_variables)
        if parameters:
            body["hyperParameters"] = hyper_parameters(parameters)
        made = await self._change(wire.CREATE, body)
        return await self.get(made.templateId)

    async def update(  # noqa: PLR0913 - a template's fields, one argument each
        self,
        reference: str,
        *,
        name: str | None = None,
        text: str | None = None,
        identifier: Identifier | None = None,
        variables: Sequence[str] | None = None,
        framework: Framework | None = None,
        negative_text: str | None = None,
        negative_variables: Sequence[str] | None = None,
        parameters: Mapping[str, object] | None = None,
        tags: Sequence[str] | None = None,
        note: str = "",
    ) -> Prompt:
        """Change a template. What it says differs, that is a new version; what is None stays.

        Raises:
            NotFound: There is none.
            Conflict: It comes with the platform, or another one has the new name.
        """
        body: JSON = {"templateId": reference, "note": note}
        given: JSON = {
            "templateName": name,
            "templateContent": text,
            "variableIdentifier": identifier,
            "templateVariables": None if variables is None else ",".join(variables),
            "frameworkType": None if framework is None else FRAMEWORKS.index(framework),
            "negativeTemplateContent": negative_text,
            "negativeTemplateVariables": (
                None if negative_variables is None else ",".join(negative_variables)
            ),
            "hyperParameters": None if parameters is None else hyper_parameters(parameters),
            "labels": None if tags is None else list(tags),
        }
        body |= {field: value for field, value in given.items() if value is not None}
        changed = await self._change(wire.MODIFY, body)
        return await self.get(changed.templateId)

    async def save(self, prompt: Prompt) -> Prompt:
        """Have the server hold this template, such as one read from a file: made if there is none of its name, else changed.

        Saving the same twice makes no version. Tags that do not exist yet are made.

        Raises:
            Conflict: It is of another scene than the one that is there.
        """
        known = {tag.name for tag in await self.tags()} if prompt.tags else set[str]()
        missing = [tag.name for tag in prompt.tags if tag.name not in known]
        if missing:
            await self.create_tags(*missing)
        tags = [tag.name for tag in prompt.tags]
        existing = next(
            (
                found
                for found in await self.list(prompt.name, preset=False)
                if found.name == prompt.name
            ),
            None,
        )
        if existing is None:
            return await self.create(
                prompt.name,
                prompt.text,
                identifier=prompt.identifier,
                variables=prompt.variables,
                scene=prompt.scene,
                framework=prompt.framework,
                negative_text=prompt.negative_text,
                negative_variables=prompt.negative_variables,
                parameters=prompt.parameters,
                tags=tags,
                note=prompt.note,
            )
        if existing.scene != prompt.scene:
            raise errors.Conflict(
                f"the template {prompt.name!r} is of scene {existing.scene}, and that does not change; take another name"
            )
        return await self.update(
            existing.id,
            text=prompt.text,
            identifier=prompt.identifier,
            variables=prompt.variables,
            framework=prompt.framework,
            negative_text=prompt.negative_text,
            negative_variables=prompt.negative_variables,
            parameters=prompt.parameters,
            tags=tags,
            note=prompt.note,
        )

    async def delete(self, *references: str) -> None:
        """Delete templates with all their versions, all or none.

        Raises:
            NotFound: One of them does not exist.
            Conflict: One of them comes with the platform.
        """
        self._cache.clear()
        await self._call(wire.DELETE_MANY, {"templateIds": list(references)})

    async def list(
        self, name: str = "", *, preset: bool | None = None, tags: Sequence[str] = ()
    ) -> tuple[Prompt, ...]:
        """Templates at their newest versions, oldest first.

        Args:
            name: A part of the name, in any case.
            preset: Those that come with the platform, or those that do not; None for both.
            tags: Those that have all of these, by id or name.
        """
        body: JSON = {"maxKeys": 100, "name": name, "labelIds": list(tags)}
        if preset is not None:
            body["type"] = "Preset" if preset else "User"
        return tuple(_prompt(item) for item in await self._all(wire.LIST, body))

    async def versions(self, reference: str) -> tuple[PromptVersion, ...]:
        """The versions of a template, oldest first.

        Raises:
            NotFound: There is no such template.
        """
        body: JSON = {"templateId": reference, "maxKeys": 100}
        return tuple(_version(item) for item in await self._all(wire.LIST_VERSIONS, body))

    async def diff(self, first: str, second: str) -> str:
        """What changed from one version to another, as a unified diff; "" if nothing did.

        Raises:
            NotFound: There is no such template, label or version.
        """
        return difference(await self.get(first), await self.get(second))

    async def label(self, reference: str, label: str, *, version: int | None = None) -> int:
        """Have a label point at a version: at `version`, else at the one that the reference means. The version.

        Args:
            reference: Which template.
            label: Such as production: lower-case letters, digits and ``_.-``, at most 32.
            version: Which version of it.

        Raises:
            NotFound: There is no such template or version.
        """
        body: JSON = {"templateId": reference, "label": label}
        if version is not None:
            body["version"] = version
        return (await self._change(wire.MOVE_LABEL, body)).version

    async def unlabel(self, reference: str, label: str) -> None:
        """Take a label of versions away.

        Raises:
            NotFound: There is no such template, or it has no such label.
        """
        self._cache.clear()
        await self._call(wire.REMOVE_LABEL, {"templateId": reference, "label": label})

    async def rollback(self, reference: str, version: int, *, note: str = "") -> Prompt:
        """Make a former version the newest again, as a copy.

        Raises:
            NotFound: There is no such template or version.
        """
        body: JSON = {"templateId": reference, "version": version, "note": note}
        rolled = await self._change(wire.ROLL_BACK, body)
        return await self.get(rolled.templateId)

    async def tags(self) -> tuple[PromptTag, ...]:
        """Everything that templates are sorted by."""
        return tuple(
            PromptTag(item.labelId, item.labelName, item.color, item.type == "Preset")
            for item in await self._all(wire.LIST_LABELS, {"maxKeys": 100})
        )

    async def create_tags(self, *names: str) -> tuple[PromptTag, ...]:
        """Make tags to sort templates by.

        Raises:
            Conflict: There is one of that name.
        """
        made = await self._call(wire.CREATE_LABELS, {"name": list(names)})
        return tuple(PromptTag(item.labelId, item.labelName, item.color) for item in made)

    async def delete_tag(self, reference: str) -> None:
        """Delete a tag, by id or name; templates lose it.

        Raises:
            NotFound: There is none.
        """
        self._cache.clear()
        await self._call(wire.DELETE_LABEL, {"labelId": reference})

    async def optimize(  # noqa: PLR0913 - what can be asked for, one argument each
        self,
        content: str,
        *,
        quality: bool = True,
        simplify: bool = False,
        chain_of_thought: bool = False,
        rounds: int | None = None,
        model: str = "",
        dataset: str = "",
        scorer: str = "f1",
        task_model: str = "",
        budget: int = 0,
        seed: int = 0,
    ) -> Optimization:
        """Have a prompt rewritten, and with a dataset the one searched for that scores best; `wait_optimization` waits for it.

        Args:
            content: The prompt; what is measured has ``{input}`` where the sample goes, or gets it at its end.
            quality: Make it clear, specific and complete.
            simplify: Make it short.
            chain_of_thought: Have the model think step by step.
            rounds: How many changes are tried; by default 1, and 9 with a dataset.
            model: Who rewrites; by default the platform's judge.
            dataset: A dataset version (``ds-…``, ``NAME:VERSION``) or a file of `client.files` with lines `{prompt, response}`.
            scorer: What is measured: exact, accuracy, f1, bleu_4, rouge, json_validity or regex.
            task_model: Who answers; by default who rewrites.
            budget: Answers that may be asked for; 0 for as many as the rounds need.
            seed: The same seed, the same search.

        Raises:
            Invalid: Something is not right.
            NotFound: There is no such dataset, file or model.
        """
        wanted = {1: int(quality), 2: int(simplify), 3: rounds, 4: int(chain_of_thought)}
        body: JSON = {
            "content": content,
            "operations": [
                {"opType": operation, "payload": payload}
                for operation, payload in wanted.items()
                if payload is not None
            ],
            "datasetId": dataset,
            "scorer": scorer,
            "taskModel": task_model,
            "budget": budget,
            "seed": seed,
        }
        if model:
            body["serviceName"] = model
        return await self.optimization((await self._call(work.OPTIMISE, body)).taskId)

    async def optimization(self, id: str) -> Optimization:
        """The rewriting of a prompt as it is now.

        Raises:
            NotFound: There is none of that id.
        """
        return optimization_of(await self._call(work.OPTIMISATION, {"taskId": id}))

    async def stop_optimization(self, id: str) -> None:
        """End the rewriting of a prompt.

        Raises:
            NotFound: There is none of that id.
            Conflict: It has ended.
        """
        await self._call(work.STOP, {"taskId": id})

    async def wait_optimization(
        self, id: str, *, poll_seconds: float = 1.0, timeout_seconds: float | None = None
    ) -> Optimization:
        """Wait until a prompt is rewritten.

        Raises:
            NotFound: There is none of that id.
            DeadlineExceeded: It has not ended in time.
        """
        waited = 0.0
        while (found := await self.optimization(id)).state == "running":
            if timeout_seconds is not None and waited >= timeout_seconds:
                raise errors.DeadlineExceeded(f"optimisation {id} has not ended after {waited:g} s")
            await self._session.transport.sleep(poll_seconds)
            waited += poll_seconds
        return found

    async def _cached(self, reference: str) -> Prompt:
        now = self._clock()
        cached = self._cache.get(reference)
        if cached is not None and now < cached.ask_again_at:
            return cached.prompt
        timeout_seconds = self._session.settings.timeout_seconds
        try:
            prompt = await self._fetch(
                reference,
                timeout_seconds
                if cached is None
                else min(timeout_seconds, REFRESH_TIMEOUT_SECONDS),
            )
        except errors.YangfanError as error:
            if cached is None or not _may_pass(error):
                self._cache.pop(reference, None)
                raise
            self._cache[reference] = replace(cached, ask_again_at=self._clock() + RETRY_SECONDS)
            return cached.prompt
        _, at, version = reference.rpartition("@")
        lasts = bool(at) and version.isdigit()
        if len(self._cache) >= MAX_CACHED and reference not in self._cache:
            self._cache.pop(next(iter(self._cache)))
        ask_again_at = float("inf") if lasts else self._clock() + self.cache_seconds
        self._cache[reference] = _Cached(prompt, ask_again_at)
        return prompt

    async def _fetch(self, reference: str, timeout_seconds: float) -> Prompt:
        call = self._session.management_call(wire.SHOW, {"templateId": reference})
        answer = await self._session.send(replace(call, timeout_seconds=timeout_seconds))
        return _prompt(convert(answer.document, wire.SHOW.reply).result)

    async def _change(self, endpoint: Endpoint[Any, Any], body: JSON) -> wire.TemplateVersion:
        self._cache.clear()
        return await self._call(endpoint, body)

    async def _call(self, endpoint: Endpoint[Any, Any], body: JSON) -> Any:
        call = self._session.management_call(endpoint, body)
        return (await self._session.fetch(call, endpoint.reply)).result

    async def _all(self, endpoint: Endpoint[Any, Any], body: JSON) -> list[Any]:
        """Every item of every page."""
        found: list[Any] = []
        while True:
            page = await self._call(endpoint, body)
            found += page.items
            marker = page.pageInfo.nextMarker
            if not page.pageInfo.isTruncated or marker is UNSET:
                return found
            body = {**body, "marker": marker}


def _may_pass(error: errors.YangfanError) -> bool:
    """Whether the server may have the template all the same, so that the one at hand will do for now."""
    return isinstance(error, errors.UnreachableError | errors.InternalError) or (
        isinstance(error, errors.RefusedError) and error.retryable
    )


def _prompt(item: wire.Template) -> Prompt:
    parameters = item.hyperParameters
    negative, negative_names = item.negativeTemplateContent, item.negativeTemplateVariables
    return Prompt(
        id=item.templateId,
        name=item.templateName,
        text=item.templateContent,
        identifier=item.variableIdentifier,
        variables=tuple(item.templateVariables),
        scene="image" if item.sceneType == "TextToImage" else "text",
        framework=FRAMEWORKS[item.frameworkType],
        negative_text="" if negative is UNSET else negative,
        negative_variables=() if negative_names is UNSET else tuple(negative_names),
        parameters={} if parameters is UNSET else parameters_of(parameters),
        tags=tuple(PromptTag(tag.labelId, tag.labelName, tag.color) for tag in item.labels),
        version=item.version,
        latest_version=item.latestVersion,
        labels=tuple(item.versionLabels),
        note=item.note,
        is_preset=item.type == "Preset",
        created_at=_time(item.createTime),
        updated_at=_time(item.updateTime),
    )


def _version(item: wire.Version) -> PromptVersion:
    created_at = _time(item.createTime)
    if created_at is None:
        raise errors.BadReply("a version has no time")
    return PromptVersion(
        item.version,
        tuple(item.labels),
        item.note,
        item.creatorName,
        created_at,
        tuple(item.templateVariables),
    )


def _time(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text) if text else None
    except ValueError:
        raise errors.BadReply(f"{text!r} is not a time") from None
