"""Sets and versions: names, order, labels, deletes, content, plans."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import pytest
import sqlalchemy as sa
from tests.small_models import llama_folder

from yangfan.errors import ConfigurationError, Conflict, Invalid, NotFound
from yangfan.hub import catalogue
from yangfan.hub.lock import try_lock
from yangfan.server.models import Page
from yangfan.server.models.tables import GARBAGE, SETS, VERSIONS
from yangfan.server.models.types import File

if TYPE_CHECKING:
    from pathlib import Path

    from tests.server.models.conftest import Shop

    from yangfan.server.models import Version


async def test_the_catalogue_is_there_as_sets_of_the_platform(shop: Shop) -> None:
    lines, follows = await shop.registry.sets("PlatformPreset", Page(size=100))
    assert follows is None
    names = [line.set.name for line in lines]
    assert names == ["echo", *(model.name for model in catalogue.load().models)]
    smol = await shop.registry.find("smollm2-135m-instruct")
    assert (smol.name, smol.state, smol.is_preset) == ("smollm2-135m-instruct:1", "Ready", True)
    assert smol.files[0].sha256.startswith("b179c9523d0e")
    assert (smol.facts.licence, smol.facts.parameters) == ("Apache-2.0", 134515008)
    assert smol.memory_bytes > smol.size_bytes


async def test_a_second_start_changes_nothing(shop: Shop) -> None:
    before = await shop.registry.find("smollm2-135m-instruct")
    async with shop.database.read() as connection:
        rows = (await connection.execute(sa.select(VERSIONS))).all()
    await shop.registry.start()
    async with shop.database.read() as connection:
        assert (await connection.execute(sa.select(VERSIONS))).all() == rows
    assert await shop.registry.find("smollm2-135m-instruct") == before


async def test_a_set_is_found_by_id_number_and_name(shop: Shop) -> None:
    made = await shop.registry.create_set("我的模型", "Text2Text", tags=["客服"])
    assert made.id.startswith("am-")
    assert len(made.id) == 15
    for reference in (made.id, made.number, str(made.number), "我的模型"):
        assert await shop.registry.set(reference) == made


@pytest.mark.parametrize("name", ["", "_x", "a:b", "a@b", "a/b", "a b", "x" * 65, ".x", "a\n"])
async def test_a_name_that_would_be_ambiguous_is_refused(shop: Shop, name: str) -> None:
    with pytest.raises(Invalid, match="1 to 64 letters, digits, dots, dashes and underscores"):
        await shop.registry.create_set(name)


@pytest.mark.parametrize("name", ["mine", "smollm2-135m-instruct"])
async def test_a_name_is_given_once(shop: Shop, name: str) -> None:
    if name == "mine":
        await shop.registry.create_set(name)
    with pytest.raises(Conflict, match=f"there is a model set named {name}; choose another"):
        await shop.registry.create_set(name)


async def test_versions_count_from_1_and_no_number_is_given_twice(shop: Shop) -> None:
    first, second = await shop.add("mine"), await shop.add("mine")
    assert (first.name, second.name) == ("mine:1", "mine:2")
    await shop.registry.delete(second.id)
    assert (await shop.add("mine")).name == "mine:3"


async def test_a_version_is_found_by_everything_that_names_it(shop: Shop) -> None:
    old, new = await shop.add("mine"), await shop.add("mine")
    await shop.add("mine", state="Fail")
    await shop.registry.set_label("mine", "production", old.id)
    old = await shop.registry.version(old.id)
    assert old.labels == ("production",)
    assert old.facts.chat_template == "{{ x }}"
    for reference in (old.id, old.number, str(old.number), "mine:1", f"{old.set_id}:1"):
        assert await shop.registry.find(reference) == old
    assert await shop.registry.find("mine@production") == old
    for reference in ("mine", old.set_id):
        assert await shop.registry.find(reference) == new


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("amv-none", "there is no model version 'amv-none'"),
        (987654, "there is no model version 987654"),
        ("9" * 40, "there is no model version 9"),
        ("nobody", "there is no model set 'nobody'"),
        ("mine:7", "mine has no version '7'"),
        ("mine:x", "mine has no version 'x'"),
        ("mine@canary", "mine has no label 'canary'; there are: production"),
        ("empty", "empty has no version that is ready"),
        ("empty@a", "empty has no label 'a'; there are: none"),
    ],
)
async def test_what_is_not_there_is_told(shop: Shop, reference: str | int, message: str) -> None:
    version = await shop.add("mine")
    await shop.registry.set_label("mine", "production", version.id)
    await shop.registry.create_set("empty")
    with pytest.raises(NotFound, match=message):
        await shop.registry.find(reference)


async def test_a_label_moves_and_goes(shop: Shop) -> None:
    first, second = await shop.add("mine"), await shop.add("mine")
    await shop.registry.set_label("mine", "production", first.id)
    await shop.registry.set_label("mine", "production", "mine:2")
    assert await shop.registry.labels("mine") == {"production": second.id}
    await shop.registry.remove_label("mine", "production")
    assert await shop.registry.labels("mine") == {}
    with pytest.raises(NotFound, match="mine has no label 'production'"):
        await shop.registry.remove_label("mine", "production")


async def test_a_label_points_to_a_ready_version_of_its_own_set(shop: Shop) -> None:
    mine, other = await shop.add("mine"), await shop.add("other")
    failed = await shop.add("mine", state="Fail")
    with pytest.raises(Invalid, match="other:1 is no version of mine"):
        await shop.registry.set_label("mine", "production", other.id)
    with pytest.raises(Conflict, match="mine:2 is Fail; label it when it is Ready"):
        await shop.registry.set_label("mine", "production", failed.id)
    with pytest.raises(Invalid, match="a label has 1 to 64 of a-z"):
        await shop.registry.set_label("mine", "In Production", mine.id)


async def test_pages_follow_one_another_from_both_ends(shop: Shop) -> None:
    for name in ("a", "b", "c"):
        await shop.registry.create_set(name)
    first, follows = await shop.registry.sets("UserCreate", Page(size=2))
    assert [line.set.name for line in first] == ["a", "b"]
    rest, end = await shop.registry.sets("UserCreate", Page(follows, 2))
    assert ([line.set.name for line in rest], end) == (["c"], None)
    newest, _ = await shop.registry.sets("UserCreate", Page(size=2, newest_first=True))
    assert [line.set.name for line in newest] == ["c", "b"]
    with pytest.raises(NotFound, match="marker: there is no model set 'am-no'"):
        await shop.registry.sets("UserCreate", Page("am-no"))


async def test_a_list_of_sets_shows_their_versions_newest_first(shop: Shop) -> None:
    ids = [(await shop.add("mine")).id for _ in range(3)]
    await shop.registry.create_set("empty")
    lines, _ = await shop.registry.sets("UserCreate", Page())
    assert [list(line.ids) for line in lines] == [ids[::-1], []]
    assert lines[0].names == ["mine:3", "mine:2", "mine:1"]
    numbered, _ = await shop.registry.numbered_sets("UserCreate", name="mine")
    assert [version.id for version in numbered[0].versions] == ids[::-1]
    assert [line.version_count for line in lines] == [3, 0]


async def test_numbered_pages_filter_order_and_count(shop: Shop) -> None:
    for name in ("Alpha", "beta_1", "alphabet"):
        await shop.registry.create_set(name, "Text2Image" if name == "beta_1" else "Text2Text")

    async def names(**wanted: Any) -> tuple[list[str], int]:
        lines, total = await shop.registry.numbered_sets("UserCreate", **wanted)
        return [line.set.name for line in lines], total

    assert await names() == (["alphabet", "beta_1", "Alpha"], 3)
    assert await names(name="ALPHA") == (["alphabet", "Alpha"], 2)
    assert await names(name="_") == (["beta_1"], 1)
    assert await names(types=["Text2Image"]) == (["beta_1"], 1)
    assert await names(order="name", descending=False) == (["Alpha", "alphabet", "beta_1"], 3)
    assert await names(page=2, page_size=2) == (["Alpha"], 3)
    assert await names(page=9) == ([], 3)


async def test_versions_of_a_set_page_and_filter_by_state(shop: Shop) -> None:
    first, failed = await shop.add("mine"), await shop.add("mine", state="Fail")
    versions, follows = await shop.registry.versions("mine", Page(size=1))
    assert ([version.id for version in versions], follows) == ([first.id], failed.id)
    versions, _ = await shop.registry.versions("mine", Page(newest_first=True), state="Fail")
    assert [version.id for version in versions] == [failed.id]


async def test_content_that_two_versions_share_is_kept_once_and_goes_with_the_last(
    shop: Shop,
) -> None:
    first = await shop.add("mine", {"m.gguf": b"GGUF1", "config.json": b"{}"})
    second = await shop.add("mine", {"m.gguf": b"GGUF2", "config.json": b"{}"})
    assert shop.blobs() == {b"GGUF1", b"GGUF2", b"{}"}
    await shop.registry.delete(first.id)
    assert shop.blobs() == {b"GGUF2", b"{}"}
    assert shop.files.get(first.id) is None
    assert shop.files.get(second.id) is not None
    await shop.registry.delete(second.id)
    assert shop.blobs() == set()
    async with shop.database.read() as connection:
        assert (await connection.execute(sa.select(GARBAGE))).all() == []


async def test_content_waits_while_something_is_fetched_and_goes_the_next_time(shop: Shop) -> None:
    version = await shop.add("mine", {"m.gguf": b"GGUF1"})
    with try_lock(shop.files.store_lock_file(), shared=True) as fetching:
        assert fetching
        await shop.registry.delete(version.id)
        assert shop.blobs() == {b"GGUF1"}
    await shop.registry.start()
    assert shop.blobs() == set()


async def test_content_that_came_back_meanwhile_stays(shop: Shop) -> None:
    version = await shop.add("mine", {"m.gguf": b"GGUF1"})
    with try_lock(shop.files.store_lock_file(), shared=True):
        await shop.registry.delete(version.id)
    again = await shop.add("mine", {"m.gguf": b"GGUF1"})
    await shop.registry.sweep()
    assert shop.blobs() == {b"GGUF1"}
    assert shop.files.damaged(shop.files.get(again.id) or pytest.fail("gone")) == ()


async def test_what_the_catalogue_promises_keeps_no_content(shop: Shop) -> None:
    preset = await shop.registry.find("smollm2-135m-instruct")
    version = await shop.add("mine", {"m.gguf": b"GGUF1"})
    async with shop.registry.store.write() as connection:
        await shop.registry.store.set_files(
            connection, preset.number, [File("same.gguf", version.files[0].sha256, 5)]
        )
    await shop.registry.delete(version.id)
    assert shop.blobs() == set()


async def test_content_of_a_pulled_model_outlives_the_version_that_shares_it(shop: Shop) -> None:
    version = await shop.add("mine", {"m.gguf": b"GGUF1"})
    shop.keep("pulled", {"m.gguf": b"GGUF1"})
    assert [model.name for model in shop.files.list()] == ["pulled"]
    await shop.registry.delete(version.id)
    assert shop.blobs() == {b"GGUF1"}


async def test_collecting_for_a_pulled_model_leaves_versions_alone(shop: Shop) -> None:
    await shop.add("mine", {"m.gguf": b"GGUF1"})
    shop.keep("pulled", {"m.gguf": b"GGUF2"})
    assert shop.files.remove("pulled")
    assert shop.blobs() == {b"GGUF1"}


async def test_a_version_in_use_is_not_deleted(shop: Shop) -> None:
    version = await shop.add("mine")
    shop.used[version.id] = "the service bot (svco-1) runs it"
    for delete in (shop.registry.delete(version.id), shop.registry.delete_set("mine")):
        with pytest.raises(Conflict, match=r"mine:1 is in use: the service bot .*; stop or"):
            await delete
    assert await shop.registry.find("mine:1") == version


async def test_what_is_being_made_is_not_deleted(shop: Shop) -> None:
    version = await shop.add("mine", state="Creating")
    with pytest.raises(Conflict, match=r"mine:1 is being made by the job .*; cancel that first"):
        await shop.registry.delete(version.id)


async def test_the_platforms_models_stay(shop: Shop) -> None:
    with pytest.raises(Conflict, match="echo:1 belongs to the platform and stays"):
        await shop.registry.delete("echo:1")
    with pytest.raises(Conflict, match="echo belongs to the platform and stays"):
        await shop.registry.delete_set("echo")
    with pytest.raises(Conflict, match="echo:1 belongs to the platform and stays as it is"):
        await shop.registry.describe((await shop.registry.find("echo")).id, "x")


async def test_a_set_goes_with_its_versions(shop: Shop) -> None:
    for _ in range(3):
        await shop.add("mine")
    await shop.registry.delete_set("mine")
    with pytest.raises(NotFound):
        await shop.registry.set("mine")
    assert shop.blobs() == set()
    async with shop.database.read() as connection:
        rows = await connection.execute(sa.select(SETS).where(SETS.c.source == "UserCreate"))
        assert rows.all() == []


async def test_only_the_description_of_a_version_changes(shop: Shop) -> None:
    version = await shop.add("mine")
    changed = await shop.registry.describe(version.id, "better")
    assert changed.description == "better"
    assert changed.files == version.files


async def test_a_plan_names_the_file_in_the_store_and_takes_options(shop: Shop) -> None:
    version = await shop.add("mine", {"m.gguf": b"GGUF"})
    plan = await shop.registry.plan(version.id, {"slots": 3, "max_inputs": 7}, name="bot")
    assert (plan.name, plan.engine, plan.spec.slots) == ("bot", "llama_cpp", 3)
    assert plan.limits.max_inputs == 7
    stored = shop.files.get(version.id)
    assert stored is not None
    assert plan.spec.path == str(stored.path)
    assert (await shop.registry.plan(version.id)).name == "mine:1"


async def test_a_chat_conf_is_the_template_unless_prompts_are_not_to_be_joined(shop: Shop) -> None:
    conf = {"latestQuestionTemplate": "Q: {question}"}
    joined = await shop.add("joined", origin={"chatConf": conf})
    plan = await shop.registry.plan(joined.id)
    assert "Q: " in plan.spec.options["chat_template"]
    own = await shop.add("own", origin={"chatConf": conf, "autoPromptConcat": False})
    assert "chat_template" not in (await shop.registry.plan(own.id)).spec.options


async def test_a_plan_of_echo_needs_no_file(shop: Shop) -> None:
    version = await shop.registry.find("echo")
    plan = await shop.registry.plan(version.id, {"slots": 2, "delay_seconds": 0.5})
    assert (plan.engine, plan.spec.slots) == ("echo", 2)
    assert plan.spec.options == {"delay_seconds": 0.5}
    assert plan.memory_bytes > 0


async def test_a_plan_of_what_cannot_run_says_why(shop: Shop) -> None:
    failed = await shop.add("mine", state="Fail")
    with pytest.raises(Conflict, match="mine:1 is Fail and cannot be run"):
        await shop.registry.plan(failed.id)
    version = await shop.add("mine")
    with pytest.raises(ConfigurationError, match="slots"):
        await shop.registry.plan(version.id, {"slots": "many"})
    shop.files.forget(version.id)
    with pytest.raises(Conflict, match=r"the files of mine:2 are gone .* import it again"):
        await shop.registry.plan(version.id)


async def test_children_tell_what_was_made_from_a_version(shop: Shop) -> None:
    parent = await shop.add("mine")
    child = await shop.add("mine", {"m.gguf": b"GGUF4"}, parent_id=parent.id)
    found = await shop.registry.store.children(parent.id, 10)
    assert [version.id for version in found] == [child.id]


async def beside(shop: Shop, folder: Path) -> tuple[Version, Version]:
    """A base in Hugging Face's form, and an adapter for it, as finished imports leave them."""
    content = {path.name: path.read_bytes() for path in llama_folder(folder).iterdir()}
    base = await shop.add("base", content)
    adapter = await shop.add(
        "tuned", {"adapter.gguf": b"GGUF", "adapter_config.json": b"{}"}, parent_id=base.id
    )
    made: list[Version] = []
    for version, form in ((base, "safetensors"), (adapter, "adapter")):
        async with shop.registry.store.write() as connection:
            await shop.registry.store.change_version(connection, version.number, format=form)
        stored = shop.files.get(version.id)
        assert stored is not None
        shop.files.publish(msgspec.structs.replace(stored.manifest, format=form))
        made.append(await shop.registry.version(version.id))
    return made[0], made[1]


