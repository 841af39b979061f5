"""What is heard over a clip: a sound for each event in step with it, music below, a voice that narrates.

Shape legend: N clips, E events, K sounds of a track, S samples.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from sensorium.core import SensoriumError, nearest

from ..facts import uniform
from ..sound import events as sound
from ..sound.events import Config as SoundConfig
from ..sound.events import Sounds
from ..sound.music import Music, play
from ..sound.speech import say as spoken
from ..sound.telling import Heard
from ..sound.telling import say as say_sound
from ..sound.timbre import CLASSES
from .film import RATE, seconds
from .steps import Narration
from .telling import clause, say
from .timeline import Clips

RULES = ("drawn", "kind")
OF_KIND = ("flute", "bell", "siren", "clarinet", "drum")
"""The class of sound of each of KINDS under the rule "kind"."""


@dataclass(frozen=True)
class Config:
    """How sounds go with events."""

    rule: str = "drawn"
    """drawn: the class tells nothing of the event, so that only hearing gives it; kind: each kind has its own."""
    audible: float = 1.0
    """Share of events that are heard."""
    lag: float = 0.0
    """Seconds by which every sound comes after its event; negative is before."""
    length: float = 0.2
    """Seconds of each sound."""

    def __post_init__(self) -> None:
        if self.rule not in RULES:
            raise SensoriumError(f"rule of sound tracks {self.rule!r}{nearest(self.rule, RULES)}")
        if not 0 <= self.audible <= 1:
            raise SensoriumError(f"audible {self.audible}; expected a share from 0 to 1")
        if not (0.05 <= self.length <= 1 and np.isfinite(self.lag)):
            raise SensoriumError(f"sounds of {self.length} s, lag {self.lag} s; expected 0.05 to 1, and a finite lag")


IN_STEP = Config()


@dataclass(frozen=True, eq=False)
class Track:
    """The sounds of each clip, and int8 [N K]: the event that each belongs to, -1 for none."""

    sounds: Sounds
    event: np.ndarray


def track(world: Clips, config: Config = IN_STEP, seed: int = 0, rate: float = RATE) -> Track:
    """A sound begins when its event does plus the lag, exactly; pitch and loudness are always drawn.

    Under the rule "drawn" no two sounds of a clip are of one class. What a null world shows is not heard: sounds go
    with the events as told. Render with `waves`.
    """
    n, events = world.kind.shape
    luck = uniform(world.index, 3 * events + len(CLASSES), "track", world.cast.seed, world.cast.part, seed)
    audible, pitch, loud = luck[:, : 3 * events].reshape(n, 3, events).transpose(1, 0, 2)
    drawn = luck[:, 3 * events :].argsort(1)[:, :events]
    own = np.array([CLASSES.index(name) for name in OF_KIND])[world.kind]
    heard = audible < config.audible
    order = np.argsort(~heard, axis=1, kind="stable")

    def packed(values: np.ndarray, kind: type[np.generic]) -> np.ndarray:
        return np.take_along_axis(np.where(heard, values, -1), order, 1).astype(kind)

    onset = seconds(world.begin, rate) + config.lag
    length = world.config.frames / rate
    facts = Sounds(
        kind=packed(drawn if config.rule == "drawn" else own, np.int8),
        pitch=packed((pitch * len(sound.PITCHES)).astype(np.int64), np.int8),
        loud=packed((loud * len(sound.LOUDNESS)).astype(np.int64), np.int8),
        onset=packed(onset, np.float64),
        length=packed(np.full((n, events), config.length), np.float64),
        n=heard.sum(1).astype(np.int8),
        config=SoundConfig(most=events, fewest=0, seconds=length, shortest=0.05, longest=length, overlap=True),
        seed=world.cast.seed,
        index=world.index,
        part=world.cast.part,
    )
    return Track(facts, packed(np.broadcast_to(np.arange(events), (n, events)), np.int8))


def waves(made: Track, rate: int = sound.RATE, snr: float = np.inf, seed: int = 0) -> np.ndarray:
    """float32 [N S] as long as the clips; what a lag puts outside is cut."""
    return sound.waves(made.sounds, rate, snr, seed)


def caption(world: Clips, made: Track) -> list[str]:
    """What is seen and heard, event by event: "the red circle moves left to a low bell, then ..."."""
    out = []
    for row in range(len(world)):
        of_event = {int(e): k for k, e in enumerate(made.event[row]) if e >= 0}
        told = []
        for e in range(world.kind.shape[1]):
            words = say(clause(world, row, e))
            if (k := of_event.get(e)) is not None:
                words += f" to {say_sound(Heard(int(made.sounds.kind[row, k]), int(made.sounds.pitch[row, k])))}"
            told.append(words)
        out.append(", then ".join(told))
    return out


def exchanged(made: Track) -> Track:
    """Twins in which the first two sounds of each clip change places: the same sounds, at each other's events.

    Raises:
        SensoriumError: a clip with fewer than two sounds.
    """
    least = int(made.sounds.n.min(initial=127))
    if least < 2:
        raise SensoriumError(f"exchanged sounds of a clip with {least}; expected two or more in each")
    order = np.arange(made.event.shape[1])
    order[:2] = 1, 0
    kind, pitch, loud = (getattr(made.sounds, name)[:, order] for name in ("kind", "pitch", "loud"))
    return replace(made, sounds=replace(made.sounds, kind=kind, pitch=pitch, loud=loud))


def accompanied(wave: np.ndarray, pieces: Music, level: float = 0.5, rate: int = sound.RATE) -> np.ndarray:
    """float32 [N S], music -> the same waves with the music below, times `level`, cut or silent at its end.

    Raises:
        SensoriumError: not as many pieces as waves.
    """
    if len(pieces) != len(wave):
        raise SensoriumError(f"{len(wave)} waves, {len(pieces)} pieces; expected as many of each")
    played, _ = play(pieces, rate)
    count = min(wave.shape[1], played.shape[1])
    out = wave.copy()
    out[:, :count] += level * played[:, :count]
    return out


def voiceover(
    narration: Narration,
    speaker: Sequence[int],
    index: np.ndarray,
    length: float,
    rate: int = sound.RATE,
    seed: int = 0,
) -> tuple[np.ndarray, list[list[str]]]:
    """Narrations spoken over clips, int64 [N], of `length` seconds: float32 [N S], and the lines said to their end.

    Each line begins at its start, and is cut short by the next one and by the end of the clip.
    """
    if len(speaker) != len(narration.lines):
        raise SensoriumError(f"{len(narration.lines)} narrations, {len(speaker)} speakers; expected as many of each")
    count = round(length * rate)
    out, whole = np.zeros((len(narration.lines), count), np.float32), []
    for row, lines in enumerate(narration.lines):
        who, number = np.full(len(lines), speaker[row], np.int64), index[row] * 1000 + np.arange(len(lines))
        made = spoken([line.text for line in lines], who, rate=rate, index=number, seed=seed)
        starts = [round(line.start * rate) for line in lines]
        said = []
        for at, (line, start) in enumerate(zip(lines, starts, strict=True)):
            stop = min([count, *starts[at + 1 : at + 2]])
            end = min(stop, start + int(made.samples[at]))
            first = max(0, start)
            if end > first:
                out[row, first:end] = made.wave[at, first - start : end - start]
            if start >= 0 and end == start + made.samples[at]:
                said.append(line.text)
        whole.append(said)
    return out, whole
