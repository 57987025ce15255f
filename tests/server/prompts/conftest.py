"""A server, and calls to its prompt templates in both dialects."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import pytest
from tests.conftest import serving
from tests.server.conftest import Caller, Reply


class Templates:
    """Calls about prompt templates."""

    def __init__(self, caller: Caller) -> None:
        self.caller = caller

    def act(self, action: str, body: dict[str, Any]) -> Reply:
        """One Action of v2."""
        of_labels = "PromptLabel" in action
        path = f"/v2/prompt{'Labels' if of_labels else 'Templates'}?Action={action}"
        return self.caller.ask("POST", path, body, self.caller.signed("POST", path))

    def result(self, action: str, **body: Any) -> Any:
        """The result of an Action that must succeed."""
        reply = self.act(action, body)
        assert reply.status == 200, reply.body
        return reply.json["result"]

    def v1(self, path: str, **body: Any) -> Any:
        """The answer of one v1 call."""
        path = f"/wenxinworkshop/prompt/{path}"
        reply = self.caller.ask("POST", path, body, self.caller.signed("POST", path))
        assert reply.status == 200, reply.body
        return reply.json

    def create(self, name: str, text: str, **more: Any) -> str:
        """Make a template; its id."""
        made = self.result("CreatePromptTemplate", templateName=name, templateContent=text, **more)
        assert made["version"] == 1
        return made["templateId"]

    def show(self, reference: str | int, **variables: Any) -> Any:
        """A template, rendered."""
        return self.result("DescribePromptTemplate", templateId=reference, **variables)


@pytest.fixture(scope="module")
def templates(tmp_path_factory: pytest.TempPathFactory) -> Generator[Templates]:
    with serving(tmp_path_factory.mktemp("prompts")) as server:
        yield Templates(Caller(server))
