"""Cleaning and augmentation through the published package, unchanged (specification D.9, D.10)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.conftest import serving
from tests.server.processing.conftest import Shelf

from yangfan.datasets.formats import DataFormat

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conformance.conftest import Programs


def test_qianfan_cleans_and_augments_here(programs: Programs, tmp_path: Path) -> None:
    with serving(tmp_path / "home") as server:
        shelf = Shelf(server)
        source = shelf.put_texts("raw", ["the same words 😀", "the same words", "one"])
        goal = shelf.empty("clean")
        seeds = shelf.put_prompts("seeds")
        made = shelf.empty("made", DataFormat.PROMPT_RESPONSE)
        found = programs.run(
            "qianfan_cleaning",
            source.id,
            goal.id,
            seeds.id,
            made.id,
            environ={
                "QIANFAN_BASE_URL": server.base_url,
                "QIANFAN_CONSOLE_API_BASE_URL": server.base_url,
                "QIANFAN_ACCESS_KEY": server.access_key,
                "QIANFAN_SECRET_KEY": server.secret_access_key,
            },
        )
        assert shelf.samples(goal.id)[0].text == "the same words "
        assert [sample.text for sample in shelf.samples(found["new"])] == ["the same words ", "one"]
    assert found["ended"] == goal.id
    detail = found["detail"]
    assert (detail["processStatus"], detail["result"]["remaining_entity"]) == (2, 1)
    assert found["list"]["items"][0]["etlStrId"] == found["task"]
    assert found["deleted"] is True
    assert found["task"] in found["gone"]
    assert (found["processed"], found["operators"]) == (True, 17)
    assert found["augment"] is True
    assert found["augmented"]["status"] == 3
    assert found["augment deleted"] == {"success": True}
