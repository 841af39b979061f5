"""The exact checker of sounds: waves, rendered or generated, back to events. Fixed rules, nothing learned.

A stretch above the noise is an event; its mean spectrum is compared with that of every class and pitch that the world
can make. It reads one sound at a time: where events overlap its error is large, and reported like any other.

Shape legend: N waves, S samples, F frames of HOP samples, B bands of the spectrum.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import numpy as np

from sensorium.core import SensoriumError, derive

from ..reader import Rate
from .events import AMPLITUDES, GAP, HERTZ, PITCHES, RATE, SOUND, Config, Sounds, heard, sounds, waves
from .timbre import CLASSES, RATES, tones

WINDOW, HOP = 0.032, 0.008
"""Seconds."""
FLOOR = 3e-3
"""Root mean square of a frame below which it is silence in a wave without noise,"""
ABOVE = 1.6
"""and how many times the noise's it must be otherwise."""
SHORTEST = 0.03
"""Seconds below which a stretch is no event."""
LEAST_LEAD = 0.01
"""Lead in cosine over the best other reading below which a class or pitch is unsure,"""
LEAST_FIT = 0.75
"""or if the best itself is below this."""


class Event(NamedTuple):
    """What was heard, in seconds; -1 is unsure."""

    onset: float
    end: float
    kind: int
    pitch: int
    loud: int


def read(sound: np.ndarray, config: Config = SOUND, rate: int = RATE) -> list[tuple[Event, ...]]:
    """float32 [N S] -> the events of each wave, in the order of time.

    Raises:
        SensoriumError: not [N S], or a rate that is not one of RATES.
    """
    if sound.ndim != 2 or rate not in RATES:
        raise SensoriumError(
            f"waves {list(sound.shape)} at {rate} Hz; expected [N S] at {' or '.join(map(str, RATES))}"
        )
    spectra = _spectra(np.asarray(sound, np.float32), rate)
    level = np.sqrt((spectra**2).sum(2))
    return [_events(*pair, config, rate) for pair in zip(spectra, level, strict=True)]


