"""Classes, tags and their scores. Shape legend: N items, C classes.

Labels are class numbers [N], or for tags bool [N C]. The likelier class has the higher score, no probability needed.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import rankdata

from sensorium.core.errors import SensoriumError

from .inputs import Bools, Floats, Ints, classes, flags, floats, mean, same_length, share
from .ties import tie_groups


def accuracy(predicted: ArrayLike, labels: ArrayLike) -> float:
    """[N], [N] class numbers -> share that agree; NaN for none. scikit-learn's `accuracy_score`."""
    guess, truth = _pair(predicted, labels)
    return mean(guess == truth)


def top_k_accuracy(scores: ArrayLike, labels: ArrayLike, k: int) -> float:
    """[N C], [N] -> share whose label is among the k best scores; NaN for none. Equal scores in expected order.

    Without ties scikit-learn's `top_k_accuracy_score`.
    """
    table, truth = _scored(scores, labels)
    if k < 1:
        raise SensoriumError(f"k is {k}; expected 1 or more")
    own = table[np.arange(len(truth)), truth][:, None]
    higher, tied = (table > own).sum(1), (table == own).sum(1)
    return mean(np.clip((k - higher) / tied, 0, 1))


def confusion(predicted: ArrayLike, labels: ArrayLike, count: int | None = None) -> Ints:
    """[N], [N] class numbers -> [C C] counts, row label, column prediction. scikit-learn's `confusion_matrix`.

    `count`: the number of classes; else the highest number that occurs, plus one.
    """
    guess, truth = _pair(predicted, labels, count)
    count = count or 1 + max(guess.max(initial=-1), truth.max(initial=-1))
    return np.bincount(truth * count + guess, minlength=count * count).reshape(count, count)


def balanced_accuracy(predicted: ArrayLike, labels: ArrayLike) -> float:
    """[N], [N] class numbers -> mean recall over the classes that occur. scikit-learn's `balanced_accuracy_score`."""
    hits, _, labelled = _counts(predicted, labels)
    return mean(_ratio(hits, labelled))


def class_f1(predicted: ArrayLike, labels: ArrayLike) -> Floats:
    """[N], [N] class numbers or [N C], [N C] bool -> [C] F1 of each class; NaN if neither predicted nor labelled.

    scikit-learn's `f1_score(average=None, zero_division=nan)`.
    """
    hits, guessed, labelled = _counts(predicted, labels)
    return _ratio(2 * hits, guessed + labelled)


def macro_f1(predicted: ArrayLike, labels: ArrayLike) -> float:
    """Mean of `class_f1` over the classes predicted or labelled. scikit-learn's `f1_score(average="macro")`."""
    return mean(class_f1(predicted, labels))


def micro_f1(predicted: ArrayLike, labels: ArrayLike) -> float:
    """F1 of all decisions together; of one class per item the accuracy. scikit-learn's `f1_score(average="micro")`."""
    hits, guessed, labelled = _counts(predicted, labels)
    return share(2 * hits.sum(), guessed.sum() + labelled.sum())


def auroc(scores: ArrayLike, positive: ArrayLike) -> float:
    """[N], [N] bool -> chance that a positive scores above a negative, ties one half; NaN if either is missing.

    scikit-learn's `roc_auc_score`.
    """
    values, truth = floats("scores", scores), flags("positive", positive)
    same_length(scores=values, positive=truth)
    return float(class_auroc(values[:, None], truth[:, None])[0])


def class_auroc(scores: ArrayLike, labels: ArrayLike) -> Floats:
    """[N C], labels -> [C] AUROC of each class against the rest; NaN for a class that no item or every item has.

    `mean` of it is scikit-learn's `roc_auc_score(multi_class="ovr", average="macro")`.
    """
    table, member = _against_rest(scores, labels)
    positives = member.sum(0)
    pairs = positives * (len(member) - positives)
    ranks = rankdata(table, axis=0) if table.size else table
    return _ratio((ranks * member).sum(0) - positives * (positives + 1) / 2, pairs)


