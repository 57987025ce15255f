"""Import, export and download of datasets through the published package, unchanged (specification D.7, D.8)."""

from __future__ import annotations

import functools
import http.server
import json
import threading
import zipfile
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.conftest import serving

if TYPE_CHECKING:
    from tests.conformance.conftest import Programs

ROWS = (
    '[{"prompt": "你好", "response": [["hi"]]}]\nno json\n[{"prompt": "b", "response": [["c"]]}]\n'
)


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Keep the tests' output clean."""


@pytest.fixture
def shared(tmp_path: Path) -> Generator[str]:
    """Where shared archives are."""
    archives: Mapping[str, Mapping[str, bytes]] = {
        "rows.zip": {"rows.jsonl": ROWS.encode()},
        "texts.zip": {"one.txt": "第一\n第二\n".encode(), "two.txt": "third\n".encode("utf-16")},
        "pictures.zip": {
            "cat.png": b"\x89PNG not really",
            "cat.json": json.dumps([{"annotations": "a cat"}]).encode(),
            "dog.png": b"\x89PNG nor this",
        },
    }
    for name, members in archives.items():
        with zipfile.ZipFile(tmp_path / name, "w") as archive:
            for member, content in members.items():
                archive.writestr(member, content)
    web = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(_Quiet, directory=str(tmp_path))
    )
    thread = threading.Thread(target=web.serve_forever, args=(0.01,))
    thread.start()
    yield f"http://127.0.0.1:{web.server_port}"
    web.shutdown()
    thread.join()
    web.server_close()


def test_qianfan_imports_loads_and_exports_datasets_here(
    programs: Programs, shared: str, tmp_path: Path
) -> None:
    with serving(tmp_path / "home", environ={"YANGFAN_EGRESS_ALLOW": "127.0.0.1"}) as server:
        found = programs.run(
            "qianfan_dataset_files",
            *(f"{shared}/{name}.zip?sign=1" for name in ("rows", "texts", "pictures")),
            environ={
                "QIANFAN_BASE_URL": server.base_url,
                "QIANFAN_CONSOLE_API_BASE_URL": server.base_url,
                "QIANFAN_ACCESS_KEY": server.access_key,
                "QIANFAN_SECRET_KEY": server.secret_access_key,
                "QIANFAN_CACHE_DIR": str(tmp_path / "cache"),
                "HOME": str(tmp_path),
            },
        )
    assert found["imported"] is True
    assert found["info"] == [2, 2, 0]
    assert found["errors"] == [["2", "no json\n"]]
    assert "你好" in json.dumps(found["rows"], ensure_ascii=False)
    assert (found["records"], found["records again"]) == (1, 1)
    assert found["again"] == ["official files", 2]
    assert found["loaded"] == 2
    assert found["released"] is True
    assert found["texts"][0] is True
    assert "third" in json.dumps(found["texts"][1], ensure_ascii=False)
    assert found["pictures"] == [True, ["cat.png", "dog.png"]]
    assert found["v2 import"] == ["ImportFinished", 2]
    assert found["v2 export"] == ["ExportFinished", 2, True]
