"""`client.models` against a real server whose jobs wait, in both clients."""

from __future__ import annotations

import re
from collections.abc import Generator
from pathlib import Path

import pytest
from tests.conftest import Server, serving

import yangfan
from yangfan import errors
from yangfan.client import models as read
from yangfan.client.types import WorkProgress


@pytest.fixture(scope="module", name="server")
def server_fixture(tmp_path_factory: pytest.TempPathFactory) -> Generator[Server]:
    home = tmp_path_factory.mktemp("models")
    with serving(home, environ={"YANGFAN_JOBS_AT_ONCE": "0"}) as server:
        yield server


@pytest.fixture(name="client")
def client_fixture(server: Server) -> Generator[yangfan.Client]:
    with yangfan.Client(
        server.base_url,
        bearer=server.bearer,
        access_key=server.access_key,
        secret_access_key=server.secret_access_key,
    ) as client:
        yield client


def test_sets_are_made_found_listed_and_deleted(client: yangfan.Client):
    made = client.models.create_set("sdk", "Text2Image", tags=["art"], description="d")
    assert (made.name, made.type, made.tags, made.description) == (
        "sdk",
        "Text2Image",
        ("art",),
        "d",
    )
    assert client.models.get_set("sdk") == made
    assert [each for each in client.models.sets() if each.name == "sdk"] == [made]
    assert "echo" in [each.name for each in client.models.sets(presets=True)]
    client.models.delete_set("sdk")
    with pytest.raises(errors.NotFound, match="there is no model set 'sdk'"):
        client.models.get_set("sdk")


def test_versions_of_many_pages_come_whole(client: yangfan.Client):
    client.models.create_set("many")
    made = [client.models.import_("many", "hf:a/b").id for _ in range(101)]
    assert [each.id for each in client.models.versions("many")] == made
    assert client.models.versions("many", status="Ready") == ()
    assert len(client.models.get_set("many").version_ids) == 100


def test_an_import_is_begun_once_described_and_awaited(client: yangfan.Client):
    client.models.create_set("mine")
    made = client.models.import_(
        "mine", "hf:a/b", application="completion", revision="v1", idempotency_key="once"
    )
    assert (made.name, made.status, made.application) == ("mine:1", "Creating", "completion")
    again = client.models.import_(
        "mine", "hf:a/b", application="completion", revision="v1", idempotency_key="once"
    )
    assert again.id == made.id
    client.models.describe("mine:1", "better")
    assert client.models.version(made.id).description == "better"
    seen: list[WorkProgress] = []

    def told(now: WorkProgress) -> None:
        seen.append(now)
        client.jobs.cancel(made.job_id)

    with pytest.raises(errors.Conflict, match="mine:1 could not be made: it was cancelled"):
        client.models.wait(made.id, progress=told, poll_seconds=0.01)
    assert seen == [WorkProgress(0.0, None, "", "")]
    client.models.delete(made.id)
    with pytest.raises(errors.NotFound):
        client.models.version(made.id)


async def test_the_async_client_does_the_same(server: Server):
    async with yangfan.AsyncClient(
        server.base_url, access_key=server.access_key, secret_access_key=server.secret_access_key
    ) as client:
        await client.models.create_set("async")
        made = await client.models.import_("async", "hf:a/b")
        assert (await client.models.version("async:1")).id == made.id


def test_presets_tell_what_they_are(client: yangfan.Client):
    version = client.models.system_version("smollm2-135m-instruct")
    assert (version.source_type, version.licence) == ("PlatformPreset", "Apache-2.0")
    assert version.files[0].size_bytes == 98362432
    assert "llama_cpp" in str(client.models.advanced_conf(format="GGUF")["engines"])
    assert client.models.custom_conf("smollm2-135m-instruct")["modelId"] == version.id


def test_labels_and_trainings_say_what_is_missing(client: yangfan.Client):
    with pytest.raises(errors.NotFound, match="echo has no label"):
        client.models.delete_label("echo", "production")
    client.models.set_label("echo", "stable", "echo:1")
    assert client.models.get_set("echo").version_labels == {
        "stable": client.models.version("echo").id
    }
    client.models.delete_label("echo", "stable")
    client.models.create_set("trained")
    with pytest.raises(errors.NotFound, match="there is no tuning task 'task-1'"):
        client.models.publish_trained("trained", "task-1", step=3)


def test_a_folder_is_sent_in_pieces_and_an_interrupted_file_goes_on(
    client: yangfan.Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(read, "UPLOAD_PIECE_BYTES", 4)
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "config.json").write_text('{"a":1}')
    (tmp_path / "empty.txt").write_text("")
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "x").write_text("no")
    seen: list[WorkProgress] = []
    source = client.models.upload(tmp_path, progress=seen.append)
    assert re.fullmatch(r"upload:up-[0-9a-f]{32}", source)
    assert client.models.get_upload(source) == {"empty.txt": 0, "sub/config.json": 7}
    assert seen[-1] == WorkProgress(7, 7, "bytes", "sub/config.json")
    assert client.models.send_file(source, "sub/config.json", b"!", offset=7) == 8
    with pytest.raises(errors.Conflict, match="has 8 bytes here, not 0; go on from offset=8"):
        client.models.send_file(source, "sub/config.json", b"!")
    client.models.delete_upload(source)
    with pytest.raises(errors.NotFound):
        client.models.get_upload(source)
    with pytest.raises(errors.ConfigurationError, match="there is no file at"):
        client.models.upload(tmp_path / "none")


def test_compressions_and_exports_say_what_is_missing(client: yangfan.Client):
    assert client.models.compressions() == ()
    for call in (
        client.models.compression,
        client.models.cancel_compression,
        client.models.delete_compression,
        client.models.wait_compression,
    ):
        with pytest.raises(errors.NotFound, match="there is no compression task 'amva-0'"):
            call("amva-0")
    with pytest.raises(errors.Conflict, match="echo:1 cannot be compressed"):
        client.models.compress("echo")
    with pytest.raises(errors.Conflict, match="`yangfan pull echo`"):
        client.models.export("echo")
    with pytest.raises(errors.NotFound, match="echo:1 has no export"):
        client.models.wait_export("echo")
