"""The checker of toy speech: waves back to phones. Its templates are measured on renders of reference voices.

A hidden Markov model of two states a phone, in each of several voices; the likeliest path of the likeliest voice counts
(Rabiner, Proceedings of the IEEE 77:2, 1989). Shape legend: N utterances, F frames, B bands, V voices, Q states.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np

from sensorium.core import SensoriumError, derive

from .phones import PAUSE, PHONES, errors
from .speech import Speech, Voices, speakers, utter, voiced
from .timbre import RATES

WINDOW, HOP = 0.024, 0.008
"""Seconds."""
BANDS = 18
SWITCH = -80.0
"""Log penalty of going on from one phone to any other: overlapping frames are far from independent."""
PITCHES, TRACTS = (100.0, 130.0, 170.0, 220.0), (0.9, 0.97, 1.04, 1.11)
"""Of the reference voices."""
FLOORS = (1e-6, 1e-4, 1e-3)
"""Energies of a band that count as silence: references are measured at each, as noise hides what is below."""


def read(sound: np.ndarray, samples: np.ndarray, rate: int) -> list[tuple[int, ...]]:
    """float32 [N S], int64 [N] -> the phones of each utterance, indices into PHONES, pauses at both ends left out.

    Raises:
        SensoriumError: not [N S], or a rate that is not one of RATES.
    """
    if sound.ndim != 2 or rate not in RATES:
        raise SensoriumError(
            f"waves {list(sound.shape)} at {rate} Hz; expected [N S] at {' or '.join(map(str, RATES))}"
        )
    return [_decoded(wave[:count], rate) for wave, count in zip(sound, samples.tolist(), strict=True)]


def _decoded(wave: np.ndarray, rate: int) -> tuple[int, ...]:
    energy = _energies(wave, rate)
    if not len(energy):
        return ()
    quiet = float(np.median(np.sort(energy.mean(1))[: max(1, len(energy) // 10)]))
    floor = next((f for f in FLOORS if f >= quiet), FLOORS[-1])
    seen = np.log(energy + floor)
    mean, precision, offset = _model(rate, floor)
    score = offset - 0.5 * (
        (seen**2) @ precision.transpose(0, 2, 1) - 2 * seen @ (mean * precision).transpose(0, 2, 1)
        + (mean**2 * precision).sum(2)[:, None]
    )  # fmt: skip
    return _path(score)


def _energies(wave: np.ndarray, rate: int) -> np.ndarray:
    """float64 [F B]: mean energy in each band, frames centred every HOP."""
    size, hop = round(WINDOW * rate), round(HOP * rate)
    padded = np.pad(wave, (size // 2, size // 2))
    frames = np.lib.stride_tricks.sliding_window_view(padded, size)[: len(wave) : hop]
    power = np.abs(np.fft.rfft(frames * np.hanning(size), axis=1)) ** 2 * (8 / 3 / size**2)
    return np.asarray(power @ _filters(rate, size))


@cache
def _filters(rate: int, size: int) -> np.ndarray:
    """float64 [frequencies B]: triangles, evenly spaced on the mel scale from 100 to 4000 Hz."""
    low, high = (2595 * np.log10(1 + hz / 700) for hz in (100.0, 4000.0))
    mel = np.linspace(low, high, BANDS + 2)
    edge = 700 * (10 ** (mel / 2595) - 1)
    hertz = np.fft.rfftfreq(size, 1 / rate)[:, None]
    rise, fall = (hertz - edge[:-2]) / (edge[1:-1] - edge[:-2]), (edge[2:] - hertz) / (edge[2:] - edge[1:-1])
    return np.asarray(np.maximum(0, np.minimum(rise, fall)))


@cache
def _model(rate: int, floor: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Means and precisions, float64 [V Q B], and log densities at the mean, [V 1 Q], of the log energies."""
    rng = np.random.Generator(np.random.Philox(derive("listening")))
    others = np.delete(np.arange(len(PHONES)), PAUSE)
    said = [[rng.permutation(others).tolist()] for _ in range(24)]
    parts = []
    for pitch in PITCHES:
        for tract in TRACTS:
            n = len(said)
            voice = Voices(np.full(n, pitch), np.linspace(9, 14, n), np.full(n, tract))
            made = voiced(said, voice, rate, np.inf, np.arange(n), 0)
            parts.append(_measured(made, floor))
    mean, variance = np.stack([p[0] for p in parts]), np.stack([p[1] for p in parts])
    variance = 0.5 * variance + 0.5 * variance.mean((0, 1)) + 0.05
    return mean, 1 / variance, -0.5 * np.log(variance).sum(2)[:, None]


