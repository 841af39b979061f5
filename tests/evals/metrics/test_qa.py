from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rapidfuzz.distance import Levenshtein
from torchmetrics.functional.text import squad

from sensorium.core import SensoriumError
from sensorium.evals.metrics.qa import (
    anls,
    multiple_choice,
    normalise_squad,
    normalise_vqa,
    read_choice,
    relaxed_accuracy,
    squad_exact,
    squad_f1,
    vqa_accuracy,
)

phrase = st.lists(st.sampled_from(["the", "A", "cat", "Cat!", "an", "é", "dog's", "", "two-one"]), max_size=5).map(
    " ".join
)
OPTIONS = ["a cat", "a black cat", "two dogs", "none"]


def test_squad_by_hand() -> None:
    assert normalise_squad("The  quick, brown-fox. An apple") == "quick brownfox apple"
    assert normalise_squad("theatre another") == "theatre another"  # whole words only
    assert squad_exact(["The Cat!"], [["dog", "cat"]]) == 1
    assert squad_f1(["the black cat"], [["cat sat", "a cat"]]) == pytest.approx(2 / 3)
    assert squad_f1(["cat cat"], [["cat"]]) == pytest.approx(2 / 3)  # counted once
    assert squad_f1(["", "", "the", "x"], [[""], ["a cat"], [""], ["the"]]).tolist() == [1, 0, 1, 0]


@given(st.lists(st.tuples(phrase, st.lists(phrase, min_size=1, max_size=3)), min_size=1, max_size=4))
@settings(max_examples=50, deadline=None)
def test_squad_is_torchmetrics(items: list[tuple[str, list[str]]]) -> None:
    predictions, references = [p for p, _ in items], [r for _, r in items]
    want = squad(
        [{"prediction_text": p, "id": str(n)} for n, p in enumerate(predictions)],
        [{"answers": {"answer_start": [0] * len(r), "text": r}, "id": str(n)} for n, r in enumerate(references)],
    )
    assert 100 * squad_exact(predictions, references).mean() == pytest.approx(float(want["exact_match"]), rel=1e-5)
    assert 100 * squad_f1(predictions, references).mean() == pytest.approx(float(want["f1"]), rel=1e-5)


def test_vqa_rules_by_hand() -> None:
    """Worked through from the challenge's script."""
    for given_text, want in {
        "Yes.": "yes", "the  Two\ncats": "2 cats", "none": "0", "dont": "don't", "couldnt've": "couldn't've",
        "10,000": "10000", "3.5 m.": "3.5 m", "red/blue": "red blue", "red / blue": "red blue", "a.m.": "am",
        "t-shirt": "t shirt", "dog's": "dog's", "Who? me": "who me", "somebody'd": "somebodyd", "A": "", "ÉTÉ": "été",
        "1,000 t-shirts": "1000 tshirts",
    }.items():  # fmt: skip
        assert normalise_vqa(given_text) == want


def test_vqa_accuracy_by_hand() -> None:
    """Of ten people 0, 1, 2, 3, 4, 10 agree: each of them is left out in turn."""
    want = {0: 0, 1: 0.3, 2: 0.6, 3: 0.9, 4: 1, 10: 1}
    for agreeing, value in want.items():
        assert vqa_accuracy(["Yes!"], [["yes"] * agreeing + ["no"] * (10 - agreeing)]) == pytest.approx(value)


@given(st.integers(0, 12), st.integers(4, 12))
@settings(max_examples=40, deadline=None)
def test_vqa_accuracy_leaves_each_person_out(agreeing: int, people: int) -> None:
    answers = (["2"] * agreeing + ["3"] * people)[:people]
    others = [answers[:i] + answers[i + 1 :] for i in range(people)]
    want = np.mean([min(1, o.count("2") / 3) for o in others])
    assert vqa_accuracy(["two"], [answers]) == pytest.approx(want)


def test_vqa_accuracy_needs_people() -> None:
    with pytest.raises(SensoriumError, match=r"references\[0\] has 1 answers; VQA accuracy needs 4"):
        vqa_accuracy(["yes"], [["yes"]])