async def test_an_adapter_is_planned_as_its_base_under_llama_cpp(
    shop: Shop, tmp_path: Path
) -> None:
    base, adapter = await beside(shop, tmp_path / "made")
    plan = await shop.registry.plan(adapter.id, {"slots": 2})
    stored = shop.files.get(adapter.id)
    assert stored is not None
    assert (plan.engine, plan.spec.slots) == ("llama_cpp", 2)
    assert str(plan.spec.path).endswith("1.gguf")  # the base, converted
    assert dict(plan.spec.adapters) == {adapter.id: str(stored.folder / "adapter.gguf")}
    other = await shop.registry.plan(base.id, {"engine": "llama_cpp", "slots": 2})
    assert other.spec.path == plan.spec.path


async def test_an_adapter_that_llama_cpp_cannot_apply_says_what_can(
    shop: Shop, tmp_path: Path
) -> None:
    _, adapter = await beside(shop, tmp_path / "made")
    stored = shop.files.get(adapter.id)
    assert stored is not None
    (stored.folder / "adapter.gguf").unlink()
    with pytest.raises(ConfigurationError, match="engine vllm, or publish it merged"):
        await shop.registry.plan(adapter.id)


async def test_the_base_of_an_adapter_stays(shop: Shop, tmp_path: Path) -> None:
    base, adapter = await beside(shop, tmp_path / "made")
    with pytest.raises(Conflict, match=f"{adapter.id} is an adapter for it"):
        await shop.registry.delete(base.id)
    await shop.registry.delete(adapter.id)
    making = await shop.add("more", state="Creating", parent_id=base.id)
    with pytest.raises(Conflict, match=f"{making.id} is being made of it"):
        await shop.registry.delete_set("base")
    async with shop.registry.store.write() as connection:
        await shop.registry.store.change_version(connection, making.number, state="Fail")
    await shop.registry.delete(base.id)
