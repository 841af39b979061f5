"""What a text says to be there and is not."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from numpy.typing import ArrayLike

from .inputs import flags, mean, same_length, share
from .text import words


class Chair(NamedTuple):
    """Mentions of absent objects over all mentions, and captions with at least one over all captions."""

    instance: float
    sentence: float


class Pope(NamedTuple):
    """Of yes-or-no questions; "yes" is the positive class."""

    accuracy: float
    precision: float
    recall: float
    f1: float
    yes_rate: float


def chair(mentioned: Sequence[Sequence[str]], present: Sequence[Iterable[str]]) -> Chair:
    """For each caption the objects it mentions, repeats kept, and those that are there -> CHAIR (Rohrbach et al. 2018).

    NaN where nothing is mentioned, or there is no caption.
    """
    same_length(captions=mentioned, sets_of_objects=present)
    absent = [
        sum(name not in there for name in names)
        for names, there in zip(mentioned, map(frozenset, present), strict=True)
    ]
    return Chair(share(sum(absent), sum(map(len, mentioned))), mean([n > 0 for n in absent]))


def mentions(caption: str, names: Mapping[str, str]) -> list[str]:
    """The objects of a caption in order, repeats kept; `names` maps every form (synonym, plural) to its object.

    At each word the longest form wins: "hot dog" mentions no dog.
    """
    forms = {tuple(words(form)): name for form, name in names.items()}
    longest = max(map(len, forms), default=0)
    tokens, out, at = words(caption), [], 0
    while at < len(tokens):
        size = next((n for n in range(longest, 0, -1) if tuple(tokens[at : at + n]) in forms), 0)
        if size:
            out.append(forms[tuple(tokens[at : at + size])])
        at += max(size, 1)
    return out


def says_yes(answer: str) -> bool:
    """POPE's reading of an answer (Li et al. 2023): no if its first sentence has the word no, No or not, else yes."""
    first = answer.partition(".")[0].replace(",", "")
    return not re.search(r"(?<!\S)(no|No|not)(?!\S)", first)


def pope(said: ArrayLike, truth: ArrayLike) -> Pope:
    """[N] bool said yes, [N] bool is there -> accuracy, precision, recall, F1 and share of yes.

    Li et al. 2023; NaN where undefined (precision without yes, recall without anything there).
    """
    yes, right = flags("said", said), flags("truth", truth)
    same_length(answers=yes, truths=right)
    hits = (yes & right).sum()
    return Pope(
        mean(yes == right),
        share(hits, yes.sum()),
        share(hits, right.sum()),
        share(2 * hits, yes.sum() + right.sum()),
        mean(yes),
    )
