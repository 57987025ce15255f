"""Keeping prompt templates, finding the version that is meant, and rendering it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from yangfan.errors import Conflict, Invalid, NotFound
from yangfan.protocol import templates
from yangfan.server.http.call import new_id
from yangfan.server.prompts.store import PRESET_NUMBERS, Draft
from yangfan.server.prompts.types import (
    LATEST,
    Change,
    Content,
    Filter,
    Label,
    Template,
    Version,
    given_parameters,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from yangfan.protocol.templates import Rendered, Value
    from yangfan.server.prompts.presets import Presets
    from yangfan.server.prompts.store import Key, PromptStore

MAX_LABELS = 1000
"""Most labels to sort templates by."""

LABEL_COLOR = "#5B8FF9"

MAX_NUMBER = 2_000_000_000
"""Beyond it there are no integer ids."""


class Prompts:
    """All templates: those that come with the platform, and those that were made here.

    Args:
        store: Where the latter live.
        presets: The former.
    """

    def __init__(self, store: PromptStore, presets: Presets) -> None:
        self._store = store
        self._presets = presets

    async def create(
        self,
        name: str,
        scene: int,
        content: Content,
        labels: Sequence[Key],
        creator: str,
        note: str,
    ) -> Template:
        """Make a template with its first version.

        Raises:
            Invalid: The name or the content is not allowed, or a label does not exist.
            Conflict: There is one of that name.
        """
        _check_name(name)
        _check(content, scene)
        draft = Draft(name, await self._label_ids(labels), note=note)
        return await self._store.add(new_id("pt-", 16), scene, creator, draft, content)

    async def get(self, reference: Key) -> Template:
        """The template of that id or name, at the version that ``@LABEL`` or ``@VERSION`` behind it names, else at the newest.

        Raises:
            NotFound: There is no such template, label or version.
        """
        key, version = parse(reference)
        preset = self._presets.find(key)
        # A template that was made here hides a preset of the same name.
        if preset is not None and not (
            key == preset.name and await self._store.get(key) is not None
        ):
            return _at(preset, version)
        found = await self._store.get(key, version)
        if found is None:
            raise _missing(key)
        return _at(found, version)

    async def change(self, reference: Key, change: Change, creator: str) -> Template:
        """Change a template; what it says differs, it gets a new version.

        Raises:
            NotFound: There is none.
            Conflict: It comes with the platform, or another one has the new name.
            Invalid: The name or the content is not allowed, or a label does not exist.
        """
        template = await self._own(reference)
        if change.name is not None and change.name != template.name:
            _check_name(change.name)

        def draft_of(before: Template) -> Draft:
            content = _changed(before.version.content, change)
            is_new = content != before.version.content
            if is_new:
                _check(content, before.scene)
            label_ids = tuple(label.id for label in before.labels)
            return Draft(
                name=before.name if change.name is None else change.name,
                label_ids=label_ids if change.label_ids is None else change.label_ids,
                content=content if is_new else None,
                note=change.note,
            )

        changed = await self._store.change(template.id, creator, draft_of)
        if changed is None:
            raise _missing(reference)
        return changed

    async def delete(self, references: Sequence[Key]) -> None:
        """Delete templates with all their versions, all or none.

        Raises:
            NotFound: One of them does not exist.
            Conflict: One of them comes with the platform.
        """
        ids = [(await self._own(reference)).id for reference in dict.fromkeys(references)]
        missing = await self._store.remove(list(dict.fromkeys(ids)))
        if missing is not None:
            raise _missing(missing)

    async def page(self, wanted: Filter, *, offset: int, count: int) -> tuple[int, list[Template]]:
        """How many there are, and up to `count` of them from an offset on: the newest first, presets behind them."""
        presets = self._presets.filtered(wanted)
        own_count = 0 if wanted.preset is True else await self._store.count(wanted)
        found: list[Template] = []
        if offset < own_count:
            found = await self._store.page(wanted, newest_first=True, limit=count, offset=offset)
        rest = max(0, offset - own_count)
        found += presets[rest : rest + count - len(found)]
        return own_count + len(presets), found

    async def page_from(
        self, wanted: Filter, first_id: str | None, count: int, *, newest_first: bool
    ) -> tuple[list[Template], str | None]:
        """Up to `count` in order of creation, presets being the oldest, and the id of the one that follows.

        Raises:
            NotFound: There is no template of the id to begin with.
        """
        first = None if first_id is None else (await self.get(first_id)).number
        presets = sorted(
            self._presets.filtered(wanted), key=lambda found: found.number, reverse=newest_first
        )
        if first is not None:
            presets = [
                found
                for found in presets
                if (found.number <= first if newest_first else found.number >= first)
            ]
        own: list[Template] = []
        if wanted.preset is not True and not (
            newest_first and first is not None and first < PRESET_NUMBERS
        ):
            after = None if first is None else max(first, PRESET_NUMBERS)
            own = await self._store.page(
                wanted, newest_first=newest_first, limit=count + 1, first_number=after
            )
        found = [*own, *presets] if newest_first else [*presets, *own]
        return found[:count], found[count].id if len(found) > count else None

    async def versions(
        self, reference: Key, first: int | None, count: int, *, newest_first: bool
    ) -> tuple[list[Version], int | None]:
        """Up to `count` versions of a template, and the number of the one that follows.

        Raises:
            NotFound: There is no such template.
        """
        template = await self.get(reference)
        if template.preset:
            return [template.version], None
        found = await self._store.versions(
            template.number, newest_first=newest_first, limit=count + 1, first=first
        )
        return found[:count], found[count].number if len(found) > count else None

    async def point(self, reference: Key, label: str, version: int | None) -> Template:
        """Have a label point at a version: at `version`, else at the one that the reference means.

        Raises:
            NotFound: There is no such template or version.
            Conflict: The template comes with the platform.
            Invalid: The label is `latest`, which always is the newest version.
        """
        _check_label(label)
        template = await self._own(reference)
        at = template.version.number if version is None else version
        found = await self._store.point(template.id, label, at)
        if found is None:
            raise _no_version(template, at)
        return found

    async def unpoint(self, reference: Key, label: str) -> None:
        """Take a label of versions away.

        Raises:
            NotFound: There is no such template, or it has no such label.
            Conflict: The template comes with the platform.
            Invalid: The label is `latest`.
        """
        _check_label(label)
        template = await self._own(reference)
        if not await self._store.unpoint(template.id, label):
            raise _no_version(template, label)

    async def roll_back(self, reference: Key, version: int, creator: str, note: str) -> Template:
        """Make a former version the newest again, as a copy.

        Raises:
            NotFound: There is no such template or version.
            Conflict: The template comes with the platform.
        """
        template = await self._own(reference)
        found = await self._store.copy(
            template.id, version, creator, note or f"rolled back to version {version}"
        )
        if found is None:
            raise _no_version(template, version)
        return found

    async def labels(self) -> list[Label]:
        """All labels to sort templates by, those that come with the platform first."""
        return [*self._presets.labels.values(), *await self._store.labels()]

    async def create_labels(self, names: Sequence[str], creator: str) -> list[Label]:
        """Make labels to sort templates by.

        Raises:
            Invalid: A name is not allowed, or there would be too many.
            Conflict: There is one of that name.
        """
        for name in names:
            _check_name(name, param="name")
        existing = await self.labels()
        if len(existing) + len(names) > MAX_LABELS:
            raise Invalid(
                f"there may be {MAX_LABELS} labels, these make it more; delete some first",
                param="name",
            )
        taken = {label.name for label in existing}.intersection(names)
        if taken or len(set(names)) < len(names):
            twice = min(taken) if taken else next(name for name in names if names.count(name) > 1)
            raise Conflict(
                f"the label {twice!r} exists; DescribePromptLabels lists them", param="name"
            )
        new = {new_id("pl-", 12): name for name in names}
        await self._store.add_labels(list(new.items()), LABEL_COLOR, creator)
        return [label for label in await self._store.labels() if label.id in new]

    async def delete_label(self, reference: Key) -> None:
        """Delete a label; templates lose it.

        Raises:
            Invalid: There is none.
            Conflict: It comes with the platform.
        """
        label = _label(await self.labels(), reference)
        if label is None:
            raise NotFound(
                f"no label {str(reference)[:64]!r}; DescribePromptLabels lists those there are"
            )
        if label.preset:
            raise Conflict(
                f"the label {label.name!r} comes with the platform and stays", param="labelId"
            )
        await self._store.remove_label(label.id)

    async def label_ids(self, references: Sequence[Key] | None) -> tuple[str, ...] | None:
        """The ids of labels by id, integer or name; None stays None.

        Raises:
            Invalid: One does not exist.
        """
        return None if references is None else await self._label_ids(references)

    async def filter_of(
        self, name: str | None, *, preset: bool | None, labels: Sequence[Key] | None
    ) -> Filter:
        """Which templates are wanted.

        Raises:
            Invalid: A label does not exist.
        """
        return Filter(name or "", preset, await self._label_ids(labels or ()))

    async def _label_ids(self, references: Sequence[Key]) -> tuple[str, ...]:
        if not references:
            return ()
        known = await self.labels()
        found: dict[str, None] = {}
        for reference in references:
            label = _label(known, reference)
            if label is None:
                raise Invalid(
                    f"label {str(reference)[:64]!r} does not exist; DescribePromptLabels lists those there are",
                    param="labelIds",
                )
            found[label.id] = None
        return tuple(sorted(found))

    async def _own(self, reference: Key) -> Template:
        template = await self.get(reference)
        if template.preset:
            raise Conflict(
                f"the template {template.name!r} comes with the platform and stays as it is;"
                " make your own from it with CreatePromptTemplate",
                param="templateId",
            )
        return template


def parse(reference: Key) -> tuple[Key, int | str | None]:
    """A reference as the template's id or name, and the version that it names: a number, a label, or None for the newest."""
    if isinstance(reference, int):
        return _number(reference), None
    key, at, version = reference.rpartition("@")
    if not at:
        key, version = reference, LATEST
    wanted: int | str | None = version
    if version == LATEST:
        wanted = None
    elif version.isascii() and version.isdigit():
        wanted = min(int(version[:10]), MAX_NUMBER)
    if key.isascii() and key.isdigit():
        return _number(int(key[:10])), wanted
    return key, wanted


