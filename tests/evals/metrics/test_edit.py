from __future__ import annotations

import unicodedata

import jiwer
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rapidfuzz.distance import Levenshtein

from sensorium.core import SensoriumError
from sensorium.evals.metrics.edit import cer, distances, normalised_distances, token_distances, wer, word_accuracy

few = st.text(st.sampled_from("ab é你"), max_size=9)
pairs = st.lists(st.tuples(few, few), min_size=1, max_size=8)


def test_by_hand() -> None:
    hypotheses = ["kitten", "", "abc", "flaw", "", "same"]
    references = ["sitting", "abc", "", "lawn", "", "same"]
    assert distances(hypotheses, references).tolist() == [3, 3, 3, 2, 0, 0]
    assert normalised_distances(hypotheses, references) == pytest.approx([3 / 7, 1, 1, 2 / 4, 0, 0])
    assert cer(["kitten"], ["sitting"]) == 3 / 7
    assert wer(["the cat sat"], ["the black cat sat down"]) == 2 / 5
    assert cer(["aaaa"], ["b"]) == 4  # more errors than characters


@given(pairs)
@settings(max_examples=100, deadline=None)
def test_distances_are_rapidfuzz(items: list[tuple[str, str]]) -> None:
    hypotheses, references = [h for h, _ in items], [r for _, r in items]
    assert distances(hypotheses, references).tolist() == [Levenshtein.distance(h, r) for h, r in items]
    want = [Levenshtein.normalized_distance(h, r) for h, r in items]
    assert normalised_distances(hypotheses, references) == pytest.approx(want)


def test_sizes_of_all_sorts_at_once() -> None:
    rng = np.random.default_rng(0)
    texts = ["".join(rng.choice(list("abcd "), rng.choice([0, 1, 5, 80, 700]))) for _ in range(600)]
    want = [Levenshtein.distance(h, r) for h, r in zip(texts[:300], texts[300:], strict=True)]
    assert distances(texts[:300], texts[300:]).tolist() == want


@given(pairs)
@settings(max_examples=80, deadline=None)
def test_error_rates_are_jiwers(items: list[tuple[str, str]]) -> None:
    hypotheses, references = [h for h, _ in items], [r for _, r in items]
    if any(r.strip() for r in references):
        assert cer(hypotheses, references) == pytest.approx(jiwer.cer(references, hypotheses))
        assert wer(hypotheses, references) == pytest.approx(jiwer.wer(references, hypotheses))
    else:
        assert np.isnan(cer(hypotheses, references)) and np.isnan(wer(hypotheses, references))


def test_an_accent_is_one_character_however_typed() -> None:
    apart, composed = unicodedata.normalize("NFD", "café"), "café"
    assert len(apart) == 5 and distances([apart], [composed]) == 0 and distances([apart], ["caf"]) == 1
    assert cer([apart], [composed]) == 0 and wer([apart], [composed]) == 0
    assert distances(["👍🏽"], ["👍"]) == 1  # a modifier is a code point of its own
    assert distances(["\ud800a"], ["a"]) == 1  # half a surrogate pair is text too


def test_distances_of_ids() -> None:
    assert token_distances([np.array([1, 2, 3], np.int32)], [np.array([1, 3], np.int32)]) == 1


def test_word_accuracy_ignores_case_and_marks() -> None:
    read, true = ["Hello!", "St.-Mary’s", "cafe", "", "10"], ["HELLO", "stmarys", "café", "", "1O"]
    assert word_accuracy(read, true).tolist() == [1, 1, 0, 1, 0]
    assert word_accuracy(["कि"], ["का"]) == 0  # vowel signs are letters' parts, not marks
    assert word_accuracy(["STRASSE"], ["straße"]) == 1


def test_nothing_is_nothing() -> None:
    assert len(distances([], [])) == len(normalised_distances([], [])) == len(word_accuracy([], [])) == 0
    assert np.isnan(cer([], [])) and np.isnan(wer([], []))


def test_lengths_are_compared() -> None:
    for metric in (cer, wer, distances, normalised_distances, word_accuracy):
        with pytest.raises(SensoriumError, match="1 hypotheses and 2 references"):
            metric(["a"], ["a", "b"])
