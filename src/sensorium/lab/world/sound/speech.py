"""Toy speech: phones by formant synthesis, in the voices of numbered speakers, with the time of every phone.

Each period of the voice adds the response of three damped formants, as in Rodet's FOF synthesis (Computer Music Journal
8:3, 1984); noises are bands of a white one. Shape legend: N utterances, S samples of the longest, P phones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from sensorium.core import SensoriumError, derive, nearest

from ..facts import PARTS, uniform
from ..lang import LANGUAGES, TAGS
from .events import RATE, noisy
from .phones import PAUSE, PHONES, spell
from .timbre import HIGHEST, RATES

DAMPING = (70.0, 100.0, 140.0)
"""Bandwidths of the formants in Hz."""
LEVELS = (1.0, 0.6, 0.3)
"""Their amplitudes."""
RESPONSE = 0.018
"""Seconds for which a period sounds."""
GLIDE = 0.02
"""Seconds on each side of a boundary in which the formants go from one phone's to the next one's."""
SPEAKERS = 1000


@dataclass(frozen=True, eq=False)
class Voices:
    """float64 [N] each: pitch in Hz (90 to 240), phones a second (9 to 14), formants over the mean (0.88 to 1.14)."""

    pitch: np.ndarray
    pace: np.ndarray
    tract: np.ndarray


def voices(speaker: np.ndarray) -> Voices:
    """The voices of speakers, by number; higher voices tend to shorter tracts."""
    luck = uniform(np.asarray(speaker, np.int64), 3, "speaker")
    pitch = 90 * (240 / 90) ** luck[:, 0]
    tract = 0.88 + 0.26 * (0.7 * luck[:, 0] + 0.3 * luck[:, 2])
    return Voices(pitch, 9 + 5 * luck[:, 1], tract)


def speakers(index: np.ndarray, count: int, seed: int, part: str = "train") -> np.ndarray:
    """int64 [N]: a speaker of each utterance, out of `count`; those of `test` and `seen` speak nowhere else.

    Raises:
        SensoriumError: an unknown part, or more speakers than there are.
    """
    if part not in PARTS:
        raise SensoriumError(f"part {part!r}{nearest(part, PARTS)}")
    if not 1 <= count <= SPEAKERS // 2:
        raise SensoriumError(f"{count} speakers; expected 1 to {SPEAKERS // 2}")
    first = SPEAKERS // 2 * (part in ("test", "seen"))
    return np.asarray(first + (uniform(index, 1, "speakers", seed, part)[:, 0] * count).astype(np.int64))


@dataclass(frozen=True, eq=False)
class Speech:
    """N utterances."""

    wave: np.ndarray
    """float32 [N S]; silent from each row's `samples` on."""
    samples: np.ndarray
    """int64 [N]."""
    phones: list[tuple[int, ...]]
    """Of each utterance, indices into PHONES, with the pauses at both ends."""
    bounds: list[np.ndarray]
    """float64 [P + 1] of each utterance: seconds at which its phones begin, and the last ends."""
    word: list[np.ndarray]
    """int64 [P] of each utterance: the number of the word that a phone belongs to, -1 for pauses."""
    rate: int

    def __len__(self) -> int:
        return len(self.samples)

    def mask(self) -> np.ndarray:
        """bool [N S]: True is real."""
        return np.asarray(np.arange(self.wave.shape[1]) < self.samples[:, None])


def say(
    texts: Sequence[str],
    speaker: np.ndarray,
    language: str = "en",
    rate: int = RATE,
    snr: float = np.inf,
    index: np.ndarray | None = None,
    seed: int = 0,
) -> Speech:
    """Texts spoken by speakers, int64 [N]; `index` (by default 0, 1, …) and the seed name the noises and the timing.

    Raises:
        SensoriumError: an unknown language or rate, a letter without a phone, as many speakers as texts not given.
    """
    said = [spell(text, language) for text in texts]
    return utter(said, speaker, rate, snr, index, seed)


def utter(
    said: Sequence[Sequence[Sequence[int]]],
    speaker: np.ndarray,
    rate: int = RATE,
    snr: float = np.inf,
    index: np.ndarray | None = None,
    seed: int = 0,
) -> Speech:
    """`say` for the phones of words, by utterance."""
    if len(said) != len(speaker):
        raise SensoriumError(f"{len(said)} texts, {len(speaker)} speakers; expected as many of each")
    at = np.arange(len(said)) if index is None else np.asarray(index)
    return voiced(said, voices(speaker), rate, snr, at, seed)


