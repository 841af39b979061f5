"""Negatives: mined on train alone, never a true text."""

from __future__ import annotations

from sensorium.data.derive import negatives, sheared
from sensorium.data.words import normal

TEXTS = [
    f"{colour} {thing}, {thing} stuff" for colour in ("red", "blue", "green") for thing in ("car", "house", "apple")
]
TRAIN = [k for k in range(9) if k not in (4, 8)]  # "blue house" and "green apple" are free to be negatives


def other_words(a: str, b: str) -> int:
    """In how many words two heads of equal length differ."""
    return sum(x != y for x, y in zip(a.split(",")[0].split(), b.split(",")[0].split(), strict=True))


def test_swapped_within_slots() -> None:
    found = negatives(TEXTS, TRAIN)
    heads = {normal(TEXTS[k].split(",")[0]) for k in TRAIN}
    near_free = [k for k in range(9) if other_words(TEXTS[k], TEXTS[4]) == 1 or other_words(TEXTS[k], TEXTS[8]) == 1]
    assert [k for k, other in enumerate(found) if other] == near_free
    for text, other in zip(TEXTS, found, strict=True):
        if other is None:
            continue
        head, _, rest = other.partition(",")
        assert normal(head) not in heads and normal(head) != normal(text.split(",")[0])
        assert rest == text.partition(",")[2]
        assert other_words(other, text) == 1
    assert found == negatives(TEXTS, TRAIN)


def test_canary() -> None:
    """A word that only other rows hold is never put into a text, and changes no train row's negative."""
    planted = [*TEXTS, "zyzzyva car, x", "red zyzzyva", "blue zyzzyva"]
    found = negatives(planted, TRAIN)
    assert not any(other and "zyzzyva" in other for other in found[:9])
    assert found[:9] == negatives(TEXTS, TRAIN)
    words = {w for k in TRAIN for w in TEXTS[k].split(",")[0].split()}
    for text, other in zip(planted[9:], found[9:], strict=True):
        added = set((other or "").split(",")[0].split()) - set(text.split(",")[0].split())
        assert added <= words


def test_nothing_to_mine() -> None:
    assert negatives(["one", "two", "a lone text"], [0, 1, 2]) == [None, None, None]
    assert negatives([], []) == []


def test_capitals_follow_the_text() -> None:
    found = negatives(["Red car", "blue car", "red house"], [0, 1, 2])
    assert found[2] == "blue house" and negatives(["Red car", "blue car", "Red house"], [0, 1, 2])[2] == "Blue house"


def test_shearing_cuts_after_as_many_words_as_the_original_has() -> None:
    long = "A big red car, it seems, stands left of the house."
    assert sheared([long, long, "short", long], ["a red car", "one", "three words here", ""]) == [
        "A big red",
        "A",
        "short",
        "",
    ]
    assert sheared(["it's well-made, that"], ["two words"]) == ["it's well-made"]
