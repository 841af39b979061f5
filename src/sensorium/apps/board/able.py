"""What can be asked of a picture with the runs that are served, and what kind of run would be needed for the rest."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sensorium.apps.server.predict import asks_of
from sensorium.apps.server.search import searchable
from sensorium.apps.server.state import Served, needs_of, predicts_of, spaces_of, writes
from sensorium.core import Ranks
from sensorium.run.runs import Model

FROM = ("image", "text", "ids", "spans")
"""Kinds that the image page can give a run."""


@dataclass(frozen=True)
class Kind:
    """Something to ask for: its title, the field for words that goes with it ("" for none), which runs can, and what
    kind of run would."""

    title: str
    words: str
    can: Callable[[Served, str, Model], bool]
    would: str


@dataclass(frozen=True)
class Offer:
    """What can be asked for, the runs that can, and those of them that must have words."""

    name: str
    kind: Kind
    runs: Sequence[str]
    worded: Sequence[str] = ()


def offers(served: Served) -> list[Offer]:
    """Everything that can be asked of a picture, possible or not."""
    found = []
    for name, kind in KINDS.items():
        runs = [k for k, model in served.models.items() if kind.can(served, k, model)]
        found.append(Offer(name, kind, runs, [k for k in runs if worded(served.models[k])]))
    return found


def sees(model: Model) -> bool:
    """Whether the paper of a run reads pictures."""
    return "image" in needs_of(model)


def worded(model: Model) -> bool:
    """Whether a run that predicts must have words beside the picture."""
    return bool(predicts_of(model)) and "text" in asks_of(model) and "optional" not in asks_of(model)["text"]


def _captions(served: Served, name: str, model: Model) -> bool:
    return "text" in writes(model) and sees(model)


def _answers(served: Served, name: str, model: Model) -> bool:
    return "text/answer" in writes(model) and sees(model)


def _matches(served: Served, name: str, model: Model) -> bool:
    able = isinstance(model.method, Ranks) and "image" in spaces_of(model)
    return able and (name in served.writers.values() or any(searchable(model, d) for d in served.data.values()))


def _grounds(served: Served, name: str, model: Model) -> bool:
    return "boxes" in predicts_of(model) and _asked(model)


def _labels(served: Served, name: str, model: Model) -> bool:
    return "label" in predicts_of(model) and _asked(model)


def _asked(model: Model) -> bool:
    """Whether a run predicts from a picture, words and phrases, and needs nothing else."""
    must = [need for need in asks_of(model).values() if "optional" not in need]
    return "image" in asks_of(model) and all(need in FROM for need in must)


KINDS = {
    "caption": Kind("A caption", "", _captions, "generates text from a picture, such as prefix-lm or transfusion"),
    "answer": Kind("An answer", "question", _answers, "generates answers, such as prefix-lm trained on questions"),
    "match": Kind("What looks like it", "", _matches, "embeds and ranks pictures, such as clip, with a data set"),
    "boxes": Kind("Where something is", "phrases, with commas between", _grounds, "predicts boxes, such as mdetr"),
    "label": Kind("A label", "words that go with the picture", _labels, "predicts a label"),
}
"""What can be asked for by the name that forms use."""
