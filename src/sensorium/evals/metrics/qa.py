"""Answers against reference answers: each function gives a value per question, [N]; its mean is the metric."""

from __future__ import annotations

import math
import re
import string
from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike

from sensorium.core.errors import SensoriumError

from .edit import nfc, normalised_distances
from .inputs import Floats, classes, floats, reference_lists, same_length

_VQA_PUNCTUATION = ';/[]"{}()=+\\_-><@`,?!'
_VQA_NUMBERS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]
_VQA_DIGITS = {word: str(n) for n, word in enumerate(_VQA_NUMBERS)} | {"none": "0"}
_VQA_CONTRACTIONS = """
ain't aren't can't could've couldn't couldn't've didn't doesn't don't hadn't hadn't've hasn't haven't he'd he'd've
he's how'd how'll how's isn't it'd it'd've it'll ma'am mightn't mightn't've might've mustn't must've needn't not've
o'clock oughtn't 'ow's'at shan't she'd've should've shouldn't shouldn't've somebody'd've somebody'll somebody's
someone'd someone'd've someone'll someone's something'd something'd've something'll that's there'd there'd've there're
there's they'd they'd've they'll they're they've 'twas wasn't we'd've we've weren't what'll what're what's what've
when's where'd where's where've who'd who'd've who'll who's who've why'll why're why's won't would've wouldn't
wouldn't've y'all y'all'll y'all'd've you'd you'd've you'll you're you've
"""


def _without_one_apostrophe(words: list[str]) -> dict[str, str]:
    return {w[:i] + w[i + 1 :]: w for w in words for i, c in enumerate(w) if c == "'"}


_VQA_SPELLINGS = _without_one_apostrophe(_VQA_CONTRACTIONS.split())
_VQA_SPELLINGS["somebody'd"] = "somebodyd"  # sic: as in the reference


def normalise_squad(text: str) -> str:
    """Lower case without ASCII punctuation, the words a, an, the and doubled blanks (Rajpurkar et al. 2016)."""
    bare = "".join(c for c in text.lower() if c not in string.punctuation)
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", bare).split())


def squad_exact(predictions: Sequence[str], references: Sequence[Sequence[str]]) -> Floats:
    """[N], [N] lists -> [N] 1 where the normalised answer equals a reference. torchmetrics' `squad`, exact match."""
    return _best(lambda guess, truth: float(normalise_squad(guess) == normalise_squad(truth)), predictions, references)


def squad_f1(predictions: Sequence[str], references: Sequence[Sequence[str]]) -> Floats:
    """[N], [N] lists -> [N] F1 of the bag of normalised words, of the best reference; nothing equals nothing only.

    torchmetrics' `squad`, F1 (SQuAD 2.0's script).
    """
    return _best(_word_f1, predictions, references)


def normalise_vqa(text: str) -> str:
    """The VQA challenge's rules: punctuation, number words to digits, no articles, apostrophes put back."""
    text = text.replace("\n", " ").replace("\t", " ").strip()
    glued = re.search(r"\d,\d", text) is not None
    out = text
    for mark in _VQA_PUNCTUATION:
        out = out.replace(mark, "" if glued or mark + " " in text or " " + mark in text else " ")
    words = re.sub(r"\.(?!\d)", "", out).lower().split()
    words = [_VQA_DIGITS.get(word, word) for word in words]
    return " ".join(_VQA_SPELLINGS.get(word, word) for word in words if word not in ("a", "an", "the"))


def vqa_accuracy(predictions: Sequence[str], references: Sequence[Sequence[str]]) -> Floats:
    """[N], [N] lists of the people's answers (10 as a rule) -> [N] min(agreeing / 3, 1), mean over leaving out each.

    Antol et al. 2015, `vqaEval.py`, with all answers normalised, as MMF does, also where all people agree.
    """
    same_length(predictions=predictions, references=references)
    reference_lists(references)
    if few := [n for n, answers in enumerate(references) if len(answers) < 4]:
        raise SensoriumError(
            f"references[{few[0]}] has {len(references[few[0]])} answers; VQA accuracy needs 4 or more"
        )
    agree = [
        [normalise_vqa(guess) == normalise_vqa(answer) for answer in answers]
        for guess, answers in zip(predictions, references, strict=True)
    ]
    hits, of = np.array([sum(a) for a in agree], float), np.array([len(a) for a in agree], float)
    rest = of - hits
    return np.asarray((hits * np.minimum((hits - 1) / 3, 1) + rest * np.minimum(hits / 3, 1)) / of, dtype=np.float64)


