"""What a provider in Open-Meteo's shape is asked and answers (https://open-meteo.com/en/docs), and what a model is told of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import msgspec

from yangfan.errors import BadReply
from yangfan.plugins.weather.places import facts

if TYPE_CHECKING:
    from yangfan.plugins.weather.places import Place

DAYS = 7
MAX_BYTES = 256 * 1024


class Current(msgspec.Struct):
    """The weather now, as the provider measured or computed it at `time`."""

    time: str
    temperature_2m: float
    weather_code: int
    relative_humidity_2m: float | None = None
    wind_speed_10m: float | None = None


class Daily(msgspec.Struct):
    """The days to come, one entry a day in each list."""

    time: list[str]
    temperature_2m_max: list[float | None]
    temperature_2m_min: list[float | None]
    weather_code: list[int | None]
    precipitation_probability_max: list[float | None] = []


class Forecast(msgspec.Struct):
    """What the provider answers; degrees Celsius, kilometres an hour, per cent."""

    current: Current
    daily: Daily
    timezone: str = ""


def address(base_url: str, key: str, place: Place) -> str:
    """Where to ask for a place's weather."""
    query: dict[str, Any] = {
        "latitude": place.latitude,
        "longitude": place.longitude,
        "current": "temperature_2m,relative_humidity_2m,weather_code,wind_speed_10m",
        "daily": "weather_code,temperature_2m_max,temperature_2m_min,precipitation_probability_max",
        "timezone": "auto",
        "forecast_days": DAYS,
    }
    if key:
        query["apikey"] = key
    return f"{base_url.rstrip('/')}/v1/forecast?{urlencode(query)}"


def read(content: bytes) -> Forecast:
    """A provider's answer.

    Raises:
        BadReply: It is none.
    """
    try:
        return msgspec.json.decode(content, type=Forecast)
    except msgspec.MsgspecError as error:
        raise BadReply(f"the provider's answer is no forecast: {error}") from None


def told(place: Place, forecast: Forecast, *, chinese: bool) -> str:
    """A forecast in lines, in Chinese or English."""
    name = place.chinese if chinese else place.english
    now = forecast.current
    if chinese:
        lines = [
            f"{name}，{now.time}（{forecast.timezone}）：{_words(now.weather_code, chinese=True)}，"
            f"气温 {now.temperature_2m:g}℃{_part('，湿度 {:g}%', now.relative_humidity_2m)}"
            f"{_part('，风速 {:g} km/h', now.wind_speed_10m)}"
        ]
    else:
        lines = [
            f"{name}, {now.time} ({forecast.timezone}): {_words(now.weather_code, chinese=False)}, "
            f"{now.temperature_2m:g} °C{_part(', humidity {:g} %', now.relative_humidity_2m)}"
            f"{_part(', wind {:g} km/h', now.wind_speed_10m)}"
        ]
    daily = forecast.daily
    chances = [*daily.precipitation_probability_max, *[None] * len(daily.time)]
    for day, low, high, code, chance in zip(
        daily.time,
        daily.temperature_2m_min,
        daily.temperature_2m_max,
        daily.weather_code,
        chances,
        strict=False,
    ):
        if low is None or high is None:
            continue
        weather = _words(code, chinese=chinese)
        if chinese:
            lines.append(
                f"{day}：{weather}，{low:g} 至 {high:g}℃{_part('，降水概率 {:g}%', chance)}"
            )
        else:
            lines.append(
                f"{day}: {weather}, {low:g} to {high:g} °C{_part(', chance of rain {:g} %', chance)}"
            )
    return "\n".join(lines)


def _words(code: int | None, *, chinese: bool) -> str:
    names = facts().codes.get(-1 if code is None else code)
    if names is None:
        return "天气未知" if chinese else "weather unknown"
    return names[0] if chinese else names[1]


def _part(text: str, value: float | None) -> str:
    return "" if value is None else text.format(value)
