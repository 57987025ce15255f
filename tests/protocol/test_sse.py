"""Server-sent events: bytes cut anywhere give the same events."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from yangfan.errors import BadReply
from yangfan.protocol.sse import DONE, Decoder, Event, encode, pieces

payloads = st.text().map(
    lambda text: text.replace("\r", "").replace("\n", "").encode("utf-8", "replace")
)
names = st.sampled_from(["", "plugin", "执行"])


def decode(*chunks: bytes) -> list[Event]:
    decoder = Decoder()
    return [event for chunk in chunks for event in decoder.feed(chunk)]


@given(st.lists(st.tuples(payloads, names)), st.data())
def test_any_cut_of_the_bytes_gives_the_same_events(
    messages: list[tuple[bytes, str]], data: st.DataObject
):
    stream = b"".join(encode(payload, name) for payload, name in messages)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)))))
    chunks = [
        stream[start:end] for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True)
    ]
    assert decode(*chunks) == [Event(payload, name) for payload, name in messages]


@given(
    st.lists(
        st.sampled_from([b"data: a", b"data:b", b": comment", b"event: n", b"", b"id: 1", b"data"])
    ),
    st.data(),
)
def test_any_mix_of_line_ends_gives_the_same_events(lines: list[bytes], data: st.DataObject):
    lines = [*lines, b"", b"data: end", b""]
    ends = [data.draw(st.sampled_from([b"\n", b"\r\n"])) for _ in lines]
    stream = b"".join(line + end for line, end in zip(lines, ends, strict=True))
    assert decode(stream) == decode(*(stream[at : at + 1] for at in range(len(stream))))
    assert decode(stream) == decode(b"".join(line + b"\n" for line in lines))


def test_a_carriage_return_alone_ends_a_line():
    assert decode(b"data: a\rdata: b\r\rdata: c\r\r\n") == [Event(b"a\nb"), Event(b"c")]


def test_a_carriage_return_at_the_end_of_a_chunk_waits_for_its_line_feed():
    assert decode(b"data: a\r", b"\n\r", b"\ndata: b\r\n\r\n") == [Event(b"a"), Event(b"b")]


def test_lines_of_data_are_joined_and_one_space_is_dropped():
    assert decode(b"data: a\ndata:  b\ndata\n\n") == [Event(b"a\n b\n")]


def test_comments_unknown_fields_and_events_without_data_are_skipped():
    assert decode(b": keep-alive\n\nretry: 5\nid: 1\n\nevent: lost\n\ndata: a\n\n") == [Event(b"a")]


def test_the_name_belongs_to_one_event():
    assert decode(b"event: n\ndata: a\n\ndata: b\n\n") == [Event(b"a", "n"), Event(b"b")]


def test_an_event_without_its_end_is_not_given():
    assert decode(b"data: a\n\ndata: b\n") == [Event(b"a")]


def test_the_end_mark_is_an_event_like_others():
    assert decode(encode(DONE)) == [Event(b"[DONE]")]


@pytest.mark.parametrize("chunk", [b"data: " + b"x" * 60 + b"\n", b"x" * 60])
def test_an_event_that_grows_without_end_is_refused(chunk: bytes):
    decoder = Decoder(max_event_bytes=100)
    decoder.feed(chunk)
    with pytest.raises(BadReply, match="larger than 100 bytes"):
        decoder.feed(chunk)


def test_many_small_events_never_reach_the_limit():
    decoder = Decoder(max_event_bytes=100)
    assert sum(len(decoder.feed(encode(b"x" * 50))) for _ in range(50)) == 50


@pytest.mark.parametrize("length", [0, 1, 9, 10, 11, 20, 21, 95])
def test_pieces_join_to_the_text_and_none_is_longer(length: int):
    text = "字🚢x"[: max(length, 0)] * (length // 3 + 1)
    text = text[:length]
    cut = pieces(text, 10)
    assert "".join(cut) == text
    assert all(len(piece) <= 10 for piece in cut)
    assert cut, "an event may be empty but must be"
