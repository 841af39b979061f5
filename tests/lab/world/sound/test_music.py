"""Music: keys, chords and melodies by hand, and a reader that hears them."""

from __future__ import annotations

import numpy as np
import pytest

from sensorium.core import SensoriumError
from sensorium.lab.world.guards import balanced
from sensorium.lab.world.sound.music import (
    BEATS,
    MODES,
    PROGRESSIONS,
    SCALES,
    TEMPI,
    TONICS,
    Config,
    caption,
    hertz,
    music,
    play,
    read,
    reader_error,
    transposed,
)


def test_notes_are_those_of_the_key() -> None:
    pieces = music(0, 300)
    scale = (pieces.tonic[:, None] + SCALES[pieces.mode]) % 12
    for values in (pieces.notes(), pieces.chords().reshape(300, -1)):
        assert all(set((own % 12).tolist()) <= set(s.tolist()) for own, s in zip(values, scale, strict=True))
    chord = np.array([[{int(n) % 12 for n in c} for c in piece] for piece in pieces.chords()])
    root = np.repeat(np.arange(4), 2)
    on = [[int(pieces.notes()[i, b]) % 12 in chord[i, root[b]] for b in range(0, 8, 2)] for i in range(300)]
    assert np.all(on)
    step = np.abs(np.diff(pieces.melody, axis=1))[:, ::2]
    assert set(step.ravel().tolist()) == {1}


def test_every_progression_names_its_key() -> None:
    for roots in PROGRESSIONS:
        assert {(r + d) % 7 for r in roots for d in (0, 2, 4)} == set(range(7)) and roots[0] == 0


def test_a_known_chord() -> None:
    pieces = music(0, 200)
    row = next(i for i in range(200) if pieces.tonic[i] == 0 and pieces.mode[i] == 0 and pieces.progression[i] == 0)
    assert pieces.chords()[row].tolist() == [[48, 52, 55], [53, 57, 48], [55, 59, 50], [48, 52, 55]]
    assert hertz(np.array([69, 57, 60])).round(2).tolist() == [440.0, 220.0, 261.63]


def test_lengths_follow_the_tempo_and_rows_are_pure() -> None:
    pieces = music(0, 12)
    wave, samples = play(pieces)
    assert samples.tolist() == [round(60 / BEATS[t] * 8 * 8000) for t in pieces.tempo.tolist()]
    part, count = play(music(0, 3, start=5))
    assert all(np.array_equal(part[n, : count[n]], wave[5 + n, : count[n]]) for n in range(3))
    assert not wave[np.arange(wave.shape[1]) >= samples[:, None]].any()


def test_labels_are_balanced_and_told() -> None:
    pieces = music(0, 4000)
    for values, n in ((pieces.tonic, 12), (pieces.mode, 2), (pieces.tempo, 3), (pieces.instrument, 3)):
        assert balanced(values.tolist(), n).ok
    for text, t, k, m in zip(
        caption(pieces), *(c.tolist() for c in (pieces.tempo, pieces.tonic, pieces.mode)), strict=True
    ):
        assert text.startswith(f"a {TEMPI[t]} piece in {TONICS[k]} {MODES[m]} for ")


def test_the_reader_hears_key_tempo_and_melody() -> None:
    for snr in (np.inf, 10.0):
        assert all(rate.wrong == 0 for rate in reader_error(24, snr=snr).values())
    pieces = music(5, 10)
    moved = transposed(pieces, 3)
    found = read(*play(moved))
    assert np.array_equal(found.tonic, (pieces.tonic + 3) % 12) and np.array_equal(found.mode, pieces.mode)


def test_mistakes_are_named() -> None:
    with pytest.raises(SensoriumError, match="tonics 'H'"):
        Config(tonics=("H",))
    with pytest.raises(SensoriumError, match="expected all 12"):
        transposed(music(0, 1, Config(tonics=("C",))), 2)
    with pytest.raises(SensoriumError, match=r"piece 0 of 1 seconds"):
        read(np.zeros((1, 8000), np.float32), np.array([8000]))
    with pytest.raises(SensoriumError, match="part 'x'"):
        music(0, 1, part="x")
