"""Documents of sentences and pictures in turn: true throughout, or with one place where they do not go together.

Shape legend: N documents, S steps of one, P pictures to be placed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from sensorium.core import SensoriumError, derive, nearest

from ..facts import Facts, scenes
from ..lang import caption, row_by_row
from ..lang.plan import draw
from ..operators import moved, where
from ..page.outline import edited, several

THEMES = ("chain", "loose")
"""chain: each scene is the one before with one object of another colour or shape, or, where the part has no other
combination, with everything moved; loose: scenes of their own."""
FAULTS = ("picture", "text", "order")
"""A picture of an unrelated scene; a sentence on one; two neighbouring pictures exchanged."""
PICTURE = "<image>"


@dataclass(frozen=True, eq=False)
class Interleaved:
    """N documents: step s of document i is the sentence texts[i][s] and the picture of row i of worlds[s]."""

    texts: list[list[str]]
    worlds: list[Facts]
    """S worlds of N scenes: what the pictures are of."""
    true: np.ndarray
    """bool [N S]: the sentence is true of its picture."""
    fault: np.ndarray
    """int8 [N], index into FAULTS; -1 for none."""
    place: np.ndarray
    """int8 [N]: the step that was broken, the earlier one of two; -1 for none."""

    def as_text(self, number: int) -> str:
        """One document with PICTURE where its pictures stand."""
        return " ".join(f"{PICTURE} {text}" for text in self.texts[number])


def interleaved(
    facts: Facts,
    steps: int = 4,
    theme: str = "chain",
    broken: float = 0.0,
    faults: Sequence[str] = FAULTS,
    form: str = "list",
    language: str = "en",
    seed: int = 0,
) -> Interleaved:
    """A document per scene, which is its first picture; a share is broken in one place by one of `faults`.

    A fault that leaves every sentence true is taken back. Null worlds draw what `shown` makes of `worlds`.

    Raises:
        SensoriumError: an unknown theme or fault, a share outside 0 to 1, fewer than two steps.
    """
    for fault in faults:
        if fault not in FAULTS:
            raise SensoriumError(f"fault {fault!r}{nearest(fault, FAULTS)}")
    if not 0 <= broken <= 1 or not faults or steps < 2:
        raise SensoriumError(
            f"{steps} steps, a share {broken} broken by {len(faults)} faults; expected 2 or more, 0 to 1, 1 or more"
        )
    worlds = sequence(facts, steps, theme, seed)
    texts = [caption(world, form, language, seed) for world in worlds]
    luck = draw(facts, 3, seed, "talk", "fault")
    kind = np.array([FAULTS.index(fault) for fault in faults])[(luck[:, 1] * len(faults)).astype(int)]
    kind[luck[:, 0] >= broken] = -1
    place = (luck[:, 2] * (steps - (kind == FAULTS.index("order")))).astype(np.int64)
    shown, told = _broken(worlds, texts, kind, place, form, language, seed)
    true = np.stack([row_by_row(text, world, language) for text, world in zip(told, shown, strict=True)], 1)
    vain = np.asarray(true.all(1))
    return Interleaved(
        [list(texts[s][i] if vain[i] else told[s][i] for s in range(steps)) for i in range(len(facts))],
        [where(vain, world, other) for world, other in zip(worlds, shown, strict=True)],
        true,
        np.where(vain, -1, kind).astype(np.int8),
        np.where(vain, -1, place).astype(np.int8),
    )


def _broken(
    worlds: list[Facts],
    texts: list[list[str]],
    kind: np.ndarray,
    place: np.ndarray,
    form: str,
    language: str,
    seed: int,
) -> tuple[list[Facts], list[list[str]]]:
    """The worlds and the texts with the fault of each row, -1 for none, at its place."""
    first = worlds[0]
    others = replace(
        scenes(derive(first.seed, seed, "talk", "other"), first.index, first.config, first.part), seed=first.seed
    )
    elsewhere = caption(others, form, language, seed)
    shown, told = list(worlds), [list(column) for column in texts]
    for s, world in enumerate(worlds):
        here = place == s
        shown[s] = where(here & (kind == FAULTS.index("picture")), others, shown[s])
        for i in np.flatnonzero(here & (kind == FAULTS.index("text"))).tolist():
            told[s][i] = elsewhere[i]
        swapped = here & (kind == FAULTS.index("order"))
        if swapped.any():
            shown[s] = where(swapped, worlds[s + 1], shown[s])
            shown[s + 1] = where(swapped, world, shown[s + 1])
    return shown, told


def sequence(facts: Facts, steps: int, theme: str = "chain", seed: int = 0) -> list[Facts]:
    """The scenes of a document, [S] worlds of N: the first is `facts` itself."""
    if theme not in THEMES:
        raise SensoriumError(f"theme {theme!r}{nearest(theme, THEMES)}")
    if theme == "loose":
        return [_renumbered(world, facts) for world in several(facts, steps, seed)]
    worlds = [facts]
    for s in range(1, steps):
        before, number = worlds[-1], derive(seed, "talk", "chain", s)
        luck = draw(facts, 2, number, "talk", "chain")
        slot = (luck[:, 0] * before.n).astype(np.int64)
        coloured, fits = edited(before, slot, "colour", number)
        shaped, fits_too = edited(before, slot, "shape", number)
        changed = where(fits & ((luck[:, 1] < 0.5) | ~fits_too), coloured, shaped)
        worlds.append(where(fits | fits_too, changed, moved(before, number)))
    return worlds


def _renumbered(world: Facts, like: Facts) -> Facts:
    """The same scenes under the seed of others, so that their rows can be mixed."""
    return replace(world, seed=like.seed)


@dataclass(frozen=True, eq=False)
class Placement:
    """N pages whose pictures have lost their places: picture p of page i belongs to sentence `sentence[i, p]`."""

    texts: list[list[str]]
    worlds: list[Facts]
    """P worlds of N scenes."""
    sentence: np.ndarray
    """int64 [N P]: all different."""


def placement(
    facts: Facts, steps: int = 5, pictures: int = 3, form: str = "short", language: str = "en", seed: int = 0
) -> Placement:
    """Sentences on scenes of their own, some of which come with a picture, in any order (as in MMC4, 2304.06939).

    No sentence is true of another's picture: where one would be, the page has a sentence on no scene in its place.
    """
    if not 1 <= pictures <= steps:
        raise SensoriumError(f"{pictures} pictures for {steps} sentences; expected 1 to {steps}")
    worlds = sequence(facts, steps, "loose", seed)
    texts = [caption(world, form, language, seed) for world in worlds]
    chosen = draw(facts, steps, seed, "talk", "placement").argsort(1)[:, :pictures]
    shown = []
    for p in range(pictures):
        world = worlds[0]
        for s in range(1, steps):
            world = where(chosen[:, p] == s, worlds[s], world)
        shown.append(world)
    for s in range(steps):
        loose = np.zeros(len(facts), bool)
        for p, world in enumerate(shown):
            loose |= row_by_row(texts[s], world, language) & (chosen[:, p] != s)
        loose &= (chosen != s).all(1)
        for i in np.flatnonzero(loose).tolist():
            texts[s][i] = "…"
    return Placement([list(row) for row in zip(*texts, strict=True)], shown, chosen)
