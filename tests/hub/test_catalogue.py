from __future__ import annotations

import re

import pytest

from yangfan import extensions
from yangfan.errors import ConfigurationError
from yangfan.hub import catalogue
from yangfan.hub.catalogue import CatalogueModel
from yangfan.hub.content import require_safe_path
from yangfan.hub.store import NAME
from yangfan.hub.uri import parse

MODELS = catalogue.load().models


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
def test_every_entry_can_be_pulled(model: CatalogueModel) -> None:
    assert NAME.fullmatch(model.name)
    assert model.sources
    assert {parse(source).scheme for source in model.sources} <= set(
        extensions.names("yangfan.hub.sources")
    )
    assert model.size_bytes > 1_000_000
    assert model.parameters > 1_000_000
    assert model.licence in {"Apache-2.0", "MIT"}
    for file in model.files:
        require_safe_path(file.path)
        assert re.fullmatch(r"[0-9a-f]{64}", file.sha256)
    # An entry with several GGUF files to choose from must choose.
    assert model.format != "gguf" or all(
        parse(source).choice.endswith(".gguf") for source in model.sources
    )


def test_names_are_unique_and_found() -> None:
    shelf = catalogue.load()
    assert len(set(shelf.names)) == len(shelf.models)
    assert all(shelf.find(model.name) is model for model in shelf.models)
    assert shelf.find("nonsense") is None


def test_what_the_package_index_holds_has_known_content() -> None:
    assert all(
        model.files and not model.approximate and parse(source).revision
        for model in MODELS
        for source in model.sources
        if source.startswith("pypi:")
    )


@pytest.mark.parametrize(
    "text", ["models = 1", "[[models]]\nname = 'x'", "models = [", "models = []\nother = 1"]
)
def test_a_malformed_catalogue_says_where(text: str) -> None:
    with pytest.raises(ConfigurationError, match="catalogue is not valid: "):
        catalogue.load(text)
