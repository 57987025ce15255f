"""`yangfan batches` against a real server."""

from __future__ import annotations

import json
from pathlib import Path

from tests.cli.conftest import Command

LINE = {
    "custom_id": "1",
    "method": "POST",
    "url": "/v2/chat/completions",
    "body": {"model": "echo", "messages": [{"role": "user", "content": "早上好"}]},
}


def test_batch_is_made_watched_and_fetched(yangfan: Command, tmp_path: Path):
    file = tmp_path / "requests.jsonl"
    file.write_text(json.dumps(LINE) + "\n")
    made = yangfan.inside("batches", "create", str(file), "--watch")
    assert made.status == 0, made.err
    batch_id, shown = made.out.splitlines()[:2]
    assert "completed  1 answered, 0 refused, 1 in all" in shown
    (item,) = json.loads(yangfan.inside("batches", "list", "--json").out)
    assert (item["id"], item["state"]) == (batch_id, "completed")
    assert batch_id in yangfan.inside("batches", "list").out
    answer = json.loads(yangfan.inside("batches", "download", batch_id).out)
    assert answer["response"]["body"]["choices"][0]["message"]["content"] == "早上好"
    none = yangfan.inside("batches", "download", batch_id, "--errors")
    assert (none.status, "has no refused requests" in none.err) == (1, True)
    late = yangfan.inside("batches", "cancel", batch_id)
    assert (late.status, "cannot be cancelled" in late.err) == (1, True)
    file.write_text("{}\n")
    wrong = yangfan.inside("batches", "create", str(file), "--watch")
    assert (wrong.status, "line 1: invalid_json_line" in wrong.out) == (1, True)
    endpoint = yangfan.inside("batches", "create", str(file), "-e", "/v2/models")
    assert (endpoint.status, "--endpoint must be one of" in endpoint.err) == (1, True)
