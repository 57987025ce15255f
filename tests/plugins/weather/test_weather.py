"""Places, and what is told of a forecast."""

from __future__ import annotations

import json

import pytest

from yangfan.errors import BadReply
from yangfan.plugins.weather.forecast import address, read, told
from yangfan.plugins.weather.places import facts, place_in

ANSWER = {
    "timezone": "Asia/Shanghai",
    "current": {
        "time": "2026-11-27T10:00",
        "temperature_2m": 3.5,
        "weather_code": 61,
        "relative_humidity_2m": 80,
    },
    "daily": {
        "time": ["2026-11-27", "2026-11-28"],
        "temperature_2m_max": [6.0, None],
        "temperature_2m_min": [-1.0, 0.0],
        "weather_code": [71, 0],
        "precipitation_probability_max": [90, 10],
    },
}


@pytest.mark.parametrize(
    ("question", "place"),
    [
        ("北京明天天气怎么样？", "Beijing"),
        ("weather in new york", "New York"),
        ("Is it raining in Xi'an?", "Xi'an"),
        ("今天天气如何", None),
        ("Parisian fashion", None),
        ("weather in San Francisco, not Rome", "San Francisco"),
    ],
)
def test_the_place_of_a_question(question: str, place: str | None) -> None:
    found = place_in(question)
    assert (None if found is None else found.english) == place


def test_the_gazetteer() -> None:
    places = facts().places
    assert len(places) >= 100
    assert (
        len({place.english for place in places})
        == len({place.chinese for place in places})
        == len(places)
    )
    assert all(-90 <= place.latitude <= 90 and -180 <= place.longitude <= 180 for place in places)


def test_a_forecast_in_both_languages() -> None:
    place = place_in("北京")
    assert place is not None
    forecast = read(json.dumps(ANSWER).encode())
    assert told(place, forecast, chinese=True) == (
        "北京，2026-11-27T10:00（Asia/Shanghai）：小雨，气温 3.5℃，湿度 80%\n2026-11-27：小雪，-1 至 6℃，降水概率 90%"
    )
    assert told(place, forecast, chinese=False) == (
        "Beijing, 2026-11-27T10:00 (Asia/Shanghai): light rain, 3.5 °C, humidity 80 %\n"
        "2026-11-27: light snow, -1 to 6 °C, chance of rain 90 %"
    )
    assert "latitude=39.9042" in address("https://host/", "k y", place)
    assert address("https://host/", "k y", place).endswith("apikey=k+y")


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b'{"current": 1, "daily": 2}', b"\xff"])
def test_what_is_no_forecast(content: bytes) -> None:
    with pytest.raises(BadReply, match="no forecast"):
        read(content)
