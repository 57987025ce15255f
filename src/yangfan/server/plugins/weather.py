"""Questions about the weather: the place, the provider, and what a model is told. Without data nothing is said of the weather."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from yangfan.engines.base import ChatRequest, Message, Sampling
from yangfan.errors import BadReply, FetchError
from yangfan.plugins.knowledge_base.answering import is_chinese
from yangfan.plugins.weather import forecast
from yangfan.plugins.weather.places import place_in
from yangfan.protocol.v1.plugins import WEATHER
from yangfan.server.plugins.types import Prepared

if TYPE_CHECKING:
    from yangfan.egress import Egress

TIMEOUT_SECONDS = 15.0

_ASK_CHINESE = "请根据下面的天气数据回答问题，并说明数据来源和时间。\n\n{data}\n来源：{source}\n\n问题：{question}"
_ASK_ENGLISH = "Answer the question from the weather data below, and name its source and time.\n\n{data}\nSource: {source}\n\nQuestion: {question}"


class Weather:
    """Turns a question about the weather into what a model is asked.

    Args:
        egress: The guard of outbound fetches.
        base_url: Of a provider in Open-Meteo's shape.
        key: The provider's key, if it wants one.
    """

    def __init__(self, egress: Egress, base_url: str, key: str) -> None:
        self._egress = egress
        self._base_url = base_url
        self._key = key

    async def __call__(self, question: str) -> Prepared:
        """What is made of a question."""
        chinese = is_chinese(question)
        place = place_in(question)
        meta: dict[str, Any] = {"plugin_id": WEATHER, "request": {"query": question}}
        if place is None:
            text = (
                "请说明想查询哪个城市的天气，例如“北京明天天气怎么样”。"
                if chinese
                else 'Name the city whose weather you want, such as "weather in London tomorrow".'
            )
            return Prepared(None, text, meta={**meta, "response": {"retCode": 1, "message": text}})
        meta["request"]["place"] = place.english
        try:
            found = await self._ask(forecast.address(self._base_url, self._key, place))
        except (FetchError, BadReply):
            text = (
                "天气服务暂时不可用，请稍后再试。"
                if chinese
                else "The weather provider cannot be reached now; try again later."
            )
            return Prepared(None, text, meta={**meta, "response": {"retCode": 2, "message": text}})
        data = forecast.told(place, found, chinese=chinese)
        template = _ASK_CHINESE if chinese else _ASK_ENGLISH
        asked = template.format(data=data, source=self._base_url, question="") + question
        meta["response"] = {"retCode": 0, "message": "", "result": data, "source": self._base_url}
        request = ChatRequest((Message("user", asked),), Sampling())
        return Prepared(request, "", (data,), meta)

    async def _ask(self, url: str) -> forecast.Forecast:
        async with self._egress.open(
            url, max_bytes=forecast.MAX_BYTES, timeout_seconds=TIMEOUT_SECONDS
        ) as response:
            content = await response.read()
            if response.status != 200:
                raise BadReply(f"the provider answered {response.status}")
        return forecast.read(content)
