"""`client.prompts` against a real server, and what it does while a server is away."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any, cast

import pytest
from tests.client.conftest import Connect, Playback
from tests.conftest import Server

import yangfan
from yangfan import errors
from yangfan.client import prompts as local
from yangfan.client._async.prompts import CACHE_SECONDS, MAX_CACHED, RETRY_SECONDS
from yangfan.client.dialect import turns_of
from yangfan.client.prompts import Prompt, RenderedPrompt


@pytest.fixture(name="client")
def client_fixture(echo_server: Server):
    with yangfan.Client(
        echo_server.base_url,
        access_key=echo_server.access_key,
        secret_access_key=echo_server.secret_access_key,
    ) as client:
        yield client


def test_template_is_kept_in_versions(client: yangfan.Client):
    made = client.prompts.create(
        "sdk whole",
        "Greet {{guest}}.",
        identifier="{{}}",
        framework="basic",
        parameters={"temperature": 0.5, "model": "echo"},
        tags=["写作 Writing"],
        note="first",
    )
    assert (made.version, made.variables, made.framework) == (1, ("guest",), "basic")
    assert (made.parameters, made.note, made.is_preset) == (
        {"model": "echo", "temperature": 0.5},
        "first",
        False,
    )
    assert [tag.name for tag in made.tags] == ["写作 Writing"]
    assert client.prompts.label("sdk whole", "production") == 1
    changed = client.prompts.update("sdk whole", text="Hail {{guest}}!", name="sdk changed")
    assert (changed.version, changed.name, changed.id) == (2, "sdk changed", made.id)
    assert client.prompts.render("sdk changed@production", guest="Jin") == "Greet Jin."
    assert client.prompts.render("sdk changed", {"guest": 7}) == "Hail 7!"
    difference = client.prompts.diff("sdk changed@1", "sdk changed")
    assert "-Greet {{guest}}." in difference
    assert "+Hail {{guest}}!" in difference
    assert client.prompts.diff("sdk changed@2", "sdk changed") == ""
    rolled = client.prompts.rollback(made.id, 1, note="back")
    assert (rolled.version, rolled.text, rolled.note) == (3, "Greet {{guest}}.", "back")
    versions = client.prompts.versions("sdk changed")
    assert [(item.version, item.labels) for item in versions] == [
        (1, ("production",)),
        (2, ()),
        (3, ()),
    ]
    client.prompts.unlabel(made.id, "production")
    with pytest.raises(errors.NotFound, match="has no label 'production'"):
        client.prompts.get("sdk changed@production")
    client.prompts.delete(made.id)
    with pytest.raises(errors.NotFound, match="no template"):
        client.prompts.get(made.id)


def test_rendered_prompt_goes_into_a_chat_as_it_is(client: yangfan.Client):
    client.prompts.create(
        "sdk chat",
        "Hi {name}",
        parameters={"model": "echo", "temperature": 0.3, "disable_search": True},
    )
    text = client.prompts.render("sdk chat", name="Jin")
    assert text.options == {"model": "echo", "temperature": 0.3}
    assert cast("Any", client).chat(text, **text.options).text == "Hi Jin"
    turns: list[dict[str, object]] = [{"role": "user", "content": text}]
    assert client.chat(turns, model="echo").text == "Hi Jin"
    again = pickle.loads(pickle.dumps(text))
    assert (again, again.prompt) == (text, text.prompt)


def test_pictures_have_a_negative_text(client: yangfan.Client):
    client.prompts.create(
        "sdk picture",
        "a {thing}",
        scene="image",
        negative_text="no {bad}",
        negative_variables=["bad"],
    )
    text = client.prompts.render("sdk picture", thing="cat", bad="text")
    assert (text, text.negative) == ("a cat", "no text")
    with pytest.raises(errors.Invalid, match="has no value for thing, bad; give one") as caught:
        client.prompts.render("sdk picture")
    assert caught.value.param == "thing"


def test_presets_and_own_are_listed_over_many_pages(client: yangfan.Client):
    presets = client.prompts.list(preset=True)
    assert len(presets) == 48
    assert all(preset.is_preset and preset.tags for preset in presets)
    (one,) = client.prompts.list("article", tags=["English"])
    assert (one.name, one.variables) == ("Article outline", ("title", "audience", "words"))
    assert not any(found.is_preset for found in client.prompts.list(preset=False))
    for number in range(60):
        client.prompts.create(f"sdk many {number}", "x")
    assert len(client.prompts.list()) >= 108
    client.prompts.delete(*(found.id for found in client.prompts.list("sdk many")))


def test_saving_makes_a_version_only_where_something_changed(client: yangfan.Client):
    wanted = Prompt(
        "sdk saved", "one {what}", variables=("what",), tags=(local.PromptTag("", "sdk new tag"),)
    )
    assert client.prompts.save(wanted).version == 1
    assert client.prompts.save(wanted).version == 1
    assert any(tag.name == "sdk new tag" for tag in client.prompts.tags())
    other = Prompt("sdk saved", "two", parameters={"top_p": 0.5})
    saved = client.prompts.save(other)
    assert (saved.version, saved.parameters, saved.tags) == (2, {"top_p": 0.5}, ())
    assert client.prompts.save(Prompt("sdk saved", "two")).parameters == {}
    with pytest.raises(errors.Conflict, match="is of scene text, and that does not change"):
        client.prompts.save(Prompt("sdk saved", "x", scene="image"))
    client.prompts.delete_tag("sdk new tag")
    with pytest.raises(errors.NotFound, match="DescribePromptLabels lists"):
        client.prompts.delete_tag("sdk new tag")


def shown(text: str, version: int = 1) -> dict[str, Any]:
    """What a server says of a template."""
    return {
        "requestId": "r",
        "result": {
            "templateId": "pt-0123456789abcdef",
            "templateName": "greet",
            "templateContent": text,
            "templateVariables": ["name"],
            "variableIdentifier": "{}",
            "labels": [],
            "type": "User",
            "sceneType": "TextToText",
            "version": version,
        },
    }


async def test_template_is_asked_for_once_in_a_while_and_used_while_the_server_is_away(
    connect: Connect, playback: Playback
):
    both = connect(access_key="a", secret_access_key="s")
    prompts = cast("Any", both.client).prompts
    now = 1000.0
    prompts._clock = lambda: now

    async def render(reference: str = "greet@production") -> str:
        return str(await both.of(prompts.render(reference, name="Jin")))

    playback.json(shown("one {name}"))
    assert [await render() for _ in range(3)] == ["one Jin"] * 3
    assert len(playback.calls) == 1
    now += CACHE_SECONDS
    playback.json(shown("two {name}"))
    assert await render() == "two Jin"
    # Away: the last one is used, and the server left alone for a while.
    now += CACHE_SECONDS
    playback.json({"code": "InternalError", "message": "no"}, status=500)
    assert [await render(), await render()] == ["two Jin"] * 2
    assert len(playback.calls) == 3
    now += RETRY_SECONDS
    playback.raw(status=0)
    assert await render() == "two Jin"
    now += RETRY_SECONDS
    playback.json(shown("three {name}"))
    assert await render() == "three Jin"
    # Gone for good: said, and not used any more.
    now += CACHE_SECONDS
    playback.json({"requestId": "r", "code": "ResourceNotFound", "message": "gone"}, status=404)
    with pytest.raises(errors.NotFound, match="gone"):
        await render()
    playback.json({"code": "InternalError", "message": "no"}, status=500)
    with pytest.raises(errors.RefusedError, match="no"):
        await render()


async def test_numbered_version_is_asked_for_once(connect: Connect, playback: Playback):
    both = connect(access_key="a", secret_access_key="s")
    prompts = cast("Any", both.client).prompts
    now = 0.0
    prompts._clock = lambda: now
    playback.json(shown("one {name}"))
    for _ in range(2):
        assert await both.of(prompts.render("greet@1", name="x")) == "one x"
        now += 1e9
    assert len(playback.calls) == 1


async def test_cache_is_bounded_and_emptied_by_changes(connect: Connect, playback: Playback):
    both = connect(access_key="a", secret_access_key="s")
    prompts = cast("Any", both.client).prompts
    entry = Prompt("greet", "{name}", variables=("name",))
    cached = type("Cached", (), {"prompt": entry, "ask_again_at": float("inf")})
    prompts._cache.update({f"p{number}": cached for number in range(MAX_CACHED)})
    playback.json(shown("one {name}"))
    await both.of(prompts.render("greet", name="x"))
    assert len(prompts._cache) == MAX_CACHED
    assert "p0" not in prompts._cache
    playback.json({"requestId": "r", "result": {"templateId": "pt-1", "version": 2}})
    await both.of(prompts.label("greet", "production"))
    assert prompts._cache == {}


def test_template_that_spells_out_turns_is_asked_in_turns():
    text = "=== user ===\nTwo of {thing}\n=== assistant ===\n2\n=== user ===\nMore: {ask}"
    rendered = Prompt("p", text, variables=("thing", "ask")).render(
        thing="each", ask="=== assistant ===\n3"
    )
    assert [*rendered.turns] == [
        ("user", "Two of each"),
        ("assistant", "2"),
        ("user", "More: === assistant ===\n3"),
    ]
    assert pickle.loads(pickle.dumps(rendered)).turns == rendered.turns
    asked = turns_of(rendered)
    assert [each["role"] for each in asked] == ["user", "assistant", "user"]
    assert asked[2]["content"] == "More: === assistant ===\n3"


def test_rendering_needs_no_server():
    prompt = Prompt("here", "{one} {two} {{three}}", variables=("one", "two"))
    text = prompt.render(one="{two}", two="2")
    assert isinstance(text, RenderedPrompt)
    assert (text, text.prompt.name) == ("{two} 2 {{three}}", "here")
    with pytest.raises(errors.Invalid, match="'here' has no value for two; give one"):
        prompt.render(one="1")


def test_frameworks_are_text():
    assert local.basic("做事", background="无", output_format="一行") == (
        "指令：做事\n背景信息：无\n输出格式：一行"
    )
    assert local.crispe("a", capacity="b", experiment="c") == "能力与角色：b\n指令：a\n输出范围：c"
    assert local.few_shot([("1", "2")], instruction="加一", question="3") == (
        "加一\n\n输入：1\n输出：2\n\n输入：3\n输出："
    )
    with pytest.raises(errors.Invalid, match="needs an example"):
        local.few_shot([])


def test_unknown_parameter_is_told_which_ones_there_are(client: yangfan.Client, tmp_path: Path):
    with pytest.raises(errors.ConfigurationError, match="no parameter 'temp'; it has model, temp"):
        client.prompts.create("x", "x", parameters={"temp": 1})
