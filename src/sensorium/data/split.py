"""Train, validation and test rows: whole groups only, equal on every machine for one seed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np

from sensorium.core import SensoriumError, derive, nearest

Mode = Literal["given", "redrawn"]
FEW = 300  # groups; with fewer, seeds take turns over disjoint folds
MOST_VALIDATION = 300
MOST_TEST = 5000  # rows of a redrawn test split: ranking every query among more says nothing new


class Grouped(Protocol):
    """What a split needs of a data set: given split names [N], group ids [N], picture-only group ids [N]."""

    @property
    def given(self) -> np.ndarray: ...
    @property
    def groups(self) -> np.ndarray: ...
    @property
    def pictures(self) -> np.ndarray: ...


@dataclass(frozen=True, eq=False)
class Split:
    """Row numbers, sorted, int64; `note` says how they were drawn."""

    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray
    note: str


def split(data: Grouped, seed: int, mode: str = "redrawn") -> Split:
    """Rows for one seed. "given" keeps the given splits, "redrawn" draws the test rows anew for each seed above 0.

    Raises:
        SensoriumError: unknown mode, a negative seed, or too few groups to draw from.
    """
    if mode not in ("given", "redrawn"):
        raise SensoriumError(f"split mode {mode!r}{nearest(mode, ('given', 'redrawn'))}")
    if seed < 0:
        raise SensoriumError(f"split seed {seed}; expected 0 or more")
    if mode == "given" and _has_given(data):
        return _kept(data)
    return _redrawn(data, seed)


def auto_mode(data: Grouped) -> tuple[Mode, str]:
    """The mode that suits the data, and why: redrawn, unless most given test rows share a group with train."""
    if not _has_given(data):
        return "redrawn", "no train and test split is given"
    inside, n = _overlapping(data), int((data.given == "test").sum())
    shared = f"{inside} of {n} given test rows share a picture or a text with train"
    if 2 * inside > n:
        return "given", f"{shared}, so the given split is kept"
    return "redrawn", shared


def look_alikes(data: Grouped, s: Split) -> np.ndarray:
    """bool [len(s.test)]: the test row shares a group with a train row."""
    return np.isin(data.groups[s.test], data.groups[s.train])


def overlap(data: Grouped, s: Split) -> str | None:
    """A sentence on test rows that share a group with train rows; None when there are none."""
    n = int(look_alikes(data, s).sum())
    return f"{n} of {len(s.test)} test rows share a picture or a text with a train row" if n else None


def _has_given(data: Grouped) -> bool:
    test = data.given == "test"
    return bool(test.any() and (~test & (data.given != "validation")).any())


def _overlapping(data: Grouped) -> int:
    test = data.given == "test"
    return int(np.isin(data.groups[test], data.groups[~test]).sum())


def _draw(*purpose: object) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(derive("split", *purpose)))


def _take(order: np.ndarray, sizes: np.ndarray, rows: int, most: int) -> np.ndarray:
    """Up to `most` groups in `order` that fit into `rows` together; the smallest group if none fits."""
    taken: list[int] = []
    total = 0
    for group in order.tolist():
        if total + int(sizes[group]) <= rows:
            taken.append(group)
            total += int(sizes[group])
        if total >= rows or len(taken) >= most:
            break
    if not taken and len(order):
        taken = [int(order[np.argmin(sizes[order])])]
    return np.array(taken, dtype=np.int64)


def _kept(data: Grouped) -> Split:
    test = np.flatnonzero(data.given == "test")
    validation = np.flatnonzero(data.given == "validation")
    rest = np.flatnonzero((data.given != "test") & (data.given != "validation"))
    note = "given split"
    if not len(validation) and len(rest) > 1:
        # Where test shares its texts with train (classes), validation must too: only look-alike pictures stay together.
        alike = 2 * _overlapping(data) > len(test)
        groups = (data.pictures if alike else data.groups)[rest]
        rows = min(MOST_VALIDATION, max(len(rest) // 10, min(50, len(rest) // 2)))
        names, inverse = np.unique(groups, return_inverse=True)
        if len(names) > 1:
            order = _draw("carve").permutation(len(names))
            inside = np.isin(inverse.reshape(-1), _take(order, np.bincount(inverse.reshape(-1)), rows, len(names) - 1))
            validation, rest = rest[inside], rest[~inside]
            what = "pictures" if alike else "groups"
            note = f"given split, validation carved from train by {what} ({len(validation)} rows)"
    return Split(rest, validation, test, note)


def _redrawn(data: Grouped, seed: int) -> Split:
    groups = np.unique(data.groups, return_inverse=True)[1].reshape(-1)
    sizes = np.bincount(groups)
    if len(sizes) < 3:
        raise SensoriumError(
            f"the rows form {len(sizes)} group{'s' * (len(sizes) != 1)} of equal pictures or texts; at least 3 are "
            "needed to draw train, validation and test"
        )
    keep = _keeps_given(data)
    held = _validation_groups(data, groups, sizes, keep)
    if keep and seed == 0:
        test = data.given == "test"
        note = "given test split"
        if dropped := int((~test & np.isin(groups, groups[test])).sum()):
            note += f", {dropped} train rows that share a group with it dropped"
        note += "; later seeds redrawn"
        train = ~np.isin(groups, groups[test]) & ~np.isin(groups, held)
        return Split(np.flatnonzero(train), np.flatnonzero(np.isin(groups, held)), np.flatnonzero(test), note)
    wanted = int((data.given == "test").sum()) if keep else min(MOST_TEST, max(1, len(groups) // 10))
    pool = np.setdiff1d(np.arange(len(sizes)), held)
    turn = seed - 1 if keep else seed
    tested, note = _folds(pool, sizes, turn) if len(sizes) < FEW else _random(pool, sizes, wanted, seed)
    test, validation = np.isin(groups, tested), np.isin(groups, held)
    return Split(np.flatnonzero(~test & ~validation), np.flatnonzero(validation), np.flatnonzero(test), note)


def _keeps_given(data: Grouped) -> bool:
    """A given test split is tested at seed 0, unless cleaning train of it would cost over half of either."""
    if not _has_given(data):
        return False
    test = data.given == "test"
    lost = int(np.isin(data.groups[~test], data.groups[test]).sum())
    return 2 * _overlapping(data) <= int(test.sum()) and 2 * lost <= int((~test).sum())


def _validation_groups(data: Grouped, groups: np.ndarray, sizes: np.ndarray, keep: bool) -> np.ndarray:
    """The same for all seeds; given validation rows first, never a group with a given test row that will be tested."""
    free = np.setdiff1d(np.arange(len(sizes)), groups[data.given == "test"]) if keep else np.arange(len(sizes))
    order = _draw("validation").permutation(free)
    first = np.isin(order, groups[data.given == "validation"])
    order = np.concatenate([order[first], order[~first]])
    most = len(free) - 1 if keep else len(sizes) - 2  # leave a group to train on and one to test
    return _take(order, sizes, min(MOST_VALIDATION, max(1, len(groups) // 10)), max(1, most))


def _random(pool: np.ndarray, sizes: np.ndarray, wanted: int, seed: int) -> tuple[np.ndarray, str]:
    """Whole groups in random order until `wanted` rows and 100 groups; groups over half of `wanted` always train."""
    order = _draw("test", seed).permutation(pool)
    fit = order[sizes[order] <= max(1, wanted // 2)]
    order = fit if len(fit) > 1 else order
    least = min(100, max(1, len(pool) // 3))
    enough = np.searchsorted(np.cumsum(sizes[order]), wanted) + 1
    count = min(max(int(enough), least), max(1, len(order) - 1))
    return order[:count], f"redrawn at seed {seed}: {count} whole groups"


def _folds(pool: np.ndarray, sizes: np.ndarray, turn: int) -> tuple[np.ndarray, str]:
    """The turn-th of disjoint folds; a full round later they are dealt anew. Groups over a quarter always train."""
    small = pool[sizes[pool] <= sizes[pool].sum() // 4]
    dealt = small if len(small) > 1 else pool
    folds = min(3, len(dealt))
    order = _draw("folds", turn // folds).permutation(dealt)
    fold = np.array_split(order, folds)[turn % folds]
    return fold, f"only {len(sizes)} groups: folds of {len(fold)} groups, fold {turn % folds + 1} of {folds}"
