from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import hypergeom

from sensorium.evals.ranking import chance, rank_of_best, summarise


def naive(scores: list[float], relevant: list[bool]) -> int:
    """Sorted best first; among equals the first half (rounded up) of the wrong ones goes before the right one."""
    if not any(relevant):
        return 0
    best = max(s for s, r in zip(scores, relevant, strict=True) if r)
    wrong = sorted((s for s, r in zip(scores, relevant, strict=True) if not r), reverse=True)
    place, equal = 1, 0
    for s in wrong:
        place += s > best
        equal += s == best
    return place + math.ceil(equal / 2)


@given(st.integers(1, 8).flatmap(lambda n: st.lists(st.tuples(
    st.lists(st.integers(-2, 2), min_size=n, max_size=n), st.lists(st.booleans(), min_size=n, max_size=n)),
    min_size=1, max_size=5)))  # fmt: skip
@settings(max_examples=100, deadline=None)
def test_against_a_naive_count(rows: list[tuple[list[int], list[bool]]]) -> None:
    scores, relevant = torch.tensor([r[0] for r in rows]), torch.tensor([r[1] for r in rows])
    assert rank_of_best(scores, relevant).tolist() == [naive([float(s) for s in a], b) for a, b in rows]


def test_without_ties_it_is_the_sorted_place() -> None:
    g = torch.Generator().manual_seed(0)
    scores, relevant = torch.randn(50, 30, generator=g), torch.eye(50, 30).bool()
    order = scores.argsort(1, descending=True)
    want = [order[q].tolist().index(q) + 1 if q < 30 else 0 for q in range(50)]
    assert rank_of_best(scores, relevant).tolist() == want


def test_ties_by_hand() -> None:
    scores = torch.tensor([[1.0, 1.0, 1.0, 1.0], [5.0, 1.0, 1.0, 0.0], [2.0, 2.0, 0.0, 0.0]])
    relevant = torch.tensor([[1, 0, 0, 0], [0, 1, 0, 0], [1, 1, 0, 0]]).bool()
    assert rank_of_best(scores, relevant).tolist() == [3, 3, 1]  # 1 + ⌈3/2⌉; 1 + 1 + ⌈1/2⌉; equals that are right


def test_a_constant_scorer_is_no_better_than_chance() -> None:
    for n in (2, 3, 10, 101):
        relevant = torch.eye(n).bool()
        assert summarise(rank_of_best(torch.zeros(n, n), relevant))["r@1"] == 0
        assert summarise(rank_of_best(torch.zeros(n, n), relevant))["mrr"] <= 2 / n + 1e-9


def test_nan_counts_against_the_scorer() -> None:
    nan = float("nan")
    scores = torch.tensor([[nan, 1.0, 0.0], [1.0, nan, 0.0], [nan, nan, nan]])
    relevant = torch.tensor([[1, 0, 0]] * 3).bool()
    assert rank_of_best(scores, relevant).tolist() == [3, 2, 3]


def test_summary_by_hand() -> None:
    got = summarise(torch.tensor([1, 0, 2, 6, 20]))
    assert got == pytest.approx({"r@1": 0.25, "r@5": 0.5, "r@10": 0.75, "median_rank": 4.0,
                                 "mrr": (1 + 1 / 2 + 1 / 6 + 1 / 20) / 4})  # fmt: skip
    assert all(math.isnan(v) for v in summarise(torch.tensor([0, 0])).values())


def test_chance_is_hypergeometric() -> None:
    g = torch.Generator().manual_seed(0)
    relevant = torch.rand(20, 40, generator=g) < 0.1
    counts = relevant.sum(1)[relevant.any(1)].numpy()
    for k in (1, 5, 10):
        assert chance(relevant)[f"r@{k}"] == pytest.approx(hypergeom.sf(0, 40, counts, k).mean())
    assert chance(torch.eye(300).bool()) == pytest.approx({"r@1": 1 / 300, "r@5": 5 / 300, "r@10": 10 / 300})
    assert chance(torch.eye(3).bool()) == pytest.approx({"r@1": 1 / 3, "r@5": 1, "r@10": 1})
    assert math.isnan(chance(torch.zeros(2, 3).bool())["r@1"])


def test_random_scores_come_at_chance() -> None:
    g = torch.Generator().manual_seed(0)
    relevant = torch.rand(4000, 25, generator=g) < 0.1
    got = summarise(rank_of_best(torch.rand(4000, 25, generator=g), relevant))
    for k in ("r@1", "r@10"):
        assert got[k] == pytest.approx(chance(relevant)[k], abs=0.02)


def test_against_torchmetrics() -> None:
    retrieval = pytest.importorskip("torchmetrics.functional.retrieval")
    g = torch.Generator().manual_seed(0)
    scores, relevant = torch.rand(30, 20, generator=g), torch.rand(30, 20, generator=g) < 0.2
    relevant[:, 0] = True
    got = summarise(rank_of_best(scores, relevant))
    hits = [retrieval.retrieval_hit_rate(s, r, top_k=5) for s, r in zip(scores, relevant, strict=True)]
    mrr = [retrieval.retrieval_reciprocal_rank(s, r) for s, r in zip(scores, relevant, strict=True)]
    assert got["r@5"] == pytest.approx(float(torch.stack(hits).mean()))
    assert got["mrr"] == pytest.approx(float(torch.stack(mrr).mean()))
