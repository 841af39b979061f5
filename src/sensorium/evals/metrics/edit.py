"""Edit distances. Strings are brought to NFC and compared by code point: é is one character however it was typed."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from .inputs import Floats, Ints, same_length, share

_PIECE = 1 << 17  # cells of one row of the table, over all pairs handled at once: what fits in cache


def nfc(text: str) -> str:
    """The text in Unicode normal form C."""
    return unicodedata.normalize("NFC", text)


def distances(hypotheses: Sequence[str], references: Sequence[str]) -> Ints:
    """[N], [N] strings -> [N] Levenshtein distances in code points. rapidfuzz's `Levenshtein.distance`."""
    same_length(hypotheses=hypotheses, references=references)
    return token_distances([_points(nfc(h)) for h in hypotheses], [_points(nfc(r)) for r in references])


def token_distances(hypotheses: Sequence[NDArray[np.int32]], references: Sequence[NDArray[np.int32]]) -> Ints:
    """[N], [N] sequences of ids -> [N] Levenshtein distances (unit costs), all pairs of like size at once."""
    same_length(hypotheses=hypotheses, references=references)
    pairs = [(h, r) if len(h) <= len(r) else (r, h) for h, r in zip(hypotheses, references, strict=True)]
    shorter = np.array([len(s) for s, _ in pairs], dtype=np.int64)
    longer = np.array([len(t) for _, t in pairs], dtype=np.int64)
    out = np.zeros(len(pairs), dtype=np.int64)
    for piece in _pieces(longer, np.lexsort((shorter, longer))):
        out[piece] = _table([pairs[n][0] for n in piece], [pairs[n][1] for n in piece], shorter[piece], longer[piece])
    return out


def cer(hypotheses: Sequence[str], references: Sequence[str]) -> float:
    """[N], [N] -> character errors over reference characters, of the whole set; ends are stripped. jiwer's `cer`.

    NaN if the references hold no character at all (jiwer: the number of insertions).
    """
    guesses, truths = [h.strip() for h in hypotheses], [nfc(r.strip()) for r in references]
    return share(distances(guesses, truths).sum(), sum(len(r) for r in truths))


def wer(hypotheses: Sequence[str], references: Sequence[str]) -> float:
    """[N], [N] -> word errors over reference words, of the whole set; words are what stands between blanks.

    jiwer's `wer`. NaN if the references hold no word at all (jiwer: the number of insertions).
    """
    same_length(hypotheses=hypotheses, references=references)
    guesses, truths = [nfc(h).split() for h in hypotheses], [nfc(r).split() for r in references]
    ids: dict[str, int] = {}
    coded, wanted = (
        [np.array([ids.setdefault(word, len(ids)) for word in words], dtype=np.int32) for words in side]
        for side in (guesses, truths)
    )
    return share(token_distances(coded, wanted).sum(), sum(len(words) for words in truths))


def normalised_distances(hypotheses: Sequence[str], references: Sequence[str]) -> Floats:
    """[N], [N] -> [N] distance over the longer length, 0 to 1; 0 for two empty strings.

    rapidfuzz's `Levenshtein.normalized_distance`; 1 - NED is the similarity of scene text reading.
    """
    found = distances(hypotheses, references)
    pairs = zip(hypotheses, references, strict=True)
    return found / np.array([max(len(nfc(h)), len(nfc(r)), 1) for h, r in pairs], dtype=np.float64)


def word_accuracy(hypotheses: Sequence[str], references: Sequence[str]) -> Floats:
    """[N], [N] -> [N] 1 where the reading is right but for case and what is neither letter nor digit.

    The protocol of scene text recognition (Baek et al. 2019), with the letters of all scripts instead of a to z.
    """
    same_length(hypotheses=hypotheses, references=references)
    return np.array([_plain(h) == _plain(r) for h, r in zip(hypotheses, references, strict=True)], dtype=np.float64)


def _plain(text: str) -> str:
    kept = (c for c in nfc(text).casefold() if unicodedata.category(c)[0] in "LMN")  # M: vowel signs of Indic scripts
    return nfc("".join(kept))


def _points(text: str) -> NDArray[np.int32]:
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype="<i4")


def _pieces(longer: Ints, order: Ints) -> Iterator[Ints]:
    """Consecutive runs of `order` (by length) whose padded rows have about `_PIECE` cells."""
    start = 0
    while start < len(order):
        stop = start + 1
        while stop < len(order) and (stop + 1 - start) * (longer[order[stop]] + 1) <= _PIECE:
            stop += 1
        yield order[start:stop]
        start = stop


def _table(short: Sequence[NDArray[np.int32]], long: Sequence[NDArray[np.int32]], steps: Ints, ends: Ints) -> Ints:
    """Wagner and Fischer's table, a row a step, for all pairs at once.

    An insertion looks at its left neighbour in the same row; of d[j] - j that chain is a running minimum.
    """
    width = int(ends.max(initial=0))
    padded = np.zeros((len(long), width), dtype=np.int32)  # no value looks right of its place, so any filler will do
    for n, codes in enumerate(long):
        padded[n, : len(codes)] = codes
    columns = np.zeros((int(steps.max(initial=0)), len(short)), dtype=np.int32)
    for n, codes in enumerate(short):
        columns[: len(codes), n] = codes
    row = np.zeros((len(long), width + 1), dtype=np.int32)  # d[j] - j
    out = ends.copy()
    for step, column in enumerate(columns, 1):
        changed = row[:, :-1] - (padded == column[:, None])
        row += 1
        np.minimum(row[:, 1:], changed, out=row[:, 1:])
        np.minimum.accumulate(row, axis=1, out=row)
        done = np.flatnonzero(steps == step)
        out[done] = row[done, ends[done]] + ends[done]
    return out
