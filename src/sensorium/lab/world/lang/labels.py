"""Texts with labels that no picture is needed for: who wrote them, in which style, what is stressed, which topic.

Classes are dealt, not drawn: every run of as many scenes as there are classes, from a multiple of that number on, holds
each class once.

Shape legend: N texts, W words of a text, F fonts, T nodes of the taxonomy.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from sensorium.core import SensoriumError, derive

from ..facts import COLOURS, SHAPES, Facts, uniform
from .caption import caption, sentences, wording, write
from .grammar import ATTRIBUTES
from .plan import draw, plan
from .reading import labelled

OPENINGS = ("", "look, ", "i see ", "here we have ", "well, ", "in this picture: ")
ENDINGS = ("", ".", "!", " …", " ;-)")
FOLLOWED = 0.9
"""How often an author follows each habit."""
STYLES = ("plain", "telegraphic", "enthusiastic", "gloomy", "formal")
_STYLED = {
    "plain": "there is {list}.",
    "telegraphic": "{bare}",
    "enthusiastic": "what a lovely sight: {list}!",
    "gloomy": "sadly, just {list}.",
    "formal": "the picture may be said to contain {list}.",
}
TEMPLATES = (
    "the picture shows {list}.",
    "you can see {list}.",
    "in the picture there is {list}.",
    "{list} can be seen here.",
    "shown: {list}.",
    "we are looking at {list}.",
)
FONTS = ("serif", "sans", "mono", "script", "display", "hand")
STRESS = {"colour": 0.6, "shape": 0.5, "size": 0.4, "texture": 0.4, "relation": 0.3, "place": 0.2, "ground": 0.3}
"""How likely an average annotator is to stress a word that says this; other words are stressed at 0.03."""
_STRESS_OF_OTHERS = 0.03
PARENTS: Mapping[str, str] = {
    "round": "form",
    "angular": "form",
    "pointed": "form",
    "warm": "colour",
    "cool": "colour",
    "circle": "round",
    "ring": "round",
    "square": "angular",
    "triangle": "angular",
    "star": "pointed",
    "cross": "pointed",
    "red": "warm",
    "yellow": "warm",
    "orange": "warm",
    "brown": "warm",
    "green": "cool",
    "blue": "cool",
    "purple": "cool",
    "cyan": "cool",
}
"""The taxonomy, child to parent."""
NODES = ("form", "colour", *PARENTS)


@dataclass(frozen=True)
class Author:
    """Habits of one writer."""

    form: str
    others: frozenset[str]
    """Attributes said by their synonyms."""
    frame: int
    opening: str
    ending: str


def author(number: int, seed: int = 0) -> Author:
    """The habits of an author, drawn by its number; two authors may share some, hardly all."""
    rng = np.random.Generator(np.random.Philox(derive("author", seed, number)))
    return Author(
        form=("short", "list", "long")[int(rng.integers(3))],
        others=frozenset(name for name in ATTRIBUTES if rng.random() < 0.5),
        frame=int(rng.integers(3)),
        opening=OPENINGS[int(rng.integers(len(OPENINGS)))],
        ending=ENDINGS[int(rng.integers(len(ENDINGS)))],
    )


def authors(facts: Facts, count: int = 8, first: int = 0, seed: int = 0) -> tuple[list[str], np.ndarray]:
    """Texts by authors `first` to `first + count`, and their numbers, int64 [N]; take others for unseen authors."""
    labels = first + dealt(facts, count, seed, "author")
    texts = [""] * len(facts)
    for number in np.unique(labels).tolist():
        rows = np.flatnonzero(labels == number)
        for row, text in zip(rows.tolist(), _by(author(number, seed), facts.rows(rows), seed), strict=True):
            texts[row] = text
    return texts, labels


def styles(facts: Facts, seed: int = 0) -> tuple[list[str], list[str]]:
    """The `list` caption in one of STYLES, and which."""
    chosen = [STYLES[at] for at in dealt(facts, len(STYLES), seed, "style").tolist()]
    full = caption(facts, "list", "en", seed)
    return [
        _STYLED[style].format(list=text, bare=_bare(text)) for style, text in zip(chosen, full, strict=True)
    ], chosen


def style_of(text: str) -> str:
    """Which of STYLES a text obeys, by the words that only this style has; "" for none."""
    for style in STYLES:
        before, _, after = _STYLED[style].partition("{list}")
        if style != "telegraphic" and text.startswith(before) and text.endswith(after):
            return style
    return "telegraphic" if text and _bare(text) == text and not text.endswith((".", "!")) else ""


def templates(facts: Facts, seed: int = 0) -> tuple[list[str], list[str], np.ndarray]:
    """Linearised records ("colour[red] shape[circle]; …"), a text of each by one of TEMPLATES, which, int64 [N]."""
    chosen = dealt(facts, len(TEMPLATES), seed, "template")
    full = caption(facts, "list", "en", seed)
    texts = [TEMPLATES[at].format(list=text) for at, text in zip(chosen.tolist(), full, strict=True)]
    return records(facts, seed), texts, chosen


def records(facts: Facts, seed: int = 0) -> list[str]:
    """The facts of the `list` caption, in its order, as a line of attributes and values."""
    said = plan(facts, "list", seed)
    rows = zip(said.colour.tolist(), said.shape.tolist(), strict=True)
    return [
        "; ".join(f"colour[{COLOURS[c]}] shape[{SHAPES[s]}]" for c, s in zip(colours, shapes, strict=True) if s >= 0)
        for colours, shapes in rows
    ]


def fonts(facts: Facts, annotators: int = 9, seed: int = 0) -> tuple[list[str], np.ndarray]:
    """Texts on one object and the share of annotators that choose each of FONTS, float64 [N F]."""
    scores = _font_scores(facts, seed)
    taste = np.random.Generator(np.random.Philox(derive("taste", annotators))).normal(0, 0.7, (annotators, len(FONTS)))
    votes = np.zeros((len(facts), len(FONTS)))
    for at in range(annotators):
        share = _softmax(scores + taste[at]).cumsum(1)
        drawn = draw(facts, 1, seed, "font", at)
        votes[np.arange(len(facts)), np.minimum((drawn > share).sum(1), len(FONTS) - 1)] += 1
    return caption(facts, "one", "en", seed), votes / annotators


def fonts_expected(facts: Facts, seed: int = 0) -> np.ndarray:
    """float64 [N F]: what annotators without tastes of their own would choose; the best that a text can tell."""
    return _softmax(_font_scores(facts, seed))


def emphasis(
    facts: Facts, annotators: int = 9, form: str = "short", language: str = "en", seed: int = 0
) -> tuple[list[str], list[np.ndarray]]:
    """Captions and the share of annotators that stress each word or mark, float64 [W]; each has a bent of its own."""
    texts = caption(facts, form, language, seed)
    kinds = [labelled(text, language) for text in texts]
    most = max(map(len, kinds), default=0)
    bent = np.random.Generator(np.random.Philox(derive("bent", annotators))).uniform(0.6, 1.4, annotators)
    drawn = draw(facts, most * annotators, seed, "emphasis").reshape(len(facts), most, annotators)
    shares = []
    for row, found in enumerate(kinds):
        likely = np.array([STRESS.get(kind, _STRESS_OF_OTHERS) for kind in found])
        shares.append((drawn[row, : len(found)] < likely[:, None] * bent).mean(1))
    return texts, shares


def boundaries(facts: Facts, language: str = "en", seed: int = 0) -> tuple[list[str], list[tuple[int, ...]]]:
    """Long captions without their full stops, and the character behind each sentence's last word."""
    texts, ends = [], []
    for text, found in zip(
        caption(facts, "long", language, seed), sentences(facts, "long", language, seed), strict=True
    ):
        parts = [text[sentence.start : sentence.end].removesuffix(".") for sentence in found]
        texts.append(" ".join(parts))
        ends.append(tuple(int(end) for end in np.cumsum([len(part) + 1 for part in parts]) - 1))
    return texts, ends


