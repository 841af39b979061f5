"""The tasks a race can be run on: one literal table, no class of any paper. Reading it imports no torch."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Task:
    """What a task needs (kinds), which capability it reads, its primary metric and when a result says nothing.

    `higher`: more of the primary metric is better. `trivial`: the predictor each arm must beat. `ceiling`: the primary
    metric at which a baseline leaves no headroom.
    """

    name: str
    needs: tuple[str, ...]
    capability: str
    primary: str
    higher: bool
    trivial: str
    ceiling: float
    about: str


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
    "classify": Task(
        name="classify",
        needs=("image", "label"),
        capability="embed",
        primary="accuracy",
        higher=True,
        trivial="majority label",
        ceiling=0.95,
        about="name the label of an image from its nearest neighbour among the train rows, in embedding space",
    ),
}


def task(name: str) -> Task:
    """The task of that name; an unknown one is an error that says the nearest."""
    from sensorium.core.errors import SensoriumError, nearest  # here: core imports torch, listing tasks must not

    if name not in TASKS:
        raise SensoriumError(f"no task {name!r}{nearest(name, TASKS)}")
    return TASKS[name]
