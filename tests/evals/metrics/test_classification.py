from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as reference

from sensorium.core import SensoriumError
from sensorium.evals.metrics.classification import (
    accuracy,
    auroc,
    average_precision,
    balanced_accuracy,
    class_auroc,
    class_average_precision,
    class_f1,
    confusion,
    hierarchical_f1,
    macro_f1,
    micro_f1,
    top_k_accuracy,
)

pairs = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=12)
binary = st.lists(st.tuples(st.integers(0, 3), st.booleans()), min_size=1, max_size=12)


def test_by_hand() -> None:
    predicted, labels = [0, 0, 1, 2], [0, 1, 1, 1]
    assert confusion(predicted, labels).tolist() == [[1, 0, 0], [1, 1, 1], [0, 0, 0]]
    assert accuracy(predicted, labels) == 0.5
    assert balanced_accuracy(predicted, labels) == pytest.approx((1 + 1 / 3) / 2)
    assert class_f1(predicted, labels) == pytest.approx([2 / 3, 1 / 2, 0])
    assert macro_f1(predicted, labels) == pytest.approx((2 / 3 + 1 / 2) / 3)
    assert micro_f1(predicted, labels) == 0.5
    assert auroc([1, 2, 2, 3], [0, 0, 1, 1]) == 3.5 / 4
    assert average_precision([1, 2, 2, 3], [0, 0, 1, 1]) == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)


@given(pairs)
@settings(max_examples=80, deadline=None)
def test_decisions_are_sklearns(items: list[tuple[int, int]]) -> None:
    predicted, labels = np.array(items).T
    assert (confusion(predicted, labels, 4) == reference.confusion_matrix(labels, predicted, labels=range(4))).all()
    assert accuracy(predicted, labels) == pytest.approx(reference.accuracy_score(labels, predicted))
    assert macro_f1(predicted, labels) == pytest.approx(reference.f1_score(labels, predicted, average="macro"))
    assert micro_f1(predicted, labels) == pytest.approx(reference.f1_score(labels, predicted, average="micro"))
    recalls = [np.mean(predicted[labels == c] == c) for c in np.unique(labels)]
    assert balanced_accuracy(predicted, labels) == pytest.approx(np.mean(recalls))
    f1 = reference.f1_score(labels, predicted, average=None, labels=range(predicted.max() + 1), zero_division=np.nan)
    assert class_f1(predicted, labels)[: len(f1)] == pytest.approx(f1, nan_ok=True)


def test_balanced_accuracy_is_sklearns() -> None:
    predicted, labels = np.random.default_rng(0).integers(0, 5, (2, 60))
    assert balanced_accuracy(predicted, labels) == pytest.approx(reference.balanced_accuracy_score(labels, predicted))


@given(st.lists(st.tuples(*[st.booleans()] * 6), min_size=1, max_size=8))
@settings(max_examples=60, deadline=None)
def test_tags_are_sklearns(items: list[tuple[bool, ...]]) -> None:
    predicted, labels = np.array(items)[:, :3], np.array(items)[:, 3:]
    for average, metric in (("macro", macro_f1), ("micro", micro_f1)):
        want = reference.f1_score(labels, predicted, average=average, zero_division=np.nan)
        assert metric(predicted, labels) == pytest.approx(want, nan_ok=True)


@given(binary)
@settings(max_examples=80, deadline=None)
def test_scores_of_two_classes_are_sklearns_with_ties(items: list[tuple[int, bool]]) -> None:
    scores, positive = np.array([s for s, _ in items]), np.array([p for _, p in items])
    if 0 < positive.sum() < len(positive):
        assert auroc(scores, positive) == pytest.approx(reference.roc_auc_score(positive, scores))
    else:
        assert np.isnan(auroc(scores, positive))
    if positive.any():
        assert average_precision(scores, positive) == pytest.approx(reference.average_precision_score(positive, scores))


@pytest.mark.parametrize("coarse", [False, True])
def test_scores_of_many_classes_are_sklearns(coarse: bool) -> None:
    rng = np.random.default_rng(0)
    labels, scores = rng.integers(0, 4, 80), rng.random((80, 4))
    scores = np.ceil(scores * 3) if coarse else scores
    scores /= scores.sum(1, keepdims=True)
    want = reference.roc_auc_score(labels, scores, multi_class="ovr")
    assert np.mean(class_auroc(scores, labels)) == pytest.approx(want)
    tags = rng.random((80, 4)) < 0.3
    wanted = reference.average_precision_score(tags, scores, average=None)
    assert class_average_precision(scores, tags) == pytest.approx(wanted)
    assert class_auroc(scores, tags) == pytest.approx(reference.roc_auc_score(tags, scores, average=None))


