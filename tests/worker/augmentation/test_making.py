"""Augmentation without a server: what is asked, what is kept, and that a second run with the same answers makes the same."""

import json
import random
import re
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from yangfan.scorers import base as scorers
from yangfan.scorers import rouge
from yangfan.worker.augmentation.journal import Journal
from yangfan.worker.augmentation.making import FRUITLESS, Made, Maker, Seed, Settings
from yangfan.worker.augmentation.similarity import Pool, rouge_l

SEEDS = [
    Seed("row-0", "用三句话介绍长城的历史。"),
    Seed("row-1", "写一首关于秋天的诗。"),
    Seed("row-2", "解释什么是梯度下降。"),
    *(
        Seed(f"row-{row}", f"{'算写读听画'[row % 5] * 4}{row}{'道篇段首'[row % 4] * 5}")
        for row in range(3, 20)
    ),
]
TOPICS = [f"{one}{two}" for one in "茶火海月" for two in "叶车洋亮球"]


class Model:
    """Answers each question with instructions that no other answer has."""

    def __init__(self, fail_at: int = 10**9) -> None:
        self.asked: list[str] = []
        self._lock = threading.Lock()
        self._fail_at = fail_at

    def __call__(self, text: str, temperature: float | None) -> str:
        with self._lock:
            self.asked.append(text)
            if len(self.asked) > self._fail_at:
                raise KeyboardInterrupt
        if temperature is None:
            return f"回答：{text}"
        letters = random.Random(text)
        lines = [
            f"{place}. 请谈谈" + "".join(chr(letters.randrange(0x4E00, 0x9FA5)) for _ in range(12))
            for place in range(1, 6)
        ]
        return "\n".join(["<think>好的</think>当然：", *lines])


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Callable[[], Journal]]:
    opened: list[Journal] = []

    def one() -> Journal:
        opened.append(Journal(tmp_path / "answers.jsonl"))
        return opened[-1]

    yield one
    for each in opened:
        each.close()


def test_rouge_l_is_that_of_the_scorer() -> None:
    scorer = rouge.create(rouge.Parameters(), None)
    texts = [
        "写一首关于秋天的诗",
        "写一首关于春天的长诗！",
        "Write a POEM, please",
        "a poem to write",
        "",
        "1 2 3 4",
    ]
    for one in texts:
        for other in texts:
            sample = scorers.Sample(prompt="", answer=one, references=(other,))
            assert rouge_l(one, other) == pytest.approx(scorer.score(sample).value)


def test_the_nearest_is_the_one_with_the_highest_rouge_l() -> None:
    pool = Pool()
    assert pool.nearest("anything") == ("", 0.0)
    texts = {
        f"t{row}": text for row, text in enumerate(["the cat sat", "a dog ran far", "猫坐在垫子上"])
    }
    for id, text in texts.items():
        pool.add(id, text)
    for asked in ("the cat ran", "a dog ran", "猫坐着", "nothing alike"):
        expected = max(rouge_l(asked, text) for text in texts.values())
        found = pool.nearest(asked)
        assert found.similarity == pytest.approx(expected)
        assert not expected or rouge_l(asked, texts[found.id]) == pytest.approx(expected)


def test_instructions_are_new_answered_and_say_where_they_come_from(
    journal: Callable[[], Journal],
) -> None:
    model = Model()
    maker = Maker(Settings(model="m", number=12), SEEDS, model, journal(), "at-1")
    made = list(maker)
    assert [item.id for item in made] == [f"at-1-{row}" for row in range(12)]
    pool = Pool()
    for seed in SEEDS:
        pool.add(*seed)
    for item in made:
        assert item.response == f"回答：{item.prompt}"
        nearest = pool.nearest(item.prompt)
        assert nearest.similarity < 0.7
        assert item.provenance["similarity"] == pytest.approx(nearest.similarity, abs=1e-4)
        assert (item.provenance["method"], item.provenance["model"]) == ("self-instruct", "m")
        assert set(item.provenance["seeds"]) <= {seed.id for seed in SEEDS} | {
            one.id for one in made
        }
        pool.add(item.id, item.prompt)
    instructs = [text for text in model.asked if text.startswith("你要为")]
    assert all(sum(seed.prompt in text for seed in SEEDS) >= 2 for text in instructs)
    assert maker.counts.made == 12
    assert maker.counts.asked == len(model.asked)


