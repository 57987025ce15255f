"""What every file in `hub/sources/` must offer."""

from __future__ import annotations

import inspect

import pytest

from yangfan import extensions
from yangfan.errors import ConfigurationError
from yangfan.hub.pull import pull
from yangfan.hub.sources.base import Workspace
from yangfan.hub.store import ModelStore
from yangfan.hub.uri import ModelURI

SOURCES = "yangfan.hub.sources"


@pytest.mark.parametrize("name", extensions.names(SOURCES))
def test_a_source_file_makes_a_source_and_shows_its_address(
    name: str, workspace: Workspace
) -> None:
    module = extensions.load(SOURCES, name)
    assert list(inspect.signature(module.create).parameters) == ["uri", "workspace"]
    assert f"{name}:" in (module.__doc__ or "")
    path = {"pypi": "a==1", "https": "//host/m.gguf", "http": "//host/m.gguf"}.get(name, "a/b")
    source = module.create(ModelURI(name, path, None, "m.gguf"), workspace)
    assert inspect.iscoroutinefunction(source.list)
    assert inspect.iscoroutinefunction(source.fetch)


async def test_a_scheme_without_a_file_lists_those_with_one(
    workspace: Workspace, store: ModelStore
) -> None:
    with pytest.raises(ConfigurationError, match=", ".join(extensions.names(SOURCES))):
        await pull("ftp:host/m.gguf", store=store, egress=workspace.egress)
