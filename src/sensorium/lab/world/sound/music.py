"""Short pieces of music by rule: a key, a tempo, four chords, a melody over them, on an instrument.

Shape legend: N pieces, C chords, B beats (two a chord), S samples of the slowest piece. Piece i of a part depends on
(seed, part, i) and the config alone.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from sensorium.core import SensoriumError, derive, nearest

from ..facts import numbered, uniform
from ..reader import Rate
from .events import RATE, mixed, noisy
from .timbre import CLASSES, tones

TONICS = ("C", "C sharp", "D", "E flat", "E", "F", "F sharp", "G", "A flat", "A", "B flat", "B")
MODES = ("major", "minor")
SCALES = np.array([[0, 2, 4, 5, 7, 9, 11], [0, 2, 3, 5, 7, 8, 10]])
"""Semitones of the degrees above the tonic; minor is natural."""
TEMPI = ("slow", "moderate", "fast")
BEATS = (90.0, 120.0, 160.0)
"""Beats a minute."""
PROGRESSIONS = ((0, 3, 4, 0), (0, 5, 3, 4), (0, 3, 0, 4), (0, 1, 4, 0), (0, 4, 3, 0))
"""Degrees of the chords' roots, counted from 0; each touches all seven degrees, so that the key can be heard."""
INSTRUMENTS = ("flute", "clarinet", "violin")
CHORDS, PER_CHORD = 4, 2
BEAT_COUNT = CHORDS * PER_CHORD
LOW, MELODY = 48, 72
"""MIDI numbers: chords lie in the octave from C3 up, melodies from C5 up."""


@dataclass(frozen=True)
class Config:
    """What pieces vary in."""

    tonics: tuple[str, ...] = TONICS
    modes: tuple[str, ...] = MODES
    tempi: tuple[str, ...] = TEMPI
    instruments: tuple[str, ...] = INSTRUMENTS

    def __post_init__(self) -> None:
        for what, given, valid in (
            ("tonics", self.tonics, TONICS),
            ("modes", self.modes, MODES),
            ("tempi", self.tempi, TEMPI),
            ("instruments", self.instruments, INSTRUMENTS),
        ):
            if not given or len(set(given)) < len(given):
                raise SensoriumError(f"{what} {given}; expected one or more of {', '.join(valid)}, each once")
            for name in given:
                if name not in valid:
                    raise SensoriumError(f"{what} {name!r}{nearest(name, valid)}")


@dataclass(frozen=True, eq=False)
class Music:
    """N pieces, [N] each: indices into TONICS, MODES, TEMPI, INSTRUMENTS and PROGRESSIONS."""

    tonic: np.ndarray
    mode: np.ndarray
    tempo: np.ndarray
    instrument: np.ndarray
    progression: np.ndarray
    melody: np.ndarray
    """int64 [N B]: degrees of the scale above the melody's tonic, 0 to 6."""
    config: Config
    seed: int
    index: np.ndarray
    part: str = "train"

    def __len__(self) -> int:
        return len(self.tonic)

    def notes(self) -> np.ndarray:
        """int64 [N B]: MIDI numbers of the melody."""
        return np.asarray(MELODY + self.tonic[:, None] + SCALES[self.mode[:, None], self.melody])

    def chords(self) -> np.ndarray:
        """int64 [N C 3]: MIDI numbers of root, third and fifth, each within the octave from LOW up."""
        degree = (np.array(PROGRESSIONS)[self.progression][:, :, None] + np.array([0, 2, 4])) % 7
        return np.asarray(LOW + (self.tonic[:, None, None] + SCALES[self.mode[:, None, None], degree]) % 12)


PIECE = Config()