def test_what_is_too_like_another_is_left_out_and_counted(journal: Callable[[], Journal]) -> None:
    def repeats(text: str, temperature: float | None) -> str:
        del text, temperature
        return "1. 写一首关于秋天的诗。\n2. 请写一首关于秋天的诗吧\n3. 计算一千以内的全部质数"

    maker = Maker(
        Settings(model="m", number=9, with_responses=False, at_once=1),
        SEEDS,
        repeats,
        journal(),
        "x",
    )
    assert [item.prompt for item in maker] == ["计算一千以内的全部质数"]
    assert maker.counts.gave_up
    assert maker.counts.rejected == 2 + 3 * FRUITLESS


def test_an_answer_without_anything_is_counted_and_nothing_is_made_up(
    journal: Callable[[], Journal],
) -> None:
    maker = Maker(
        Settings(model="m", number=3, at_once=2), SEEDS, lambda text, warm: " \n…", journal(), "x"
    )
    assert list(maker) == []
    assert maker.counts.unusable == maker.counts.asked >= FRUITLESS


def test_strategies_make_their_counts_and_rounds_build_on_each_other(
    journal: Callable[[], Journal],
) -> None:
    asked: list[str] = []

    def evolve(text: str, temperature: float | None) -> str:
        del temperature
        asked.append(text)
        number = len(asked)
        return f"指令：第{number}题，{TOPICS[number] * 6}，{re.sub('[^a-z]', '', text)}"

    settings = Settings(
        model="m",
        evolution={"addConstraint": 2, "direction": 1},
        iterations=2,
        context="茶文化",
        with_responses=False,
        at_once=1,
    )
    made = list(Maker(settings, SEEDS, evolve, journal(), "x"))
    assert [item.provenance["method"] for item in made] == 2 * ["addConstraint"] + ["direction"] + (
        2 * ["addConstraint"] + ["direction"]
    )
    assert [item.provenance["seeds"] for item in made[:3]] == [["row-0"], ["row-1"], ["row-0"]]
    assert [item.provenance["seeds"] for item in made[3:]] == [["x-0"], ["x-1"], ["x-0"]]
    assert all("与下列背景有关：茶文化。" in text for text in asked)
    assert not made[0].prompt.startswith("指令")


def test_a_killed_run_asks_no_answered_question_again_and_makes_the_same(
    tmp_path: Path, journal: Callable[[], Journal]
) -> None:
    settings = Settings(model="m", number=20, at_once=2)
    whole = Journal(tmp_path / "whole.jsonl")
    expected = list(Maker(settings, SEEDS, Model(), whole, "x"))
    whole.close()
    asked: list[str] = []
    made: list[Made] = []
    for stop in (1, 4, 7, 9, 10**9):
        model = Model(stop)
        made.clear()
        try:
            made += Maker(settings, SEEDS, model, journal(), "x")
        except KeyboardInterrupt:
            # One question of the round may have failed, the others have their answers.
            asked += model.asked[:stop]
            continue
        asked += model.asked
    assert made == expected
    assert len(asked) == len(set(asked))


def test_a_line_that_was_cut_off_is_asked_again(tmp_path: Path) -> None:
    file = tmp_path / "answers.jsonl"
    journal = Journal(file)
    journal.put("a", "1")
    journal.put("b", "2")
    journal.close()
    file.write_bytes(file.read_bytes()[:-3])
    again = Journal(file)
    assert (again.get("a"), again.get("b"), len(again)) == ("1", None, 1)
    again.put("b", "3")
    again.close()
    assert [json.loads(line) for line in file.read_text("utf-8").splitlines()] == [
        ["a", "1"],
        ["b", "3"],
    ]