def anls(predictions: Sequence[str], references: Sequence[Sequence[str]], threshold: float = 0.5) -> Floats:
    """[N], [N] lists -> [N] 1 - normalised edit distance to the best reference, 0 where that is below `threshold`.

    Biten et al. 2019, with the rules of the DocVQA evaluation: case and blanks do not count, exactly 0.5 does.
    """
    same_length(predictions=predictions, references=references)
    reference_lists(references)
    counts = [len(texts) for texts in references]
    guesses = np.repeat(np.array([_squeezed(p) for p in predictions], dtype=object), counts)
    near = 1 - normalised_distances(guesses.tolist(), [_squeezed(r) for texts in references for r in texts])
    best = np.maximum.reduceat(near, np.cumsum([0, *counts[:-1]])) if counts else near
    return np.where(best < threshold, 0.0, best)


def relaxed_accuracy(
    predictions: Sequence[str], references: Sequence[Sequence[str]], tolerance: float = 0.05
) -> Floats:
    """[N], [N] lists -> [N] 1 where a number is within `tolerance` of a reference, or a text equals one but for case.

    Methani et al. 2020, Masry et al. 2022; pix2struct's `relaxed_correctness`: 5% is 0.05, and 0 must be met as text.
    """

    def right(guess: str, truth: str) -> float:
        given, wanted = _number(guess), _number(truth)
        if given is not None and wanted:
            return float(abs(given - wanted) / abs(wanted) <= tolerance)
        return float(guess.strip().lower() == truth.strip().lower())

    return _best(right, predictions, references)


def read_choice(text: str, options: Sequence[str]) -> int:
    """An answer in free text -> the number of the option it names, by letter or by wording; -1 if none or several.

    A letter counts alone or with a mark at the start ("b", "(b) a cat", "C. …"), or as "answer is B", "option (b)".
    """
    given = nfc(text).strip()
    letters = string.ascii_uppercase[: len(options)]
    said = re.match(r"\(?([A-Za-z])(?:[).:,]|\s*$)", given)
    said = said or re.search(r"\b(?i:answer(?: is)?|option|choice)[: ]*(?:\(([A-Za-z])\)|([A-Z])(?![\w']))", given)
    if said and (letter := next(filter(None, said.groups())).upper()) in letters:
        return letters.index(letter)
    words = f" {normalise_squad(given)} "
    named = [n for n, option in enumerate(options) if f" {normalise_squad(nfc(option))} " in words]
    longest = [n for n in named if not any(_inside(options[n], options[m]) for m in named)]
    return longest[0] if len(longest) == 1 else -1


def multiple_choice(scores: ArrayLike, answers: ArrayLike) -> Floats:
    """[N K] score of each option, [N] the right one's number -> [N] 1 if it is best, equal ones sharing the point.

    Where questions have fewer options, their scores are -inf.
    """
    table = floats("scores", scores, 2)
    right = classes("answers", answers, table.shape[1] if table.size else None)
    same_length(rows_of_scores=table, answers=right)
    best = table == table.max(axis=1, keepdims=True, initial=-np.inf)
    return np.asarray(best[np.arange(len(right)), right] / np.maximum(best.sum(1), 1), dtype=np.float64)


def _best(
    score: Callable[[str, str], float], predictions: Sequence[str], references: Sequence[Sequence[str]]
) -> Floats:
    same_length(predictions=predictions, references=references)
    reference_lists(references)
    pairs = zip(predictions, references, strict=True)
    return np.array([max(score(nfc(p), nfc(r)) for r in texts) for p, texts in pairs], dtype=np.float64)


def _word_f1(guess: str, truth: str) -> float:
    given, wanted = normalise_squad(guess).split(), normalise_squad(truth).split()
    if not given or not wanted:
        return float(given == wanted)
    return 2 * (Counter(given) & Counter(wanted)).total() / (len(given) + len(wanted))


def _squeezed(text: str) -> str:
    return " ".join(text.lower().split())


def _number(text: str) -> float | None:
    text = text.strip()
    try:
        value = float(text[:-1]) / 100 if text.endswith("%") else float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _inside(option: str, other: str) -> bool:
    """Is the wording of one option a part of another's?"""
    part, whole = normalise_squad(nfc(option)), normalise_squad(nfc(other))
    return part != whole and f" {part} " in f" {whole} "
