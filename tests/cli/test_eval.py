"""`yangfan eval` against a real server."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

from tests.cli.conftest import Command

FILE = """
name: nightly
dataset: samples.jsonl
models:
  - echo
  - {modelId: "echo:1", name: wordy, promptTemplate: "{input} <b>", engineOptions: {slots: 2}}
scorers: [exact, f1]
require: {f1: %s}
"""


def test_evaluation_is_run_compared_and_exported(yangfan: Command, tmp_path: Path):
    lines = [{"prompt": "上海", "response": "上海"}, {"prompt": "=1+1", "response": "=1+1"}]
    (tmp_path / "samples.jsonl").write_text("\n".join(map(json.dumps, lines)))
    file = tmp_path / "nightly.yaml"
    file.write_text(FILE % 0.5)
    made = yangfan.inside("eval", "run", str(file))
    id = made.err.split()[0]
    assert made.status == 0, made.err + yangfan.inside("eval", "show", id, "--json").out
    assert "echo\texact\t1.0000" in made.out
    file.write_text(FILE % 0.99)
    missed = yangfan.inside("eval", "run", str(file))
    assert (missed.status, "wordy: f1 is" in missed.err) == (1, True)
    first, second = json.loads(yangfan.inside("eval", "list", "--json").out)[:2]
    ids = (first["id"], second["id"])
    assert ids[0] in yangfan.inside("eval", "list").out
    assert "exact\t4\t0\t0\t4\t0" in yangfan.inside("eval", "compare", *ids).out
    assert json.loads(yangfan.inside("eval", "show", ids[0], "--json").out)["samples"] == 2
    shown = yangfan.inside("eval", "show", ids[0]).out
    assert f"{ids[0]}  Successed  nightly\necho  Done\nwordy  Done\n" in shown
    page = tmp_path / "report.html"
    assert yangfan.inside("eval", "export", ids[0], "-o", str(page)).status == 0
    text = page.read_text("utf-8")
    assert "<svg" in text
    assert "上海 &lt;b&gt;" in text
    assert "http" not in text
    out = tmp_path / "answers.jsonl"
    assert yangfan.inside("eval", "export", ids[0], "-o", str(out)).status == 0
    assert json.loads(out.read_text().splitlines()[0])["answer"] == "上海"
    book = tmp_path / "report.xlsx"
    assert yangfan.inside("eval", "export", ids[0], "-o", str(book)).status == 0
    sheets = zipfile.ZipFile(book)
    assert b"<f>" not in sheets.read("xl/worksheets/sheet2.xml")
    wrong = yangfan.inside("eval", "export", ids[0], "-o", str(tmp_path / "a.pdf"))
    assert (wrong.status, "--out must end in" in wrong.err) == (1, True)
    file.write_text("models: [echo]")
    assert "lacks dataset" in yangfan.inside("eval", "run", str(file)).err


def test_people_score_from_the_command_line(yangfan: Command, tmp_path: Path):
    (tmp_path / "samples.jsonl").write_text('{"prompt": "a"}\n{"prompt": "b"}\n')
    file = tmp_path / "people.yaml"
    file.write_text("dataset: samples.jsonl\nmodels: [echo]\ndimensions: [满意度]\n")
    made = yangfan.inside("eval", "run", str(file))
    assert made.status == 0, made.err
    id = made.err.splitlines()[0]
    assert yangfan.inside("eval", "score", id, "r-0", "4", "--comment", "好").out == "doing: 1/2\n"
    scores = tmp_path / "scores.jsonl"
    scores.write_text('{"answer": "r-1", "score": 2, "scorer": "second"}\n')
    done = yangfan.inside("eval", "score", id, "-f", str(scores), "--finish")
    assert (done.status, done.out) == (0, "done: 2/2\n"), done.err
    assert "manual:满意度\t3.0000" in yangfan.inside("eval", "show", id).out
    scores.write_text('{"answer": 1}')
    wrong = yangfan.inside("eval", "score", id, "-f", str(scores))
    assert (wrong.status, "line 1 of" in wrong.err) == (1, True)
    late = yangfan.inside("eval", "score", id, "r-0", "4")
    assert (late.status, "people score one that is in" in late.err) == (1, True)
    for arguments in ((id,), (id, "r-0")):
        assert "give a" in yangfan.inside("eval", "score", *arguments).err
    file.write_text("dataset: samples.jsonl\nmodels: [echo]\n")
    assert "lacks scorers" in yangfan.inside("eval", "run", str(file)).err
