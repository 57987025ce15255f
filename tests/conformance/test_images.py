"""The published `qianfan` and `openai` packages, unchanged, drawing pictures."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

import pytest
from tests.server.drawing import png

if TYPE_CHECKING:
    from tests.conformance.conftest import Programs  # pyright: ignore[reportMissingImports]
    from tests.conftest import Server  # pyright: ignore[reportMissingImports] - for readers; importlib mode has no packages

MAGIC = b"\x89PNG\r\n\x1a\n".hex()


def test_qianfan_draws(echo_server: Server, programs: Programs) -> None:
    found = programs.run(
        "qianfan_images",
        environ={
            "QIANFAN_BASE_URL": echo_server.base_url,
            "QIANFAN_AK": echo_server.api_key,
            "QIANFAN_SK": echo_server.secret_key,
        },
    )
    assert found["magic"] == [MAGIC, MAGIC]
    assert found["indexes"] == [1, 2]
    assert found["usage"]["total_tokens"] > 3
    assert found["by_model"] == 1
    assert found["async"] == MAGIC
    assert found["too_long"] == 336007


@pytest.mark.parametrize("path", ["/v2", "/v1"])
def test_openai_draws(echo_server: Server, programs: Programs, path: str) -> None:
    environ = {
        "BASE_URL": echo_server.base_url + path,
        "API_KEY": echo_server.bearer,
        "PICTURE": base64.b64encode(png(300, 200)).decode("ascii"),
    }
    found = programs.run("openai_images", environ=environ)
    assert found["magic"] == [MAGIC, MAGIC]
    assert found["tokens"] > 2
    assert found["fetched"] == MAGIC
    assert (found["edited"], found["listed"]) == ([MAGIC, MAGIC], 1)
    assert found["no_picture"] == {"status": 400, "code": "invalid_image_genration_refer_image"}
    assert found["empty"] == {"status": 400, "code": "invalid_image_genration_prompt"}
