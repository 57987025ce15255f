"""What a plugin is: a manifest that is data, and one function that is called with checked inputs.

A plugin is a folder with two files:

    plugin.toml     the manifest: who it is, what it takes, what it may do. Read at the start; nothing is imported for it.
    plugin.py       async def call(inputs: Mapping[str, Any], host: Host) -> Outcome. Imported when it is first called.

The folder lies in `yangfan/plugins`, or is a package of its own with an entry point in the group `yangfan.plugins`.
"""

from __future__ import annotations

import importlib
import importlib.util
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, Protocol, TypeVar

import msgspec
from msgspec import Meta

from yangfan import extensions
from yangfan.errors import ConfigurationError, PluginFailed
from yangfan.plugins._schema import Inputs

if TYPE_CHECKING:
    from pathlib import Path

    from yangfan.engines.base import Message, Part, Sampling

__all__ = [
    "Fetched",
    "Host",
    "Kept",
    "Manifest",
    "Outcome",
    "Passage",
    "Permission",
    "Picture",
    "Plugin",
    "PluginFailed",
    "Run",
    "Setting",
    "Texts",
    "installed",
    "read",
]

GROUP: Final = "yangfan.plugins"
MANIFEST: Final = "plugin.toml"
MAX_MANIFEST_BYTES: Final = 64 * 1024

Permission = Literal["network", "knowledge", "chat"]
"""What a plugin may ask of its host: fetch from other machines, search the application's knowledge bases, ask its chat service."""