def hierarchy(facts: Facts, seed: int = 0) -> tuple[list[str], np.ndarray]:
    """Captions of one object and bool [N T] over NODES: its colour, its shape and all that stands above them."""
    said = plan(facts, "one", seed)
    labels = np.zeros((len(facts), len(NODES)), bool)
    for names, values in ((SHAPES, said.shape[:, 0]), (COLOURS, said.colour[:, 0])):
        for value, name in enumerate(names):
            node: str | None = name
            while node is not None:
                labels[values == value, NODES.index(node)] = True
                node = PARENTS.get(node)
    return write(said, wording(said)), labels


def tags(facts: Facts, form: str = "long", language: str = "en", seed: int = 0) -> tuple[list[str], list[list[str]]]:
    """Captions and what each word or mark says: a factor, "number", "backdrop", or "word" for nothing."""
    texts = caption(facts, form, language, seed)
    return texts, [labelled(text, language) for text in texts]


def dealt(facts: Facts, classes: int, seed: int, purpose: str) -> np.ndarray:
    """int64 [N]: a class for each scene, by its number; see the module's first lines.

    Raises:
        SensoriumError: fewer than one class.
    """
    if classes < 1:
        raise SensoriumError(f"{classes} classes; expected 1 or more")
    run = facts.index // classes
    shift = np.floor(uniform(run, 1, "lang", facts.seed, facts.part, seed, purpose)[:, 0] * classes)
    return np.asarray((facts.index + shift.astype(np.int64)) % classes)


def _by(who: Author, facts: Facts, seed: int) -> list[str]:
    said = plan(facts, who.form, seed)
    plain = wording(said)
    follows = draw(facts, len(ATTRIBUTES) + 3, seed, "habits") < FOLLOWED
    bits = sum(
        (follows[:, at].astype(np.int8) << at) for at, name in enumerate(ATTRIBUTES) if name in who.others
    ) + np.zeros(len(facts), np.int8)
    how = replace(
        plain,
        others=np.broadcast_to(bits[:, None], plain.others.shape),
        frame=np.broadcast_to(np.where(follows[:, -3], who.frame, 0)[:, None], plain.frame.shape),
    )
    return [
        who.opening * opens + text.removesuffix(".") + (who.ending if ends else "")
        for text, opens, ends in zip(write(said, how), follows[:, -2].tolist(), follows[:, -1].tolist(), strict=True)
    ]


def _bare(text: str) -> str:
    """A list without its articles and "and"."""
    return ", ".join(
        part.split(" ", 1)[1] if part.startswith(("a ", "an ")) else part
        for part in text.replace(" and ", ", ").split(", ")
    )


def _font_scores(facts: Facts, seed: int) -> np.ndarray:
    """float64 [N F]: how well each font suits the colour and the shape that the text names."""
    said = plan(facts, "one", seed)
    rng = np.random.Generator(np.random.Philox(derive("fonts")))
    of_colour, of_shape = (rng.normal(0, 1, (len(names) + 1, len(FONTS))) for names in (COLOURS, SHAPES))
    return np.asarray(of_colour[said.colour[:, 0]] + of_shape[said.shape[:, 0]])


def _softmax(scores: np.ndarray) -> np.ndarray:
    powers = np.exp(scores - scores.max(1, keepdims=True))
    return np.asarray(powers / powers.sum(1, keepdims=True))
