"""The checker of speech: few phone errors on clean voices it never heard, and more as noise grows."""

from __future__ import annotations

import numpy as np
import pytest

from sensorium.core import SensoriumError
from sensorium.lab.world.sound.listening import check, read, reader_error
from sensorium.lab.world.sound.phones import NAMES, PAUSE, segment
from sensorium.lab.world.sound.speech import ZEROS, digits

NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


def test_clean_speech_is_read_with_few_errors_at_both_rates() -> None:
    for rate in (8000, 16000):
        score = reader_error(rate, n=20)
        assert score.error < 0.03 and score.exact > 0.7
    noise = reader_error(snr=10, n=20)
    assert 0.03 < noise.error < 0.25


def test_digits_of_unheard_speakers_are_recognised() -> None:
    made = digits(0, 25, part="test")
    found = read(made.speech.wave, made.speech.samples, 8000)
    assert check(found, made.speech.phones).error < 0.08
    words = [segment(phones) for phones in found]
    assert np.mean([NUMBERS[d] in w for d, w in zip(made.digit.tolist(), words, strict=True) if d]) > 0.8
    assert ZEROS["en"] == "zero"


def test_scores_are_counted_by_hand() -> None:
    a, b, c = (NAMES.index(name) for name in "abd")
    score = check([(a, b), (a,)], [(PAUSE, a, b, PAUSE), (PAUSE, a, c, b, PAUSE)])
    assert (score.error, score.exact) == (2 / 5, 0.5)
    with pytest.raises(SensoriumError, match="1 utterances read, 2 told"):
        check([()], [(), ()])


def test_silence_has_no_phones() -> None:
    assert [set(found) <= {PAUSE} for found in read(np.zeros((1, 4000), np.float32), np.array([4000]), 8000)] == [True]
    with pytest.raises(SensoriumError, match="at 4000 Hz"):
        read(np.zeros((1, 10), np.float32), np.array([10]), 4000)