def _spectra(sound: np.ndarray, rate: int) -> np.ndarray:
    """[N S] -> float32 [N F B]: magnitudes of frames centred every HOP; their norm is the frame's root mean square."""
    size, hop = round(WINDOW * rate), round(HOP * rate)
    padded = np.pad(sound, ((0, 0), (size // 2, size // 2)))
    frames = np.lib.stride_tricks.sliding_window_view(padded, size, axis=1)[:, ::hop]
    window = np.hanning(size).astype(np.float32)
    out = np.abs(np.fft.rfft(frames * window, axis=2)) * np.sqrt(2 / (size * (window**2).sum()))
    return np.asarray(out, np.float32)


def _events(spectra: np.ndarray, level: np.ndarray, config: Config, rate: int) -> tuple[Event, ...]:
    """[F B], [F] -> events of one wave."""
    quiet = level <= np.quantile(level, 0.2)
    floor = spectra[quiet].mean(0) if quiet.any() else np.zeros(spectra.shape[1], np.float32)
    noise = float(np.sqrt((spectra[quiet] ** 2).sum(1).mean())) if quiet.any() else 0.0
    active = level > max(FLOOR, ABOVE * noise)
    edges = np.flatnonzero(np.diff(np.concatenate([[0], active.astype(np.int8), [0]])))
    joined: list[list[int]] = []
    for a, b in edges.reshape(-1, 2).tolist():
        if joined and (a - joined[-1][1]) * HOP < GAP / 2:
            joined[-1][1] = b
        else:
            joined.append([a, b])
    return tuple(_named(a, b, spectra, floor, config, rate) for a, b in joined if (b - a) * HOP >= SHORTEST)


def _named(a: int, b: int, spectra: np.ndarray, floor: np.ndarray, config: Config, rate: int) -> Event:
    kinds, pitches, known = _templates(config, rate)
    seen = np.sqrt(np.maximum(spectra[a:b] - 1.5 * floor, 0).mean(0))
    fit = known @ (seen / max(1e-9, float(np.linalg.norm(seen))))
    best = int(fit.argmax())
    sure = [
        bool(fit[best] >= LEAST_FIT and fit[best] - np.where(same, -np.inf, fit).max() >= LEAST_LEAD)
        for same in (kinds == kinds[best], pitches == pitches[best])
    ]
    size = np.sqrt((np.maximum(spectra[a:b] ** 2 - floor**2, 0)).sum(1).max())
    full = _peak(int(kinds[best]), int(pitches[best]), rate)
    loud = int(np.abs(np.log(size / (full * np.array(AMPLITUDES)))).argmin())
    kind, pitch = (int(names[best]) if known_ else -1 for names, known_ in zip((kinds, pitches), sure, strict=True))
    half = WINDOW / 2 - HOP
    return Event(max(0.0, a * HOP + half * 0.5), b * HOP - half * 0.5, kind, pitch, loud)


@cache
def _templates(config: Config, rate: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Class and pitch of each template, [M], and the unit vectors [M B] of the roots of their mean spectra."""
    kinds = [CLASSES.index(name) for name in config.classes]
    pitches = [PITCHES.index(name) for name in config.pitches]
    pairs = np.array([(c, p) for c in kinds for p in pitches])
    length = (config.shortest + config.longest) / 2
    made = tones(pairs[:, 0], np.array(HERTZ)[pairs[:, 1]], np.full(len(pairs), length), np.ones(len(pairs)), rate)
    mean = np.sqrt(_spectra(made, rate).mean(1))
    return pairs[:, 0], pairs[:, 1], mean / np.linalg.norm(mean, axis=1, keepdims=True)


@cache
def _peak(kind: int, pitch: int, rate: int) -> float:
    """The loudest frame of a tone of amplitude 1."""
    made = tones(np.array([kind]), np.array([HERTZ[pitch]]), np.array([0.2]), np.ones(1), rate)
    return float(np.sqrt((_spectra(made, rate) ** 2).sum(2)).max())


@dataclass(frozen=True, eq=False)
class Check:
    """Told events against what was read, int8 [N K]: 1 right, 0 wrong, -1 unsure or not there."""

    there: np.ndarray
    """1 if an event was read at that time; -1 only where none was told."""
    kind: np.ndarray
    pitch: np.ndarray
    loud: np.ndarray
    late: np.ndarray
    """float64 [N K]: seconds by which the onset was read late; 0 where it was not."""
    extra: np.ndarray
    """int64 [N]: events that were not told."""

    def right(self) -> np.ndarray:
        """bool [N]: every told event was read with its class and pitch, and no other one."""
        told = self.there >= 0
        same = (self.there == 1) & (self.kind == 1) & (self.pitch == 1)
        return np.asarray((same | ~told).all(1) & (self.extra == 0))


def check(found: list[tuple[Event, ...]], world: Sounds, near: float = 0.05) -> Check:
    """What `read` found against what is told: the event whose onset is nearest, at most `near` seconds away, counts.

    In a null world, pass `heard(world)`.
    """
    if len(found) != len(world):
        raise SensoriumError(f"{len(found)} waves read, {len(world)} told; expected as many of each")
    there = np.where(world.real(), 0, -1).astype(np.int8)
    factors = {name: np.full(there.shape, -1, np.int8) for name in ("kind", "pitch", "loud")}
    late, extra = np.zeros(there.shape), np.zeros(len(world), np.int64)
    for i, events in enumerate(found):
        free = list(events)
        for k in range(int(world.n[i])):
            best = min(free, key=lambda event: abs(event.onset - world.onset[i, k]), default=None)
            if best is None or abs(best.onset - world.onset[i, k]) > near:
                continue
            free.remove(best)
            there[i, k], late[i, k] = 1, best.onset - world.onset[i, k]
            for name, values in factors.items():
                if (got := getattr(best, name)) >= 0:
                    values[i, k] = got == getattr(world, name)[i, k]
        extra[i] = len(free)
    return Check(there, factors["kind"], factors["pitch"], factors["loud"], late, extra)


def reader_error(
    config: Config = SOUND, rate: int = RATE, snr: float = np.inf, n: int = 300, seed: int = 0
) -> dict[str, Rate]:
    """The reader's own error on true renders, by factor: the figure that stands beside each score it gives.

    `there`: told events not found (unsure) and, per told event, invented ones (wrong).
    """
    world = sounds(derive("sound reader", seed), n, config)
    told = heard(world)
    found = check(read(waves(world, rate, snr), config, rate), told)
    real = told.real()
    count = max(1, int(real.sum()))
    rates = {"there": Rate(float(found.extra.sum() / count), float((found.there[real] == 0).mean()))}
    for name in ("kind", "pitch", "loud"):
        value = getattr(found, name)[real]
        rates[name] = Rate(float((value == 0).mean()), float((value == -1).mean()))
    return rates
