"""Rows of a bucket: brought once, in a format that all of them have, and refused by the row that has none."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tests.hub.s3_server import serving as storing

from yangfan.datasets.shards import read_rows
from yangfan.errors import FetchError, Invalid
from yangfan.hub.access import HubAccess
from yangfan.hub.sources.base import HubSettings
from yangfan.trainers.base import Source
from yangfan.worker.sources import blobs_of, bring, manifest_of

FORMATS = ("PromptResponse", "Role")


def turns(number: int) -> str:
    return json.dumps([{"prompt": f"Say {number}", "response": [[f"yes {number}"]]}])


def roles(number: int) -> str:
    messages = [
        {"role": "user", "content": f"Say {number}"},
        {"role": "assistant", "content": f"yes {number}"},
    ]
    return json.dumps({"messages": messages})


def quiet(*_: object) -> None:
    """What a task does where nobody listens."""


def test_rows_of_a_bucket_are_brought_once_and_stay_with_the_run(tmp_path: Path) -> None:
    task: Any = SimpleNamespace(folder=tmp_path / "job", log=quiet, progress=quiet)
    with storing() as store:
        access = HubAccess(
            hubs=HubSettings(retry_seconds=0.01, s3=store.settings), egress_allow=("127.0.0.0/8",)
        )

        def source(uri: str) -> Source:
            folder = tmp_path / "run" / uri.rpartition("/")[2]
            return Source(uri=uri, folder=str(folder), formats=FORMATS)

        def put(name: str, *lines: str) -> Source:
            store.objects[name] = "".join(f"{line}\n" for line in lines).encode()
            return source(f"bos:/models/{name}")

        for name, row in (("turns.jsonl", turns), ("roles.jsonl", roles)):
            given = put(name, row(1), row(2), row(3))
            bring(task, given, access)
            store.objects[name] = b"changed since"
            bring(task, given, access)  # what is here is not asked for again
            manifest = manifest_of(given)
            rows = list(read_rows(blobs_of(given, "/nowhere"), manifest))
            assert manifest.rows == len(rows) == 3
        mixed = put("mixed.jsonl", turns(1), '{"number": 2}')
        with pytest.raises(Invalid, match=r"PromptResponse or Role: mixed\.jsonl, row 2: "):
            bring(task, mixed, access)
        with pytest.raises(FetchError, match="none"):
            bring(task, source("bos:/models/none.jsonl"), access)
