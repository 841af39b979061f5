"""Tones: their pitch, envelope and partials, against what the table says."""

from __future__ import annotations

import numpy as np
import pytest

from sensorium.core import SensoriumError
from sensorium.lab.world.sound.timbre import CLASSES, RATES, TIMBRES, tones


def one(name: str, hertz: float = 440.0, seconds: float = 0.5, rate: int = 8000, loud: float = 1.0) -> np.ndarray:
    return tones(np.array([CLASSES.index(name)]), np.array([hertz]), np.array([seconds]), np.array([loud]), rate)[0]


@pytest.mark.parametrize("rate", RATES)
def test_a_flute_is_two_partials_at_the_pitch_and_twice_that(rate: int) -> None:
    spectrum = np.abs(np.fft.rfft(one("flute", 440, 1.0, rate)))
    assert spectrum.argmax() == 440
    assert np.isclose(spectrum[880] / spectrum[440], 0.12, atol=0.01)


def test_the_clarinet_has_odd_partials_only() -> None:
    spectrum = np.abs(np.fft.rfft(one("clarinet", 400, 1.0)))
    assert spectrum[1200] > 0.5 * spectrum[400] and spectrum[800] < 0.01 * spectrum[400]


@pytest.mark.parametrize("name", CLASSES)
def test_tones_begin_and_end_in_silence(name: str) -> None:
    wave = one(name, seconds=0.2)
    assert len(wave) == 1600 and abs(wave[0]) < 1e-3 and abs(wave[-1]) < 0.03
    both = tones(np.array([CLASSES.index(name)] * 2), np.array([440.0] * 2), np.array([0.2, 0.4]), np.ones(2), 8000)
    assert np.array_equal(both[0, :1600], wave) and not both[0, 1600:].any() and both[1, 1600:].any()


def test_partials_above_the_band_are_left_out() -> None:
    spectrum = np.abs(np.fft.rfft(one("violin", 880, 1.0)))
    assert TIMBRES["violin"].partials[4][0] * 880 > 3600
    assert spectrum[3700:].max() < 0.02 * spectrum.max()


def test_amplitude_scales_and_bells_decay() -> None:
    assert np.allclose(one("bell", loud=0.5), 0.5 * one("bell"), atol=1e-6)
    bell = one("bell", seconds=0.6)
    level = [np.sqrt((bell[a : a + 800] ** 2).mean()) for a in (200, 1160)]
    assert np.isclose(level[1] / level[0], np.exp(-0.12 / 0.12), atol=0.05)


def test_a_buzzer_pulses_25_times_a_second() -> None:
    envelope = np.abs(one("buzzer", seconds=1.0)[400:-400]).reshape(-1, 16).max(1)
    spectrum = np.abs(np.fft.rfft(envelope - envelope.mean()))
    assert abs(spectrum[:200].argmax() * (8000 / 16) / len(envelope) - 25) < 1.5


def test_other_rates_are_refused() -> None:
    with pytest.raises(SensoriumError, match="44100 samples per second; expected 8000 or 16000"):
        one("flute", rate=44100)
    assert tones(*(np.zeros(0, np.int64),) * 4, rate=8000).shape == (0, 0)
