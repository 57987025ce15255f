"""Which passages of a document a model is told."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

import pytest

from yangfan.errors import FetchError, InvalidPluginArgument
from yangfan.plugins.base import Fetched
from yangfan.plugins.chat_file.plugin import MAX_FILE_BYTES, call


class FakeHost:
    """As much of a host as the plugin asks for."""

    prompt = ""
    file_name = ""

    def __init__(
        self, room_tokens: float = 8000, fetched: Fetched | Exception | None = None
    ) -> None:
        self.room_tokens, self._fetched = room_tokens, fetched
        self.variables = dict[str, str]()

    def kept(self, make: Callable[[], Any]) -> Any:
        return make()

    async def fetch(self, url: str, *, max_bytes: int, timeout_seconds: float) -> Fetched:
        assert max_bytes == MAX_FILE_BYTES
        assert timeout_seconds
        if isinstance(self._fetched, Exception):
            raise self._fetched
        assert self._fetched is not None
        return self._fetched


def text_of(document: str) -> str:
    return "data:text/markdown;name=a.md;base64," + base64.b64encode(document.encode()).decode()


async def asked(host: Any, question: str, address: str) -> Any:
    return await call({"query": question, "fileurl": address}, host)


async def test_a_short_document_is_told_whole() -> None:
    outcome = await asked(
        FakeHost(), "Sum this up.", text_of("# One\n\nFirst.\n\n# Two\n\nSecond.")
    )
    assert outcome.sources == ("One\nFirst.", "Two\nSecond.")
    assert "[2] Two\nSecond." in outcome.prompt
    assert outcome.response["chunks"] == 2


async def test_of_a_long_one_the_passages_that_the_question_is_about_or_its_beginning() -> None:
    sections = [
        f"# Section {number}\n\n" + f"Plain words about thing{number}. " * 30
        for number in range(40)
    ]
    address = text_of("\n\n".join(sections))
    outcome = await asked(FakeHost(300), "What about thing17?", address)
    assert {each["headings"] for each in outcome.response["passages"]} == {"Section 17"}
    outcome = await asked(FakeHost(1200), "请总结", address)
    assert outcome.response["passages"][0]["headings"] == "Section 0"
    assert outcome.response["chunks"] > len(outcome.response["passages"]) > 0


async def test_what_it_is_called_and_what_it_is() -> None:
    page = Fetched(200, {"content-type": "text/html; charset=utf-8"}, b"<h1>Hi</h1><p>There.", "")
    outcome = await asked(FakeHost(fetched=page), "x", "https://a.example/p%20q?v=1")
    assert outcome.request["fileName"] == "p q.html"
    assert "There." in outcome.prompt


@pytest.mark.parametrize(
    ("host", "address", "text"),
    [
        (FakeHost(fetched=Fetched(404, {}, b"", "")), "https://a.example/a.md", "status 404"),
        (FakeHost(fetched=FetchError("a.example: refused")), "https://a.example/a.md", "refused"),
        (FakeHost(), "ftp://a.example/a.md", "https URL or a data URI"),
        (FakeHost(), "data:text/plain,abc", "data:application/pdf;base64"),
        (FakeHost(), "data:text/plain;base64,abc", "base64 of fileurl is broken"),
        (FakeHost(), "data:text/plain;base64," + "A" * 15_000_000, "larger than 10485760"),
        (FakeHost(), text_of("  "), "no text"),
        (FakeHost(), "", "needs a document"),
    ],
)
async def test_what_is_refused(host: Any, address: str, text: str) -> None:
    with pytest.raises(InvalidPluginArgument, match=text):
        await asked(host, "x", address)
