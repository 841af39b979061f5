"""Rankings with several relevant items or graded gains. Shape legend: Q queries, I items.

Each is the expectation over random orders of equal scores (McSherry and Najork 2008), so a constant scorer is no better
than chance. Torchmetrics, named below, does not count relevant items that score 0 or less. The best rank,
R@k of one hit, the median rank and MRR are in `evals.ranking`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from sensorium.core.errors import SensoriumError

from .inputs import Floats, flags, shaped
from .ties import Ties, tie_groups


def recall(scores: ArrayLike, relevant: ArrayLike, k: int) -> Floats:
    """[Q I], [Q I] bool -> [Q] share of a query's relevant items among its first k; NaN for a query without any.

    Without ties torchmetrics' `retrieval_recall`.
    """
    ties, total = _binary(scores, relevant)
    return _over(ties.shared[:, : _cut(k)].sum(1), total)


def precision(scores: ArrayLike, relevant: ArrayLike, k: int) -> Floats:
    """[Q I], [Q I] bool -> [Q] relevant items among the first k, over k; NaN for a query without any.

    Without ties torchmetrics' `retrieval_precision`.
    """
    ties, total = _binary(scores, relevant)
    return np.where(total > 0, ties.shared[:, : _cut(k)].sum(1) / k, np.nan)


def r_precision(scores: ArrayLike, relevant: ArrayLike) -> Floats:
    """[Q I], [Q I] bool -> [Q] precision at R, the query's number of relevant items; NaN for a query without any.

    Without ties torchmetrics' `retrieval_r_precision`.
    """
    ties, total = _binary(scores, relevant)
    first = np.arange(ties.size.shape[1]) < total[:, None]
    return _over((ties.shared * first).sum(1), total)


def average_precision(scores: ArrayLike, relevant: ArrayLike) -> Floats:
    """[Q I], [Q I] bool -> [Q] mean precision at the relevant items; its mean is MAP. NaN without relevant item.

    Without ties torchmetrics' `retrieval_average_precision`; with ties McSherry and Najork 2008, eq. 10.
    """
    ties, total = _binary(scores, relevant)
    place = np.arange(ties.size.shape[1])
    beside = np.divide(ties.gain - 1, ties.size - 1, out=np.zeros_like(ties.gain), where=ties.size > 1)
    ahead = ties.before + (place - ties.start) * beside  # relevant ones expected ahead of a relevant one at this place
    return _over((ties.shared * (ahead + 1) / (place + 1)).sum(1), total)


def mean_rank(scores: ArrayLike, relevant: ArrayLike) -> Floats:
    """[Q I], [Q I] bool -> [Q] mean rank of a query's relevant items, 1 is first; NaN for a query without any.

    Equal scores share the mean of their ranks (scipy's `rankdata`).
    """
    ties, total = _binary(scores, relevant)
    return _over((ties.shared * (ties.start + (ties.size + 1) / 2)).sum(1), total)


def ndcg(scores: ArrayLike, gains: ArrayLike, k: int | None = None) -> Floats:
    """[Q I], [Q I] gains ≥ 0 -> [Q] discounted gain of the first k over the best possible; NaN without any gain.

    scikit-learn's `ndcg_score` (0 without any gain). Gains enter as given: pass 2^grade - 1 for exponential ones.
    """
    table, wanted = _tables(scores, gains)
    if (wanted < 0).any() or not np.isfinite(wanted).all():
        raise SensoriumError("gains hold a number that is negative or not finite; expected gains of 0 or more")
    cut = None if k is None else _cut(k)
    discount = 1 / np.log2(np.arange(2, wanted.shape[1] + 2))[:cut]
    best = np.sort(wanted, axis=1)[:, ::-1][:, :cut] @ discount
    return _over(tie_groups(table, wanted).shared[:, :cut] @ discount, best)


def _tables(scores: ArrayLike, gains: ArrayLike) -> tuple[Floats, Floats]:
    table, wanted = shaped("scores", scores, 2), shaped("relevance", gains, 2)
    if table.shape != wanted.shape:
        raise SensoriumError(f"scores {list(table.shape)} and relevance {list(wanted.shape)}; expected one shape")
    return table, wanted


def _binary(scores: ArrayLike, relevant: ArrayLike) -> tuple[Ties, Floats]:
    table, wanted = _tables(scores, flags("relevance", relevant, 2))
    return tie_groups(table, wanted), wanted.sum(1)


def _cut(k: int) -> int:
    if k < 1:
        raise SensoriumError(f"k is {k}; expected 1 or more")
    return k


def _over(values: Floats, total: Floats) -> Floats:
    out = np.full(len(total), np.nan)
    np.divide(values, total, out=out, where=total > 0)
    return out
