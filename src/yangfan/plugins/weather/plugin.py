"""What the plugin `uuid-weatherforecast` does: the place, the provider, and what a model is told. Without data nothing is said of the weather."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from yangfan.errors import BadReply, FetchError
from yangfan.plugins._texts import is_chinese
from yangfan.plugins.base import Outcome
from yangfan.plugins.weather import forecast
from yangfan.plugins.weather.places import place_in

if TYPE_CHECKING:
    from collections.abc import Mapping

    from yangfan.plugins.base import Host

TIMEOUT_SECONDS = 15.0

_NO_PLACE = {
    True: "请说明想查询哪个城市的天气，例如“北京明天天气怎么样”。",
    False: 'Name the city whose weather you want, such as "weather in London tomorrow".',
}
_UNREACHED = {
    True: "天气服务暂时不可用，请稍后再试。",
    False: "The weather provider cannot be reached now; try again later.",
}
_ASK = {
    True: "请根据下面的天气数据回答问题，并说明数据来源和时间。\n\n{data}\n来源：{source}\n\n问题：",
    False: "Answer the question from the weather data below, and name its source and time.\n\n{data}\nSource: {source}\n\nQuestion: ",
}


async def call(inputs: Mapping[str, Any], host: Host) -> Outcome:
    """The weather that `query` asks for."""
    question = inputs["query"]
    chinese = is_chinese(question)
    place = place_in(question)
    request: dict[str, Any] = {"query": question}
    if place is None:
        return _said(_NO_PLACE[chinese], 1, request)
    request["place"] = place.english
    base_url = host.settings["base_url"]
    try:
        found = await _forecast(
            host, forecast.address(base_url, host.settings.get("key", ""), place)
        )
    except (FetchError, BadReply):
        return _said(_UNREACHED[chinese], 2, request)
    data = forecast.told(place, found, chinese=chinese)
    return Outcome(
        f"{data}\n({base_url})",
        prompt=_ASK[chinese].format(data=data, source=base_url) + question,
        sources=(data,),
        request=request,
        response={"retCode": 0, "message": "", "result": data, "source": base_url},
    )


def _said(text: str, code: int, request: Mapping[str, Any]) -> Outcome:
    return Outcome(text, answer=text, request=request, response={"retCode": code, "message": text})


async def _forecast(host: Host, url: str) -> forecast.Forecast:
    answer = await host.fetch(url, max_bytes=forecast.MAX_BYTES, timeout_seconds=TIMEOUT_SECONDS)
    if answer.status != 200:
        raise BadReply(f"the provider answered {answer.status}")
    return forecast.read(answer.content)
