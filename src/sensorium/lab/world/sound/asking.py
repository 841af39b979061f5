"""Questions of several kinds put together."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from sensorium.core import SensoriumError, nearest

from ..lang import Questions

Asked = tuple[list[str], list[str], list[tuple[str, ...]], np.ndarray, np.ndarray]
"""Texts, answers, options, rows of the world and slots of one kind."""


def ask(
    makers: Mapping[str, Callable[[], Asked]], kinds: Sequence[str], possible: Mapping[str, bool], world: str
) -> Questions:
    """Questions of some kinds, by default of all that are possible; `scene` is the row of the world.

    Raises:
        SensoriumError: an unknown kind, or one that has only one answer in this world.
    """
    for kind in kinds:
        if kind not in makers:
            raise SensoriumError(f"kind of question {kind!r} on {world}{nearest(kind, makers)}")
        if not possible.get(kind, True):
            known = ", ".join(name for name in makers if possible.get(name, True))
            raise SensoriumError(f"questions on {kind} have one answer in this world of {world}; expected {known}")
    asked = [(kind, makers[kind]()) for kind in kinds or [k for k in makers if possible.get(k, True)]]
    none = [np.zeros(0, np.int64)]
    return Questions(
        text=[text for _, found in asked for text in found[0]],
        answer=[answer for _, found in asked for answer in found[1]],
        kind=[kind for kind, found in asked for _ in found[0]],
        options=[options for _, found in asked for options in found[2]],
        scene=np.concatenate(none + [found[3] for _, found in asked]),
        slot=np.concatenate(none + [found[4] for _, found in asked]),
    )