def voiced(
    said: Sequence[Sequence[Sequence[int]]], voice: Voices, rate: int, snr: float, at: np.ndarray, seed: int
) -> Speech:
    """`utter` in any voices."""
    if rate not in RATES:
        raise SensoriumError(f"{rate} samples per second; expected {' or '.join(map(str, RATES))}")
    phones = [(PAUSE, *(p for word in words for p in word), PAUSE) for words in said]
    word = [np.array([-1, *(w for w, found in enumerate(words) for _ in found), -1]) for words in said]
    bounds = _timed(phones, voice, at, seed)
    samples = np.array([round(times[-1] * rate) for times in bounds], np.int64)
    flat = _Flat.of(phones, bounds, int(samples.max(initial=0)), rate)
    wave = _periods(flat, voice) + _noises(flat, at, seed)
    wave *= np.arange(wave.shape[1]) < samples[:, None]
    return Speech(noisy(wave, snr, at, (seed, "speech noise"), samples), samples, phones, bounds, word, rate)


def _timed(phones: list[tuple[int, ...]], voice: Voices, index: np.ndarray, seed: int) -> list[np.ndarray]:
    """Bounds of the phones: their own lengths at the speaker's pace, a fifth more or less."""
    longest = max(map(len, phones), default=0)
    luck = 0.8 + 0.4 * uniform(index, longest, seed, "speech timing")
    mean = np.array([phone.length for phone in PHONES])
    out = []
    for n, own in enumerate(phones):
        lengths = mean[list(own)] * luck[n, : len(own)] / voice.pace[n]
        out.append(np.concatenate([[0.0], np.cumsum(lengths)]))
    return out


@dataclass(frozen=True, eq=False)
class _Flat:
    """All phones of all utterances in one row, [P]; `first` [N + 1] are the places where utterances begin."""

    phone: np.ndarray
    start: np.ndarray
    end: np.ndarray
    row: np.ndarray
    first: np.ndarray
    samples: int
    rate: int

    @classmethod
    def of(cls, phones: list[tuple[int, ...]], bounds: list[np.ndarray], samples: int, rate: int) -> _Flat:
        counts = np.array([len(own) for own in phones], np.int64)
        start, end = (np.concatenate([np.zeros(0), *(b[cut] for b in bounds)]) for cut in (slice(-1), slice(1, None)))
        phone = np.array([p for own in phones for p in own], np.int64)
        first = np.concatenate([[0], np.cumsum(counts)])
        return cls(phone, start, end, np.repeat(np.arange(len(phones)), counts), first, samples, rate)


_FORMANTS = np.array([phone.formants for phone in PHONES])
_VOICE = np.array([phone.voice for phone in PHONES])
_NOISE = np.array([phone.noise for phone in PHONES]) > 0
_BURST = np.array([phone.burst for phone in PHONES])


def _periods(flat: _Flat, voice: Voices) -> np.ndarray:
    """float32 [N S]: a response per period of the voice."""
    n, rate = len(voice.pitch), flat.rate
    length = round(RESPONSE * rate)
    out = np.zeros((n, flat.samples + length), np.float32)
    ends = flat.end[flat.first[1:] - 1] if n else np.zeros(0)
    count = np.floor(ends * voice.pitch).astype(np.int64)
    row = np.repeat(np.arange(n), count)
    beat = np.arange(len(row)) - np.repeat(np.cumsum(count) - count, count)
    time = beat / voice.pitch[row]
    at = _phone_at(flat, row, time)
    level, formants = _glided(flat, at, time)
    heard = level > 0
    row, time, level, formants = row[heard], time[heard], level[heard], formants[heard] * voice.tract[row[heard], None]
    response = _responses(formants, level / np.sqrt(voice.pitch[row] / 140), length, rate)
    place = row * out.shape[1] + np.round(time * rate).astype(np.int64)
    flat_out = out.reshape(-1)
    for step in range(length):  # within one step no two periods of a row meet
        flat_out[place + step] += response[:, step]
    return out[:, : flat.samples]


def _phone_at(flat: _Flat, row: np.ndarray, time: np.ndarray) -> np.ndarray:
    """The phone, as a place in the flat row, that sounds at a time of an utterance."""
    far = float(flat.end.max(initial=0.0)) + 1
    key = flat.row * far + flat.start
    return np.asarray(np.searchsorted(key, row * far + time, side="right") - 1)


