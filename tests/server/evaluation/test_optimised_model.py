"""A real model at a task with a known answer, before and after its prompt was searched for (specification D.13)."""

from __future__ import annotations

import json
import random
from typing import TYPE_CHECKING, Any

import pytest
from tests.conftest import MODEL, serving

import yangfan

if TYPE_CHECKING:
    from pathlib import Path

CITIES = (
    "Berlin", "Lisbon", "Oslo", "Nairobi", "Lima", "Osaka", "Quito", "Riga", "Perth", "Cairo",
    "Hanoi", "Turin", "Dakar", "Izmir", "Bergen", "Porto", "Tunis", "Busan", "Davos", "Malmo",
)  # fmt: skip
UNSEEN_CITIES = (
    "Vienna", "Madrid", "Havana", "Accra", "Kyoto", "Seoul", "Bogota", "Cardiff", "Delhi", "Basel",
)  # fmt: skip
"""Those of the messages that decide whether it got better: no example holds one."""

NAMES = ("Anna", "Boris", "Chen", "Dora", "Emil", "Fatma", "Goran", "Hiro", "Ines", "Jonas")
GOODS = ("lamps", "chairs", "ropes", "sails", "drums", "bricks", "clocks", "boots", "maps", "pumps")
FORMS = (
    "{name} of {city} ordered {count} {goods} on Monday.",
    "Please send {count} {goods} to our office in {city}. Regards, {name}",
    "Invoice {count}: {goods}, delivered to {name}, {city}.",
)
FIRST_PROMPT = "Which city is in this message? {input}"
SEARCHED, HELD_OUT = 24, 40
SEED = 11
END_SECONDS = 1200


def samples(seed: int, count: int, cities: tuple[str, ...]) -> bytes:
    """Messages, and the city in each."""
    draw = random.Random(seed)
    lines: list[dict[str, Any]] = []
    for _ in range(count):
        city = draw.choice(cities)
        text = draw.choice(FORMS).format(
            name=draw.choice(NAMES), city=city, count=draw.randint(2, 99), goods=draw.choice(GOODS)
        )
        lines.append({"prompt": text, "response": city})
    return "\n".join(map(json.dumps, lines)).encode()


def searched(home: Path, cache: Path) -> tuple[Any, list[tuple[str, float, float, float]]]:
    """What the search came to, and the figures of both prompts on messages that it never saw."""
    # One answer at a time: what else is in a batch moves a model's last bits.
    environ = {"YANGFAN_BATCH_AT_ONCE": "1", "YANGFAN_MODEL_STORE": str(cache)}
    with (
        serving(home, models=[MODEL], environ=environ) as server,
        yangfan.Client(
            server.base_url,
            bearer=server.bearer,
            access_key=server.access_key,
            secret_access_key=server.secret_access_key,
        ) as client,
    ):
        seen = client.files.upload(samples(1, SEARCHED, CITIES), "evals", name="seen.jsonl").id
        made = client.prompts.optimize(
            FIRST_PROMPT, model=MODEL, dataset=seen, scorer="f1", rounds=6, seed=SEED
        )
        found = client.prompts.wait_optimization(made.id, timeout_seconds=END_SECONDS)
        assert found.state == "done", found
        unseen = samples(2, HELD_OUT, UNSEEN_CITIES)
        prompts = {"before": FIRST_PROMPT, "after": found.optimized}
        id = client.evaluations.create(
            "before and after",
            dataset=client.files.upload(unseen, "evals", name="unseen.jsonl").id,
            models=[
                {
                    "modelId": MODEL,
                    "name": name,
                    "promptTemplate": prompt,
                    "temperature": 0.01,
                    "maxTokens": 64,
                    "seed": SEED,
                }
                for name, prompt in prompts.items()
            ],
            scorers=["f1"],
        )
        client.evaluations.wait(id, timeout_seconds=END_SECONDS)
        table = [
            (model.name, figure.value or 0.0, figure.low or 0.0, figure.high or 0.0)
            for model in client.evaluations.report(id).models
            for figure in model.figures.values()
        ]
    return found, table


@pytest.mark.large
@pytest.mark.model
@pytest.mark.timeout(4 * END_SECONDS)
def test_a_searched_prompt_scores_higher_on_messages_that_the_search_never_saw(
    tmp_path: Path,
    model_cache: Path,
    model_path: Path,
    capsys: pytest.CaptureFixture[str],
):
    assert model_path.is_file()
    found, table = searched(tmp_path / "one", model_cache)
    with capsys.disabled():
        print(f"\n{HELD_OUT} messages, {found.answers} answers asked for\n{'':8}   F1 (95 %)")
        for name, value, low, high in table:
            print(f"{name:8}{value:8.3f} ({low:.3f} to {high:.3f})")
        for tried in found.search:
            value = "-" if tried.value is None else f"{tried.value:.3f}"
            print(f"{tried.change or 'given':18}{value:>8} {tried.wrong}")
        print(found.optimized)
    (_, _, _, before_high), (_, _, after_low, _) = table
    assert after_low > before_high
    again, same = searched(tmp_path / "two", model_cache)
    assert again.search == found.search
    assert same == table
