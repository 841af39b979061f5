from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np
import pytest
import sacrebleu
from hypothesis import given, settings
from hypothesis import strategies as st
from nltk.translate.bleu_score import SmoothingFunction, sentence_bleu
from rouge_score.rouge_scorer import RougeScorer

from sensorium.core import SensoriumError
from sensorium.evals.metrics.text import (
    bleu,
    chrf,
    cider_d,
    distinct_n,
    exact_match,
    ngrams,
    rouge,
    self_bleu,
    words,
)

HYPOTHESES = ["The cat sat on the mat.", "A dog runs through the park", "", "two birds"]
REFERENCES = [
    ["The cat is on the mat.", "There is a cat on the mat."],
    ["A dog is running through a park"],
    ["Nothing at all"],
    ["two birds", "two small birds sit", "birds"],
]
sentence = st.lists(st.sampled_from("abcd"), max_size=8).map(" ".join)
corpora = st.lists(st.tuples(sentence, st.lists(sentence, min_size=1, max_size=3)), min_size=1, max_size=5)


def naive_cider(hypotheses: Sequence[str], references: Sequence[Sequence[str]]) -> list[float]:
    """Vedantam et al. 2015, eq. 1 to 4 with clipping and the penalty on length, by dictionaries."""

    def grams(text: str, n: int) -> Counter[tuple[str, ...]]:
        t = text.split()
        return Counter(tuple(t[i : i + n]) for i in range(len(t) - n + 1))

    out = []
    for hypothesis, own in zip(hypotheses, references, strict=True):
        total = 0.0
        for n in range(1, 5):
            seen = Counter(g for texts in references for g in {g for text in texts for g in grams(text, n)})
            for reference in own:
                h, r = (
                    {g: c * (math.log(len(references)) - math.log(max(1, seen[g]))) for g, c in grams(text, n).items()}
                    for text in (hypothesis, reference)
                )
                norm = math.hypot(*h.values()) * math.hypot(*r.values())
                dot = sum(min(v, r.get(g, 0)) * r.get(g, 0) for g, v in h.items())
                gap = grams(hypothesis, 2).total() - grams(reference, 2).total()
                total += (dot / norm if norm else 0) * math.exp(-(gap**2) / 72) / len(own) / 4 * 10
        out.append(total)
    return out


def test_bleu_and_chrf_are_sacrebleus() -> None:
    both = [pair[:1] * 2 if len(pair) == 1 else pair[:2] for pair in REFERENCES]
    streams = [list(s) for s in zip(*both, strict=True)]
    assert bleu(HYPOTHESES, both) == pytest.approx(sacrebleu.corpus_bleu(HYPOTHESES, streams).score)
    assert chrf(HYPOTHESES, both) == pytest.approx(sacrebleu.corpus_chrf(HYPOTHESES, streams).score)
    plus = sacrebleu.corpus_chrf(HYPOTHESES, streams, word_order=2).score
    assert chrf(HYPOTHESES, both, word_order=2) == pytest.approx(plus)


def test_bleu_by_hand() -> None:
    """p = 5/6, 3/5, 1/4 and one of 3 smoothed to 1/(2·3); no brevity penalty."""
    want = 100 * (5 / 6 * 3 / 5 * 1 / 4 * 1 / 6) ** 0.25
    assert bleu(["the cat sat on the mat"], [["the cat is on the mat"]]) == pytest.approx(want)
    assert bleu(["a b c d e"], [["a b c d e"]]) == pytest.approx(100)


def test_each_text_may_have_its_own_number_of_references() -> None:
    assert bleu(["a b c d", "e f g h"], [["x", "a b c d"], ["e f g h"]]) == pytest.approx(100)
    assert chrf(["abcdef", "ghijkl"], [["x", "abcdef"], ["ghijkl"]]) == pytest.approx(100)
    assert bleu(HYPOTHESES, REFERENCES) > bleu(HYPOTHESES, [texts[-1:] for texts in REFERENCES])


@pytest.mark.parametrize("kind", ["rouge1", "rouge2", "rougeL", "rougeLsum"])
def test_rouge_is_rouge_scores_best_reference(kind: str) -> None:
    scorer = RougeScorer([kind])
    want = [
        max(scorer.score(r, h)[kind].fmeasure for r in texts) for h, texts in zip(HYPOTHESES, REFERENCES, strict=True)
    ]
    assert rouge(HYPOTHESES, REFERENCES, kind) == pytest.approx(want)


def test_rouge_l_by_hand() -> None:
    assert rouge(["the cat sat"], [["the black cat"]]) == pytest.approx(2 / 3)  # the … cat: 2 of 3 and 2 of 3
    assert rouge(["кот сидит"], [["кот сидит"]]) == 0  # its tokeniser knows only a to z
    assert rouge(["кот сидит"], [["кот сидит"]], tokenise=words) == 1


