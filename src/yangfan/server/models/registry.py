"""Model sets and their versions: create, find, list, label, delete, and what a replica needs to run one.

A version's files lie in the model store under its own id, so that whatever keeps or removes content there knows of it.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
from sqlalchemy.exc import IntegrityError

from yangfan.errors import ConfigurationError, Conflict, Invalid, NotFound
from yangfan.hub import adapters
from yangfan.server.http.call import new_id
from yangfan.server.models import chat_conf, presets

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from sqlalchemy.ext.asyncio import AsyncConnection

    from yangfan.hub.store import ModelStore
    from yangfan.server.models.logic import Models
    from yangfan.server.models.store import RegistryStore
    from yangfan.server.models.types import (
        ModelSet,
        Plan,
        SetLine,
        SetType,
        Source,
        State,
        Version,
    )

NAME = re.compile(r"[^\W_][\w.-]{0,63}")
"""A set's name: letters of any script, digits, dots, dashes and underscores, a letter or digit first."""
LABEL = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
MAX_DESCRIPTION = 300
ID_LENGTH = 12

UsersOf = Callable[[str], Awaitable[str | None]]


class Page(NamedTuple):
    """Which part of a list: the id to begin with, how many, and from which end."""

    first_id: str | None = None
    size: int = 10
    newest_first: bool = False


async def _nobody(_version_id: str) -> None:
    return None


