"""The parity gate of pictures, as far as it needs no model that was trained."""

from __future__ import annotations

from pathlib import Path

import pytest

from yangfan.worker import pictures


async def test_an_engine_that_names_no_options_for_32_bits_is_handed_none(tmp_path: Path):
    pytest.importorskip("PIL", reason='pip install "yangfan[diffusers]"')
    pytest.importorskip("numpy", reason='pip install "yangfan[diffusers]"')
    # Echo draws, and refuses options that it does not know, as the engines of others may.
    drawn = await pictures.served("echo", tmp_path, ["a cat", "a dog"], 64, tmp_path)
    assert [picture.shape for picture in drawn] == [(64, 64, 3)] * 2
    assert not (drawn[0] == drawn[1]).all()