def _glided(flat: _Flat, at: np.ndarray, time: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Level [Q] and formants [Q 3] of each period; near a boundary formants lie between the two voiced phones'."""
    phone = flat.phone[at]
    share = (time - flat.start[at]) / np.maximum(flat.end[at] - flat.start[at], 1e-9)
    level = _VOICE[phone] * np.where(_BURST[phone] & (share > 2 / 3), 0.3, 1.0)
    formants = _FORMANTS[phone].copy()
    for way, gap in ((-1, time - flat.start[at]), (1, flat.end[at] - time)):
        beside = np.clip(at + way, 0, len(flat.phone) - 1)
        near = (gap < GLIDE) & (flat.row[beside] == flat.row[at]) & (_VOICE[flat.phone[beside]] > 0)
        weight = np.where(near, 0.5 * (1 - gap / GLIDE), 0.0)[:, None]
        formants += weight * (_FORMANTS[flat.phone[beside]] - _FORMANTS[phone])
    return level, formants


def _responses(formants: np.ndarray, level: np.ndarray, length: int, rate: int) -> np.ndarray:
    """float32 [Q length]: three damped formants, each begun softly; those near the end of the band are left out."""
    t = (np.arange(length) / rate).astype(np.float32)
    soft = np.minimum(t / 0.001, 1) * np.minimum((RESPONSE - t) / 0.004, 1)
    out = np.zeros((len(formants), length), np.float32)
    for f, (damping, loud) in enumerate(zip(DAMPING, LEVELS, strict=True)):
        turns = (2 * np.pi * formants[:, f, None]).astype(np.float32) * t
        heard = np.where(formants[:, f] < HIGHEST * rate, loud * level, 0.0)[:, None].astype(np.float32)
        out += heard * np.sin(turns) * (soft * np.exp(-np.pi * damping * t))
    return 0.3 * out


def _noises(flat: _Flat, index: np.ndarray, seed: int) -> np.ndarray:
    """float32 [N S]: each phone's band of noise, from a place of its own in a fixed one; 3 ms from nothing to full."""
    out = np.zeros((len(flat.first) - 1, flat.samples), np.float32)
    longest = int(np.diff(flat.first).max(initial=0))
    luck = uniform(index, longest, seed, "speech noise place")
    for at in np.flatnonzero(_NOISE[flat.phone]).tolist():
        phone, row = PHONES[flat.phone[at]], int(flat.row[at])
        start, end = float(flat.start[at]), float(flat.end[at])
        if phone.burst:
            start += (end - start) * 2 / 3
        a, b = round(start * flat.rate), min(flat.samples, round(end * flat.rate))
        ramp = np.minimum(np.arange(1, b - a + 1), np.arange(b - a, 0, -1)) / (0.003 * flat.rate)
        bank = _bank(phone.band, flat.rate)
        place = int(luck[row, at - flat.first[row]] * (len(bank) - (b - a)))
        out[row, a:b] = bank[place : place + b - a] * (phone.noise * np.minimum(ramp, 1))
    return out


@cache
def _bank(band: tuple[float, float], rate: int) -> np.ndarray:
    """float32 [4 seconds]: white noise of which only a band is left, with soft edges, at equal power for every band."""
    count = 4 * rate
    white = np.random.Generator(np.random.Philox(derive("speech source", rate))).normal(size=count)
    hertz, edge = np.fft.rfftfreq(count, 1 / rate), 150.0
    shape = np.clip((hertz - band[0]) / edge + 0.5, 0, 1) * np.clip((band[1] - hertz) / edge + 0.5, 0, 1)
    passed = np.fft.irfft(np.fft.rfft(white) * shape, count)
    return np.asarray(passed * (0.5 / passed.std()), np.float32)


def frame_labels(spoken: Speech, of_word: Sequence[Sequence[int]], hop: float = 0.02, none: int = -1) -> np.ndarray:
    """Labels of each utterance's words -> int64 [N F]: the label of what is said at the middle of each `hop` seconds.

    `none` in pauses, and after the end.
    """
    if not hop > 0:
        raise SensoriumError(f"frames of {hop} seconds; expected more than 0")
    count = max((int(np.ceil(times[-1] / hop)) for times in spoken.bounds), default=0)
    middle = (np.arange(count) + 0.5) * hop
    out = np.full((len(spoken), count), none, np.int64)
    for n, labels in enumerate(of_word):
        at = np.searchsorted(spoken.bounds[n], middle, side="right") - 1
        inside = at < len(spoken.phones[n])
        word = np.where(inside, spoken.word[n][np.minimum(at, len(spoken.word[n]) - 1)], -1)
        known = np.array([*labels, none])
        out[n] = known[word]
    return out


@dataclass(frozen=True, eq=False)
class Digits:
    """Numbers of one digit, int64 [N], who says them, and how."""

    digit: np.ndarray
    speaker: np.ndarray
    speech: Speech


def digits(
    seed: int,
    n: int,
    language: str = "en",
    start: int = 0,
    part: str = "train",
    count: int = 20,
    rate: int = RATE,
    snr: float = np.inf,
) -> Digits:
    """Spoken digits `start` to `start + n` of a part by `count` speakers; each digit as likely. Zero is "zero" or so.

    Raises:
        SensoriumError: an unknown language, part or rate.
    """
    if language not in TAGS:
        raise SensoriumError(f"language {language!r}{nearest(language, TAGS)}")
    index = np.arange(start, start + n, dtype=np.int64)
    digit = (uniform(index, 1, seed, part, "digit")[:, 0] * 10).astype(np.int64)
    numbers = [ZEROS[language], *(LANGUAGES[TAGS.index(language)].number(d) for d in range(1, 10))]
    who = speakers(index, count, seed, part)
    return Digits(digit, who, say([numbers[d] for d in digit.tolist()], who, language, rate, snr, index, seed))


ZEROS = {"en": "zero", "de": "null", "fr": "zéro", "fi": "nolla", "ru": "ноль"}
"""Captions say "no" for none; digits need their own word."""