class Texts(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A text for people, in both languages."""

    zh: Annotated[str, Meta(min_length=1, max_length=500)]
    en: Annotated[str, Meta(min_length=1, max_length=500)]


class Setting(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A value that the operator may choose in the table [plugins.ID] of the settings file."""

    description: str
    default: str | int | float | bool = ""
    secret: bool = False


class Needs(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What must be installed beside the plugin.

    Attributes:
        modules: Top-level modules that it imports.
        install: The command that brings them.
    """

    modules: tuple[str, ...] = ()
    install: str = ""


class Manifest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What `plugin.toml` says.

    Attributes:
        id: What applications and calls name it by.
        version: Of the plugin, such as ``1.0.0``.
        name: For people.
        description: What it does, for people.
        tool: Its name for models: letters, digits, _ and -.
        told: What it does and when to call it, for models.
        inputs: JSON Schema of an object: what it is called with.
        question: Which input takes the question as it was asked. With it a plugin can be called directly, before the model says
            anything; without it, a model decides when to call it and with what.
        file: Which input takes the address of a file that comes with a question.
        permissions: What it may ask of its host.
        needs: What must be installed.
        settings: What the operator may choose.
        timeout_seconds: Longest time of a call.
    """

    id: Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$")]
    version: Annotated[str, Meta(pattern=r"^\d+\.\d+\.\d+$")]
    name: Texts
    description: Texts
    tool: Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
    told: Annotated[str, Meta(min_length=1, max_length=2000)]
    inputs: Mapping[str, Any]
    question: str = ""
    file: str = ""
    permissions: tuple[Permission, ...] = ()
    needs: Needs = Needs()
    settings: Mapping[str, Setting] = msgspec.field(default_factory=dict[str, Setting])
    timeout_seconds: Annotated[float, Meta(gt=0, le=600)] = 60.0


@dataclass(frozen=True, slots=True)
class Passage:
    """What a knowledge base says on a question; `server/knowledge` explains the figures."""

    text: str
    headings: str
    page: int
    place: int
    number: int
    document_id: str
    document_name: str
    base_id: str
    base_name: str
    score: float
    similarity: float | None
    coverage: float


@dataclass(frozen=True, slots=True)
class Fetched:
    """An answer of another machine.

    Attributes:
        status: HTTP status.
        headers: Names in lower case.
        content: The body.
        url: Where it came from, after redirects.
    """

    status: int
    headers: Mapping[str, str]
    content: bytes
    url: str


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture whose format and size were read from its first bytes, before anything opens it.

    Attributes:
        data: The file.
        media_type: Such as image/png.
        width: In pixels.
        height: In pixels.
        data_uri: The whole file as an address, for a model that sees.
    """

    data: bytes
    media_type: str
    width: int
    height: int
    data_uri: str


class Kept(Protocol):
    """What a plugin keeps between calls."""

    async def aclose(self) -> None:
        """The server ends."""
        ...


K = TypeVar("K", bound=Kept)


class Host(Protocol):
    """What a plugin is given beside its inputs. Each method needs the permission of its line, and raises PluginFailed without it."""

    @property
    def settings(self) -> Mapping[str, Any]:
        """What the operator chose, and defaults."""
        ...

    @property
    def prompt(self) -> str:
        """What the application wants its model to be told; "" if it leaves that to the plugin."""
        ...

    @property
    def variables(self) -> Mapping[str, str]:
        """Values for the prompt that came with the question."""
        ...

    @property
    def base_ids(self) -> Sequence[str]:
        """Knowledge bases of the application."""
        ...

    @property
    def room_tokens(self) -> float:
        """How much the model can be told, about."""
        ...

    @property
    def file_name(self) -> str:
        """What the file that came with the question is called; "" if nothing says."""
        ...

    @property
    def sees(self) -> bool:
        """Whether a model that sees writes the answer where `Outcome.prompt` has a picture in it."""
        ...

    def kept(self, make: Callable[[], K]) -> K:
        """What `make` made when it was first asked for: one for all calls, closed when the server ends."""
        ...

    async def picture(self, address: str, *, param: str) -> Picture:
        """network: a picture at an https URL, through the guard, or in a data URI; at most 10 MiB. Raises InvalidImage, which blames `param`."""
        ...

    async def fetch(
        self,
        url: str,
        *,
        max_bytes: int,
        timeout_seconds: float,
        headers: Mapping[str, str] | None = None,
        method: str = "GET",
        content: bytes | None = None,
    ) -> Fetched:
        """network: ask another machine, through the guard of `yangfan.egress`. Raises FetchError."""
        ...

    async def search(self, question: str, *, top: int = 6) -> Sequence[Passage]:
        """knowledge: the passages of the application's knowledge bases that answer a question, the best first. Raises RefusedError."""
        ...

    async def chat(
        self,
        messages: Sequence[Message],
        sampling: Sampling | None = None,
        *,
        schema: Mapping[str, Any] | None = None,
    ) -> str:
        """chat: what the application's chat service answers, as JSON of that schema if there is one.

        Counts against the caller's limits. Raises RefusedError.
        """
        ...


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a plugin found.

    Attributes:
        text: For the model, which writes the answer from it.
        answer: The whole answer instead, where no model is to be asked; "" where one is.
        prompt: What the model is asked in a direct call, where the plugin words that itself.
        sources: Texts that sentences of the answer may rest on; they are cited.
        request: What was looked for, as `meta_info` shows it.
        response: What was found, likewise.
    """

    text: str
    answer: str = ""
    prompt: str | tuple[Part, ...] = ""
    sources: tuple[str, ...] = ()
    request: Mapping[str, Any] = field(default_factory=dict[str, Any])
    response: Mapping[str, Any] = field(default_factory=dict[str, Any])


Run = Callable[[Mapping[str, Any], Host], Awaitable[Outcome]]


@dataclass(frozen=True, slots=True)
class Plugin:
    """An installed plugin.

    Attributes:
        manifest: What it says of itself.
        package: Where its code is, to import.
        origin: yangfan, or the name of the distribution that brought it.
    """

    manifest: Manifest
    package: str
    origin: str

    @property
    def missing(self) -> str:
        """What to install before it can be called; "" if it can."""
        needs = self.manifest.needs
        lacking = [name for name in needs.modules if importlib.util.find_spec(name) is None]
        if not lacking:
            return ""
        return needs.install or f"pip install {' '.join(lacking)}"

    def load(self) -> Run:
        """Import its code.

        Raises:
            ConfigurationError: Something is not installed, or there is no `call` in its `plugin.py`.
        """
        name = self.manifest.id
        if self.missing:
            raise ConfigurationError(f"the plugin {name} needs: {self.missing}")
        try:
            module = importlib.import_module(f"{self.package}.plugin")
        except ImportError as error:
            raise ConfigurationError(f"the plugin {name} cannot be imported: {error}") from error
        found: Run | None = getattr(module, "call", None)
        if not callable(found):
            raise ConfigurationError(
                f"the plugin {name} has no `async def call(inputs, host)` in {self.package}.plugin"
            )
        return found


def read(path: Path) -> Manifest:
    """Read and check a manifest.

    Raises:
        ConfigurationError: It cannot be read, or a field of it is missing, unknown or not what it may be; the message names file and field.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror}") from None
    if len(content) > MAX_MANIFEST_BYTES:
        raise ConfigurationError(f"{path} has more than {MAX_MANIFEST_BYTES} bytes")
    try:
        manifest = msgspec.toml.decode(content, type=Manifest)
    except (msgspec.MsgspecError, ValueError) as error:
        raise ConfigurationError(f"{path}: {error}") from None
    _check_inputs(manifest, path)
    for name in manifest.settings:
        if not re.fullmatch(r"[a-z][a-z0-9_]{0,63}", name):
            raise ConfigurationError(
                f"{path}: settings.{name} must be lower-case letters, digits and _"
            )
    return manifest


def _check_inputs(manifest: Manifest, path: Path) -> None:
    inputs = manifest.inputs
    try:
        Inputs(inputs)
    except ConfigurationError as error:
        raise ConfigurationError(f"{path}: {error.message}") from None
    properties: Mapping[str, Any] | None = inputs.get("properties")
    if inputs.get("type") != "object" or properties is None:
        raise ConfigurationError(
            f'{path}: inputs must be a JSON Schema of type "object" with properties'
        )
    for field_name in ("question", "file"):
        chosen: str = getattr(manifest, field_name)
        if chosen and properties.get(chosen, {}).get("type") != "string":
            raise ConfigurationError(
                f"{path}: {field_name} names the input {chosen!r}, which inputs.properties has not as a string"
            )
    required: Any = inputs.get("required", [])
    given = {manifest.question, manifest.file}
    if manifest.question and not given.issuperset(required):
        raise ConfigurationError(
            f"{path}: a plugin with a question input may require nothing else, for a direct call brings nothing else; "
            f"got required = {required!r}"
        )


def installed() -> tuple[dict[str, Plugin], dict[str, str]]:
    """Every plugin that is installed, by id, and what is wrong with those that cannot be used, by the name that they were found by.

    Only manifests are read; no code of a plugin is imported. Two plugins of one id: ours stays, then the first by name.
    """
    plugins: dict[str, Plugin] = {}
    broken: dict[str, str] = {}
    found = extensions.folders(GROUP)
    for name, (package, folder, origin) in sorted(
        found.items(), key=lambda item: (item[1][2] != "yangfan", item[0])
    ):
        try:
            manifest = read(folder / MANIFEST)
        except ConfigurationError as error:
            broken[name] = error.message
            continue
        if manifest.id in plugins:
            other = plugins[manifest.id].package
            broken[name] = (
                f"{folder / MANIFEST}: the id {manifest.id} belongs to {other} already; choose another"
            )
            continue
        plugins[manifest.id] = Plugin(manifest, package, origin)
    return plugins, broken
