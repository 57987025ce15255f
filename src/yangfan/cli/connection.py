"""Which server a command talks to, and with which credentials.

Options win, then the SDK's variables (`YANGFAN_*`, `QIANFAN_*`), then `server.json` in the home folder, which a running
`yangfan serve` keeps there: so `serve` in one terminal and `chat` in another need nothing said.
"""

from __future__ import annotations

import functools
import inspect
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Concatenate, ParamSpec

import msgspec
import typer

from yangfan.client.settings import Credentials, Given, load
from yangfan.errors import ConfigurationError

if TYPE_CHECKING:
    from yangfan.client._sync.client import Client
    from yangfan.client.settings import Settings, Version

P = ParamSpec("P")

ADDRESS_VARIABLES = ("YANGFAN_BASE_URL", "QIANFAN_BASE_URL", "QIANFAN_CONSOLE_API_BASE_URL")
"""Variables that tell the SDK where to go."""


class ServerFile(msgspec.Struct, frozen=True):
    """What the commands read of `server.json`."""

    base_url: str
    api_key: str = ""
    secret_key: str = ""
    access_key: str = ""
    secret_access_key: str = ""
    bearer: str = ""

    def __repr__(self) -> str:
        """No secrets."""
        return f"ServerFile({self.base_url!r})"


@dataclass(frozen=True, kw_only=True)
class Connection:
    """The options that every command has which talks to a server; None for what was not given."""

    base_url: Annotated[
        str | None, typer.Option(metavar="URL", help="Address of the server / 服务地址")
    ] = None
    bearer: Annotated[
        str | None, typer.Option(metavar="KEY", help="Bearer key, v2 / v2 的 Bearer 密钥")
    ] = field(default=None, repr=False)
    access_key: Annotated[
        str | None,
        typer.Option(metavar="ID", help="Access key, for signatures / 签名用 Access Key"),
    ] = None
    secret_access_key: Annotated[
        str | None, typer.Option(metavar="SECRET", help="Its secret / 对应的 Secret Key")
    ] = field(default=None, repr=False)
    api_key: Annotated[
        str | None,
        typer.Option(metavar="ID", help="API key of an application, v1 / 应用的 API Key"),
    ] = None
    secret_key: Annotated[
        str | None, typer.Option(metavar="SECRET", help="Its secret / 应用的 Secret Key")
    ] = field(default=None, repr=False)
    home: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Home of a running server, default ~/.yangfan / 服务的数据目录"
        ),
    ] = None

    def client(self, *, version: Version | None = None) -> Client:
        """A client for the server that is meant.

        Args:
            version: Dialect of inference calls; the SDK's choice if None.

        Raises:
            ConfigurationError: An option or a variable is not usable, or no server runs in the `home` that was named.
        """
        from yangfan.client._sync.client import Client

        whole = self.completed()
        return Client(
            whole.base_url,
            api_key=whole.api_key,
            secret_key=whole.secret_key,
            access_key=whole.access_key,
            secret_access_key=whole.secret_access_key,
            bearer=whole.bearer,
            version=version,
        )

    def settings(self) -> Settings:
        """Address and credentials of a v2 client, for calls made without one.

        Raises:
            ConfigurationError: As `client`.
        """
        return self.completed().loaded(os.environ)

    def completed(self, environ: Mapping[str, str] = os.environ) -> Connection:
        """This, with what neither options nor variables give taken from `server.json`.

        Its credentials go to its own address only. Naming a home outweighs the variables.

        Raises:
            ConfigurationError: No server runs in the `home` that was named, or `server.json` is damaged.
        """
        server = self._server(environ)
        if server is None:
            return self
        variables: Mapping[str, str] = environ if self.home is None else dict[str, str]()
        named = (variables.get(name) for name in ADDRESS_VARIABLES)
        address = self.base_url or next(filter(None, named), None)
        if address is not None and address.rstrip("/") != server.base_url:
            return self
        if self.loaded(variables).credentials != Credentials():
            return replace(self, base_url=server.base_url)
        return replace(self, **msgspec.structs.asdict(server))

    def loaded(self, environ: Mapping[str, str]) -> Settings:
        """The SDK's settings from these options and `environ`, `server.json` left aside.

        Raises:
            ConfigurationError: A value is not usable, or one half of a pair is missing.
        """
        given = Given(
            base_url=self.base_url,
            api_key=self.api_key,
            secret_key=self.secret_key,
            access_key=self.access_key,
            secret_access_key=self.secret_access_key,
            bearer=self.bearer,
            version=2,
        )
        return load(given, environ)

    def home_folder(self, environ: Mapping[str, str] = os.environ) -> Path:
        """The home folder, absolute."""
        home = self.home or environ.get("YANGFAN_HOME") or "~/.yangfan"
        return Path(home).expanduser().absolute()

    def _server(self, environ: Mapping[str, str]) -> ServerFile | None:
        path = self.home_folder(environ) / "server.json"
        try:
            return msgspec.json.decode(path.read_bytes(), type=ServerFile)
        except FileNotFoundError:
            if self.home is None or self.base_url is not None:
                return None
            raise ConfigurationError(
                f"no server runs in {path.parent}; start one with `yangfan serve --home {path.parent}`"
            ) from None
        except OSError as error:
            raise ConfigurationError(f"cannot read {path}: {error.strerror}") from None
        except msgspec.MsgspecError as error:
            raise ConfigurationError(
                f"{path} is damaged ({error}); restart `yangfan serve`"
            ) from None


def connected(command: Callable[Concatenate[Connection, P], None]) -> Callable[P, None]:
    """Turn a command that takes a Connection first into one that has the options of a Connection."""
    own = list(inspect.signature(command, eval_str=True).parameters.values())[1:]
    options = inspect.signature(Connection, eval_str=True).parameters

    @functools.wraps(command)
    def with_options(*args: P.args, **kwargs: P.kwargs) -> None:
        chosen = {name: kwargs.pop(name) for name in options}
        command(Connection(**chosen), *args, **kwargs)  # pyright: ignore[reportArgumentType, reportCallIssue] - the types are those of the options

    with_options.__signature__ = inspect.Signature([*own, *options.values()])  # pyright: ignore[reportAttributeAccessIssue, reportFunctionMemberAccess] - the way to tell `inspect`
    return with_options


def dialect(version: str | None) -> Version | None:
    """What the option `--version` of a command says.

    Raises:
        BadParameter: Neither 1 nor 2.
    """
    match version:
        case None:
            return None
        case "1":
            return 1
        case "2":
            return 2
        case _:
            raise typer.BadParameter(f"--version is 1 or 2, not {version!r}")
