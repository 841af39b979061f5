"""Texts of several turns that end where a picture belongs: no turn tells the whole picture, the last one least.

Scenes hold one object. In a story its kind is told first and its place changes twice; in a dialogue its shape is asked
about, and colour and place are answered, in either order. The two kinds take turns by the number of the scene.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from sensorium.core import SensoriumError

from .world.facts import Facts
from .world.lang import caption
from .world.talk import dialogues, stories

STEPS, EXCHANGES = 3, 2
"""Sentences of a story, questions of a dialogue."""


@dataclass(frozen=True, eq=False)
class Contexts:
    """N texts and the scenes that stand at their ends: `whole`, the `last` turn alone, and the `caption` of the scene,
    which tells all."""

    world: Facts
    whole: list[str]
    last: list[str]
    caption: list[str]


def contexts(facts: Facts, seed: int = 0) -> Contexts:
    """A story or a dialogue about each scene; a story moves its object, so that the scene at its end is another.

    Raises:
        SensoriumError: scenes of another number of objects than one.
    """
    if not (facts.n == 1).all():
        raise SensoriumError(f"scenes of {facts.n.min()} to {facts.n.max()} objects; expected one each")
    told = facts.index % 2 == 0
    tales, talks = stories.stories(facts, STEPS, seed), dialogues.about(facts, EXCHANGES, seed)
    place = {
        factor: np.where(told[:, None], getattr(tales.worlds[-1], factor), getattr(facts, factor))
        for factor in ("row", "col")
    }
    world = replace(facts, **place)
    whole, last = [], []
    for story, turns, is_story in zip(tales.texts, talks.turns, told.tolist(), strict=True):
        whole.append(" ".join(story) if is_story else dialogues.as_text(turns))
        last.append(story[-1] if is_story else turns[-1].text)
    return Contexts(world, whole, last, caption(world, "long", seed=seed))
