"""Near-duplicates: against a simhash and a search written out in plain Python, and beyond what memory holds."""

import random
from pathlib import Path

import numpy as np
import pytest
from tests.operators.conftest import Keep, Measure
from tests.operators.test_filters import texts_made_up

from yangfan.operators import _near, base
from yangfan.operators._near import FAR, Near
from yangfan.operators._texts import Texts
from yangfan.operators.deduplication_simhash import Simhash, fingerprints


def plain_fingerprint(hashes: list[int]) -> int:
    """A simhash as the paper words it."""
    return sum(
        1 << bit for bit in range(64) if sum(1 if value >> bit & 1 else -1 for value in hashes) > 0
    )


def plain_search(prints: list[int], distance: int) -> list[int]:
    """The distance of each to the nearest earlier one that stays, or 64 where it stays."""
    kept: list[int] = []
    found: list[int] = []
    for one in prints:
        nearest = min(((one ^ other).bit_count() for other in kept), default=64)
        if nearest > distance:
            kept.append(one)
            nearest = 64
        found.append(nearest)
    return found


def near_prints(number: int, seed: int) -> list[int]:
    """Fingerprints of which many are a few bits from another one."""
    made = random.Random(seed)
    prints = [made.getrandbits(64)]
    while len(prints) < number:
        if made.random() < 0.4:
            prints.append(made.getrandbits(64))
            continue
        changed = made.choice(prints)
        for bit in made.sample(range(64), made.randrange(0, 9)):
            changed ^= 1 << bit
        prints.append(changed)
    return prints


def test_fingerprints_equal_a_simhash_written_out() -> None:
    texts = Texts(texts_made_up(200, seed=11))
    words = texts.words
    hashes = [
        words.hashes[words.offsets[row] : words.offsets[row + 1]].tolist()
        for row in range(len(texts))
    ]
    ours = fingerprints(texts).tolist()
    assert [ours[row] for row, found in enumerate(hashes) if found] == [
        plain_fingerprint(found) for found in hashes if found
    ]


def test_a_text_of_very_many_words_has_its_fingerprint_too() -> None:
    texts = Texts(["alpha beta gamma " * 30_000, "alpha beta gamma"])
    first, second = fingerprints(texts).tolist()
    assert first == second


@pytest.mark.parametrize("distance", [4, 5, 6])
@pytest.mark.parametrize("size", [1, 37, 1000])
def test_the_first_in_order_stays_whatever_the_batches(distance: int, size: int) -> None:
    prints = near_prints(150 if size == 1 else 1000, seed=distance)
    operator = Simhash(Near(distance))
    found: list[int] = []
    for start in range(0, len(prints), size):
        batch = np.array(prints[start : start + size], np.uint64)
        keep, values = operator.decide(batch)
        assert (values[keep] == 64).all()
        found += values.astype(int).tolist()
    operator.close()
    assert found == plain_search(prints, distance)


@pytest.mark.parametrize("most", [_near.MOST_PAIRS, 2000])
def test_the_first_in_order_stays_in_a_crowd(most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """More pairs of near fingerprints in a batch than are listed at once."""
    monkeypatch.setattr(_near, "MOST_PAIRS", most)
    made = random.Random(most)
    prints = near_prints(300, seed=1)
    for _ in range(1200):
        bits = made.sample(range(12), made.randrange(0, 6))
        prints.append(prints[made.randrange(3)] ^ sum(1 << bit for bit in bits))
    operator = Simhash(Near(4))
    keep, values = operator.decide(np.array(prints, np.uint64))
    operator.close()
    assert values.astype(int).tolist() == plain_search(prints, 4)
    assert (values[keep] == 64).all()


def test_texts_that_nearly_repeat_go_and_their_distance_is_told(
    keep: Keep, measure: Measure
) -> None:
    text = (
        "千帆大模型平台提供数据管理、模型训练、模型评估、推理服务、提示词工程等全流程工具链，帮助企业快速落地应用。"
        * 4
    )
    other = "今天天气很好，我们一起去公园散步，看见许多人在放风筝，也有人在湖边钓鱼。"
    assert keep(
        "deduplication_simhash", text, other, text + "！", text.replace("快速", "迅速", 1)
    ) == [
        True,
        True,
        False,
        False,
    ]
    assert measure("deduplication_simhash", text, text) == [64.0, 0.0]


def test_texts_without_words_are_near_only_their_equals(keep: Keep) -> None:
    assert keep("deduplication_simhash", "", "。。。", "", "！！", "。。。") == [
        True,
        True,
        False,
        True,
        False,
    ]


def test_an_index_on_disk_answers_like_one_in_memory_and_goes_on_where_it_was_saved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_near, "IN_MEMORY", 30)
    # A few tables stay mapped, the pages of the others are let go behind each look.
    monkeypatch.setattr(_near, "MAPPED_BYTES", 100_000)
    prints = np.array(near_prints(3000, seed=5), np.uint64)
    on_disk, in_memory = Near(4, tmp_path), Near(4)
    for start in range(0, 2000, 20):
        for near in (on_disk, in_memory):
            near.add(prints[start : start + 20])
    assert list(tmp_path.glob("run-*"))
    asked = prints[1000:]
    expected = in_memory.distances(asked)
    assert (expected == FAR).any()
    assert (expected == 0).sum() >= 1000
    assert on_disk.distances(asked).tolist() == expected.tolist()
    saved = on_disk.save()
    # What comes after the save is gone after a crash.
    on_disk.add(prints[2500:])
    on_disk.close()

    again = Near(4, tmp_path)
    again.restore(saved)
    assert len(again) == len(in_memory) == 2000
    assert again.distances(asked).tolist() == expected.tolist()
    again.close()
    in_memory.close()
    assert not list(tmp_path.glob("run-*"))


@pytest.mark.parametrize("distance", [4, 6])
def test_with_hardly_any_memory_the_same_texts_go(tmp_path: Path, distance: int) -> None:
    """Many times more fingerprints than the limit has room for, and a kill in the middle."""
    memory_bytes = _near.LEAST_BYTES
    prints = np.array(near_prints(20_000, seed=distance), np.uint64)
    small = Simhash(Near(distance, tmp_path, memory_bytes))
    large = Simhash(Near(distance))
    most_held = 0
    for start in range(0, len(prints), 1_000):
        if start == 10_000:
            saved = small.save()
            small.close()
            small = Simhash(Near(distance, tmp_path, memory_bytes))
            small.restore(saved)
        batch = prints[start : start + 1_000]
        found, wanted = small.decide(batch), large.decide(batch)
        assert found[0].tolist() == wanted[0].tolist()
        assert found[1].tolist() == wanted[1].tolist()
        most_held = max(most_held, small.held_bytes)
    in_all = large.held_bytes
    small.close()
    large.close()
    assert most_held <= memory_bytes
    assert in_all > 20 * memory_bytes
    assert {file.name for file in tmp_path.iterdir()} == {"fingerprints"}


def test_the_operator_saves_and_restores(tmp_path: Path) -> None:
    common = base.Common(folder=tmp_path)
    first = base.create("deduplication_simhash", {}, common)
    assert isinstance(first, Simhash)
    texts = Texts(texts_made_up(100, seed=2))
    first(texts)
    state = first.save()
    first.close()
    second = base.create("deduplication_simhash", {}, common)
    assert isinstance(second, Simhash)
    second.restore(state)
    keep = second(texts).keep
    second.close()
    assert keep is not None
    assert not keep.any()
