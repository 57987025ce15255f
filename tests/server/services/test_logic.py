"""What each name in a call means."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
import pytest
from tests.server.services.conftest import Scripted

from yangfan.errors import ConfigurationError, EngineFailed, ModelNotFound
from yangfan.protocol import presets
from yangfan.protocol.presets import PresetType
from yangfan.server.services import Service, Services
from yangfan.server.services.logic import MAX_REMEMBERED_NAMES
from yangfan.server.services.replica import Replica
from yangfan.server.services.service import ServicePolicy

PRESETS = presets.load()


def kinds(*names: str) -> Scripted:
    """An engine for these kinds of calls."""
    return Scripted(kinds=frozenset(names))  # pyright: ignore[reportArgumentType] - the names of kinds


def service_of(name: str, engine: Scripted | None = None) -> Service:
    replica = Replica(engine or Scripted())  # pyright: ignore[reportArgumentType] - a double of the interface
    return Service(name, replica, ServicePolicy(1.0, 0), created=5)


def services_of(*names: str, mapping: Mapping[str, str] | None = None) -> Services:
    return Services([service_of(name) for name in names], PRESETS, mapping or {})


@pytest.mark.parametrize("name", ["Qwen3-8B", "qwen3-8b", "QWEN3-8B"])
def test_served_model_answers_to_its_name_in_any_case(name: str):
    target = services_of("first", "Qwen3-8B").resolve(name)
    assert (target.service.name, target.asked) == ("Qwen3-8B", name)


@pytest.mark.parametrize(
    "name",
    [
        "ERNIE-Speed-8K",
        "ernie-speed-8k",
        "ernie_speed",
        "ERNIE_SPEED",
        "ERNIE Speed",
        "ERNIE-Bot-turbo",
        "eb-instant",
        "completions_pro",
        "ernie-4.0-turbo-8k-latest",
    ],
)
def test_every_spelling_of_a_preset_is_answered_by_the_first_model(name: str):
    target = services_of("first", "second").resolve(name)
    assert target.service.name == "first"
    assert target.preset is PRESETS.find(name)
    assert target.preset is not None


def test_setting_gives_a_preset_to_another_model_under_all_its_spellings():
    services = services_of("first", "second", mapping={"ERNIE-Speed-8K": "SECOND"})
    for name in ("ernie_speed", "ernie-speed-8k", "ERNIE Speed"):
        assert services.resolve(name).service.name == "second"
    assert services.resolve("ernie-lite-8k").service.name == "first"


def test_served_model_named_as_a_preset_wins_and_keeps_the_presets_rules():
    target = services_of("first", "ernie-speed-8k").resolve("ERNIE-Speed-8K")
    assert target.service.name == "ernie-speed-8k"
    assert target.preset is not None


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("ernie-sped-8k", "did you mean ERNIE-Speed-8K"),
        ("firts", "did you mean first?"),
        ("zzzzzz", "no model 'zzzzzz'. Served here: first, second"),
        ("", "no model ''"),
        ("a" * 500, "no model '" + "a" * 64 + "'"),
    ],
)
def test_unknown_name_is_told_what_exists(name: str, hint: str):
    with pytest.raises(ModelNotFound) as raised:
        services_of("first", "second").resolve(name)
    assert hint in raised.value.message
    assert "Served here: first, second, and every Qianfan chat name such as ernie_speed" in (
        raised.value.message
    )


@pytest.mark.parametrize(
    ("name", "kind"),
    [("bge-large-zh", "embeddings"), ("bce_reranker_base", "reranker"), ("sd_xl", "text2image")],
)
def test_name_of_another_kind_says_so(name: str, kind: str):
    with pytest.raises(ModelNotFound, match=f"is a model for {kind}, not for chat; .*: first"):
        services_of("first").resolve(name)


MIXED = (
    ("talker", kinds("chat")),
    ("embedder", kinds("embeddings")),
    ("all", kinds("chat", "embeddings", "rerank")),
)


@pytest.mark.parametrize(
    ("name", "wanted", "answers"),
    [
        ("ernie_speed", "chat", "talker"),
        ("embedding-v1", "embeddings", "embedder"),
        ("BGE-Large-ZH", "embeddings", "embedder"),
        ("bce_reranker_base", "reranker", "all"),
        ("bce-reranker-base", "reranker", "all"),
        ("all", "chat", "all"),
        ("all", "embeddings", "all"),
        ("embedder", "reranker", "embedder"),
    ],
)
def test_preset_is_answered_by_the_first_model_that_can(
    name: str, wanted: PresetType, answers: str
):
    services = Services([service_of(*pair) for pair in MIXED], PRESETS, {})
    assert services.resolve(name, wanted).service.name == answers


@pytest.mark.parametrize(
    ("name", "wanted", "says"),
    [
        (
            "embedder",
            "chat",
            "'embedder' is a model for embeddings, not for chat; chat is served by: talker, all",
        ),
        (
            "talker",
            "embeddings",
            "'talker' is a model for chat, not for embeddings; embeddings is served by: embedder, all",
        ),
        (
            "ernie_speed",
            "reranker",
            "is a model for chat, not for reranker; reranker is served by: embedder, all",
        ),
        ("embeding-v1", "embeddings", "did you mean embedding-v1"),
    ],
)
def test_asking_a_model_for_what_it_cannot_do_says_what_can(
    name: str, wanted: PresetType, says: str
):
    services = Services([service_of(*pair) for pair in MIXED], PRESETS, {})
    with pytest.raises(ModelNotFound) as raised:
        services.resolve(name, wanted)
    assert says in raised.value.message


@pytest.mark.parametrize("name", ["embedding-v1", "tao-8k"])
def test_preset_that_nothing_can_answer_says_how_to_change_that(name: str):
    with pytest.raises(
        ModelNotFound, match=r"embeddings, and none is served here; start .*--model"
    ):
        services_of("first").resolve(name, "embeddings")


def test_asking_a_model_that_only_chats_for_vectors_where_nothing_has_them():
    with pytest.raises(
        ModelNotFound, match="not for embeddings; embeddings is served by: no model"
    ):
        services_of("first").resolve("first", "embeddings")


def test_list_tells_the_type_of_every_name():
    services = Services([service_of(*pair) for pair in MIXED], PRESETS, {})
    listed = {entry.name: entry for entry in services.names()}
    for name, answers, wanted in [
        ("embedder", "embedder", "embeddings"),
        ("all", "all", "chat"),
        ("embedding-v1", "embedder", "embeddings"),
        ("bce-reranker-base", "all", "reranker"),
    ]:
        assert (listed[name].service.name, listed[name].type) == (answers, wanted)
    for name, entry in listed.items():
        assert services.find(name) == entry
        assert services.resolve(name, entry.type).service is entry.service
    with pytest.raises(ModelNotFound):
        services.find("nothing")


def test_one_answer_for_one_spelling_and_an_end_to_what_is_remembered():
    services = services_of("first")
    assert services.resolve("ernie_speed") is services.resolve("ernie_speed")
    for number in range(MAX_REMEMBERED_NAMES + 10):
        spelling = "".join(
            c.upper() if number >> at & 1 else c for at, c in enumerate("ernie_speed")
        )
        assert services.resolve(spelling).asked == spelling
    assert services.resolve("ernie-lite-8k").service.name == "first"


def test_list_has_served_models_first_and_every_chat_preset_once():
    services = services_of("first", "second", mapping={"ERNIE-Speed-8K": "second"})
    names = services.names()
    assert [(name, service.name) for name, service, _ in names[:2]] == [
        ("first", "first"),
        ("second", "second"),
    ]
    listed = {name: service for name, service, _ in names}
    assert len(listed) == len(names)
    assert listed["ernie-speed-8k"].name == "second"
    assert listed["ernie-4.0-8k"].name == "first"
    assert "bge-large-zh" not in listed
    assert listed["sqlcoder-7b"].name == "first"
    assert all(services.resolve(name, type_).service is service for name, service, type_ in names)


@pytest.mark.parametrize("name", ["sqlcoder_7b", "CodeLlama-7b-Instruct", "ernie_speed", "first"])
def test_whatever_writes_text_can_be_asked_to_go_on_from_one(name: str):
    assert services_of("first").resolve(name, "completions").service.name == "first"


@pytest.mark.parametrize("name", ["sqlcoder_7b", "CodeLlama-7b-Instruct"])
def test_presets_for_completions_do_not_chat(name: str):
    with pytest.raises(ModelNotFound, match="is a model for completions, not for chat"):
        services_of("first").resolve(name)


def test_presets_for_vectors_do_not_write():
    with pytest.raises(ModelNotFound, match="for embeddings, not for completions"):
        services_of("first").resolve("embedding-v1", "completions")


@pytest.mark.parametrize(
    ("names", "mapping", "text"),
    [
        (("a", "A"), {}, "`models` names the same model twice"),
        (("a",), {"ernie-x": "a"}, "'ernie-x', which is no Qianfan model name"),
        (
            ("a",),
            {"bge-large-zh": "a"},
            "gives 'bge-large-zh', a model for embeddings, to 'a', which is for chat",
        ),
        (("a",), {"ernie-4.0-8k": "b"}, "gives 'ernie-4.0-8k' to 'b', which `models` lacks"),
    ],
)
def test_settings_that_contradict_themselves(
    names: tuple[str, ...], mapping: Mapping[str, str], text: str
):
    with pytest.raises(ConfigurationError, match=text):
        services_of(*names, mapping=mapping)


async def test_one_engine_that_does_not_start_stops_the_others():
    good, bad = Scripted(), Scripted(starts=[False])
    services = Services([service_of("good", good), service_of("bad", bad)], PRESETS, {})
    with pytest.raises(EngineFailed, match="no memory left"):
        await services.start()
    assert not good.running
    assert good.starts


# Adapters -----------------------------------------------------------------------------------------


class Adapted(Scripted):
    """An engine with two adapters."""

    def __init__(self) -> None:
        super().__init__()
        adapters = {"poet": "poet.gguf", "cook": "cook.gguf"}
        self.spec = msgspec.structs.replace(self.spec, adapters=adapters)


def with_adapters() -> Services:
    return Services([service_of("Base", Adapted()), service_of("other")], PRESETS, {})


def test_each_adapter_is_a_name_of_its_own_and_presets_stay_with_the_model():
    services = with_adapters()
    listed = {listed.name: listed.service.name for listed in services.names()}
    assert listed["Base:poet"] == "Base:poet"
    assert listed["Base:cook"] == "Base:cook"
    assert listed["ernie-speed-8k"] == "Base"
    target = services.resolve("base:POET")
    assert target.model == "Base:poet"


def test_who_may_call_the_model_may_call_its_adapters_and_not_the_other_way_round():
    services = with_adapters()
    assert {"base", "base:poet"} <= services.resolve("Base:poet").spellings
    assert "base:poet" not in services.resolve("Base").spellings
    assert "base:cook" not in services.resolve("Base:poet").spellings


def test_unknown_adapter_is_told_those_that_exist():
    with pytest.raises(
        ModelNotFound, match=r"no adapter 'painter'; there are: Base:poet, Base:cook"
    ):
        with_adapters().resolve("base:painter")
    with pytest.raises(ModelNotFound, match="it has none"):
        with_adapters().resolve("other:painter")


async def test_adapters_share_their_models_process():
    services = with_adapters()
    base, poet = services.resolve("Base").service, services.resolve("Base:poet").service
    assert poet.replica is base.replica
    await services.start()
    assert base.replica.ready
    await services.stop()