def test_cider_d_by_hand() -> None:
    """Each n-gram is of one item: idf log 2. Item 0 shares one 1-gram of two, cosine 1/2, and no 2-gram."""
    got = cider_d(["a b", "x y z w"], [["a c"], ["x y z w"]])
    assert got == pytest.approx([10 / 4 * 0.5, 10])
    longer = cider_d(["a b", "x y z w"], [["a b", "a b c d e"], ["x y z w"]])[0]
    first = 10 / 4 * 2  # 1- and 2-grams right, no 3- and 4-grams
    second = 10 / 4 * (2 / math.sqrt(2 * 5) + 1 / math.sqrt(1 * 4)) * math.exp(-9 / 72)
    assert longer == pytest.approx((first + second) / 2)


@given(corpora)
@settings(max_examples=80, deadline=None)
def test_cider_d_is_the_naive_one(items: list[tuple[str, list[str]]]) -> None:
    hypotheses, references = [h for h, _ in items], [r for _, r in items]
    assert cider_d(hypotheses, references, str.split) == pytest.approx(naive_cider(hypotheses, references), abs=1e-9)


def test_cider_d_of_one_item_or_an_empty_text_is_zero() -> None:
    assert cider_d(["a b"], [["a b"]]).tolist() == [0]
    assert cider_d(["", "a b c d"], [["x"], ["a b c d"]]) == pytest.approx([0, 10])
    assert len(cider_d([], [])) == 0


def test_words_are_lower_case_of_any_script() -> None:
    assert words("A dog's half-eaten 你好, naïve!") == ["a", "dog's", "half-eaten", "你好", "naïve"]
    assert words("") == words("…!") == []


@given(st.lists(sentence, max_size=5), st.integers(1, 5))
@settings(max_examples=60, deadline=None)
def test_ngrams_are_the_naive_ones(texts: list[str], n: int) -> None:
    tokens = [t.split() for t in texts]
    *_, (document, gram) = ngrams(tokens, n)
    naive = [(d, tuple(t[i : i + n])) for d, t in enumerate(tokens) for i in range(len(t) - n + 1)]
    assert document.tolist() == [d for d, _ in naive]
    names = dict(zip(gram.tolist(), (g for _, g in naive), strict=True))
    assert [names[g] for g in gram.tolist()] == [g for _, g in naive] and len(set(names.values())) == len(names)


def test_distinct_by_hand() -> None:
    assert distinct_n(["a b a", "a b"], 1) == 2 / 5 and distinct_n(["a b a", "a b"], 2) == 2 / 3
    assert np.isnan(distinct_n(["a"], 2)) and np.isnan(distinct_n([], 1))


@given(st.lists(sentence, min_size=2, max_size=6))
@settings(max_examples=80, deadline=None)
def test_self_bleu_is_nltks(texts: list[str]) -> None:
    tokens, smooth = [t.split() for t in texts], SmoothingFunction().method1
    want = [
        sentence_bleu(tokens[:i] + tokens[i + 1 :], tokens[i], smoothing_function=smooth) for i in range(len(tokens))
    ]
    assert self_bleu(texts, tokenise=str.split) == pytest.approx(np.mean(want), abs=1e-12)


def test_self_bleu_of_equal_texts_is_one() -> None:
    assert self_bleu(["a b c d e"] * 3) == pytest.approx(1)
    assert self_bleu(["a b c d", "e f g h"]) == 0
    assert np.isnan(self_bleu(["alone"])) and np.isnan(self_bleu([]))


def test_exact_match_is_of_nfc() -> None:
    assert exact_match(["cafe\u0301 ", "a", "A"], [["x", "café"], ["a", "b"], ["a"]]).tolist() == [1, 1, 0]


@pytest.mark.parametrize("metric", [bleu, chrf, rouge, cider_d, exact_match])
def test_bad_input_is_named(metric: Callable[..., object]) -> None:
    with pytest.raises(SensoriumError, match="1 hypotheses and 2 references"):
        metric(["a"], [["a"], ["b"]])
    with pytest.raises(SensoriumError, match=r"references\[0\] is 'a'; expected a list"):
        metric(["a"], ["a"])
    with pytest.raises(SensoriumError, match=r"references\[1\] is \[\]"):
        metric(["a", "b"], [["a"], []])


def test_slips_and_missing_libraries_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SensoriumError, match="no kind 'rouge-l'; did you mean"):
        rouge(["a"], [["a"]], "rouge-l")
    with pytest.raises(SensoriumError, match="no tokeniser '13b'; did you mean '13a'"):
        bleu(["a"], [["a"]], "13b")
    with pytest.raises(SensoriumError, match="n is 0"):
        distinct_n(["a"], 0)
    monkeypatch.setitem(__import__("sys").modules, "sacrebleu.metrics", None)
    with pytest.raises(SensoriumError, match=r"needs sacrebleu; pip install 'sensorium\[eval\]'"):
        bleu(["a"], [["a"]])


def test_no_texts_are_nan() -> None:
    assert np.isnan(bleu([], [])) and np.isnan(chrf([], [])) and len(rouge([], [])) == 0
