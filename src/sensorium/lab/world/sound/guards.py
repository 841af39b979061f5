"""Guards of worlds of sounds."""

from __future__ import annotations

import numpy as np

from ..guards import Guard
from .events import Config, Sounds, heard, sounds


def held_out(train: Sounds, test: Sounds) -> Guard:
    """No (class, pitch) of a test scene is heard in training."""
    known, asked = (
        set(zip(world.kind[world.real()].tolist(), world.pitch[world.real()].tolist(), strict=True))
        for world in (heard(train), heard(test))
    )
    both = known & asked
    return Guard(not both, f"{len(known)} combinations in train, {len(asked)} in test, {len(both) or 'none'} in both")


def null(config: Config, n: int = 2000, seed: int = 0) -> Guard:
    """In a null world the absent factor of the waves agrees with what is told only by chance, the others always."""
    if not config.null:
        return Guard(False, "not a null world: the waves have every sound that is told")
    told = sounds(seed, n, config)
    got = heard(told)
    both = told.real() & got.real()
    found, ok = [], True
    for name, agree, chance in (
        ("class by place", told.kind == got.kind, _by_chance(told, config)),
        ("classes of the scene", _bag(told) == _bag(got), _bag_by_chance(told, config)),
    ):
        values = agree[both] if agree.ndim == 2 else agree
        share, expected = float(values.mean()), chance
        error = max(1e-12, np.sqrt(expected * (1 - expected) / max(1, len(values))))
        ok &= abs(share - expected) <= 5 * error
        found.append(f"{name} {share:.3f} (expected {expected:.3f})")
    return Guard(bool(ok), f"null world of sounds {config.null!r}: told and heard agree in " + ", ".join(found))


def _by_chance(told: Sounds, config: Config) -> float:
    """How often the sounds in one place agree: one in the number of classes, or of the scene's sounds."""
    if config.null == "order":
        return float(len(told) / max(1, told.n.sum(dtype=np.int64)))
    return 1 / len(config.classes)


def _bag(world: Sounds) -> np.ndarray:
    """int64 [N]: the set of classes, as bits."""
    return np.asarray((np.where(world.real(), 1 << np.maximum(world.kind, 0).astype(np.int64), 0)).sum(1))


def _bag_by_chance(told: Sounds, config: Config) -> float:
    if config.null == "order":
        return 1.0
    bags = _bag(told)
    if config.null == "pair":
        return float((bags[:, None] == bags).mean())
    same = told.n[:, None] == told.n
    return float(((bags[:, None] == bags) & same).sum(1).astype(float).dot(1 / same.sum(1)) / len(told))
