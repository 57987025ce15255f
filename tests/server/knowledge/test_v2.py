"""Knowledge bases through the API, with a real worker and the embedded model of embeddings."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Callable, Generator
from pathlib import Path

import pytest
from tests.conftest import EMBEDDINGS_MODEL, Server, serving, wait_until
from typer.testing import CliRunner

from yangfan import Client
from yangfan.cli import application
from yangfan.client.knowledge import KnowledgeDocument
from yangfan.errors import Forbidden, Invalid, NotFound

WAIT_SECONDS = 120.0
HANDBOOK = "# 员工手册\n\n## 休假\n\n每位员工每年有十五天带薪年假。病假需要医院证明。\n\n## 报销\n\n出差费用应在三十天内报销。\n"
MANUAL = "# Router manual\n\n## Reset\n\nHold the button for ten seconds to reset the router.\n\n## Warranty\n\nThe warranty lasts two years.\n"


@pytest.fixture(scope="module")
def client(vector_server: Server) -> Generator[Client]:
    with Client(vector_server.base_url, bearer=vector_server.bearer, version=2) as client:
        yield client


@pytest.fixture
def base(client: Client) -> Generator[str]:
    made = client.knowledge.create(f"base-{os.urandom(4).hex()}")
    yield made.id
    client.knowledge.delete(made.id)


def settled(client: Client, base_id: str) -> tuple[KnowledgeDocument, ...]:
    """The documents of a base once nobody works on it."""
    wait_until(
        lambda: all(
            each.state in {"ready", "failed"} for each in client.knowledge.documents(base_id)
        ),
        "the documents to be read",
        WAIT_SECONDS,
    )
    return client.knowledge.documents(base_id)


def test_documents_are_read_and_found(client: Client, base: str) -> None:
    client.knowledge.upload(base, HANDBOOK.encode(), name="手册.md", metadata={"year": 2026})
    client.knowledge.add_texts(base, {"manual.md": MANUAL, "broken.csv": 'a,b\n"c'})
    client.knowledge.upload(base, b"\x00\x01" * 400, name="a.pdf")
    documents = {document.name: document for document in settled(client, base)}
    assert documents["手册.md"].state == "ready", documents["手册.md"].error
    assert documents["手册.md"].chunks == 2
    assert documents["手册.md"].metadata == {"year": 2026}
    assert documents["a.pdf"].state == "failed"
    assert "no PDF that can be read" in documents["a.pdf"].error
    found = client.knowledge.search(base, "年假有多少天？", top=2)
    assert "十五天" in found[0].text
    assert found[0].headings == "员工手册 > 休假"
    assert (found[0].document_name, found[0].metadata) == ("手册.md", {"year": 2026})
    best = client.knowledge.search(
        base, "how long is the guarantee", mode="semantic", neighbours=True
    )[0]
    assert "two years" in best.text
    assert best.before is not None
    assert "ten seconds" in best.before
    assert best.after is None
    assert (
        client.knowledge.search(base, "warranty", filters=[("year", "==", 2026)], mode="fulltext")
        == ()
    )
    (chunk, _) = client.knowledge.chunks(base, documents["手册.md"].id)
    assert client.knowledge.modify_chunk(chunk.id, enabled=False).enabled is False
    assert not any(
        "十五天" in each.text for each in client.knowledge.search(base, "年假有多少天？")
    )
    added = client.knowledge.add_chunk(
        base, documents["manual.md"].id, "The serial number is under the lid."
    )
    assert client.knowledge.search(base, "where is the serial number")[0].chunk_id == added.id
    client.knowledge.delete_chunk(added.id)
    assert client.knowledge.index_again(base, documents["手册.md"].id).state in {
        "waiting",
        "indexing",
    }
    settled(client, base)
    assert "十五天" in client.knowledge.search(base, "年假有多少天？")[0].text
    manual = documents["manual.md"].id
    assert client.knowledge.modify_document(base, manual, metadata={"x": 1}).metadata == {"x": 1}
    assert client.knowledge.document(base, manual).metadata == {"x": 1}
    client.knowledge.delete_document(base, manual)
    assert client.knowledge.search(base, "router warranty", mode="fulltext") == ()
    shown = client.knowledge.get(base)
    assert (shown.chunks, shown.job_id, shown.embedder) == (3, "", EMBEDDINGS_MODEL)


def test_errors_say_what_to_do(client: Client, base: str) -> None:
    with pytest.raises(NotFound, match="DescribeKnowledgeBases"):
        client.knowledge.get("kb-none")
    with pytest.raises(Invalid, match="must end in one of csv"):
        client.knowledge.upload(base, b"x", name="a.exe")
    with pytest.raises(Invalid, match="holds something"):
        client.knowledge.upload(base, b"", name="a.txt")
    with pytest.raises(Invalid, match="query must have 1 to 1000"):
        client.knowledge.search(base, "")
    with pytest.raises(Invalid, match="must be from 50"):
        client.knowledge.modify(base, target_length=3)
    with pytest.raises((Invalid, NotFound), match="no-such-model"):
        client.knowledge.modify(base, embedder="no-such-model")


def test_others_see_nothing(vector_server: Server, client: Client, base: str) -> None:
    with Client(
        vector_server.base_url,
        access_key=vector_server.access_key,
        secret_access_key=vector_server.secret_access_key,
    ) as owner:
        key = owner.keys.create(kind="bearer", name="stranger")
    with Client(vector_server.base_url, bearer=key.secret, version=2) as stranger:
        assert base not in {each.id for each in stranger.knowledge.list()}
        with pytest.raises(NotFound):
            stranger.knowledge.search(base, "x")
        client.knowledge.modify(base, readers=["*"])
        assert stranger.knowledge.search(base, "x") == ()
        with pytest.raises(Forbidden, match="another application"):
            stranger.knowledge.delete(base)


def test_killed_while_indexing_nothing_is_half_there(
    tmp_path: Path, model_cache: Path, minilm_folder: Path
) -> None:
    """kill -9 of the whole server after the first documents: it goes on, and each document is found as a whole."""
    del minilm_folder
    shared = {"YANGFAN_MODEL_STORE": str(model_cache)}
    texts = {f"{number}.txt": f"文档编号{number}的内容。\n\n" * 30 for number in range(24)}
    with serving(tmp_path, models=(EMBEDDINGS_MODEL,), environ=shared) as server:
        with Client(server.base_url, bearer=server.bearer, version=2) as client:
            base = client.knowledge.create("b", target_length=50).id
            client.knowledge.add_texts(base, texts)
            wait_until(
                lambda: any(each.state == "ready" for each in client.knowledge.documents(base)),
                "a document to be ready",
                WAIT_SECONDS,
            )
        server.process.send_signal(signal.SIGKILL)
        server.process.wait()
    with serving(tmp_path, models=(EMBEDDINGS_MODEL,), environ=shared) as server:
        with Client(server.base_url, bearer=server.bearer, version=2) as client:
            documents = settled(client, base)
            assert {each.state for each in documents} == {"ready"}, [
                each.error for each in documents
            ]
            assert len({each.chunks for each in documents}) == 1
            assert client.knowledge.get(base).chunks == sum(each.chunks for each in documents)
            for number in (0, 11, 23):
                found = client.knowledge.search(base, f"文档编号{number}", mode="fulltext", top=3)
                assert {each.document_name for each in found} == {f"{number}.txt"}
        left = list((tmp_path / "knowledge" / "made").glob("*"))
        assert len(left) <= 1, "what the killed worker had handed over, at most"


def test_vectors_are_made_anew_without_a_pause(
    tmp_path: Path, model_cache: Path, minilm_folder: Path
) -> None:
    """The same model under another name: searches answer all the time, and the generation turns once all is there."""
    shared = {"YANGFAN_MODEL_STORE": str(model_cache)}
    other = tmp_path / "other-minilm"
    shutil.copytree(minilm_folder, other, copy_function=os.link)
    with (
        serving(tmp_path / "home", models=(EMBEDDINGS_MODEL, str(other)), environ=shared) as server,
        Client(server.base_url, bearer=server.bearer, version=2) as client,
    ):
        names = {model.id for model in client.models.list()}
        second = next(name for name in names if "other" in name)
        base = client.knowledge.create("b", embedder=EMBEDDINGS_MODEL).id
        client.knowledge.add_texts(base, {"manual.md": MANUAL, "手册.md": HANDBOOK})
        settled(client, base)
        assert client.knowledge.modify(base, embedder=second).next_embedder == second

        def turned() -> bool:
            assert (
                "two years"
                in client.knowledge.search(base, "guarantee period", mode="semantic")[0].text
            )
            return client.knowledge.get(base).embedder == second

        wait_until(turned, "the new vectors", WAIT_SECONDS)
        assert client.knowledge.get(base).next_embedder == ""
        client.knowledge.add_texts(base, {"more.txt": "The colour is green."})
        settled(client, base)
        assert "green" in client.knowledge.search(base, "which colour", mode="semantic")[0].text


def test_the_command_line(
    vector_server: Server, client: Client, tmp_path: Path, run: Callable[..., str]
) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "手册.md").write_text(HANDBOOK)
    (tmp_path / "docs" / "ignored.bin").write_bytes(b"\x00")
    base = run("kb", "create", "cli-base").strip()
    assert base.startswith("kb-")
    run("kb", "add", "cli-base", str(tmp_path / "docs"), "--watch")
    assert "手册.md" in run("kb", "documents", base)
    assert "十五天" in run("kb", "search", "cli-base", "年假多少天")
    found = json.loads(run("kb", "search", base, "年假多少天", "--json"))
    assert found[0]["document_name"] == "手册.md"
    assert "cli-base" in run("kb", "list")
    run("kb", "rm", "cli-base", "--yes")
    assert base not in {each.id for each in client.knowledge.list()}


@pytest.fixture
def run(vector_server: Server, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Runs a command against the server; what it printed."""
    monkeypatch.setenv("YANGFAN_HOME", str(vector_server.home))

    def call(*arguments: str) -> str:
        result = CliRunner().invoke(application(arguments), [*arguments])
        assert result.exit_code == 0, result.output + repr(result.exception)
        return result.stdout

    return call