def rendered(template: Template, values: Mapping[str, Value]) -> tuple[Rendered, Rendered]:
    """The template's text and its negative text with these values.

    Raises:
        Invalid: It would be too long.
    """
    content = template.version.content
    return (
        templates.render(content.text, content.identifier, values, content.variables),
        templates.render(
            content.negative_text, content.identifier, values, content.negative_variables
        ),
    )


def _number(number: int) -> int:
    return number if 0 <= number <= MAX_NUMBER else MAX_NUMBER


def _at(template: Template, version: int | str | None) -> Template:
    """The template, which must stand at the version that was asked for."""
    at = template.version
    if version is None or version == at.number or version in at.labels:
        return template
    raise _no_version(template, version)


def _changed(content: Content, change: Change) -> Content:
    """The content after a change; variables that nobody lists are found in a new text."""
    text = content.text if change.text is None else change.text
    identifier = change.identifier or content.identifier
    negative = content.negative_text if change.negative_text is None else change.negative_text
    variables, negative_variables = content.variables, content.negative_variables
    if (text, identifier) != (content.text, content.identifier):
        variables = templates.variables_of(text, identifier)
    if (negative, identifier) != (content.negative_text, content.identifier):
        negative_variables = templates.variables_of(negative, identifier)
    return replace(
        content,
        text=text,
        identifier=identifier,
        variables=variables if change.variables is None else change.variables,
        negative_text=negative,
        negative_variables=(
            negative_variables if change.negative_variables is None else change.negative_variables
        ),
        framework=content.framework if change.framework is None else change.framework,
        parameters=content.parameters
        if change.parameters is None
        else given_parameters(change.parameters),
    )