def test_anls_by_hand() -> None:
    assert anls(["Hello  World "], [["hello world"]]) == 1
    assert anls(["abcd"], [["abcx"]]) == 0.75
    assert anls(["abcd"], [["xbxd"]]) == 0.5  # exactly half counts
    assert anls(["abcd"], [["xxxd"]]) == 0
    assert anls(["abcd"], [["zzzz", "abcx", "q"]]) == 0.75  # the best one
    assert anls(["", "x"], [[""], [""]]).tolist() == [1, 0]
    assert anls(["abcd"], [["xxxd"]], threshold=0) == 0.25
    assert len(anls([], [])) == 0


@given(st.lists(st.tuples(st.text("abc", max_size=5), st.lists(st.text("abc", max_size=5), min_size=1, max_size=3)),
                min_size=1, max_size=4))  # fmt: skip
@settings(max_examples=60, deadline=None)
def test_anls_is_the_plain_loop(items: list[tuple[str, list[str]]]) -> None:
    best = [max(Levenshtein.normalized_similarity(p, r) for r in texts) for p, texts in items]
    want = [b if b >= 0.5 else 0 for b in best]
    assert anls([p for p, _ in items], [r for _, r in items]) == pytest.approx(want)


@pytest.mark.parametrize(
    ("given_text", "truth", "right"),
    [
        ("105", "100", 1),
        ("95.0", "100", 1),
        ("106", "100", 0),
        ("-100", "100", 0),
        ("-98", "-100", 1),
        ("52%", "50%", 1),
        ("0.5", "50%", 1),
        ("50", "50%", 0),
        ("0", "0", 1),
        ("0.0", "0", 0),  # a relative error of zero says nothing, so texts are compared: as in the reference
        ("0.01", "0", 0),
        ("Yes", "yes", 1),
        ("about 100", "100", 0),
        ("nan", "nan", 1),
        ("inf", "100", 0),
        ("", "", 1),
    ],
)
def test_relaxed_accuracy_by_hand(given_text: str, truth: str, right: int) -> None:
    assert relaxed_accuracy([given_text], [[truth]]) == right
    assert relaxed_accuracy([given_text], [["something else", truth]]) == right


@pytest.mark.parametrize(
    ("said", "choice"),
    [
        ("B", 1),
        (" c. two dogs", 2),
        ("(d)", 3),
        ("D: none", 3),
        ("The answer is (b).", 1),
        ("Answer: C", 2),
        ("I pick option B because", 1),
        ("The answer is a black cat", 1),  # no letter: an article
        ("It is a cat", 0),
        ("two dogs", 2),
        ("E", -1),
        ("a cat and two dogs", -1),
        ("", -1),
        ("Certainly not", -1),
    ],
)
def test_choices_are_read(said: str, choice: int) -> None:
    assert read_choice(said, OPTIONS) == choice


def test_multiple_choice_shares_the_point_between_equals() -> None:
    scores = [[1, 2, 0], [3, 3, -np.inf], [0, 0, 1]]
    assert multiple_choice(scores, [1, 0, 0]).tolist() == [1, 0.5, 0]
    assert len(multiple_choice([], [])) == 0
    with pytest.raises(SensoriumError, match="answers holds class 3; expected 0 ≤ class < 3"):
        multiple_choice(scores, [1, 0, 3])


def test_unicode_forms_are_one() -> None:
    assert squad_exact(["cafe\u0301"], [["café"]]) == anls(["cafe\u0301"], [["café"]]) == 1


@pytest.mark.parametrize("metric", [squad_exact, squad_f1, anls, vqa_accuracy, relaxed_accuracy])
def test_bad_input_is_named(metric: Callable[..., object]) -> None:
    with pytest.raises(SensoriumError, match="2 predictions and 1 references"):
        metric(["a", "b"], [["a"] * 4])
    with pytest.raises(SensoriumError, match=r"references\[0\] is 'yes'"):
        metric(["yes"], ["yes"])
