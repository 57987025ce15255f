"""`Prompts` on SQLite and on PostgreSQL: the same answers, and no version lost between callers at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from yangfan.errors import Conflict, NotFound
from yangfan.server.db import Database
from yangfan.server.prompts import Prompts
from yangfan.server.prompts.presets import Presets
from yangfan.server.prompts.store import PromptStore
from yangfan.server.prompts.types import Change, Content, Filter


@pytest.fixture(name="prompts")
async def prompts_fixture(database_target: Path | str) -> AsyncGenerator[Prompts]:
    database = Database(database_target)
    await database.migrate()
    presets = Presets()
    yield Prompts(PromptStore(database, presets.labels), presets)
    await database.close()


async def create(prompts: Prompts, name: str, text: str = "x", *labels: str) -> str:
    return (await prompts.create(name, 1, Content(text, "{}", ()), labels, "app", "")).id


async def test_versions_labels_and_rollback(prompts: Prompts):
    id_ = await create(prompts, "one", "first")
    for text in ("second", "third"):
        await prompts.change(id_, Change(text=text, note=text), "app")
    assert (await prompts.point("one", "production", 1)).version.content.text == "first"
    assert (await prompts.point("one@2", "production", None)).version.labels == ("production",)
    assert (await prompts.get("one@production")).version.content.text == "second"
    rolled = await prompts.roll_back("one", 1, "app", "")
    assert (rolled.latest, rolled.version.content.text) == (4, "first")
    found, following = await prompts.versions("one", None, 3, newest_first=True)
    assert ([version.number for version in found], following) == ([4, 3, 2], 1)
    with pytest.raises(NotFound, match="has no version '9'"):
        await prompts.point("one", "production", 9)
    await prompts.unpoint("one", "production")
    with pytest.raises(NotFound, match="has no label 'production'"):
        await prompts.get("one@production")
    await prompts.delete(["one"])
    with pytest.raises(NotFound, match="no template"):
        await prompts.get(id_)


async def test_change_without_a_difference_makes_no_version(prompts: Prompts):
    id_ = await create(prompts, "same", "text")
    assert (await prompts.change(id_, Change(text="text", name="new"), "app")).latest == 1
    assert (await prompts.change(id_, Change(identifier="[]"), "app")).latest == 2


async def test_name_is_taken_once_whoever_comes_first(prompts: Prompts):
    made = await asyncio.gather(
        *(create(prompts, "wanted") for _ in range(8)), return_exceptions=True
    )
    assert sorted(type(one) is str for one in made) == [False] * 7 + [True]
    assert all(isinstance(one, str | Conflict) for one in made)


async def test_changes_at_once_lose_no_version(prompts: Prompts):
    id_ = await create(prompts, "busy")
    changes = [Change(text=f"text {number}") for number in range(10)]
    found = await asyncio.gather(*(prompts.change(id_, change, "app") for change in changes))
    assert sorted(template.latest for template in found) == list(range(2, 12))


async def test_pages_labels_and_parts_of_names(prompts: Prompts):
    mine = [label.id for label in await prompts.create_labels(["mine", "other"], "app")]
    await create(prompts, "Report 100%_a", "x", *mine)
    await create(prompts, "report b", "x", "mine")
    await create(prompts, "else")
    total, found = await prompts.page(Filter("REPORT", preset=False), offset=0, count=10)
    assert (total, [one.name for one in found]) == (2, ["report b", "Report 100%_a"])
    wanted = await prompts.filter_of("", preset=None, labels=["mine", "other"])
    total, (only,) = await prompts.page(wanted, offset=0, count=10)
    assert (total, [label.name for label in only.labels].count("mine")) == (1, 1)
    assert (await prompts.page(Filter("0%_a", preset=False), offset=0, count=10))[0] == 1
    ordered, following = await prompts.page_from(Filter(preset=False), None, 2, newest_first=False)
    assert [one.name for one in ordered] == ["Report 100%_a", "report b"]
    rest, _ = await prompts.page_from(Filter(), following, 9, newest_first=True)
    assert [one.name for one in rest[:3]] == ["else", "report b", "Report 100%_a"]
    assert rest[3].preset
    await prompts.delete_label("mine")
    assert [label.name for label in (await prompts.get("report b")).labels] == []
