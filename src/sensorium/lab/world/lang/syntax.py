"""Grammar and its violations: minimal pairs as in BLiMP (Warstadt et al., TACL 2020), and tables of inflected forms."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sensorium.core import SensoriumError, nearest

from ..facts import Facts
from .caption import LANGUAGES, TAGS, language_of_tag
from .grammar import Language, Noun, noun_phrase
from .plan import Plan, draw, plan

PHENOMENA = {
    "article": ("en", "de", "fr"),
    "agreement": ("de", "fr", "fi", "ru"),
    "order": ("en", "de", "fr"),
    "case": ("de", "fr", "fi", "ru"),
    "number": TAGS,
}
"""What a pair violates, and the languages that can: the article's form, the adjective's, the order of adjective and
noun, the case after a relation, the noun after a number. Where poets may differ, everyday order counts."""


@dataclass(frozen=True, eq=False)
class Pairs:
    """Q sentences, each with a twin that breaks one rule."""

    good: list[str]
    bad: list[str]
    phenomenon: str
    scene: np.ndarray
    """int64 [Q]: row of the facts that the good sentence is true of."""


@dataclass(frozen=True)
class Form:
    """An inflected form, its citation form, and what it stands for."""

    form: str
    lemma: str
    features: str


def minimal_pairs(facts: Facts, phenomenon: str, language: str = "en", seed: int = 0) -> Pairs:
    """A pair per scene where the words allow one ("rouge" agrees with everything, so it breaks no agreement).

    Raises:
        SensoriumError: an unknown phenomenon, or a language that has no such rule.
    """
    if phenomenon not in PHENOMENA:
        raise SensoriumError(f"phenomenon {phenomenon!r}{nearest(phenomenon, PHENOMENA)}")
    lang = LANGUAGES[language_of_tag(language)]
    if language not in PHENOMENA[phenomenon]:
        known = ", ".join(PHENOMENA[phenomenon])
        raise SensoriumError(f"phenomenon {phenomenon!r} in language {language!r}; expected one of {known}")
    maker = {"article": _article, "agreement": _agreement, "order": _order, "case": _case, "number": _number}[
        phenomenon
    ]
    said = plan(facts, {"case": "short", "number": "count"}.get(phenomenon, "one"), seed)
    pick = draw(facts, 1, seed, "pair", phenomenon)[:, 0].tolist()
    made = [maker(lang, said, row, pick[row]) for row in range(len(facts))]
    rows = [row for row, pair in enumerate(made) if pair is not None]
    good, bad = ([pair[side] for pair in made if pair is not None] for side in (0, 1))
    return Pairs(good, bad, phenomenon, np.array(rows, np.int64))


def morphology(language: str) -> list[Form]:
    """Every form of the language's nouns and adjectives that captions use, one line per form and meaning."""
    lang = LANGUAGES[language_of_tag(language)]
    out = []
    for factor in ("shape", "colour", "size", "texture"):
        for _, word in lang.words(factor):
            lemma = next(iter(word.forms.values()))
            kind = "noun" if isinstance(word, Noun) else "adjective"
            gender = f" {word.gender}" if isinstance(word, Noun) and word.gender else ""
            out += [Form(form, lemma, f"{kind}{gender} {key}".strip()) for key, form in word.forms.items()]
            if isinstance(word, Noun):
                out.append(Form(word.plural, lemma, f"noun{gender} plural"))
    return out


Pair = tuple[str, str]


def _one(said: Plan, row: int, at: int = 0) -> dict[str, int] | None:
    """Colour and shape of a mention; None where there is none."""
    if at >= said.slot.shape[1] or said.slot[row, at] < 0:
        return None
    return {"shape": int(said.shape[row, at]), "colour": int(said.colour[row, at])}


def _article(lang: Language, said: Plan, row: int, pick: float) -> Pair | None:
    if (kind := _one(said, row)) is None:
        return None
    good = noun_phrase(lang, kind).text
    if lang.tag == "en":
        article, rest = good.split(" ", 1)
        return good, f"{'a' if article == 'an' else 'an'} {rest}"
    noun = lang.shapes[kind["shape"]]
    case = lang.cases[0]
    rest = good.removeprefix(lang.article(noun.gender, case, False, ""))
    others = {lang.article(gender, case, False, "") for gender in "mf"} - {lang.article(noun.gender, case, False, "")}
    return good, min(others) + rest


def _agreement(lang: Language, said: Plan, row: int, pick: float) -> Pair | None:
    """The adjective in another of its forms. In Finnish the partitive: a genitive there would be an owner."""
    if (kind := _one(said, row)) is None:
        return None
    text, parts = noun_phrase(lang, kind)
    start, end = next((part.start, part.end) for part in parts if part.factor == "colour")
    forms = lang.colours[kind["colour"]].forms
    wrong = sorted(set(forms.values()) - {text[start:end]})
    if lang.tag == "fi":
        wrong = [forms["partitive"]]
    if not wrong:
        return None
    return text, text[:start] + wrong[int(pick * len(wrong))] + text[end:]


def _order(lang: Language, said: Plan, row: int, pick: float) -> Pair | None:
    if (kind := _one(said, row)) is None:
        return None
    text, parts = noun_phrase(lang, kind)
    first, second = sorted(part[:2] for part in parts)
    swapped = f"{text[second[0] : second[1]]} {text[first[0] : first[1]]}"
    return text, text[: first[0]] + swapped + text[second[1] :]


def _case(lang: Language, said: Plan, row: int, pick: float) -> Pair | None:
    """The second object of a relation in the citation form."""
    first, second, relation = _one(said, row), _one(said, row, 1), int(said.relation[row])
    if first is None or second is None or relation < 0:
        return None
    how = lang.relations[relation]
    good, bad = (
        " ".join(
            part
            for part in (
                noun_phrase(lang, first).text,
                how.before,
                noun_phrase(lang, second, case).text,
                how.after,
            )
            if part
        )
        for case in (how.case, lang.cases[0])
    )
    return (good, bad) if good != bad else None


def _number(lang: Language, said: Plan, row: int, pick: float) -> Pair | None:
    n = int(said.count[row])
    if n < 1:
        return None
    wrong = lang.thing.plural if n == 1 else lang.thing.forms[lang.cases[0]]
    return lang.count(n), f"{lang.number(n)} {wrong}"
