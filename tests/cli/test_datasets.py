"""`yangfan data` against a real server."""

from __future__ import annotations

import json
import uuid

import pytest
from tests.cli.conftest import Command

pytest.importorskip("pyarrow", reason="the extra `data` is not installed")


def test_a_dataset_from_create_to_rm(yangfan: Command):
    name = f"cli-{uuid.uuid4()}"
    made = yangfan.inside("data", "create", name, "--format", "Text")
    assert (made.status, made.out.split()[0]) == (0, f"{name}:1"), made.err
    second = yangfan.inside("data", "create", name, "--from", f"{name}:1", "--json")
    assert json.loads(second.out)["version"] == 2
    listed = yangfan.inside("data", "list", name).out.split("\t")
    assert listed[:4] == [name, "Text", "2", "0"]
    shown = yangfan.inside("data", "show", name).out
    assert f"{name}:2" in shown
    versions = yangfan.inside("data", "show", name, "--versions").out.splitlines()
    assert [line.split("\t")[0] for line in versions] == ["1", "2"]
    empty = yangfan.inside("data", "publish", name)
    assert (empty.status, "has no rows; import some" in empty.err) == (1, True)
    removed = yangfan.inside("data", "rm", f"{name}:2", "--yes")
    assert removed.out == f"deleted {name}:2\n"
    assert yangfan.inside("data", "rm", name, "--all", "--yes").status == 0
    gone = yangfan.inside("data", "show", name)
    assert (gone.status, "there is no dataset version" in gone.err) == (1, True)


def test_rows_are_shown_annotated_compared_published_and_measured(yangfan: Command):
    from yangfan import Client

    server = json.loads((yangfan.home / "server.json").read_text("utf-8"))
    name = f"cli-{uuid.uuid4()}"
    with Client(
        server["base_url"],
        access_key=server["access_key"],
        secret_access_key=server["secret_access_key"],
    ) as client:
        client.datasets.create(name, "Text")
        first, *_ = client.datasets.add(name, [{"text": f"text {n}"} for n in range(4)])
        client.datasets.publish(name)
        client.datasets.create_version(name, source=f"{name}:1")
    head = yangfan.inside("data", "head", name, "-n", "2")
    assert (len(head.out.splitlines()), head.err.strip()) == (2, "2 of 4")
    grep = yangfan.inside("data", "head", name, "--grep", "TEXT 3", "--json")
    assert json.loads(grep.out) == [{"text": "text 3"}]
    done = yangfan.inside("data", "annotate", name, first, '{"text": "other"}', "--label", "good")
    assert (done.status, "other" in done.out) == (0, True), done.err
    assert yangfan.inside("data", "annotate", name, first, "{").status == 1
    assert yangfan.inside("data", "annotate", name, first).status == 1
    last = json.loads(yangfan.inside("data", "show", name, "--json").out)
    assert last["edits"] == 1
    diff = yangfan.inside("data", "diff", f"{name}:1", f"{name}:2")
    assert "+0 -0 ~1" in diff.err
    assert '+ {"text": "other"}' in diff.out
    assert yangfan.inside("data", "annotate", name, first, "--delete").status == 0
    assert yangfan.inside("data", "annotate", name, first, "--delete").status == 1
    assert yangfan.inside("data", "publish", name).out == f"{name}:2 Published\n"
    stats = yangfan.inside("data", "stats", name)
    assert "3 samples / 样本" in stats.out
    assert "█" in stats.out
