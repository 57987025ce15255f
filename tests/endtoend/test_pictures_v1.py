"""Pictures in v1 from the demo model behind a real server, through our SDK with the keys of an application."""

from __future__ import annotations

from tests.conftest import Server

import yangfan
from yangfan.server import pictures


def test_v1_draws_the_same_from_the_same_seed(shapes_server: Server) -> None:
    server = shapes_server
    with yangfan.Client(
        server.base_url, api_key=server.api_key, secret_key=server.secret_key, version=1
    ) as client:
        one, two = (
            client.images.generate(
                "a red circle",
                model="sd_xl",
                seed=5,
                n=n,
                size="768x768",
                steps=10,
                style="Anime",
            )
            for n in (1, 2)
        )
    assert one[0].data == two[0].data != two[1].data
    assert pictures.measure(one[0].data) == ("png", 768, 768)
    assert one.usage is not None
    assert one.usage.prompt_tokens > 3
