"""Plugin applications as the platform thinks of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from yangfan.engines.base import ChatRequest, Message, Sampling
    from yangfan.server.http import Meter
    from yangfan.server.services import Target


@dataclass(frozen=True, slots=True)
class Application:
    """A plugin application.

    Attributes:
        name: What stands in the path of its calls.
        app_id: The application that it belongs to.
        plugins: Those that it may use.
        model: The chat service that writes its answers; the first one that is served if "".
        prompt: What the model is told; one of ours if "".
        base_ids: Knowledge bases to answer from.
    """

    name: str
    app_id: str
    plugins: tuple[str, ...]
    model: str
    prompt: str
    base_ids: tuple[str, ...]
    created_ms: int


@dataclass(frozen=True, slots=True)
class Asking:
    """A question to a plugin application.

    Attributes:
        application: Which one.
        question: In words.
        file: Address of a file that came with it; "" if none did.
        history: What was said before.
        variables: Values of the prompt's own variables.
        sampling: How answers are written.
        target: Who writes them.
        meter: Limits and usage of the call, over all its steps.
    """

    application: Application
    question: str
    file: str
    history: tuple[Message, ...]
    variables: Mapping[str, str]
    sampling: Sampling
    target: Target
    meter: Meter


@dataclass(frozen=True, slots=True)
class Prepared:
    """What a plugin made of a question.

    Attributes:
        request: What the model is to be asked; None if the plugin answers itself.
        result: That answer.
        sources: Texts that an answer may rest on.
        meta: What the plugin was asked and answered, as `meta_info` shows it.
        target: Who is to be asked, where that is not the application's own model.
    """

    request: ChatRequest | None
    result: str = ""
    sources: tuple[str, ...] = ()
    meta: Mapping[str, Any] = field(default_factory=dict[str, Any])
    target: Target | None = None
