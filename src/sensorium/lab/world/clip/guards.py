"""Guards of clip worlds; what a single frame or the words alone give away, and what a null world keeps."""

from __future__ import annotations

import numpy as np

from ..guards import Guard
from .changes import shown
from .timeline import DIRECTIONS, Clips, Config, clips


def held_out(train: Clips, test: Clips) -> Guard:
    """No sequence of kinds of event that a test clip shows is shown in training."""
    known, asked = ({tuple(row) for row in world.kind.tolist()} for world in (train, test))
    both = known & asked
    return Guard(not both, f"{len(known)} sequences in train, {len(asked)} in test, {len(both) or 'none'} in both")


def null(config: Config, n: int = 2000, seed: int = 0) -> Guard:
    """In a null world the absent factor of the frames agrees with what is told only by chance, the others always."""
    if not config.null:
        return Guard(False, "not a null world: the clips show every event that is told")
    told = clips(seed, n, config)
    seen = shown(told)
    moves = (told.distance > 0) & (seen.distance > 0) & (told.kind == seen.kind)
    sorted_kinds = np.sort(told.kind, 1) == np.sort(seen.kind, 1)
    agree = {
        "order": (told.actor == seen.actor).all(1) & (told.kind == seen.kind).all(1),
        "direction": (told.value == seen.value)[moves],
        "kinds": sorted_kinds.all(1),
    }
    chance = dict.fromkeys(agree, 1.0)
    if config.null == "order":
        chance["order"] = float(1 / np.prod(np.arange(1, config.events + 1)))
        same = told.actor == seen.actor
        agree["direction"] = (told.value == seen.value)[moves & same]
    elif config.null == "direction":
        chance["direction"] = 1 / len(DIRECTIONS)
    else:
        everyone = [np.sort(told.kind, 1)[:, None], np.sort(seen.kind, 1)[None]]
        chance["kinds"] = float((everyone[0] == everyone[1]).all(2).mean())
        del agree["order"], agree["direction"]
    found, ok = [], True
    for name, values in agree.items():
        share, expected = float(values.mean()), chance[name]
        ok &= abs(share - expected) <= 4 * np.sqrt(expected * (1 - expected) / max(1, len(values)))
        found.append(f"{name} {share:.3f} (expected {expected:.3f})")
    return Guard(bool(ok), f"null world of clips {config.null!r}: told and shown agree in " + ", ".join(found))


def still(world: Clips) -> float:
    """How often a move's direction is guessed from its first frame: the shortcut's score, beside which motion counts.

    The best guess from the mover's cell alone, counted on the clips themselves, among moves of the world as told.
    """
    n, e = np.nonzero((world.distance > 0) & (world.other < 0))
    actor = world.actor[n, e]
    cells = world.config.scene.cells
    place = world.cast.row[n, actor].astype(np.int64) * cells + world.cast.col[n, actor]
    counts = np.zeros((cells**2, len(DIRECTIONS)), np.int64)
    np.add.at(counts, (place, world.value[n, e].astype(np.int64)), 1)
    return float(counts.max(1).sum() / max(1, counts.sum()))
