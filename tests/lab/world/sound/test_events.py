"""Scenes of sounds: pure, balanced, within their dials; waves that hold what is told, at the noise that is asked."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sensorium.core import SensoriumError
from sensorium.lab.world.guards import balanced
from sensorium.lab.world.sound.events import (
    GAP,
    NULLS,
    PER_EVENT,
    PITCHES,
    SOUND,
    Config,
    Sounds,
    heard,
    held_pairs,
    mixed,
    noisy,
    sounds,
    swapped,
    waves,
)
from sensorium.lab.world.sound.timbre import CLASSES

LOOSE = Config(overlap=True, fewest=0, longest=0.5)
EVERY = [SOUND, LOOSE, *(replace(SOUND, null=null) for null in NULLS[1:])]


def same(a: Sounds, b: Sounds) -> bool:
    return all(np.array_equal(getattr(a, name), getattr(b, name)) for name in (*PER_EVENT, "n", "index"))


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 99), st.sampled_from(EVERY), st.integers(0, 15))
def test_any_chunk_equals_the_same_rows_of_a_larger_world(seed: int, config: Config, start: int) -> None:
    whole, part = sounds(seed, 20, config), sounds(seed, 5, config, start)
    rows = slice(start, start + 5)
    assert same(part, whole.rows(rows)) and same(heard(part), heard(whole).rows(rows))
    assert np.array_equal(waves(part, snr=10), waves(whole, snr=10)[rows])


def test_events_keep_to_their_dials() -> None:
    world = sounds(0, 2000)
    real = world.real()
    assert ((world.length >= 0.15) & (world.length <= 0.25))[real].all() and (world.length[~real] == -1).all()
    gaps = world.onset[:, 1:] - (world.onset + world.length)[:, :-1]
    assert gaps[real[:, 1:]].min() >= GAP - 1e-9 and (world.onset + world.length)[real].max() <= 1.0 + 1e-9
    assert set(world.n.tolist()) == {1, 2, 3}
    loose = sounds(0, 2000, LOOSE)
    assert (np.diff(loose.onset, axis=1)[loose.real()[:, 1:]] >= 0).all()
    assert (loose.onset + loose.length)[loose.real()].max() <= 1.0 + 1e-9 and (loose.n == 0).any()
    ends = (loose.onset + loose.length)[:, :-1]
    assert (loose.onset[:, 1:] < ends)[loose.real()[:, 1:]].mean() > 0.2
    for w in (world, loose):
        assert all(len(set(k[:n])) == n for k, n in zip(w.kind.tolist(), w.n.tolist(), strict=True))


def test_classes_pitches_and_loudness_are_balanced() -> None:
    world = sounds(0, 5000)
    for name, values in (("kind", 8), ("pitch", 3), ("loud", 2)):
        assert balanced(getattr(world, name)[:, 0].tolist(), values).ok


def test_held_pairs_are_heard_in_test_only() -> None:
    config = Config(held=0.34)
    pairs = []
    for part in ("train", "test"):
        world = sounds(0, 2000, config, part=part)
        pairs.append(set(zip(world.kind[world.real()].tolist(), world.pitch[world.real()].tolist(), strict=True)))
    assert len(pairs[0]) == 16 and len(pairs[1]) == 8 and not pairs[0] & pairs[1]
    assert held_pairs(8, 3, 0.34).sum(1).tolist() == [1] * 8


def test_the_wave_is_silent_but_for_its_events() -> None:
    world = sounds(1, 50)
    wave = waves(world)
    time_ = np.arange(wave.shape[1]) / 8000
    inside = (
        (time_ >= world.onset[:, :, None] - 2e-4) & (time_ <= (world.onset + world.length)[:, :, None] + 2e-4)
    ).any(1)
    assert not wave[~inside].any() and (np.abs(wave).max(1) > 0.02).all()
    flute = Config(classes=("flute",), pitches=("middle",), loudness=("loud",), most=1, shortest=0.9, longest=0.9)
    spectrum = np.abs(np.fft.rfft(waves(sounds(0, 1, flute))[0]))
    assert abs(spectrum.argmax() - 440) <= 1


@pytest.mark.parametrize("snr", [30.0, 10.0, -5.0])
def test_the_signal_to_noise_ratio_is_exact(snr: float) -> None:
    world = sounds(0, 20)
    clean, loud = waves(world).astype(np.float64), waves(world, snr=snr, seed=2).astype(np.float64)
    ratio = 10 * np.log10((clean**2).mean(1) / ((loud - clean) ** 2).mean(1))
    assert np.allclose(ratio, snr, atol=0.01)
    assert not np.array_equal(waves(world, snr=snr), loud)


def test_noise_stays_within_each_rows_samples() -> None:
    clean = np.zeros((2, 100), np.float32)
    clean[0, :50] = 0.5
    out = noisy(clean, 10, np.arange(2), ("test",), np.array([50, 100]))
    assert not out[0, 50:].any() and np.isclose((out[1].astype(float) ** 2).mean(), 1e-5, rtol=1e-3)
    ratio = 10 * np.log10(0.25 / ((out[0, :50] - 0.5) ** 2).mean())
    assert np.isclose(ratio, 10, atol=0.01)
    with pytest.raises(SensoriumError, match="nan dB"):
        noisy(clean, float("nan"), np.arange(2), ())


def test_mixing_by_hand() -> None:
    made = np.array([[1, 2, 3], [10, 20, 30], [5, 5, 5], [7, 7, 7]], np.float32)
    out = mixed(made, np.array([0, 0, 1, 1]), np.array([1, 2, -2, 4]), 2, 5)
    assert out.tolist() == [[0, 1, 12, 23, 30], [5, 0, 0, 0, 7]]


def test_twins_have_the_same_sounds_in_another_order() -> None:
    world = sounds(0, 100, Config(fewest=2))
    twin = swapped(world)
    assert np.array_equal(twin.kind[:, :2], world.kind[:, 1::-1]) and np.array_equal(twin.kind[:, 2], world.kind[:, 2])
    assert np.allclose(twin.onset[:, 0], world.onset[:, 0]) and np.allclose(swapped(twin).onset, world.onset)
    third = world.n == 3
    assert np.allclose(twin.onset[third, 2], world.onset[third, 2])
    with pytest.raises(SensoriumError, match="two or more"):
        swapped(sounds(0, 50))


@pytest.mark.parametrize(
    ("dials", "message"),
    [
        ({"classes": ("piano",)}, "classes 'piano'"),
        ({"pitches": ()}, "expected one or more"),
        ({"null": "clas"}, "did you mean 'class'"),
        ({"most": 9}, "most 9 of sounds; expected 1 to 8"),
        ({"longest": 0.4}, "longest 0.4"),
        ({"fewest": 4}, "fewest 4"),
        ({"held": 0.9}, "held 0.9"),
    ],
)
def test_impossible_dials_are_refused(dials: dict[str, object], message: str) -> None:
    with pytest.raises(SensoriumError, match=message):
        Config(**dials)  # type: ignore[arg-type]


def test_unknown_parts_are_refused_and_no_scene_is_fine() -> None:
    with pytest.raises(SensoriumError, match="did you mean 'train'"):
        sounds(0, 1, part="trian")
    assert waves(sounds(0, 0)).shape == (0, 8000)
    assert len(CLASSES) == 8 and len(PITCHES) == 3


def test_more_than_200_one_second_waves_a_cpu_second() -> None:
    world = sounds(0, 200)
    start = time.process_time()
    waves(world, snr=20)
    assert time.process_time() - start < 1.0