def _check(content: Content, scene: int) -> None:
    if "\0" in content.text or "\0" in content.negative_text:
        raise Invalid(
            "a template cannot hold the character U+0000; remove it", param="templateContent"
        )
    if content.negative_text and scene != 2:
        raise Invalid(
            "only templates that describe pictures (text to image) have a negative template;"
            " change sceneType, or leave negativeTemplateContent out",
            param="negativeTemplateContent",
        )
    templates.checked_names(content.variables, param="templateVariables")
    templates.checked_names(content.negative_variables, param="negativeTemplateVariables")


def _check_name(name: str, *, param: str = "templateName") -> None:
    if not name.strip() or not name.isprintable() or "@" in name:
        raise Invalid(
            f"{name[:100]!r} is no name; take one without control characters and without @,"
            " behind which a version is named",
            param=param,
        )
    if name.startswith(("pt-", "pl-")) or (name.isascii() and name.isdigit()):
        raise Invalid(f"{name[:100]!r} looks like an id; take another name", param=param)


def _check_label(label: str) -> None:
    if label == LATEST:
        raise Invalid(
            "latest always is the newest version; take another label, such as production",
            param="label",
        )


def _label(known: Sequence[Label], reference: Key) -> Label | None:
    if isinstance(reference, str) and reference.isascii() and reference.isdigit():
        reference = int(reference[:10])
    return next(
        (label for label in known if reference in {label.number, label.id, label.name}), None
    )


def _missing(key: Key) -> NotFound:
    return NotFound(
        f"no template {str(key)[:100]!r}; DescribePromptTemplates lists those there are"
    )


def _no_version(template: Template, version: int | str) -> NotFound:
    kind = "version" if isinstance(version, int) else "label"
    return NotFound(
        f"template {template.name!r} has no {kind} {str(version)[:64]!r}; its newest version is {template.latest},"
        " DescribePromptTemplateVersions lists them all"
    )