def _measured(made: Speech, floor: float) -> tuple[np.ndarray, np.ndarray]:
    """Mean and variance of the log energies in the first and second half of each phone, [Q B] each."""
    seen, state = [], []
    for n in range(len(made)):
        values = np.log(_energies(made.wave[n, : made.samples[n]], made.rate) + floor)
        time = np.arange(len(values)) * HOP
        at = np.minimum(np.searchsorted(made.bounds[n], time, side="right") - 1, len(made.phones[n]) - 1)
        share = (time - made.bounds[n][at]) / np.diff(made.bounds[n])[at]
        seen.append(values)
        state.append(2 * np.array(made.phones[n])[at] + (share >= _half(np.array(made.phones[n])[at])))
    values, states = np.concatenate(seen), np.concatenate(state)
    every = [values[states == q] for q in range(2 * len(PHONES))]
    return np.stack([v.mean(0) for v in every]), np.stack([v.var(0) for v in every])


def _half(phone: np.ndarray) -> np.ndarray:
    """Where a phone's second state begins: at the burst of a stop."""
    burst = np.array([p.burst for p in PHONES])
    return np.where(burst[phone], 2 / 3, 0.5)


def _path(score: np.ndarray) -> tuple[int, ...]:
    """Log likelihoods [V F Q] -> the phones of the likeliest path in the likeliest voice."""
    voices, frames, states = score.shape
    v, first = np.arange(voices), np.arange(0, states, 2)
    best = np.full((voices, states), -np.inf)
    best[:, 2 * PAUSE] = score[:, 0, 2 * PAUSE]
    came = np.zeros((frames, voices, states), np.int64)
    for t in range(1, frames):
        enter = best[:, first + 1]
        last = 2 * enter.argmax(1) + 1
        before, start = best.copy(), best[v, last] + SWITCH
        came[t] = np.arange(states)
        new = before[:, first] < start[:, None]
        came[t][:, first] = np.where(new, last[:, None], came[t][:, first])
        before[:, first] = np.maximum(before[:, first], start[:, None])
        on = best[:, first] > best[:, first + 1]
        came[t][:, first + 1] = np.where(on, first, came[t][:, first + 1])
        before[:, first + 1] = np.maximum(best[:, first], best[:, first + 1])
        best = before + score[:, t]
    voice = int(best.max(1).argmax())
    state = int(best[voice].argmax())
    out = [state]
    for t in range(frames - 1, 0, -1):
        state = int(came[t, voice, state])
        if state != out[-1]:
            out.append(state)
    phones = [q // 2 for q in reversed(out) if q % 2 == 0]
    return tuple(phones[1 if phones and phones[0] == PAUSE else 0 : -1 if phones and phones[-1] == PAUSE else None])


@dataclass(frozen=True)
class Score:
    """Phone errors (to change, add, leave out) per phone told."""

    error: float
    exact: float
    """Share of utterances read without any error."""


def check(found: list[tuple[int, ...]], told: list[tuple[int, ...]]) -> Score:
    """What `read` found against the phones of `Speech`; pauses do not count."""
    if len(found) != len(told):
        raise SensoriumError(f"{len(found)} utterances read, {len(told)} told; expected as many of each")
    wrong = [errors(a, b) for a, b in zip(told, found, strict=True)]
    phones = sum(p != PAUSE for own in told for p in own)
    return Score(sum(wrong) / max(1, phones), float(np.mean([w == 0 for w in wrong])) if wrong else 1.0)


def reader_error(rate: int = 8000, snr: float = np.inf, n: int = 60, seed: int = 0, length: int = 12) -> Score:
    """The reader's own error on true renders: random phones, none twice, by the speakers of test.

    A phone said twice in a row is read as one.
    """
    rng = np.random.Generator(np.random.Philox(derive("listening test", seed)))
    others = np.delete(np.arange(len(PHONES)), PAUSE)
    said = [[rng.permutation(others)[:length].tolist()] for _ in range(n)]
    made = utter(said, speakers(np.arange(n), 100, seed, "test"), rate, snr, np.arange(n), seed)
    return check(read(made.wave, made.samples, rate), made.phones)
