"""The model that comes inside the package."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from yangfan.errors import ConfigurationError
from yangfan.hub import folder
from yangfan.hub.pull import pull

if TYPE_CHECKING:
    from yangfan.egress import Egress
    from yangfan.hub.store import ModelStore

MAX_BYTES = 10_000_000


async def test_the_demo_is_had_without_a_network(store: ModelStore, egress: Egress) -> None:
    model = await pull("shapes-demo", store=store, egress=egress)
    found = folder.describe(model.path)
    assert (found.format, found.kind) == ("diffusers", "images")
    assert found.architecture == "StableDiffusionPipeline"
    assert model.size_bytes < MAX_BYTES


async def test_an_unknown_name_is_answered_with_those_that_there_are(
    store: ModelStore, egress: Egress
) -> None:
    with pytest.raises(ConfigurationError, match=r"no model 'other'.*there are: shapes-demo"):
        await pull("builtin:other", store=store, egress=egress)
