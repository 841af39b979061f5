"""What generated pictures show and generated captions say, by the exact reader of the generated world.

Shape legend: N rows. What a text tells is matched with what the reader finds in a picture, one object with one.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from sensorium.core import Predicts, Rng, SensoriumError
from sensorium.evals.metrics.distribution import frechet
from sensorium.run.evaluate import Scored
from sensorium.run.tasks import LONGEST_CAPTION, Question, few, generated, painted, pictures

from . import sampling, sets
from .world import reader
from .world.facts import Facts
from .world.lang import Mention, read

TOLD = ("shape", "colour", "size", "texture", "row", "col")
"""What a text may tell of an object."""
ROWS = 200
"""Pictures that are painted and captions that are said for a score."""
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Agreement:
    """Told against shown, float64 [N] each; NaN where a row's text tells nothing of it.

    `objects`: share of the told objects that are shown with all that is told of them; `colours`, `shapes`: share of the
    told values that are shown, whatever has them; `named`: share of the shown objects that are told with colour and
    shape; `exact`: 1 where all that is told is shown, and nothing else.
    """

    objects: Floats
    colours: Floats
    shapes: Floats
    named: Floats
    exact: Floats


def agreement(told: Sequence[Sequence[Mention]], shown: Facts) -> Agreement:
    """What the texts of N rows tell, and what the reader found in their N pictures.

    Raises:
        SensoriumError: unequal numbers of rows.
    """
    if len(told) != len(shown):
        raise SensoriumError(f"{len(told)} texts and {len(shown)} pictures; expected one picture per text")
    rows = [_agreed(list(said), _objects(shown, n)) for n, said in enumerate(told)]
    return Agreement(*np.array(rows, np.float64).reshape(-1, 5).T)


def _objects(shown: Facts, n: int) -> list[Mention]:
    return [Mention(**{f: int(getattr(shown, f)[n, k]) for f in TOLD}) for k in range(int(shown.n[n]))]


def _agreed(told: list[Mention], there: list[Mention]) -> tuple[float, float, float, float, float]:
    free, right, named = list(there), 0, 0
    for one in told:
        if (hit := next((k for k, other in enumerate(free) if _fits(one, other)), -1)) >= 0:
            free.pop(hit)
            right += 1
            named += one.colour >= 0 and one.shape >= 0
    exact = float(right == len(told) == len(there)) if told else np.nan
    shares = [_overlap([getattr(m, f) for m in told], [getattr(m, f) for m in there]) for f in ("colour", "shape")]
    return _share(right, len(told)), shares[0], shares[1], _share(named, len(there)), exact


def _fits(told: Mention, there: Mention) -> bool:
    """Whether an object has all that is told of it; what the reader is unsure of, it has not."""
    return all(getattr(told, f) in (-1, getattr(there, f)) for f in TOLD)


def _overlap(told: list[int], there: list[int]) -> float:
    """The share of the told values, as often as told, that are there."""
    wanted = Counter(v for v in told if v >= 0)
    return _share((wanted & Counter(there)).total(), wanted.total())


def _share(part: int, whole: int) -> float:
    return part / whole if whole else np.nan


def seen(asked: Question, images: NDArray[np.uint8]) -> Facts:
    """What the reader finds in u8 [N 3 H W], which are to look as those of the question's set do.

    Raises:
        SensoriumError: a set that the world did not generate.
    """
    made = sets.recipe(asked.data.name)
    return reader.read(images, made.config, made.style)


def mentions(asked: Question, texts: Sequence[str]) -> list[tuple[Mention, ...]]:
    """The objects that each text tells."""
    made = sets.recipe(asked.data.name)
    return [read(text, made.language, made.config.cells).mentions for text in texts]


def painting(asked: Question) -> Scored:
    """Scores "painted objects", "painted colours", "painted shapes", "painted exact": what captions tell against what
    is read from the pictures painted from them alone; "unrelated …": against the pictures of other captions, which is
    what who does not read the caption scores; "true …": against the true pictures, the reader's own error."""
    asked = few(asked, ROWS)
    return _told_of(asked, painted(asked))


def fidelity(asked: Question) -> Scored:
    """The scores of `painting`, and of the same pictures "fid": their Fréchet distance from all true ones of the rows
    on the features of `sampling`, lower better."""
    part = few(asked, ROWS)
    made, true = painted(part), pictures(asked)
    distance = frechet(sampling.features(made), sampling.features(true))
    return Scored({**_told_of(part, made).scores, "fid": distance}, {})


@torch.no_grad()
def foretold(asked: Question) -> Scored:
    """Score "text perplexity": of the words of captions, in the orders that the method was trained on.

    Raises:
        SensoriumError: a method without a loss on text.
    """
    method, total, rows = asked.plan.method, 0.0, 0
    for n, batch in enumerate(asked.batches("image", "text", "row", "group")):
        terms = method.losses(batch, Rng(0).at(n))
        if "text" not in terms:
            raise SensoriumError(f"{asked.plan.job.paper} has no loss on text; it has {', '.join(terms)}")
        total, rows = total + float(terms["text"]) * len(batch["row"]), rows + len(batch["row"])
    return Scored({"text perplexity": math.exp(total / rows)}, {})


def _told_of(asked: Question, made: NDArray[np.uint8]) -> Scored:
    """What captions tell against what is read from the pictures painted from them."""
    told = mentions(asked, asked.texts("text"))
    right = agreement(told, found := seen(asked, made))
    other = agreement(told[1:] + told[:1], found)
    true = agreement(told, seen(asked, pictures(asked)))
    return _joined({"painted": right, "unrelated": other, "true": true}, ("objects", "colours", "shapes", "exact"))


def telling(asked: Question) -> Scored:
    """Scores "said objects", "said colours", "said shapes": share of what generated captions say that is read from the
    picture; "said named": share of the picture's objects that they name; "mistaken …": the same of other pictures'
    captions."""
    asked = few(asked, ROWS)
    said = mentions(asked, generated(asked, "text", LONGEST_CAPTION, "image"))
    found = seen(asked, pictures(asked))
    right, other = agreement(said, found), agreement(said[1:] + said[:1], found)
    return _joined({"said": right, "mistaken": other}, ("objects", "colours", "shapes", "named"))


def rebuilding(asked: Question) -> Scored:
    """Scores "rebuilt …": what captions tell against what is read from pictures after the codes of a tokeniser;
    "true …": against the pictures themselves, the reader's own error."""
    method, asked = asked.plan.method, few(asked, 5 * ROWS)
    if not isinstance(method, Predicts) or "image/rebuilt" not in method.predicts:
        raise SensoriumError(f"{asked.plan.job.paper} rebuilds no picture")
    after = np.concatenate([method.predict(b, "image/rebuilt").data.cpu().numpy() for b in asked.batches("image")])
    told = mentions(asked, asked.texts("text"))
    found = {"rebuilt": agreement(told, seen(asked, after)), "true": agreement(told, seen(asked, pictures(asked)))}
    return _joined(found, ("objects", "colours", "shapes", "exact"))


def _joined(found: dict[str, Agreement], names: Sequence[str]) -> Scored:
    """Means by score; a text that tells nothing of something is right of nothing."""
    scores = {
        f"{who} {name}": float(np.nan_to_num(getattr(one, name)).mean()) for who, one in found.items() for name in names
    }
    return Scored(scores, {})
