"""Whether the picture that is shown after a text is that of the scene, whatever the text itself tells of it."""

from __future__ import annotations

import numpy as np

from sensorium.core import SensoriumError
from sensorium.run.evaluate import Scored
from sensorium.run.tasks import Question, few, painted, pictures

from .generation import ROWS, agreement, mentions, seen

CAPTION = "text/caption"
"""The key of the caption that tells the whole scene."""
FACTORS = ("objects", "colours", "shapes")


def showing(asked: Question) -> Scored:
    """Scores "shown objects", "shown colours", "shown shapes": the facts of the true scene, place included in objects,
    that are read from what is painted or found after each text; "unrelated …": from what is shown after another text;
    "true …": from the true pictures, the reader's own error.

    Raises:
        SensoriumError: a set whose captions are not told apart from its texts.
    """
    if CAPTION not in asked.data.kinds:
        raise SensoriumError(f"{asked.data.name} has no {CAPTION!r}; expected a set of contexts, as world/contexts")
    asked = few(asked, ROWS)
    told, found = mentions(asked, asked.texts(CAPTION)), seen(asked, painted(asked))
    of = {
        "shown": agreement(told, found),
        "unrelated": agreement(told[1:] + told[:1], found),
        "true": agreement(told, seen(asked, pictures(asked))),
    }
    return Scored({f"{w} {f}": float(np.nan_to_num(getattr(a, f)).mean()) for w, a in of.items() for f in FACTORS}, {})
