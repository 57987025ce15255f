"""`client.embeddings` and `client.rerank` of both clients, against documented replies."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from yangfan import Usage, errors

if TYPE_CHECKING:
    from tests.client.conftest import Connect, Playback

V1 = "/rpc/2.0/ai_custom/v1/wenxinworkshop"
VECTORS: dict[str, Any] = {
    "id": "as-0123456789",
    "object": "embedding_list",
    "created": 1700000000,
    "data": [
        {"object": "embedding", "embedding": [0.0, 1.0], "index": 1},
        {"object": "embedding", "embedding": [0.6, 0.8], "index": 0},
    ],
    "usage": {"prompt_tokens": 7, "total_tokens": 7},
}
RANKED: dict[str, Any] = {
    "id": "as-0123456789",
    "object": "reranker_list",
    "created": 1700000000,
    "results": [
        {"document": "b", "relevance_score": 0.9, "index": 1},
        {"document": "a", "relevance_score": 0.1, "index": 0},
    ],
    "usage": {"prompt_tokens": 4, "total_tokens": 4},
}
PAIR: dict[str, Any] = {"access_key": "ALTAK-id", "secret_access_key": "secret", "version": 1}


async def test_v1_embeds_under_the_path_of_the_preset(connect: Connect, playback: Playback):
    playback.json(VECTORS, headers={"X-Yangfan-Model": "minilm"})
    client = connect(**PAIR)
    result = await client.of(
        client.client.embeddings(["one", "two"], model="Embedding-V1", user="me")
    )
    (call,) = playback.calls
    assert call.path == f"{V1}/embeddings/embedding-v1"
    assert call.json() == {"input": ["one", "two"], "user_id": "me"}
    assert result.vectors == ((0.6, 0.8), (0.0, 1.0))
    assert list(result) == [result[0], result[1]]
    assert (len(result), result.dimensions, result.model) == (2, 2, "Embedding-V1")
    assert result.usage == Usage(7, 0, 7)
    assert result.info.served_model == "minilm"


async def test_a_picture_goes_beside_its_text_and_in_v2_only(connect: Connect, playback: Playback):
    playback.json({**VECTORS, "data": VECTORS["data"][1:]})
    given = [{"text": "one", "image": "https://a.example/b.png"}]
    client = connect(version=2, bearer="bce-v3/ALTAK-a/b")
    await client.of(client.client.embeddings(given, model="gme-qwen2-vl-2b"))
    (call,) = playback.calls
    assert call.json() == {"model": "gme-qwen2-vl-2b", "input": given}
    with pytest.raises(errors.ConfigurationError, match="no PNG, JPEG"):
        await client.of(client.client.embeddings([{"image": b"no"}], model="gme-qwen2-vl-2b"))
    client = connect(**PAIR)
    with pytest.raises(errors.ConfigurationError, match="v1 takes texts alone"):
        await client.of(client.client.embeddings(given, model="gme-qwen2-vl-2b"))


async def test_dimensions_are_of_v2(connect: Connect, playback: Playback):
    playback.json(VECTORS)
    client = connect(version=2, bearer="bce-v3/ALTAK-a/b")
    await client.of(client.client.embeddings("one", model="far/large", dimensions=2))
    assert playback.calls[0].json() == {"model": "far/large", "input": ["one"], "dimensions": 2}
    client = connect(**PAIR)
    with pytest.raises(errors.ConfigurationError, match="dimensions is a field of v2"):
        await client.of(client.client.embeddings("one", model="bge-large-zh", dimensions=2))


async def test_v2_embeds_one_text_as_a_list_of_one(connect: Connect, playback: Playback):
    playback.json({**VECTORS, "model": "bge-large-zh"})
    client = connect(version=2, bearer="bce-v3/ALTAK-a/b")
    result = await client.of(client.client.embeddings("one", model="bge-large-zh", user="me"))
    (call,) = playback.calls
    assert call.path == "/v2/embeddings"
    assert call.json() == {"model": "bge-large-zh", "input": ["one"], "user": "me"}
    assert result.model == "bge-large-zh"


@pytest.mark.parametrize("ids", [[7, 8], [[7, 8], [9]]])
async def test_v2_embeds_token_ids(connect: Connect, playback: Playback, ids: Any):
    playback.json(VECTORS)
    client = connect(version=2, bearer="bce-v3/ALTAK-a/b")
    await client.of(client.client.embeddings(ids, model="bge-large-zh"))
    assert playback.calls[0].json()["input"] == ids
    client = connect(**PAIR)
    with pytest.raises(errors.ConfigurationError, match="version=2 for pictures and token ids"):
        await client.of(client.client.embeddings(ids, model="bge-large-zh"))


async def test_v1_ranks_under_the_path_of_the_preset(connect: Connect, playback: Playback):
    playback.json(RANKED, headers={"X-Yangfan-Rerank": "embedding-similarity"})
    client = connect(**PAIR)
    result = await client.of(
        client.client.rerank("q", ["a", "b"], model="bce-reranker-base_v1", top_n=2, user="me")
    )
    (call,) = playback.calls
    assert call.path == f"{V1}/reranker/bce_reranker_base"
    assert call.json() == {"query": "q", "documents": ["a", "b"], "top_n": 2, "user_id": "me"}
    assert [(r.document, r.score, r.index) for r in result] == [("b", 0.9, 1), ("a", 0.1, 0)]
    assert (len(result), result[0].document, result.is_by_similarity) == (2, "b", True)
    assert result.usage == Usage(4, 0, 4)


async def test_v2_ranks_with_the_model_in_the_body(connect: Connect, playback: Playback):
    playback.json({**RANKED, "model": "r"})
    client = connect(version=2, bearer="bce-v3/ALTAK-a/b")
    result = await client.of(client.client.rerank("q", ("a", "b"), model="r", user="me"))
    (call,) = playback.calls
    assert call.path == "/v2/rerank"
    assert call.json() == {"query": "q", "documents": ["a", "b"], "model": "r", "user": "me"}
    assert not result.is_by_similarity


async def test_a_refusal_is_the_class_that_the_server_raised(connect: Connect, playback: Playback):
    playback.json({"error_code": 336003, "error_msg": "embeddings max batch size is 16", "id": "a"})
    client = connect(**PAIR)
    with pytest.raises(errors.Invalid, match="max batch size is 16"):
        await client.of(client.client.embeddings(["a"] * 17, model="embedding-v1"))


@pytest.mark.parametrize(
    "reply", [{"id": "x"}, {"data": []}, {"data": [{"index": 1, "embedding": [1.0]}]}]
)
async def test_a_reply_without_its_vectors_is_a_bad_one(
    connect: Connect, playback: Playback, reply: dict[str, Any]
):
    playback.json(reply)
    client = connect(version=2, bearer="bce-v3/ALTAK-a/b")
    with pytest.raises(errors.BadReply, match="one vector for each text"):
        await client.of(client.client.embeddings("a", model="m"))


@pytest.mark.parametrize("reply", [{"id": "x"}, {"results": []}, {"results": [{"index": 0}]}])
async def test_a_reply_without_documents_is_a_bad_one(
    connect: Connect, playback: Playback, reply: dict[str, Any]
):
    playback.json(reply)
    client = connect(version=2, bearer="bce-v3/ALTAK-a/b")
    with pytest.raises(errors.BadReply):
        await client.of(client.client.rerank("q", ["a"], model="m"))
