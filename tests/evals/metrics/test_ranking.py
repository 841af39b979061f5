from __future__ import annotations

from collections.abc import Callable
from itertools import permutations
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import rankdata
from sklearn.metrics import ndcg_score
from torchmetrics.functional.retrieval import (
    retrieval_average_precision,
    retrieval_precision,
    retrieval_r_precision,
    retrieval_recall,
)

from sensorium.core import SensoriumError
from sensorium.evals.metrics.ranking import average_precision, mean_rank, ndcg, precision, r_precision, recall

SCORES, RELEVANT = [[4, 3, 2, 1]], [[1, 0, 1, 0]]
BINARY = [average_precision, mean_rank, r_precision, lambda s, r: recall(s, r, 2), lambda s, r: precision(s, r, 2)]


def tie_free(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Positive scores: torchmetrics takes relevant items that score 0 or less for not found."""
    rng = np.random.default_rng(seed)
    return rng.permuted(np.tile(np.arange(1.0, 13), (20, 1)), axis=1), rng.random((20, 12)) < 0.3


def rows(values: st.SearchStrategy[int]) -> st.SearchStrategy[list[tuple[int, int]]]:
    return st.lists(st.tuples(st.integers(0, 2), values), min_size=1, max_size=6)


def test_by_hand() -> None:
    """Relevant ones at rank 1 and 3 of 4."""
    assert recall(SCORES, RELEVANT, 1) == 0.5 and recall(SCORES, RELEVANT, 3) == 1 and recall(SCORES, RELEVANT, 99) == 1
    assert precision(SCORES, RELEVANT, 2) == 0.5 and precision(SCORES, RELEVANT, 8) == 0.25
    assert r_precision(SCORES, RELEVANT) == 0.5
    assert average_precision(SCORES, RELEVANT) == pytest.approx((1 + 2 / 3) / 2)
    assert mean_rank(SCORES, RELEVANT) == 2
    best = 3 + 2 / np.log2(3)
    assert ndcg([[1, 2, 3]], [[3, 2, 0]]) == pytest.approx((2 / np.log2(3) + 3 / 2) / best)
    assert ndcg([[1, 2, 3]], [[3, 2, 0]], k=2) == pytest.approx(2 / np.log2(3) / best)


@pytest.mark.parametrize("k", [1, 3, 12, 20])
def test_without_ties_it_is_torchmetrics(k: int) -> None:
    scores, relevant = tie_free(k)
    pairs: list[tuple[np.ndarray, Callable[..., Any], dict[str, int]]] = [
        (recall(scores, relevant, k), retrieval_recall, {"top_k": k}),
        (precision(scores, relevant, k), retrieval_precision, {"top_k": k}),
        (r_precision(scores, relevant), retrieval_r_precision, {}),
        (average_precision(scores, relevant), retrieval_average_precision, {}),
    ]
    for got, reference, more in pairs:
        for q in np.flatnonzero(relevant.any(1)):
            want = reference(torch.tensor(scores[q]), torch.tensor(relevant[q]), **more)
            assert got[q] == pytest.approx(float(want), abs=1e-6)


@given(rows(st.integers(0, 3)), st.integers(1, 7))
@settings(max_examples=80, deadline=None)
def test_ndcg_is_sklearns_with_ties(items: list[tuple[int, int]], k: int) -> None:
    scores, gains = np.array(items, dtype=float).T[:, None]
    if len(items) > 1 and gains.any():
        assert ndcg(scores, gains, k)[0] == pytest.approx(ndcg_score(gains, scores, k=k))
        assert ndcg(scores, gains)[0] == pytest.approx(ndcg_score(gains, scores))


@given(rows(st.integers(0, 1)), st.integers(1, 6))
@settings(max_examples=60, deadline=None)
def test_with_ties_it_is_the_mean_over_all_orders_of_the_equals(items: list[tuple[int, int]], k: int) -> None:
    scores, relevant = np.array(items).T
    if not relevant.any():
        return
    orders = np.array([o for o in permutations(range(len(items))) if (np.diff(scores[list(o)]) <= 0).all()])
    hits = relevant[orders]
    found, places = hits.cumsum(1), np.arange(1, len(items) + 1)
    total = int(relevant.sum())
    tables = scores[None], relevant[None]
    assert average_precision(*tables)[0] == pytest.approx((hits * found / places).sum(1).mean() / total)
    assert recall(*tables, k)[0] == pytest.approx(hits[:, :k].sum(1).mean() / total)
    assert precision(*tables, k)[0] == pytest.approx(hits[:, :k].sum(1).mean() / k)
    assert r_precision(*tables)[0] == pytest.approx(hits[:, :total].sum(1).mean() / total)
    assert mean_rank(*tables)[0] == pytest.approx(rankdata(-scores)[relevant == 1].mean())


def test_queries_do_not_touch_each_other() -> None:
    scores, relevant = tie_free(0)
    for metric in BINARY:
        one_by_one = np.concatenate([metric(scores[[q]], relevant[[q]]) for q in range(len(scores))])
        np.testing.assert_allclose(metric(scores, relevant), one_by_one, rtol=1e-12)


def test_a_query_without_relevant_item_is_nan() -> None:
    for metric in BINARY:
        assert np.isnan(metric([[1, 2], [1, 2]], [[0, 0], [0, 1]])).tolist() == [True, False]
        assert len(metric([], [])) == 0
    assert np.isnan(ndcg([[1, 2]], [[0, 0]])) and len(ndcg([], [])) == 0


def test_nan_counts_against_the_scorer() -> None:
    assert mean_rank([[np.nan, 1, 2]], [[1, 0, 0]]) == 3
    assert mean_rank([[np.nan, 1, 2]], [[0, 0, 1]]) == 2
    assert average_precision([[np.nan, np.nan, np.nan]], [[0, 0, 1]]) == pytest.approx(1 / 3)


def test_bad_input_is_named() -> None:
    with pytest.raises(SensoriumError, match=r"scores \[1, 2\] and relevance \[1, 3\]"):
        recall([[1, 2]], [[1, 0, 0]], 1)
    with pytest.raises(SensoriumError, match="relevance holds 2"):
        average_precision([[1, 2]], [[2, 0]])
    with pytest.raises(SensoriumError, match="k is 0"):
        recall(SCORES, RELEVANT, 0)
    with pytest.raises(SensoriumError, match="negative"):
        ndcg([[1, 2]], [[-1, 0]])
    with pytest.raises(SensoriumError, match=r"shape \[2\]; expected 2 dimensions"):
        mean_rank([1, 2], [1, 0])
