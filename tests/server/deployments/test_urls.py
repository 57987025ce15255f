"""Addresses in the list of services, as each official SDK reads them."""

from __future__ import annotations

import pytest
from tests.server.conftest import Caller

LIST = "/wenxinworkshop/service/list"
ROOT = "/rpc/2.0/ai_custom/v1/wenxinworkshop/"


@pytest.mark.parametrize(
    ("source", "is_old"),
    [
        ("qianfan_py_sdk_v0.3.12", True),
        ("qianfan_py_sdk_v0.4.0", True),
        ("qianfan_py_sdk_v0.4.1.1", True),
        ("qianfan_py_sdk_v0.4.5", True),
        ("qianfan_py_sdk_v0.4.6", False),
        ("qianfan_py_sdk_v0.4.12.3", False),
        ("qianfan_go_sdk_v0.0.1", False),
        (None, False),
    ],
)
def test_old_versions_of_the_python_package_find_the_address_that_they_cut_at(
    echo: Caller, source: str | None, *, is_old: bool
):
    """qianfan 0.3.x to 0.4.5, resources/llm/base.py, get_latest_supported_models: two segments behind Baidu's own host."""
    told = {} if source is None else {"request-source": source}
    reply = echo.ask("POST", LIST, {}, {**echo.signed("POST", LIST), **told}).json
    urls = [service["url"] for service in reply["result"]["common"]]
    here = f"http://{echo.host}:{echo.port}{ROOT}"
    front = "https://aip.baidubce.com" + ROOT if is_old else here
    assert urls
    for url in urls:
        kind, suffix = url.removeprefix(front).split("/")
        assert kind in {"chat", "completions", "embeddings", "text2image", "image2text", "reranker"}
        assert suffix
