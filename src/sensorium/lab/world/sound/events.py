"""What is heard in each scene of sounds: events of a class, pitch, loudness, onset and length, and their waves.

Shape legend: N scenes, K event slots, S samples. Events stand in the order of time in the first slots, -1 in the rest.
Scene i of a part depends on (seed, part, i) and the config alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.special import ndtri

from sensorium.core import SensoriumError, derive, nearest

from ..facts import numbered, uniform
from .timbre import CLASSES, tones

PITCHES = ("low", "middle", "high")
HERTZ = (220.0, 440.0, 880.0)
LOUDNESS = ("soft", "loud")
AMPLITUDES = (0.1, 0.3)
NULLS = ("", "class", "order", "pair")
RATE = 8000
GAP = 0.06
"""Seconds of silence before each event where events do not overlap."""
PER_EVENT = ("kind", "pitch", "loud", "onset", "length")


@dataclass(frozen=True)
class Config:
    """Difficulty dials."""

    classes: tuple[str, ...] = CLASSES
    pitches: tuple[str, ...] = PITCHES
    loudness: tuple[str, ...] = LOUDNESS
    fewest: int = 1
    most: int = 3
    seconds: float = 1.0
    shortest: float = 0.15
    longest: float = 0.25
    overlap: bool = False
    """Events may sound at once; else GAP lies before each."""
    held: float = 0.0
    """Share of (class, pitch) pairs that appear in `test` only, spread evenly over both."""
    null: str = ""
    """What the waves have independently of what is told (`heard`)."""

    def __post_init__(self) -> None:
        for what, given, valid in (
            ("classes", self.classes, CLASSES),
            ("pitches", self.pitches, PITCHES),
            ("loudness", self.loudness, LOUDNESS),
        ):
            if not given or len(set(given)) < len(given):
                raise SensoriumError(f"{what} {given}; expected one or more of {', '.join(valid)}, each once")
            for name in given:
                if name not in valid:
                    raise SensoriumError(f"{what} {name!r}{nearest(name, valid)}")
        if self.null not in NULLS:
            raise SensoriumError(f"null world of sounds {self.null!r}{nearest(self.null, NULLS[1:])}")
        room = self.seconds if self.overlap else self.seconds / max(1, self.most) - GAP
        for what, number, low, high in (
            ("most", self.most, 1, len(self.classes)),
            ("fewest", self.fewest, 0, self.most),
            ("seconds", self.seconds, 0.1, 60),
            ("longest", self.longest, self.shortest, room),
            ("shortest", self.shortest, 0.05, self.seconds),
            ("held", self.held, 0, 1 - 1 / min(len(self.classes), len(self.pitches))),
        ):
            if not low <= number <= high:
                raise SensoriumError(f"{what} {number} of sounds; expected {low:g} to {high:g}")
        for part in ("train", "test"):
            if (free := int(allowed(self, part).any(1).sum())) < self.most:
                raise SensoriumError(f"most {self.most} with {free} classes in {part}; expected at most as many")


@dataclass(frozen=True, eq=False)
class Sounds:
    """N scenes of sounds as a struct of arrays; no two events of a scene are of one class."""

    kind: np.ndarray
    """int8 [N K], index into CLASSES; pitch into PITCHES and loud into LOUDNESS likewise."""
    pitch: np.ndarray
    loud: np.ndarray
    onset: np.ndarray
    """float64 [N K] seconds; so is length."""
    length: np.ndarray
    n: np.ndarray
    """int8 [N]: events of the scene."""
    config: Config
    seed: int
    index: np.ndarray
    part: str = "train"

    def __len__(self) -> int:
        return len(self.n)

    def real(self) -> np.ndarray:
        """bool [N K]: the slot holds an event."""
        return self.kind >= 0

    def rows(self, index: np.ndarray | slice | Sequence[int]) -> Sounds:
        """The scenes at row numbers, a slice or a bool mask [N]."""
        at: np.ndarray | slice = index if isinstance(index, slice) else np.asarray(index)
        if isinstance(at, np.ndarray) and not at.size:
            at = np.zeros(0, np.int64)
        return replace(self, **{name: getattr(self, name)[at] for name in (*PER_EVENT, "n", "index")})


def held_pairs(rows: int, columns: int, share: float) -> np.ndarray:
    """bool [rows columns]: about a share of the pairs, in diagonals, so that both are evenly among them."""
    shorter = min(rows, columns)
    return np.asarray(np.add.outer(np.arange(rows), np.arange(columns)) % shorter < round(share * shorter))


def allowed(config: Config, part: str) -> np.ndarray:
    """bool [classes pitches] of the config's own: the part has the pair."""
    held = held_pairs(len(config.classes), len(config.pitches), config.held)
    return np.asarray(held == (part == "test" and bool(held.any())))


