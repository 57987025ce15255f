"""`client.datasets` against a real server."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta

import pytest
from tests.conftest import Server

import yangfan
from yangfan import errors
from yangfan.client.datasets import arrow_table, optional, row_of


@pytest.fixture(name="client")
def client_fixture(echo_server: Server):
    pytest.importorskip("pyarrow", reason="the extra `data` is not installed")
    with yangfan.Client(
        echo_server.base_url,
        access_key=echo_server.access_key,
        secret_access_key=echo_server.secret_access_key,
    ) as client:
        yield client


def test_a_dataset_lives_from_create_to_delete(client: yangfan.Client):
    name = f"sdk {uuid.uuid4()}"
    made = client.datasets.create(name, "PromptResponse", description="talks")
    assert (made.reference, made.samples, made.publish_state) == (f"{name}:1", 0, "Unpublished")
    ids = client.datasets.add(
        name, [{"prompt": f"q{number}", "response": f"a{number}"} for number in range(5)]
    )
    sample = client.datasets.annotate(name, ids[0], labels=["good"])
    assert (sample.labels, sample.annotated) == (("good",), True)
    now = datetime.now(UTC)
    span = (now - timedelta(minutes=5), now + timedelta(minutes=5))
    page = client.datasets.samples(name, annotated_between=span, imported=span, annotated=True)
    assert (page.total, page.samples[0].id, page.next_offset) == (1, ids[0], None)
    published = client.datasets.publish(name)
    assert published.publish_state == "Published"
    with pytest.raises(errors.Conflict, match="never changes again"):
        client.datasets.add(name, [{"prompt": "more"}])
    second = client.datasets.create_version(name, source=f"{name}:1")
    assert client.datasets.delete_samples(second.id, [ids[1], "nobody"]) == ["nobody"]
    changed = client.datasets.annotate(second.id, ids[2], [{"prompt": "q2", "response": "b"}])
    assert changed.content == [{"prompt": "q2", "response": [["b"]]}]
    found = client.datasets.diff(f"{name}:1", second.id)
    assert (found.added, found.removed, found.changed) == (0, 1, 1)
    assert {item.kind for item in found.differences} == {"removed", "changed"}
    assert [item.version for item in client.datasets.versions(name)] == [1, 2]
    assert client.datasets.describe(second.id, "fewer").description == "fewer"
    (listed,) = client.datasets.list(name, data_format="PromptResponse")
    assert listed.latest is not None
    assert listed.latest.id == second.id
    renamed = client.datasets.rename(name, f"{name} b")
    assert renamed.name == f"{name} b"
    client.datasets.delete_version(second.id)
    client.datasets.delete(renamed.id)
    with pytest.raises(errors.NotFound, match="there is no dataset version"):
        client.datasets.get(made.id)


def test_rows_come_as_dicts_and_as_arrow(client: yangfan.Client, monkeypatch: pytest.MonkeyPatch):
    from yangfan.protocol.v2 import datasets as wire

    monkeypatch.setattr(wire, "MAX_SAMPLES", 2)
    name = f"sdk {uuid.uuid4()}"
    client.datasets.create(name, "Text")
    client.datasets.add(name, [{"text": f"text {number}"} for number in range(5)])
    rows = list(client.datasets.rows(name))
    assert [row["text"] for row in rows] == [f"text {number}" for number in range(5)]
    assert [row["text"] for row in client.datasets.rows(name, text="TEXT 3")] == ["text 3"]
    table = client.datasets.arrow(name)
    assert (table.num_rows, table.column_names) == (5, ["id", "labels", "text"])


def test_rows_come_as_a_dataset_of_hugging_faces(client: yangfan.Client):
    library = pytest.importorskip("datasets", reason="Hugging Face's datasets is not installed")
    name = f"sdk {uuid.uuid4()}"
    client.datasets.create(name, "Text")
    client.datasets.add(name, [{"text": "one", "n": 1}, {"text": "two", "n": 2}])
    dataset = client.datasets.huggingface(name)
    assert isinstance(dataset, library.Dataset)
    assert [(row["text"], row["n"]) for row in dataset] == [("one", 1), ("two", 2)]


def test_what_does_not_fit_into_one_table_is_said(client: yangfan.Client):
    del client
    with pytest.raises(errors.Invalid, match="iterate over `rows` instead"):
        arrow_table([{"a": 1}, {"a": {"b": 2}}])
    with pytest.raises(errors.ConfigurationError, match="pip install no_such_library"):
        optional("no_such_library")


def test_a_conversation_stands_under_turns(client: yangfan.Client):
    name = f"sdk {uuid.uuid4()}"
    client.datasets.create(name, "PromptResponse")
    client.datasets.add(name, [{"prompt": "q", "response": "a"}])
    (sample,) = client.datasets.samples(name).samples
    assert row_of(sample) == {
        "id": sample.id,
        "labels": [],
        "turns": [{"prompt": "q", "response": [["a"]]}],
    }


async def test_the_same_awaited(echo_server: Server):
    pytest.importorskip("pyarrow", reason="the extra `data` is not installed")
    async with yangfan.AsyncClient(
        echo_server.base_url,
        access_key=echo_server.access_key,
        secret_access_key=echo_server.secret_access_key,
    ) as client:
        name = f"sdk {uuid.uuid4()}"
        await client.datasets.create(name, "Prompt")
        await client.datasets.add(name, [{"prompt": "q"}])
        assert [row["turns"] async for row in client.datasets.rows(name)] == [[{"prompt": "q"}]]
        await client.datasets.delete(name)


def test_stats_wait_for_what_is_measured(client: yangfan.Client):
    name = f"sdk {uuid.uuid4()}"
    client.datasets.create(name, "Text")
    client.datasets.add(name, [{"text": "今天天气很好"}, {"text": "今天天气很好"}, {"text": "a b"}])
    client.datasets.publish(name)
    found = client.datasets.stats(name)
    assert (found.rows, found.duplicates, found.largest_duplicates) == (3, 1, ((2, 0),))
    assert found.languages["zh"] == 2
    assert found.measures["characters"].maximum == 6
    assert client.datasets.samples(name).samples[2].statistics is not None
