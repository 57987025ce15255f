"""The console's way of describing a prompt (chatConf, specification D.2), as the chat template that engines render.

Its three texts are data. They become literals of a template that is ours, which runs where models' own templates run: rendered by
the engine, within its limits.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from yangfan.errors import Invalid

if TYPE_CHECKING:
    from collections.abc import Mapping

HISTORY = "historyQATemplate"
LATEST = "latestQuestionTemplate"
PROMPT = "promptTemplate"

_TEMPLATE = """\
{{%- set ns = namespace(text='', question='') -%}}
{{%- for message in messages -%}}
{{%- if message.role == 'system' -%}}
{{%- set ns.text = ns.text + message.content + '\\n' -%}}
{{%- elif message.role == 'user' -%}}
{{%- set ns.question = message.content -%}}
{{%- elif message.role == 'assistant' -%}}
{{%- set ns.text = ns.text + {history} -%}}
{{%- endif -%}}
{{%- endfor -%}}
{{{{- (bos_token if bos_token else '') + {before} + ns.text + {latest} + {after} -}}}}"""


def template_of(conf: Mapping[str, object] | None) -> str | None:
    """The chat template of a chatConf that `check` accepts; None where it describes no prompt."""
    if not conf or not conf.get(LATEST):
        return None
    latest, history = str(conf[LATEST]), str(conf.get(HISTORY) or conf[LATEST])
    if not conf.get(HISTORY):
        history += "{answer}"
    before, _, after = str(conf.get(PROMPT) or "{input}").partition("{input}")
    places = {"question": "ns.question", "answer": "message.content"}
    return _TEMPLATE.format(
        history=_joined(history, places),
        latest=_joined(latest, places),
        before=_literal(before),
        after=_literal(after),
    )


def check(conf: Mapping[str, object]) -> None:
    """Refuse what describes no prompt.

    Raises:
        Invalid: A place that must be filled in is missing, or there is a character that no prompt has.
    """
    wanted = {HISTORY: ("{question}", "{answer}"), LATEST: ("{question}",), PROMPT: ("{input}",)}
    for name, places in wanted.items():
        text = str(conf.get(name) or "")
        for place in places:
            if text and text.count(place) != 1:
                raise Invalid(
                    f"{name} must hold {place} once, where that text goes, such as '{_EXAMPLES[name]}'",
                    param=f"importMeta.chatConf.{name}",
                )
        if any(character < " " and character not in "\n\t" for character in text):
            raise Invalid(
                f"{name} holds control characters other than line ends and tabs; remove them",
                param=f"importMeta.chatConf.{name}",
            )
    if conf.get(HISTORY) and not conf.get(LATEST):
        raise Invalid(
            f"{HISTORY} needs {LATEST} beside it: how the question is put that is to be answered",
            param=f"importMeta.chatConf.{LATEST}",
        )


_EXAMPLES = {
    HISTORY: "User: {question} Assistant: {answer}",
    LATEST: "User: {question} Assistant:",
    PROMPT: "{input}",
}


def _joined(text: str, places: Mapping[str, str]) -> str:
    """A template's expression for a text with places in braces."""
    parts = re.split(r"\{(question|answer)\}", text)
    return " + ".join(
        places[part] if index % 2 else _literal(part) for index, part in enumerate(parts)
    )


def _literal(text: str) -> str:
    """A text as a template writes it: JSON's way, with no character that could end a template's tag."""
    return json.dumps(text, ensure_ascii=False)