SOUND = Config()


def sounds(seed: int, n: int, config: Config = SOUND, start: int = 0, part: str = "train") -> Sounds:
    """Scenes `start` to `start + n` of a part.

    Raises:
        SensoriumError: a part that is not one of PARTS, a negative n or start.
    """
    return sample(seed, numbered(n, start, part, "scenes"), config, part)


def sample(seed: int, index: np.ndarray, config: Config, part: str = "train") -> Sounds:
    """The scenes of any numbers, int64 [N]: rows of what `sounds` gives."""
    k, fits = config.most, allowed(config, part)
    names = [np.array([valid.index(name) for name in given]) for given, valid in (
        (config.classes, CLASSES), (config.pitches, PITCHES), (config.loudness, LOUDNESS))]  # fmt: skip
    luck = uniform(index, 1 + 3 * k, seed, part, "sound")
    count = config.fewest + (luck[:, 0] * (k - config.fewest + 1)).astype(np.int64)
    real = np.arange(k) < count[:, None]
    deal = np.where(fits.any(1), uniform(index, len(fits), seed, part, "sound", "class"), 2.0)
    kind = deal.argsort(1)[:, :k]
    race = uniform(index, k * fits.shape[1], seed, part, "sound", "pitch").reshape(len(index), k, fits.shape[1])
    pitch = np.where(fits[kind], race, -1.0).argmax(2)
    loud = (luck[:, 1 : 1 + k] * len(names[2])).astype(np.int64)
    length = config.shortest + luck[:, 1 + k : 1 + 2 * k] * (config.longest - config.shortest)
    onset = _onsets(config, length, real, luck[:, 1 + 2 * k :])

    def filled(values: np.ndarray) -> np.ndarray:
        return np.where(real, values, -1).astype(np.int8)

    return Sounds(
        kind=filled(names[0][kind]),
        pitch=filled(names[1][pitch]),
        loud=filled(names[2][loud]),
        onset=np.where(real, onset, -1.0),
        length=np.where(real, length, -1.0),
        n=count.astype(np.int8),
        config=config,
        seed=seed,
        index=index,
        part=part,
    )


def _onsets(config: Config, length: np.ndarray, real: np.ndarray, luck: np.ndarray) -> np.ndarray:
    """float64 [N K], rising: anywhere, or with what room is left spread evenly between the events."""
    if config.overlap:
        latest = config.seconds - np.where(real, length, config.longest).max(1, keepdims=True)
        return np.sort(np.where(real, luck * latest, np.inf), 1)
    taken = np.where(real, length + GAP, 0.0)
    slack = config.seconds - taken.sum(1, keepdims=True)
    spread = np.sort(np.where(real, luck * slack, np.inf), 1)
    return np.asarray(spread + np.cumsum(taken, 1) - taken + GAP)


def heard(world: Sounds) -> Sounds:
    """What the waves have: the facts, but for the null world's factor, which is then drawn independently of them.

    class: other classes; order: the same sounds dealt anew to the onsets; pair: an unrelated scene.
    """
    null, plain = world.config.null, replace(world.config, null="")
    other = sample(derive(world.seed, "sound null"), world.index, plain, world.part)
    if null == "pair":
        return replace(other, seed=world.seed)
    if null == "class":
        drawn = sample(derive(world.seed, "sound null"), world.index, replace(plain, fewest=plain.most), world.part)
        return replace(world, kind=np.where(world.real(), drawn.kind, -1).astype(np.int8), config=plain)
    if null == "order":
        luck = uniform(world.index, world.kind.shape[1], world.seed, world.part, "sound null")
        return reordered(replace(world, config=plain), np.where(world.real(), luck, 2.0).argsort(1))
    return world


