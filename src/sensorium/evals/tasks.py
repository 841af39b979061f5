"""The tasks a race can be run on: one literal table, no class of any paper. Reading it imports no torch."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Task:
    """What a task needs (keys), which capability it reads, its primary metric and when a result says nothing.

    `higher`: more of the primary metric is better. `trivial`: the predictor each arm must beat. `ceiling`: the primary
    metric at which a baseline leaves no headroom; `most` is the largest value that it can take.
    """

    name: str
    needs: tuple[str, ...]
    capability: str
    primary: str
    higher: bool
    trivial: str
    ceiling: float
    about: str
    most: float = 1.0


TASKS: dict[str, Task] = {
    "retrieval": Task(
        name="retrieval",
        needs=("image", "text"),
        capability="rank",
        primary="r@1",
        higher=True,
        trivial="random order",
        ceiling=0.95,
        about="find the right image for a text and the right text for an image; share of first hits, both directions",
    ),
    "ground": Task(
        name="ground",
        needs=("image", "text", "boxes", "spans"),
        capability="predict",
        primary="recall@1",
        higher=True,
        trivial="mean box",
        ceiling=0.95,
        about="find the box that a phrase of the text names; share of phrases whose first box overlaps it by half",
    ),
    "answer": Task(
        name="answer",
        needs=("image", "text/question", "text/answer"),
        capability="generate",
        primary="exact",
        higher=True,
        trivial="blind majority",
        ceiling=0.95,
        about="answer a question about an image; share of answers that are the reference, normalised",
    ),
    "caption": Task(
        name="caption",
        needs=("image", "text"),
        capability="generate",
        primary="cider",
        higher=True,
        trivial="blind majority",
        ceiling=9.5,
        about="say what an image shows; CIDEr-D against the image's texts, 0 to 10",
        most=10.0,
    ),
    "classify": Task(
        name="classify",
        needs=("image", "label"),
        capability="predict",
        primary="accuracy",
        higher=True,
        trivial="blind majority",
        ceiling=0.95,
        about="name the label of an image",
    ),
    "label-sequence": Task(
        name="label-sequence",
        needs=("audio", "text"),
        capability="predict",
        primary="cer",
        higher=False,
        trivial="blind majority",
        ceiling=0.02,
        about="write down what is said; character errors per character of the text",
    ),
    "generate": Task(
        name="generate",
        needs=("image", "text"),
        capability="generate",
        primary="r-precision",
        higher=True,
        trivial="mean image",
        ceiling=0.95,
        about="paint the picture of a text; share of pictures that look most like their own among 100, at a glance",
    ),
}


def task(name: str) -> Task:
    """The task of that name; an unknown one is an error that says the nearest."""
    from sensorium.core.errors import SensoriumError, nearest  # here: core imports torch, listing tasks must not

    if name not in TASKS:
        raise SensoriumError(f"no task {name!r}{nearest(name, TASKS)}")
    return TASKS[name]