class Registry:
    """The registry.

    Args:
        store: Rows.
        files: Content.
        models: From files to an engine.
        users_of: Tells who uses a version now, such as ``the service bot (svco-…)``; None if nobody does. Deleting it is refused then.
        clock: Seconds since the epoch.
    """

    def __init__(
        self,
        store: RegistryStore,
        files: ModelStore,
        models: Models,
        *,
        users_of: UsersOf = _nobody,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.store = store
        self.files = files
        self._models = models
        self._users_of = users_of
        self._clock = clock

    async def start(self) -> None:
        """Know the catalogue's models, and remove what an earlier end left over."""
        await presets.sync(self.store, self.now_ms())
        await self.sweep()

    def now_ms(self) -> int:
        """The time in ms since the epoch."""
        return int(self._clock() * 1000)

    # Sets

    async def create_set(
        self,
        name: str,
        set_type: SetType = "Text2Text",
        *,
        tags: Sequence[str] = (),
        description: str = "",
    ) -> ModelSet:
        """Make an empty set.

        Raises:
            Invalid: The name is not usable.
            Conflict: There is a set of that name.
        """
        async with self.store.write() as connection:
            return await self.add_set(
                connection, name, set_type, tags=tags, description=description
            )

    async def add_set(
        self,
        connection: AsyncConnection,
        name: str,
        set_type: SetType,
        *,
        tags: Sequence[str] = (),
        description: str = "",
    ) -> ModelSet:
        """`create_set` within a transaction."""
        if not NAME.fullmatch(name):
            raise Invalid(
                f"a model set's name has 1 to 64 letters, digits, dots, dashes and underscores, a letter or digit first; got {name[:80]!r}",
                param="modelSetName",
            )
        taken = Conflict(
            f"there is a model set named {name}; choose another name, or add a version to it"
        )
        if await self.store.find_set(connection, name=name) is not None:
            raise taken
        set_id = new_id("am-", ID_LENGTH)
        try:
            number = await self.store.add_set(
                connection,
                set_id,
                name,
                "UserCreate",
                set_type,
                tags=tags,
                description=description,
                now_ms=self.now_ms(),
            )
        except IntegrityError:
            # On PostgreSQL, somebody else's transaction may have been faster.
            raise taken from None
        made = await self.store.find_set(connection, number=number)
        assert made is not None
        return made

    async def set(self, reference: str | int) -> ModelSet:
        """The set of that id (``am-…``), v1's integer, or name; of two with one name the user's own.

        Raises:
            NotFound: There is none.
        """
        found: ModelSet | None = None
        if isinstance(reference, int) or reference.isdecimal():
            found = await self.store.find_set(number=_number(reference))
        elif reference.startswith("am-"):
            found = await self.store.find_set(id=reference)
        if found is None and isinstance(reference, str):
            own = await self.store.find_set(name=reference, source="UserCreate")
            found = own or await self.store.find_set(name=reference, source="PlatformPreset")
        if found is None:
            raise NotFound(
                f"there is no model set {str(reference)[:80]!r}; DescribeCustomModelSets and DescribeSystemModelSets list them"
            )
        return found

    async def sets(self, source: Source, page: Page) -> tuple[list[SetLine], str | None]:
        """A page of sets in order of creation, and the id of the set that follows it.

        Raises:
            NotFound: There is no set of the id to begin with.
        """
        if page.first_id is not None and await self.store.find_set(id=page.first_id) is None:
            raise NotFound(f"marker: there is no model set {page.first_id[:80]!r}")
        found = await self.store.page_sets(
            source, page.first_id, page.size + 1, newest_first=page.newest_first
        )
        follows = found[page.size].set.id if len(found) > page.size else None
        return found[: page.size], follows

    async def numbered_sets(
        self,
        source: Source,
        *,
        name: str = "",
        types: Collection[SetType] | None = None,
        order: str = "create_time",
        descending: bool = True,
        page: int = 1,
        page_size: int = 20,
    ) -> tuple[list[SetLine], int]:
        """A page of sets, counted from 1, and how many there are."""
        return await self.store.numbered_sets(
            source,
            name=name,
            types=types,
            order=order,
            descending=descending,
            page=page,
            page_size=page_size,
        )

    async def delete_set(self, reference: str | int) -> None:
        """Delete a user's set with all its versions.

        Raises:
            NotFound: There is none.
            Conflict: It is the platform's own, or one of its versions is in use.
        """
        found = await self.set(reference)
        if found.source == "PlatformPreset":
            raise Conflict(f"{found.name} belongs to the platform and stays")
        while versions := await self.store.page_versions(
            found.number, None, 100, newest_first=True
        ):
            for version in versions:
                await self._require_free(version)
            for version in versions:
                await self._delete(version)
        async with self.store.write() as connection:
            try:
                await self.store.remove_set(connection, found.number)
            except IntegrityError:
                raise Conflict(
                    f"{found.name} got a new version just now; delete that first"
                ) from None
        await self.sweep()

    # Versions

    async def version(self, version_id: str) -> Version:
        """The version of that id.

        Raises:
            NotFound: There is none.
        """
        found = await self.store.find_version(id=version_id)
        if found is None:
            raise NotFound(
                f"there is no model version {version_id[:80]!r}; DescribeModelSet lists a set's"
            )
        return found

    async def find(self, reference: str | int) -> Version:
        """The version that a person means.

        Args:
            reference: ``amv-…``, v1's integer, ``SET:VERSION``, ``SET@label``, or a set (its name or ``am-…``), which means its newest
                version that is ready.

        Raises:
            NotFound: There is no such version; the message says what there is.
        """
        if isinstance(reference, int) or reference.isdecimal():
            found = await self.store.find_version(number=_number(reference))
            if found is None:
                raise NotFound(f"there is no model version {reference}")
            return found
        if reference.startswith("amv-"):
            return await self.version(reference)
        name, at, label = reference.rpartition("@")
        if at:
            return await self._labelled(await self.set(name), label)
        name, colon, number = reference.rpartition(":")
        if colon:
            owner = await self.set(name)
            wanted = _number(number) if number.isdecimal() else 0
            found = await self.store.find_version(set_number=owner.number, version=wanted)
            if found is None:
                raise NotFound(f"{owner.name} has no version {number[:20]!r}")
            return found
        owner = await self.set(reference)
        found = await self.store.newest(owner.number, ready=True)
        if found is None:
            raise NotFound(f"{owner.name} has no version that is ready")
        return found

    async def _labelled(self, owner: ModelSet, label: str) -> Version:
        found = await self.store.labelled(owner.number, label)
        if found is None:
            known = ", ".join(await self.store.labels(owner.number)) or "none"
            raise NotFound(f"{owner.name} has no label {label[:80]!r}; there are: {known}")
        return found

    async def versions(
        self, set_reference: str | int, page: Page, *, state: State | None = None
    ) -> tuple[list[Version], str | None]:
        """A page of a set's versions by number, without files, and the id of the one that follows it.

        Raises:
            NotFound: There is no such set, or no version of the id to begin with.
        """
        owner = await self.set(set_reference)
        if page.first_id is not None:
            await self.version(page.first_id)
        found = await self.store.page_versions(
            owner.number,
            page.first_id,
            page.size + 1,
            newest_first=page.newest_first,
            state=state,
        )
        follows = found[page.size].id if len(found) > page.size else None
        return found[: page.size], follows

    async def describe(self, version_id: str, description: str) -> Version:
        """Say something else about a version; the rest of it never changes.

        Raises:
            NotFound: There is none.
            Conflict: It is the platform's own.
        """
        version = await self.version(version_id)
        if version.is_preset:
            raise Conflict(f"{version.name} belongs to the platform and stays as it is")
        async with self.store.write() as connection:
            await self.store.change_version(
                connection, version.number, description=description, modified_ms=self.now_ms()
            )
        return await self.version(version_id)

    async def delete(self, reference: str | int) -> None:
        """Delete a version; content that no other version has goes with it.

        Raises:
            NotFound: There is none.
            Conflict: It is the platform's own, somebody uses it, or work on it is under way; the message says who.
        """
        version = await self.find(reference)
        await self._require_free(version)
        await self._delete(version)
        await self.sweep()

    async def _require_free(self, version: Version) -> None:
        if version.is_preset:
            raise Conflict(f"{version.name} belongs to the platform and stays")
        if version.state == "Creating":
            raise Conflict(
                f"{version.name} is being made by the job {version.job_id}; cancel that first"
            )
        user = await self.store.needed_by(version.id) or await self._users_of(version.id)
        if user is not None:
            raise Conflict(f"{version.name} is in use: {user}; stop or change that first")

    async def _delete(self, version: Version) -> None:
        async with self.store.write() as connection:
            task = await self.store.working_on(connection, version.id)
            if task is not None:
                raise Conflict(
                    f"{version.name} is in use: the task {task.id} ({task.kind}) reads it; cancel it or wait for its end"
                )
            await self.store.remove_version(connection, version)
        await asyncio.to_thread(self.files.forget, version.id)

    async def sweep(self) -> None:
        """Remove the content that lost its last version, unless something is being fetched: then the next time."""
        garbage = await self.store.garbage()
        if not garbage:
            return
        used = await self.store.used(garbage)
        if used:
            await self.store.forget_garbage(used)
        gone = await asyncio.to_thread(self.files.discard, garbage - used)
        if gone:
            await self.store.forget_garbage(gone)

    # Labels

    async def set_label(self, set_reference: str | int, label: str, version_id: str) -> Version:
        """Have a label of a set point to a version of it; it leaves the one that had it.

        Raises:
            Invalid: The label is not usable, or the version belongs to another set.
            NotFound: There is no such set or version.
            Conflict: The version is not ready.
        """
        owner, version = await self.set(set_reference), await self.find(version_id)
        if not LABEL.fullmatch(label):
            raise Invalid(
                f"a label has 1 to 64 of a-z 0-9 . _ -, a letter or digit first; got {label[:80]!r}",
                param="label",
            )
        if version.set_id != owner.id:
            raise Invalid(
                f"{version.name} is no version of {owner.name}: a label points to versions of its own set",
                param="modelId",
            )
        if version.state != "Ready":
            raise Conflict(f"{version.name} is {version.state}; label it when it is Ready")
        async with self.store.write() as connection:
            await self.store.set_label(connection, owner.number, label, version.number)
        return await self.version(version.id)

    async def remove_label(self, set_reference: str | int, label: str) -> None:
        """Forget a label.

        Raises:
            NotFound: There is no such set or label.
        """
        owner = await self.set(set_reference)
        await self._labelled(owner, label)
        async with self.store.write() as connection:
            await self.store.remove_label(connection, owner.number, label)

    async def labels(self, set_reference: str | int) -> dict[str, str]:
        """Every label of a set with the id of its version."""
        return await self.store.labels((await self.set(set_reference)).number)

    # Running

    async def plan(
        self,
        version_id: str,
        options: Mapping[str, Any] | None = None,
        *,
        name: str | None = None,
        progress: Callable[[Any], None] | None = None,
    ) -> Plan:
        """What a replica of a version needs to start; a preset that is not here is fetched first.

        Args:
            version_id: ``amv-…``.
            options: As in the table [options.MODEL] of the settings: `engine`, `context_tokens`, `slots`, `threads`, `adapters`,
                `quantize`, the limits of input, and what the engine takes; and `force`, to run a model whose parity gate failed.
            name: What the engine is told that the model is called; SET:VERSION if None.
            progress: Told of a download or a quantisation.

        Raises:
            NotFound: There is no such version.
            Conflict: It is not ready.
            ConfigurationError: No engine here can load it, or an option is wrong.
            FetchError: A preset could not be fetched.
        """
        version = await self.version(version_id)
        if version.state != "Ready":
            why = f": {version.error}" if version.error else ""
            raise Conflict(f"{version.name} is {version.state} and cannot be run{why}")
        options = dict(options or {})
        forced = options.pop("force", False) is True
        if version.facts.parity.get("passed") is False and not forced:
            raise Conflict(
                f"{version.name} is not what was trained: {version.facts.parity.get('reason', 'its parity gate failed')}."
                " Deploy it with force (--force, engineOptions.force) if you want it all the same"
            )
        template = None
        if version.origin.get("autoPromptConcat") is not False:
            template = chat_conf.template_of(version.origin.get("chatConf"))
        if template is not None and version.kind in {"chat", "vision"}:
            options = {"chat_template": template, **options}
        if version.format == adapters.FORMAT:
            return await self._plan_beside(version, {**options, "force": forced}, name, progress)
        if version.is_preset:
            plan = await self._models.plan(version.set_name, progress, options)
            plan = msgspec.structs.replace(plan, name=name or plan.name)
        else:
            stored = await asyncio.to_thread(self.files.get, version.id)
            if stored is None:
                raise Conflict(
                    f"the files of {version.name} are gone from the model store {self.files.root}; import it again"
                )
            plan = await self._models.plan_of_stored(
                stored, options, name=name or version.name, progress=progress
            )
        return msgspec.structs.replace(plan, memory_bytes=version.memory_bytes)

    async def _plan_beside(
        self,
        version: Version,
        options: dict[str, Any],
        name: str | None,
        progress: Callable[[Any], None] | None,
    ) -> Plan:
        """A replica of the base of an adapter, with the adapter under its version's id."""
        options = {"engine": "llama_cpp", **options}
        stored = await asyncio.to_thread(self.files.get, version.id)
        if stored is None:
            raise Conflict(
                f"the files of {version.name} are gone from the model store {self.files.root}; import it again"
            )
        place = stored.folder
        if options["engine"] != "vllm":
            place /= adapters.GGUF
            if not place.is_file():
                raise ConfigurationError(
                    f"llama.cpp runs no model like the base of {version.name}; deploy it with the engine vllm, or publish it merged"
                )
        beside = {**options.get("adapters", {}), version.id: str(place)}
        return await self.plan(
            version.parent_id,
            {**options, "adapters": beside},
            name=name or version.name,
            progress=progress,
        )


def _number(reference: str | int) -> int:
    """An integer that a database takes; anything larger is nobody's number."""
    number = int(reference) if len(str(reference)) < 19 else 0
    return max(number, 0)