def reordered(world: Sounds, order: np.ndarray) -> Sounds:
    """The same sounds with their lengths in another order, [N K] slots; the silences between them stay."""
    ends = np.concatenate([np.zeros((len(world), 1)), (world.onset + world.length)[:, :-1]], 1)
    gaps = world.onset - ends
    new = {name: np.take_along_axis(getattr(world, name), order, 1) for name in ("kind", "pitch", "loud", "length")}
    onset = np.cumsum(gaps, 1) + np.cumsum(new["length"], 1) - new["length"]
    real = world.real()
    return replace(
        world,
        kind=new["kind"],
        pitch=new["pitch"],
        loud=new["loud"],
        length=new["length"],
        onset=np.where(real, onset, -1.0),
    )


def swapped(world: Sounds) -> Sounds:
    """Order twins: the first two sounds change places, so that the bag of sounds is the same."""
    if world.n.min(initial=127) < 2:
        raise SensoriumError(f"order twins of a scene with {world.n.min(initial=127)} sounds; expected two or more")
    order = np.arange(world.kind.shape[1])
    order[:2] = 1, 0
    return reordered(world, np.broadcast_to(order, world.kind.shape))


def waves(world: Sounds, rate: int = RATE, snr: float = np.inf, seed: int = 0) -> np.ndarray:
    """float32 [N S], with white noise at exactly `snr` decibels; the seed redraws the noise and nothing else."""
    seen = heard(world)
    n, k = np.nonzero(seen.real())
    hertz, amplitude = np.array(HERTZ)[seen.pitch[n, k]], np.array(AMPLITUDES)[seen.loud[n, k]]
    made = tones(seen.kind[n, k], hertz, seen.length[n, k], amplitude, rate)
    out = mixed(made, n, np.round(seen.onset[n, k] * rate).astype(np.int64), len(seen), samples(seen.config, rate))
    return noisy(out, snr, seen.index, (seen.seed, seen.part, seed, "sound noise"))


def samples(config: Config, rate: int = RATE) -> int:
    """Samples of a scene."""
    return round(config.seconds * rate)


def mixed(made: np.ndarray, row: np.ndarray, start: np.ndarray, rows: int, count: int) -> np.ndarray:
    """Tones [M L] that begin at samples `start` of rows `row` -> float32 [rows count]; what lies outside is cut."""
    out = np.zeros((rows, count + made.shape[1]), np.float32)
    for at in range(len(made)):
        first = min(max(0, int(start[at])), count)
        skip = first - int(start[at])
        out[row[at], first : first + max(0, made.shape[1] - skip)] += made[at, max(0, skip) :][: out.shape[1] - first]
    return out[:, :count]


def noisy(
    clean: np.ndarray, snr: float, index: np.ndarray, purpose: tuple[object, ...], length: np.ndarray | None = None
) -> np.ndarray:
    """float32 [N S] with white noise: mean power `snr` decibels below the signal's, exactly. inf adds none.

    `length` [N] counts each row's samples; later ones stay 0. A silent row gets noise of power 1e-4 / 10^(snr / 10).
    """
    if np.isnan(snr) or snr < -60:
        raise SensoriumError(f"signal-to-noise ratio {snr} dB; expected -60 or more, or inf for no noise")
    if np.isinf(snr):
        return clean
    inside = np.ones(clean.shape, bool) if length is None else np.arange(clean.shape[1]) < length[:, None]
    count = np.maximum(inside.sum(1, keepdims=True), 1)
    noise = ndtri(uniform(index, clean.shape[1], *purpose).clip(1e-12, 1 - 1e-12)) * inside
    power = (clean.astype(np.float64) ** 2).sum(1, keepdims=True) / count
    power[power == 0] = 1e-4
    own = (noise**2).sum(1, keepdims=True) / count
    scale = np.sqrt(power / 10 ** (snr / 10) / np.maximum(own, 1e-30))
    return np.asarray(clean + noise * scale, np.float32)
