"""What must be so for a claim on a world to mean anything: each guard says whether it holds, in one sentence."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from sensorium.core import SensoriumError, derive

from .facts import Config, Facts, facts, shown

SURE = 1e-3
"""A guard fails only on what chance gives less often than this."""


@dataclass(frozen=True)
class Guard:
    """Whether a world is fit for a claim, and why."""

    ok: bool
    sentence: str


def blind(seen: Sequence[Hashable] | None, labels: Sequence[Hashable], chance: float | None = None) -> Guard:
    """The label guessed without the picture: the commonest one of the rows with the same `seen` (a question, say).

    Counted on a random half of the rows, tested on the other. Chance is one over the number of labels unless given.
    """
    seen = ["" for _ in labels] if seen is None else seen
    if len(seen) != len(labels) or len(labels) < 2:
        raise SensoriumError(f"{len(seen)} inputs and {len(labels)} labels; expected as many of each, two or more")
    chance = 1 / len(set(labels)) if chance is None else chance
    order = np.random.Generator(np.random.Philox(derive("blind"))).permutation(len(labels)).tolist()
    counted, tested = order[::2], order[1::2]
    common: dict[Hashable, Counter[Hashable]] = {}
    for row in counted:
        common.setdefault(seen[row], Counter())[labels[row]] += 1
    fallback = Counter(labels[row] for row in counted).most_common(1)[0][0]
    guess = {key: counts.most_common(1)[0][0] for key, counts in common.items()}
    right = sum(guess.get(seen[row], fallback) == labels[row] for row in tested)
    ok = bool(stats.binom.sf(right - 1, len(tested), chance) >= SURE)
    verdict = "no better than" if ok else "above"
    return Guard(
        ok, f"without the picture {right / len(tested):.3f} of {len(tested)} are right, {verdict} {chance:.3f}"
    )


def held_out(train: Facts, test: Facts) -> Guard:
    """No (colour, shape) of a test scene is shown in training."""
    known, asked = (
        set(zip(world.colour[world.real()].tolist(), world.shape[world.real()].tolist(), strict=True))
        for world in (shown(train), shown(test))
    )
    both = known & asked
    return Guard(not both, f"{len(known)} combinations in train, {len(asked)} in test, {len(both) or 'none'} in both")


def balanced(labels: Sequence[Hashable], values: int | None = None) -> Guard:
    """Labels are as evenly spread as chance makes them (chi-square), over `values` values where some may be missing."""
    counts = list(Counter(labels).values())
    counts += [0] * ((len(counts) if values is None else values) - len(counts))
    if len(counts) < 2 or (values is not None and len(counts) > values):
        raise SensoriumError(f"{len(set(labels))} different labels, values {values}; expected two or more values")
    p = float(stats.chisquare(counts).pvalue)
    share = f"{min(counts) / len(labels):.3f} to {max(counts) / len(labels):.3f}"
    return Guard(p >= SURE, f"{len(counts)} values with shares from {share}, chi-square p {p:.2g}")


def headroom(scores: Sequence[float], chance: float, ceiling: float = 1.0) -> Guard:
    """A baseline's scores, one per seed, lie more than a standard deviation above chance and below the ceiling."""
    if len(scores) < 2:
        raise SensoriumError(f"{len(scores)} scores; expected two seeds or more")
    mean, sd = float(np.mean(scores)), float(np.std(scores, ddof=1))
    ok = mean - sd > chance and mean + sd < ceiling
    where = "between" if ok else "not clearly between"
    return Guard(ok, f"the baseline at {mean:.3f} ± {sd:.3f} is {where} chance {chance:.3f} and ceiling {ceiling:.3f}")


def null(config: Config, n: int = 2000, seed: int = 0) -> Guard:
    """In a null world the absent factor of pictures agrees with what is told only by chance, every other one always."""
    if not config.null:
        return Guard(False, "not a null world: the pictures show every fact that is told")
    told = facts(seed, n, config)
    seen = shown(told)
    absent = {"binding": ("colour",), "pair": ("colour", "shape", "place")}.get(config.null, (config.null,))
    real = told.real() & seen.real()
    some = real.any(1)
    found, ok = [], True
    for factor in ("colour", "shape", "place"):
        a, b = _values(told, factor), _values(seen, factor)
        chance = _chance(a, b, real, config.null) if factor in absent else np.ones(n)
        agree, expected = _per_object(a == b, real)[some], chance[some]
        ok &= bool(abs((agree - expected).mean()) <= 4 * (agree - expected).std() / np.sqrt(some.sum()))
        found.append(f"{factor} {agree.mean():.3f} (expected {expected.mean():.3f})")
    return Guard(ok, f"null world {config.null!r}: told and shown agree in " + ", ".join(found))


def _values(world: Facts, factor: str) -> np.ndarray:
    if factor == "place":
        return np.asarray(world.row.astype(np.int64) * world.config.cells + world.col)
    return np.asarray(getattr(world, factor), np.int64)


def _chance(told: np.ndarray, seen: np.ndarray, real: np.ndarray, null: str) -> np.ndarray:
    """[N]: how often a told value is met by one dealt within the scene (binding), or drawn from all scenes' values."""
    if null == "binding":
        same = (told[:, :, None] == told[:, None]) & real[:, :, None] & real[:, None]
        return _per_object(same.mean(2) * real.shape[1] / np.maximum(real.sum(1), 1)[:, None], real)
    every = np.bincount(seen[real], minlength=int(max(told.max(), seen.max())) + 1) / max(1, real.sum())
    return _per_object(every[told], real)


def _per_object(values: np.ndarray, real: np.ndarray) -> np.ndarray:
    """[N K] -> [N]: the mean over a scene's objects, 0 where there is none."""
    return np.asarray((values * real).sum(1) / np.maximum(real.sum(1), 1))
