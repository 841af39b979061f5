"""How each class of sound is made: partials, their course in time, and an envelope that is silent at both ends.

Shape legend: M tones, L samples of the longest.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sensorium.core import SensoriumError

RATES = (8000, 16000)
EDGE = 0.01
"""Seconds in which every tone fades out, so that nothing of it is heard after its end."""
HIGHEST = 0.45
"""Partials above this share of the sampling rate are left out, against aliasing."""


@dataclass(frozen=True)
class Timbre:
    """A class of sounds."""

    partials: tuple[tuple[float, float], ...]
    """(frequency over that of the tone, amplitude)."""
    attack: float = 0.02
    """Seconds."""
    decay: float = 0.0
    """Seconds in which the amplitude falls to 1/e; 0 holds it."""
    sway: float = 0.0
    """Share by which the frequency swings to each side,"""
    swings: float = 0.0
    """so many times a second."""
    pulse: float = 0.0
    """Times a second that the amplitude sinks to a fifth and returns."""
    fall: float = 0.0
    """The frequency starts higher by this share, and falls in 40 ms to 1/e of that."""


_WIND = tuple((1 + 0.02 * (k - 7.5) * (1 + 0.37 * (k % 3)), 0.3) for k in range(16))
TIMBRES = {
    "flute": Timbre(((1, 1.0), (2, 0.12)), attack=0.04),
    "clarinet": Timbre(((1, 0.8), (3, 0.6), (5, 0.4), (7, 0.2)), attack=0.03),
    "violin": Timbre(tuple((h, 0.8 / h) for h in range(1, 9)), attack=0.05, sway=0.01, swings=6.0),
    "bell": Timbre(((1, 0.8), (2.76, 0.5), (5.4, 0.3), (0.5, 0.3)), attack=0.003, decay=0.12),
    "drum": Timbre(((0.25, 1.0), (0.4, 0.5), (0.57, 0.3)), attack=0.003, decay=0.06, fall=0.5),
    "buzzer": Timbre(((1, 0.4), (2, 0.5), (3, 0.5), (4, 0.4), (5, 0.4)), pulse=25.0),
    "siren": Timbre(((1, 0.9), (2, 0.2)), sway=0.25, swings=5.0),
    "wind": Timbre(_WIND, attack=0.06),
}
CLASSES = tuple(TIMBRES)


def tones(kind: np.ndarray, hertz: np.ndarray, seconds: np.ndarray, amplitude: np.ndarray, rate: int) -> np.ndarray:
    """Classes, frequencies, lengths and amplitudes, [M] each -> float32 [M L], silent after each tone's end.

    Raises:
        SensoriumError: a rate that is not one of RATES.
    """
    if rate not in RATES:
        raise SensoriumError(f"{rate} samples per second; expected {' or '.join(map(str, RATES))}")
    longest = int(np.ceil(seconds.max(initial=0) * rate))
    out = np.zeros((len(kind), longest), np.float32)
    for at in np.unique(kind).tolist():
        rows = np.flatnonzero(kind == at)
        count = int(np.ceil(seconds[rows].max() * rate))
        t = (np.arange(count) / rate).astype(np.float32)
        made = _wave(TIMBRES[CLASSES[at]], hertz[rows, None].astype(np.float32), t, rate)
        made *= _envelope(TIMBRES[CLASSES[at]], t, seconds[rows, None].astype(np.float32))
        out[rows, :count] = made * amplitude[rows, None]
    return out


def _wave(timbre: Timbre, hertz: np.ndarray, t: np.ndarray, rate: int) -> np.ndarray:
    turns = hertz * t
    if timbre.sway:
        w = 2 * np.pi * timbre.swings
        turns += hertz * (timbre.sway / w) * (1 - np.cos(w * t))
    if timbre.fall:
        turns += hertz * (timbre.fall * 0.04) * (1 - np.exp(-t / 0.04))
    out = np.zeros_like(turns)
    for ratio, amplitude in timbre.partials:
        heard = hertz * (ratio * (1 + timbre.sway)) < HIGHEST * rate
        out += np.where(heard, np.float32(amplitude), 0) * np.sin(np.float32(2 * np.pi * ratio) * turns)
    return np.asarray(out, np.float32)


def _envelope(timbre: Timbre, t: np.ndarray, seconds: np.ndarray) -> np.ndarray:
    out = np.minimum(t / timbre.attack, 1) * np.clip((seconds - t) / EDGE, 0, 1)
    if timbre.decay:
        out = out * np.exp(-t / timbre.decay)
    if timbre.pulse:
        out = out * (0.6 + 0.4 * np.cos(2 * np.pi * timbre.pulse * t))
    return np.asarray(out, np.float32)
