"""The model of characters: its arithmetic written out, and text told from no text."""

import math
import random

import numpy as np
import pytest
from tests.operators.conftest import Keep, Measure
from tests.operators.test_filters import texts_made_up

from yangfan.errors import ConfigurationError
from yangfan.operators import _ngrams, base
from yangfan.operators._texts import Texts

CHINESE = [
    "系统安装完成以后，用户可以通过命令行查看当前运行的进程，并根据需要修改配置文件。",
    "今天下午我们在公园里散步，看到很多孩子在草地上玩耍，大家都非常高兴。",
    "如果网络连接出现问题，请先检查网线是否插好，然后重新启动路由器。",
]
ENGLISH = [
    "The administrator can install additional packages and change the configuration of the system.",
    "We walked through the park in the afternoon and saw many children who played on the grass.",
    "If the connection to the network is lost, check the cable first and then restart the router.",
]


def mixed(text: str) -> str:
    """The same characters in no order."""
    characters = list(text)
    random.Random(3).shuffle(characters)
    return "".join(characters)


def test_text_stays_and_characters_in_no_order_go(keep: Keep) -> None:
    assert all(keep("filter_check_perplexity", *CHINESE, *ENGLISH))
    noise = [
        *(mixed(text) for text in ENGLISH),
        "xq zvkj wqpt hhgf zzxc bnmq ptlk vbxz qqwr",
        "锟斤拷烫烫烫屯屯屯锘垮浜鐨勬暟鎹",
        "鼌龘靐齉爩籱麤灪龖厵滟爨癵驫麣纞虋",
    ]
    assert not any(keep("filter_check_perplexity", *noise))


@pytest.mark.parametrize("language", ["zh", "en"])
def test_characters_in_no_order_are_always_less_likely(measure: Measure, language: str) -> None:
    texts = CHINESE if language == "zh" else ENGLISH
    for text in texts:
        plain, shuffled = measure("filter_check_perplexity", text, mixed(text), language=language)
        assert shuffled > 2 * plain


@pytest.mark.parametrize("language", ["zh", "en"])
def test_costs_equal_a_back_off_model_written_out(language: str) -> None:
    with np.load(_ngrams.file_of(language), allow_pickle=False) as arrays:
        floor = round(float(arrays["floor"]) * 16) / 16
        order = sum(name.startswith("keys") for name in arrays.files)
        costs = {
            (length, int(key)): (int(cost) / 16, int(back) / 16)
            for length in range(1, order + 1)
            for key, cost, back in zip(
                *(arrays[f"{name}{length}"] for name in ("keys", "cost", "back")), strict=True
            )
        }

    def known(gram: str) -> tuple[float, float] | None:
        return costs.get((len(gram), int(_ngrams.keys_of([gram])[0])))

    def cost(history: str, character: str) -> float:
        found = known(history + character)
        if found is not None:
            return found[0]
        if not history:
            return floor
        context = known(history)
        return (context[1] if context else 0.0) + cost(history[1:], character)

    texts = [*texts_made_up(12, seed=9), CHINESE[0], ENGLISH[0], "ＡB１2　x\r\n y"]
    ours = _ngrams.model(language).nats(Texts(texts)).tolist()
    for text, value in zip(texts, ours, strict=True):
        plain = _ngrams.normal(text)
        expected = [
            cost(plain[max(0, place - order + 1) : place], character)
            for place, character in enumerate(plain)
        ]
        assert value == pytest.approx(
            math.fsum(expected) / len(expected) if expected else 0.0, abs=1e-9
        )


def test_texts_are_read_without_case_digits_and_repeated_space() -> None:
    assert _ngrams.normal("Ab  12\t\n３　Ｃ") == "ab 00 0 ｃ"
    # A space at the end of one text takes none from the beginning of the next.
    assert _ngrams.plain(Texts(["a ", " b", "", " c"])).strings == ["a ", " b", "", " c"]


def test_a_language_without_a_model_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="zh, en"):
        base.create("filter_check_perplexity", {}, base.Common("fr"))


def test_nothing_and_the_never_seen_have_a_perplexity(measure: Measure) -> None:
    empty, odd, surrogate = measure("filter_check_perplexity", "", "\U0001f600" * 50, "\ud800")
    assert empty == 1.0
    assert 1110 < odd <= 1e9
    assert surrogate > 1110
