"""The language renderer of the generated world: captions, questions and labels in five languages, and their reader.

Everything is a pure function of the facts, a style and a seed: scene i gets the same words in any chunk of the world.
"""

from __future__ import annotations

from .ambiguity import HOMONYMS, Homonym, Puns, ambiguous, fits, puns
from .caption import (
    LANGUAGES,
    TAGS,
    Sentence,
    Span,
    Stretch,
    caption,
    code_switch,
    longest,
    parallel,
    sentences,
    spans,
    unpaired,
)
from .checking import FACTORS, Check, check, reader_error, row_by_row, true_of
from .instructions import Instructions, Pointing, implicit, instructions, point
from .lexicon import summary, tokens, vocabulary
from .negatives import NEGATIVES, Change, inverse, negative, synonym
from .noise import CAPTIONERS, Captioner, Noisy, described, named, partial, typos, weak
from .plan import FORMS
from .questions import KINDS, Questions, balance, questions
from .reading import OUTSIDE, Mention, Reading, language_of, read
from .syntax import PHENOMENA, Pairs, minimal_pairs, morphology

__all__ = [
    "CAPTIONERS",
    "FACTORS",
    "FORMS",
    "HOMONYMS",
    "KINDS",
    "LANGUAGES",
    "NEGATIVES",
    "OUTSIDE",
    "PHENOMENA",
    "TAGS",
    "Captioner",
    "Change",
    "Check",
    "Homonym",
    "Instructions",
    "Mention",
    "Noisy",
    "Pairs",
    "Pointing",
    "Puns",
    "Questions",
    "Reading",
    "Sentence",
    "Span",
    "Stretch",
    "ambiguous",
    "balance",
    "caption",
    "check",
    "code_switch",
    "described",
    "fits",
    "implicit",
    "instructions",
    "inverse",
    "language_of",
    "longest",
    "minimal_pairs",
    "morphology",
    "named",
    "negative",
    "parallel",
    "partial",
    "point",
    "puns",
    "questions",
    "read",
    "reader_error",
    "row_by_row",
    "sentences",
    "spans",
    "summary",
    "synonym",
    "tokens",
    "true_of",
    "typos",
    "unpaired",
    "vocabulary",
    "weak",
]
