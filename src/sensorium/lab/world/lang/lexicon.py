"""Every surface form that is written or understood, and what it means."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

from .caption import LANGUAGES, language_of_tag
from .grammar import ATTRIBUTES, Adjective, Language, Noun

_TOKEN = re.compile(r"\b[dl]['’]|[\w-]+|[^\w\s]")
_COPULAS = ("is", "are", "ist", "sind", "est", "sont", "on", "ovat")
DIGITS = "##"
"""Stands for any number in digits; no token is like it, since a mark is one character."""
_STOPS = (".", ";", "!", "?")


class Term(NamedTuple):
    """What a surface form means: an attribute, ground, backdrop, relation, place, cell, number, copula, stop, word."""

    kind: str
    value: int = -1
    after: bool = False
    """An adjective that can follow its noun; a relation that follows its second object."""


class Token(NamedTuple):
    """A word or a mark as it stands in a text."""

    text: str
    start: int
    end: int


Lexicon = dict[str, list[tuple[tuple[str, ...], Term]]]
"""By first token: the token sequences that begin with it, longest first. Numbers in digits stand as DIGITS."""


def tokens(text: str) -> list[Token]:
    """Words and marks; the article of "l'étoile" is a word of its own."""
    return [Token(m[0], m.start(), m.end()) for m in _TOKEN.finditer(text)]


def folded(token: str) -> str:
    """What counts as the same token."""
    return DIGITS if token.isdecimal() else token.casefold().replace("’", "'")


@lru_cache
def lexicon(language: str = "") -> Lexicon:
    """The terms of one language, or of all for "".

    Raises:
        SensoriumError: a tag not in TAGS.
    """
    terms: dict[tuple[str, ...], Term] = {}
    for lang in LANGUAGES if not language else (LANGUAGES[language_of_tag(language)],):
        for words, term in surface(lang).items():
            known = terms.get(words, term)
            content = term if known.kind in ("word", "copula") else known
            terms[words] = content._replace(after=known.after or term.after)
    out: Lexicon = {}
    for words, term in sorted(terms.items(), key=lambda item: -len(item[0])):
        out.setdefault(words[0], []).append((words, term))
    return out


@lru_cache
def surface(language: Language) -> dict[tuple[str, ...], Term]:
    """Token sequences of a language -> terms. What carries no fact is a "word"."""
    out: dict[tuple[str, ...], Term] = {}

    def add(words: str, term: Term) -> None:
        sequence = tuple(folded(token.text) for token in tokens(words))
        if sequence and (sequence not in out or out[sequence].kind == "word"):
            out[sequence] = term

    for factor in ATTRIBUTES:
        for value, word in language.words(factor):
            forms = (*word.forms.values(), word.plural) if isinstance(word, Noun) else word.forms.values()
            for form in forms:
                add(form, Term(factor, value, isinstance(word, Adjective) and word.after))
    for value, form in enumerate(language.grounds):
        add(form, Term("ground", value))
    add(language.backdrop, Term("backdrop"))
    for at in range(11):
        add(language.counted(at), Term("shape", -1))
        add(language.number(at), Term("number", at))
    for relations in (language.relations, language.other_relations):
        for value, relation in enumerate(relations):
            add(relation.before or relation.after, Term("relation", value, bool(relation.after)))
    for value, place in enumerate(language.places):
        add(place, Term("place", value))
    add(language.cell.format(row=1, col=1), Term("cell"))
    add("0", Term("number"))
    for stop in _STOPS:
        add(stop, Term("stop"))
    for words in _plain(language):
        for token in tokens(words):
            add(token.text, Term("copula" if token.text in _COPULAS else "word"))
    return out


@lru_cache
def vocabulary(language: str = "") -> frozenset[str]:
    """The words and marks, case folded, that captions can be written in; digits and names of individuals aside."""
    return frozenset(word for words in lexicon(language).values() for found, _ in words for word in found) - {DIGITS}


def summary() -> str:
    """A line per language with the number of its words, and one for all of them."""
    lines = [f"{language.name:8} {len(vocabulary(language.tag)):5,} words" for language in LANGUAGES]
    return "\n".join([*lines, f"{'together':8} {len(vocabulary()):5,} words"])


def _plain(language: Language) -> list[str]:
    """Texts whose words, where they are not terms already, carry no fact."""
    genders = {word.gender for _, word in language.words("shape") if isinstance(word, Noun)}
    articles = [
        language.article(gender, case, definite, following)
        for gender in sorted(genders)
        for case in language.cases
        for definite in (False, True)
        for following in ("x", "e")
    ]
    return [
        *articles,
        *(frame.text.format(np="", place="") for frame in (*language.frames, language.point)),
        language.ground.format(ground=""),
        *language.join,
    ]
