"""Data sets of toy speech: captions of one object spoken by many voices, with what was said and what it means."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from sensorium.core import derive
from sensorium.data.media.audio import wav

from .world.facts import SHAPES, Config, facts
from .world.lang import caption
from .world.sound.speech import say, speakers

AT_ONCE = 256
"""Utterances rendered together."""
ROLES = {"audio": "audio", "text": "text", "text.de": "german", "label": "shape", "group": "utterance"}


@dataclass(frozen=True)
class Spoken:
    """Utterances per part, how many voices, samples per second and the distance of the noise in dB; test voices speak
    in no other part. `strange`: a train utterance's text is that of another one."""

    rows: tuple[int, int, int] = (8_000, 400, 800)
    config: Config = field(default_factory=lambda: Config(fewest=1, most=1))
    voices: int = 40
    rate: int = 8000
    snr: float = 30.0
    strange: bool = False
    seed: int = 0


SPOKEN: Mapping[str, Spoken] = {"world/speech": Spoken(), "world/speech-null": Spoken(strange=True)}
"""In the null set the pairs of train are wrong, so that nothing brings speech and text together."""


def utterances(made: Spoken, part: str, n: int) -> Mapping[str, list[Any]]:
    """Columns of `n` rows: utterance (its number), audio (WAV bytes), text and german (what is said), shape (of the
    object), speaker."""
    world = facts(made.seed, n, made.config, part=part)
    said, german = (caption(world, "short", language, made.seed) for language in ("en", "de"))
    who = speakers(world.index, made.voices, made.seed, part)
    waves: list[bytes] = []
    for start in range(0, n, AT_ONCE):
        some = slice(start, start + AT_ONCE)
        spoken = say(said[some], who[some], "en", made.rate, made.snr, world.index[some], made.seed)
        waves += [wav(wave[:count], made.rate) for wave, count in zip(spoken.wave, spoken.samples, strict=True)]
    order = np.arange(n)
    if made.strange and part == "train":
        order = np.random.Generator(np.random.Philox(derive(made.seed, "strange pairs"))).permutation(n)
    return {
        "utterance": [f"{part}-{k}" for k in world.index.tolist()],
        "audio": waves,
        "text": [said[k] for k in order],
        "german": [german[k] for k in order],
        "shape": [SHAPES[k] for k in world.shape[:, 0].tolist()],
        "speaker": [f"speaker {k}" for k in who.tolist()],
    }
