from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, f1_score, precision_score, recall_score

from sensorium.core import SensoriumError
from sensorium.evals.metrics.hallucination import chair, mentions, pope, says_yes

NAMES = {"dog": "dog", "dogs": "dog", "puppy": "dog", "hot dog": "hot dog", "Hot dogs": "hot dog", "tv": "television"}


def test_chair_by_hand() -> None:
    """Caption 0: one absent of three mentions; caption 1: none; caption 2 mentions nothing."""
    got = chair([["dog", "cat", "dog"], ["car"], []], [{"dog"}, ["car", "bus"], {"bus"}])
    assert got == (1 / 4, 1 / 3)
    assert chair([["cat", "cat"]], [set()]) == (1, 1)  # repeats count
    nothing = chair([[]], [{"dog"}])
    assert np.isnan(nothing.instance) and nothing.sentence == 0
    assert np.isnan(chair([], [])).all()


def test_mentions_take_the_longest_form() -> None:
    assert mentions("A puppy eats a hot dog, two Hot Dogs; a dog's TV.", NAMES) == [
        "dog", "hot dog", "hot dog", "television",
    ]  # fmt: skip
    assert mentions("Hotdog doggy", NAMES) == [] == mentions("", NAMES) == mentions("dog", {})
    assert mentions("dogs dogs", NAMES) == ["dog", "dog"]


@pytest.mark.parametrize(
    ("answer", "yes"),
    [
        ("Yes, there is.", True),
        ("No, there is not.", False),
        ("no", False),
        ("There is a dog. No cat.", True),  # the first sentence
        ("It is not", False),
        ("Nothing known", True),  # whole words
        ("NO", True),  # as in the reference, which knows only no and No
        ("", True),
    ],
)
def test_answers_are_read_as_pope_does(answer: str, yes: bool) -> None:
    assert says_yes(answer) is yes


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=12))
@settings(max_examples=60, deadline=None)
def test_pope_is_sklearns(items: list[tuple[bool, bool]]) -> None:
    said, truth = [s for s, _ in items], [t for _, t in items]
    want = [accuracy_score(truth, said)]
    want += [f(truth, said, zero_division=np.nan) for f in (precision_score, recall_score, f1_score)]
    assert list(pope(said, truth)) == pytest.approx([*want, np.mean(said)], nan_ok=True)


def test_pope_of_nothing_is_nan_and_lengths_are_compared() -> None:
    assert np.isnan(pope([], [])).all()
    with pytest.raises(SensoriumError, match="1 answers and 2 truths"):
        pope([1], [1, 0])
    with pytest.raises(SensoriumError, match="1 captions and 2 sets of objects"):
        chair([["a"]], [{"a"}, {"b"}])