def test_top_k_is_sklearns_and_chance_for_a_constant() -> None:
    rng = np.random.default_rng(0)
    labels, scores = rng.integers(0, 6, 50), rng.random((50, 6))
    for k in (1, 2, 5):
        want = reference.top_k_accuracy_score(labels, scores, k=k, labels=range(6))
        assert top_k_accuracy(scores, labels, k) == pytest.approx(want)
    assert top_k_accuracy(scores, labels, 6) == 1
    assert top_k_accuracy(np.zeros((50, 6)), labels, 2) == pytest.approx(2 / 6)
    assert top_k_accuracy([[1, 1, 0]], [0], 1) == 0.5 and top_k_accuracy([[1, 1, 0]], [2], 99) == 1


def test_a_missing_class_is_nan_and_left_out() -> None:
    assert np.isnan(class_f1([0, 2], [0, 2])).tolist() == [False, True, False]
    assert macro_f1([0, 2], [0, 2]) == 1
    scores = [[0.9, 0.1, 0.0], [0.2, 0.8, 0.0]]
    assert np.isnan(class_auroc(scores, [0, 1])).tolist() == [False, False, True]
    assert np.isnan(class_average_precision(scores, [0, 1])).tolist() == [False, False, True]
    assert np.isnan(average_precision([1, 2], [0, 0])) and np.isnan(auroc([1, 2], [1, 1]))


def test_nothing_is_nan() -> None:
    assert all(np.isnan(f([], [])) for f in (accuracy, balanced_accuracy, macro_f1, micro_f1, auroc, average_precision))
    assert confusion([], []).shape == (0, 0) and np.isnan(top_k_accuracy([], [], 1))


def naive_hierarchical(predicted: list[int], labels: list[int], parents: list[int]) -> float:
    def line(c: int) -> set[int]:
        return set() if c < 0 else {c} | line(parents[c])

    common = sum(len(line(p) & line(t)) for p, t in zip(predicted, labels, strict=True))
    p, r = common / sum(len(line(p)) for p in predicted), common / sum(len(line(t)) for t in labels)
    return 2 * p * r / (p + r) if p + r else 0.0


def test_hierarchy_by_hand() -> None:
    """0 animal > 1 dog > 2 poodle, 0 > 3 cat; 4 plant."""
    parents = [-1, 0, 1, 0, -1]
    assert hierarchical_f1([2], [2], parents) == 1 and hierarchical_f1([4], [2], parents) == 0
    assert hierarchical_f1([3], [2], parents) == pytest.approx(2 * 1 / (2 + 3))  # animal is shared
    assert hierarchical_f1([1, 4], [2, 4], parents) == pytest.approx(2 * (2 + 1) / (2 + 1 + 3 + 1))
    assert np.isnan(hierarchical_f1([], [], parents))
    for ring in ([0], [1, 0], [2, 0, 1]):
        with pytest.raises(SensoriumError, match="class 0 is below itself"):
            hierarchical_f1([0], [0], ring)
    with pytest.raises(SensoriumError, match="parents hold 7; expected -1 or a class < 2"):
        hierarchical_f1([0], [0], [-1, 7])
    with pytest.raises(SensoriumError, match="predicted holds class 5; expected 0 ≤ class < 5"):
        hierarchical_f1([5], [0], parents)


@given(st.data())
@settings(max_examples=50, deadline=None)
def test_hierarchy_is_sets_of_ancestors(data: st.DataObject) -> None:
    name = data.draw(st.permutations(range(6)))
    tree = {name[c]: data.draw(st.integers(-1, c - 1)) for c in range(6)}
    parents = [-1 if tree[c] < 0 else name[tree[c]] for c in range(6)]
    items = data.draw(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=6))
    predicted, labels = [p for p, _ in items], [t for _, t in items]
    want = naive_hierarchical(predicted, labels, parents)
    assert hierarchical_f1(predicted, labels, parents) == pytest.approx(want)


def test_bad_input_is_named() -> None:
    with pytest.raises(SensoriumError, match="1 predictions and 2 labels"):
        accuracy([0], [0, 1])
    with pytest.raises(SensoriumError, match="labels holds class -1"):
        accuracy([0], [-1])
    with pytest.raises(SensoriumError, match="expected class numbers"):
        accuracy([0.5], [1])
    with pytest.raises(SensoriumError, match="labels holds class 3; expected 0 ≤ class < 2"):
        class_auroc([[0.1, 0.9]], [3])
    with pytest.raises(SensoriumError, match="scores holds NaN"):
        auroc([np.nan, 1], [0, 1])
    with pytest.raises(SensoriumError, match="no table of numbers"):
        accuracy(["cat"], [0])
    with pytest.raises(SensoriumError, match="2 scores and 1 positive"):
        auroc([1, 2], [1])
