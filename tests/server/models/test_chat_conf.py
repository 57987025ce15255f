"""chatConf becomes a chat template of ours, rendered by the sandbox that models' own templates have."""

from __future__ import annotations

from typing import Any

import pytest
from jinja2.sandbox import ImmutableSandboxedEnvironment

from yangfan.errors import Invalid
from yangfan.server.models.chat_conf import check, template_of

CONF = {
    "historyQATemplate": "\n\nUser: {question} \nAssistant: {answer}\n",
    "latestQuestionTemplate": "\n\nUser: {question} \nAssistant:",
    "promptTemplate": "Be kind.{input}!",
}
TALK = [
    {"role": "system", "content": "You are a duck."},
    {"role": "user", "content": "hi"},
    {"role": "assistant", "content": "quack"},
    {"role": "user", "content": "why?"},
]


def rendered(conf: dict[str, str], messages: list[dict[str, str]] = TALK, **more: Any) -> str:
    check(conf)
    template = template_of(conf)
    assert template is not None
    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(template).render(messages=messages, **more)


def test_history_and_question_stand_where_the_conf_says():
    assert rendered(CONF) == (
        "Be kind.You are a duck.\n\n\nUser: hi \nAssistant: quack\n\n\nUser: why? \nAssistant:!"
    )
    assert rendered(CONF, TALK[-1:], bos_token="<s>").startswith("<s>Be kind.\n\nUser: why?")


def test_without_a_history_template_the_latest_ones_words_are_used():
    conf = {"latestQuestionTemplate": "Q: {question} A: "}
    assert rendered(conf, TALK[1:]) == "Q: hi A: quackQ: why? A: "


def test_texts_are_literals_whatever_they_hold():
    text = "{{ 7 * 7 }}{% for x in y %}'\"\\ {question} #}}"
    conf = {"latestQuestionTemplate": text}
    said = [{"role": "user", "content": "{{ 6 * 6 }}"}]
    assert rendered(conf, said) == text.replace("{question}", "{{ 6 * 6 }}")


@pytest.mark.parametrize("conf", [None, {}, {"promptTemplate": "{input}"}])
def test_what_describes_no_prompt_leaves_the_models_own(conf: dict[str, object] | None):
    assert template_of(conf) is None


@pytest.mark.parametrize(
    ("conf", "words"),
    [
        ({"latestQuestionTemplate": "hi"}, "must hold {question} once"),
        ({"latestQuestionTemplate": "{question}{question}"}, "must hold {question} once"),
        ({**CONF, "historyQATemplate": "{question}"}, "must hold {answer} once"),
        ({**CONF, "promptTemplate": "x"}, "must hold {input} once"),
        ({"historyQATemplate": "{question}{answer}"}, "needs latestQuestionTemplate"),
        ({"latestQuestionTemplate": "\x1b{question}"}, "control characters"),
    ],
)
def test_a_conf_that_cannot_be_a_prompt_is_refused(conf: dict[str, str], words: str):
    with pytest.raises(Invalid, match=words) as caught:
        check(conf)
    assert (caught.value.param or "").startswith("importMeta.chatConf.")
