from __future__ import annotations

import pytest

from yangfan.errors import ConfigurationError
from yangfan.hub.uri import ModelURI, is_uri, parse


@pytest.mark.parametrize(
    ("text", "uri"),
    [
        ("hf:a/b", ModelURI("hf", "a/b")),
        ("hf:a/b@v1#x.gguf", ModelURI("hf", "a/b", "v1", "x.gguf")),
        ("pypi:n==1@sha256:00#d/f", ModelURI("pypi", "n==1", "sha256:00", "d/f")),
        ("file:/a@b/c", ModelURI("file", "/a@b/c")),
        ("https://h/x@1.gguf?a=b#c", ModelURI("https", "//h/x@1.gguf?a=b", None, "c")),
    ],
)
def test_an_address_is_taken_apart_and_put_together_again(text: str, uri: ModelURI) -> None:
    assert parse(text) == uri
    assert str(uri) == text


@pytest.mark.parametrize("text", ["", "x", ":x", "HF:a/b", "hf:", "hf:#x", "h f:a"])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match="write scheme:path#file"):
        parse(text)


def test_a_catalogue_name_is_no_address() -> None:
    assert not is_uri("qwen3-0.6b")
    assert is_uri("hf:a/b")


@pytest.mark.parametrize(
    ("choice", "path", "stored"),
    [
        ("", "a/b.gguf", "a/b.gguf"),
        ("b.gguf", "b.gguf", "b.gguf"),
        ("b.gguf", "a/b.gguf", None),
        ("*.gguf", "b.gguf", "b.gguf"),
        ("a/", "a/b/c.json", "b/c.json"),
        ("a/", "ab/c.json", None),
        ("a/", "a/", None),
        ("a/*Q8*", "a/m-Q8_0.gguf", "m-Q8_0.gguf"),
        ("a/*Q8*", "a/m-Q4_0.gguf", None),
    ],
)
def test_a_choice_picks_files_and_leaves_its_folder_out(
    choice: str, path: str, stored: str | None
) -> None:
    assert ModelURI("hf", "a/b", None, choice).chosen(path) == stored