def average_precision(scores: ArrayLike, positive: ArrayLike) -> float:
    """[N], [N] bool -> area under precision over recall, equal scores cut together; NaN without positive.

    scikit-learn's `average_precision_score`, which says 0 without positive.
    """
    values, truth = floats("scores", scores), flags("positive", positive)
    same_length(scores=values, positive=truth)
    return float(class_average_precision(values[:, None], truth[:, None])[0])


def class_average_precision(scores: ArrayLike, labels: ArrayLike) -> Floats:
    """[N C], labels -> [C] average precision of each class; its `mean` is mAP. NaN for a class that no item has."""
    table, member = _against_rest(scores, labels)
    ties = tie_groups(table.T, member.T.astype(np.float64))
    at_cut = (ties.before + ties.gain) / (ties.start + ties.size)
    return _ratio((ties.shared * at_cut).sum(1), member.sum(0))


def hierarchical_f1(predicted: ArrayLike, labels: ArrayLike, parents: ArrayLike) -> float:
    """[N], [N] class numbers, [C] parent of each class (-1: top) -> micro F1 of the classes with all their ancestors.

    Kiritchenko et al. 2005 as in Silla and Freitas 2011, eq. 4: the root, which every item has, is no class.
    """
    above = _ancestors(parents)
    guess, truth = _pair(predicted, labels, len(above))
    depth = above.sum(1)
    return share(2 * (above[guess] & above[truth]).sum(), depth[guess].sum() + depth[truth].sum())


def _ancestors(parents: ArrayLike) -> Bools:
    """[C] parents -> [C C] bool: is the column the row's class or one above it?"""
    listed = floats("parents", parents)
    if len(wrong := listed[(listed != np.floor(listed)) | (listed < -1) | (listed >= len(listed))]):
        raise SensoriumError(f"parents hold {wrong[0]:g}; expected -1 or a class < {len(listed)}")
    up = listed.astype(np.int64)
    above, at = np.eye(len(up), dtype=bool), up
    for _ in range(len(up)):
        rows = np.flatnonzero(at >= 0)
        above[rows, at[rows]] = True
        at = np.where(at >= 0, up[at], -1)
    if (at >= 0).any():
        raise SensoriumError(f"class {np.flatnonzero(at >= 0)[0]} is below itself; expected a tree of parents")
    return above


def _pair(predicted: ArrayLike, labels: ArrayLike, count: int | None = None) -> tuple[Ints, Ints]:
    guess, truth = classes("predicted", predicted, count), classes("labels", labels, count)
    same_length(predictions=guess, labels=truth)
    return guess, truth


def _counts(predicted: ArrayLike, labels: ArrayLike) -> tuple[Ints, Ints, Ints]:
    """[C] each: right predictions, predictions, labels."""
    if np.ndim(labels) == 1:
        table = confusion(predicted, labels)
        return table.diagonal(), table.sum(0), table.sum(1)
    guess, truth = flags("predicted", predicted, 2), flags("labels", labels, 2)
    if guess.shape != truth.shape:
        raise SensoriumError(f"predicted {list(guess.shape)} and labels {list(truth.shape)}; expected one shape")
    return (guess & truth).sum(0), guess.sum(0), truth.sum(0)


def _scored(scores: ArrayLike, labels: ArrayLike) -> tuple[Floats, Ints]:
    table = floats("scores", scores, 2)
    truth = classes("labels", labels, table.shape[1] if table.size else None)
    same_length(rows_of_scores=table, labels=truth)
    return table, truth


def _against_rest(scores: ArrayLike, labels: ArrayLike) -> tuple[Floats, Bools]:
    if np.ndim(labels) == 1:
        table, truth = _scored(scores, labels)
        return table, truth[:, None] == np.arange(table.shape[1])
    table, member = floats("scores", scores, 2), flags("labels", labels, 2)
    if table.shape != member.shape:
        raise SensoriumError(f"scores {list(table.shape)} and labels {list(member.shape)}; expected one shape")
    return table, member


def _ratio(part: Floats | Ints, whole: Floats | Ints) -> Floats:
    return np.divide(part, whole, out=np.full(np.shape(whole), np.nan), where=whole > 0)