def music(seed: int, n: int, config: Config = PIECE, start: int = 0, part: str = "train") -> Music:
    """Pieces `start` to `start + n` of a part: each value as likely, melodies of chord tones on the beats that begin a
    chord, and of a neighbour of the last note on the others.

    Raises:
        SensoriumError: a part that is not one of PARTS, a negative n or start.
    """
    index = numbered(n, start, part, "pieces")
    luck = uniform(index, 5 + BEAT_COUNT, seed, part, "music")
    factors = [
        np.array([valid.index(name) for name in given])[(luck[:, at] * len(given)).astype(np.int64)]
        for at, (given, valid) in enumerate(
            (
                (config.tonics, TONICS),
                (config.modes, MODES),
                (config.tempi, TEMPI),
                (config.instruments, INSTRUMENTS),
                (range(len(PROGRESSIONS)), range(len(PROGRESSIONS))),
            )
        )
    ]
    root = np.array(PROGRESSIONS)[factors[4]]
    melody = np.zeros((n, BEAT_COUNT), np.int64)
    for beat in range(BEAT_COUNT):
        pick = luck[:, 5 + beat]
        if beat % PER_CHORD == 0:
            melody[:, beat] = (root[:, beat // PER_CHORD] + 2 * (pick * 3).astype(np.int64)) % 7
        else:
            last = melody[:, beat - 1]
            step = np.where(last == 0, 1, np.where(last == 6, -1, np.where(pick < 0.5, -1, 1)))
            melody[:, beat] = last + step
    tonic, mode, tempo, instrument, progression = factors
    return Music(tonic, mode, tempo, instrument, progression, melody, config, seed, index, part)


def hertz(note: np.ndarray) -> np.ndarray:
    """MIDI numbers -> Hz, equal temperament, A4 (69) at 440."""
    return np.asarray(440.0 * 2 ** ((np.asarray(note, np.float64) - 69) / 12))


def play(pieces: Music, rate: int = RATE, snr: float = np.inf, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """float32 [N S] and int64 [N], the samples of each piece; later ones are silent. Noise as in `events.noisy`."""
    beat = 60 / np.array(BEATS)[pieces.tempo]
    n = len(pieces)
    samples = np.round(beat * BEAT_COUNT * rate).astype(np.int64)
    instrument = np.array([CLASSES.index(name) for name in INSTRUMENTS])[pieces.instrument]
    flute = CLASSES.index("flute")
    melody = _tones(pieces.notes(), np.repeat(instrument[:, None], BEAT_COUNT, 1), beat * 0.92, 0.25, rate)
    chord = pieces.chords().reshape(n, -1)
    chords = _tones(chord, np.full(chord.shape, flute), beat * PER_CHORD * 0.96, 0.05, rate)
    start = np.round(np.arange(BEAT_COUNT) * beat[:, None] * rate).astype(np.int64)
    count = int(samples.max(initial=0))
    rows = np.repeat(np.arange(n), BEAT_COUNT)
    out = mixed(melody, rows, start.ravel(), n, count)
    begin = np.repeat(start[:, ::PER_CHORD], 3, 1)
    out += mixed(chords, np.repeat(np.arange(n), chord.shape[1]), begin.ravel(), n, count)
    return noisy(out, snr, pieces.index, (pieces.seed, pieces.part, seed, "music noise"), samples), samples


def _tones(notes: np.ndarray, kind: np.ndarray, seconds: np.ndarray, amplitude: float, rate: int) -> np.ndarray:
    every = np.repeat(seconds, notes.shape[1])
    return tones(kind.ravel(), hertz(notes.ravel()), every, np.full(notes.size, amplitude), rate)


def caption(pieces: Music) -> list[str]:
    """ "a slow piece in E flat minor for flute"."""
    columns = (pieces.tempo, pieces.tonic, pieces.mode, pieces.instrument)
    return [
        f"a {TEMPI[t]} piece in {TONICS[k]} {MODES[m]} for {INSTRUMENTS[i]}"
        for t, k, m, i in zip(*(c.tolist() for c in columns), strict=True)
    ]


def transposed(pieces: Music, semitones: int) -> Music:
    """The same pieces in another key: what a listener to intervals alone cannot tell apart."""
    if pieces.config.tonics != TONICS:
        raise SensoriumError(f"transposition within {len(pieces.config.tonics)} tonics; expected all {len(TONICS)}")
    return replace(pieces, tonic=(pieces.tonic + semitones) % 12)


@dataclass(frozen=True, eq=False)
class Heard:
    """What was read of each piece, int64 [N]; notes int64 [N B], MIDI numbers."""

    tonic: np.ndarray
    mode: np.ndarray
    tempo: np.ndarray
    notes: np.ndarray


def read(sound: np.ndarray, samples: np.ndarray, rate: int = RATE) -> Heard:
    """float32 [N S], int64 [N] -> key, tempo (from the length) and melody, by the strongest partials of each beat.

    Raises:
        SensoriumError: a length that is none of the tempi's.
    """
    lengths = 60 / np.array(BEATS) * BEAT_COUNT * rate
    tempo = np.abs(samples[:, None] - lengths).argmin(1) if len(samples) else np.zeros(0, np.int64)
    for row in np.flatnonzero(np.abs(samples - lengths[tempo]) > 0.02 * lengths[tempo])[:1]:
        expected = ", ".join(f"{length / rate:g}" for length in lengths)
        raise SensoriumError(f"piece {row} of {samples[row] / rate:g} seconds; expected one of {expected}")
    notes = np.zeros((len(sound), BEAT_COUNT), np.int64)
    key = np.zeros((len(sound), 2), np.int64)
    for n, wave in enumerate(sound):
        beat = lengths[tempo[n]] / BEAT_COUNT
        classes = np.zeros(12)
        first = np.zeros(12)
        for b in range(BEAT_COUNT):
            level = _levels(wave[round(b * beat) : round((b + 1) * beat)], rate)
            low, high = level[: MELODY - LOW], level[MELODY - LOW :]
            notes[n, b] = MELODY + int(high[:24].argmax())
            chord = low[:12]
            classes += chord > 0.3 * chord.max()
            first += chord * (b < PER_CHORD)
        key[n] = _key(classes > 0, first)
    return Heard(key[:, 0], key[:, 1], tempo, notes)


def _levels(wave: np.ndarray, rate: int) -> np.ndarray:
    """float64 [notes from LOW up to three octaves and more]: level at each note's frequency."""
    t = np.arange(len(wave)) / rate
    notes = np.arange(LOW, MELODY + 24)
    turn = np.exp(-2j * np.pi * hertz(notes)[:, None] * t)
    return np.asarray(np.abs(turn @ (wave * np.hanning(len(wave)))))


def _key(heard: np.ndarray, first: np.ndarray) -> tuple[int, int]:
    """The scale that has most of what was heard, and as its first chord the strongest notes of the first."""
    best = (-np.inf, 0, 0)
    for mode, scale in enumerate(SCALES):
        for tonic in range(12):
            own = np.zeros(12, bool)
            own[(tonic + scale) % 12] = True
            chord = first[(tonic + scale[[0, 2, 4]]) % 12]
            score = float((heard & own).sum() - (heard & ~own).sum() + 3 * chord.sum() / max(1e-12, first.sum()))
            best = max(best, (score, tonic, mode))
    return best[1], best[2]


def reader_error(n: int = 60, rate: int = RATE, snr: float = np.inf, seed: int = 0) -> dict[str, Rate]:
    """The reader's own error on true renders, for `key`, `tempo` and, per note, `notes`."""
    pieces = music(derive("music reader", seed), n)
    found = read(*play(pieces, rate, snr), rate)
    wrong = {
        "key": (found.tonic != pieces.tonic) | (found.mode != pieces.mode),
        "tempo": found.tempo != pieces.tempo,
        "notes": found.notes != pieces.notes(),
    }
    return {name: Rate(float(values.mean()), 0.0) for name, values in wrong.items()}
