"""`yangfan embed` and `yangfan rerank` against a real server whose vectors are made of characters."""

from __future__ import annotations

import json

from tests.cli.conftest import Command

CAT, CATS, MOTOR = "a cat sits on the mat", "the cats sit on mats", "diesel motors burn oil"


def test_embed_shows_how_similar_texts_are_to_the_first(yangfan: Command):
    shown = yangfan("embed", CAT, CATS, MOTOR)
    rows = [line.split("\t") for line in shown.out.splitlines()]
    assert (shown.status, shown.err) == (0, "")
    assert [row[2] for row in rows] == [CAT, CATS, MOTOR]
    assert float(rows[0][0]) == 1.0
    assert float(rows[1][0]) > float(rows[2][0])
    assert len(rows[0][1].split()) == 5


def test_embed_reads_lines_and_prints_whole_vectors(yangfan: Command):
    shown = yangfan.inside(
        "embed", "--json", "--model", "bge-large-zh", stdin="你好\n\n世界\n".encode()
    )
    vectors = json.loads(shown.out)
    assert [len(vector) for vector in vectors] == [384, 384]


def test_both_dialects_embed_and_rerank_for_a_user(yangfan: Command):
    told = ("--user", "me", "--version")
    embedded = [yangfan.inside("embed", CAT, CATS, *told, version) for version in "12"]
    ranked = [yangfan.inside("rerank", "cats", CAT, MOTOR, *told, version) for version in "12"]
    for one, other in (embedded, ranked):
        assert (one.status, one.err) == (0, "")
        assert one.out == other.out


def test_embed_sends_a_picture_beside_one_text(yangfan: Command):
    address = "https://a.example/b.png"
    shown = yangfan.inside("embed", CAT, "--image", address)
    assert (shown.status, "embedding-v1 reads no pictures here" in shown.err) == (1, True)
    shown = yangfan.inside("embed", "--image", "/absent.png")
    assert (shown.status, "cannot read /absent.png" in shown.err) == (1, True)
    shown = yangfan.inside("embed", CAT, MOTOR, "--image", address)
    assert (shown.status, "a picture stands alone, or beside one TEXT" in shown.err) == (2, True)


def test_embed_without_text_says_what_to_write(yangfan: Command):
    shown = yangfan.inside("embed", stdin=b" \n")
    assert shown.status == 2
    assert "no text on stdin" in shown.err
    shown = yangfan.inside("embed", stdin=b"\xff\xfe")
    assert shown.status == 1
    assert "not UTF-8" in shown.err


def test_embed_tells_a_refusal_on_one_line(yangfan: Command):
    shown = yangfan.inside("embed", "a", "--model", "ernie_speed")
    assert shown.status == 1
    assert "not for embeddings; embeddings is served by: echo" in shown.err
    assert shown.err.count("\n") == 1


def test_rerank_shows_the_most_relevant_first(yangfan: Command):
    shown = yangfan("rerank", "cats on mats", MOTOR, CATS, CAT)
    rows = [line.split("\t") for line in shown.out.splitlines()]
    assert (shown.status, shown.err) == (0, "")
    assert [row[1:] for row in rows] == [["1", CATS], ["2", CAT], ["0", MOTOR]]
    assert float(rows[0][0]) > float(rows[1][0]) > float(rows[2][0])


def test_rerank_reads_lines_and_prints_json(yangfan: Command):
    stdin = f"{MOTOR}\n{CATS}\n".encode()
    shown = yangfan.inside("rerank", "cats", "--top-n", "1", "--json", stdin=stdin)
    (best,) = json.loads(shown.out)
    assert best["document"] == CATS
    assert best["index"] == 1
