"""Extensions are found again when the packages that bring them change."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from yangfan import extensions

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

GROUP = "yangfan.operators"


def test_a_package_that_is_installed_later_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    before = extensions.points(GROUP)
    assert "late" not in before.names
    # Where nothing has changed, nothing is read.
    assert extensions.points(GROUP) is before

    facts = tmp_path / "late-1.0.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: late\nVersion: 1.0\n")
    (facts / "entry_points.txt").write_text(f"[{GROUP}]\nlate = late\n")
    # Whatever the grain of the file system's clock.
    os.utime(tmp_path, (2_000_000_000, 2_000_000_000))
    assert "late" in extensions.points(GROUP).names
    assert "late" in extensions.names(GROUP)
