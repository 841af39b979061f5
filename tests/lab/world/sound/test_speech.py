"""Toy speech: times, voices and noise are what they are said to be."""

from __future__ import annotations

import numpy as np
import pytest

from sensorium.core import SensoriumError
from sensorium.lab.world.facts import facts
from sensorium.lab.world.lang import KINDS, TAGS, caption, questions
from sensorium.lab.world.sound.phones import NAMES, PAUSE, PHONES, spell
from sensorium.lab.world.sound.speech import SPEAKERS, digits, frame_labels, say, speakers, utter, voices


def test_phones_are_those_of_the_words_with_a_pause_at_each_end() -> None:
    made = say(["a red circle", ""], np.array([1, 2]))
    assert made.phones[0] == (PAUSE, *(p for w in spell("a red circle") for p in w), PAUSE) and made.phones[1] == (
        PAUSE,
        PAUSE,
    )
    assert made.word[0].tolist() == [-1, 0, *[1] * 3, *[2] * 6, -1]
    for n in range(2):
        assert len(made.bounds[n]) == len(made.phones[n]) + 1 and (np.diff(made.bounds[n]) > 0).all()
        assert made.samples[n] == round(made.bounds[n][-1] * 8000)
    assert np.array_equal(made.mask().sum(1), made.samples) and not made.wave[~made.mask()].any()
    assert not made.wave[1].any()


def test_pauses_are_silent_and_everything_else_is_heard() -> None:
    made = utter([[[p for p in range(len(PHONES)) if p != PAUSE]]], np.array([3]))
    level = [
        float(np.sqrt((made.wave[0, round(a * 8000) : round(b * 8000)] ** 2).mean()))
        for a, b in zip(made.bounds[0][:-1] + 0.02, made.bounds[0][1:], strict=True)
    ]
    assert level[0] == 0 and min(level[1:-1]) > 0.005


@pytest.mark.parametrize("phone", ["a", "i", "u", "e"])
def test_formants_stand_where_the_table_says(phone: str) -> None:
    """The strongest harmonic below 1 kHz lies within one harmonic of the first formant."""
    who = np.array([5])
    made = utter([[[NAMES.index(phone)] * 12]], who, rate=16000)
    wave = made.wave[0, 4000 : int(made.samples[0]) - 4000]
    spectrum = np.abs(np.fft.rfft(wave * np.hanning(len(wave))))
    hertz = np.fft.rfftfreq(len(wave), 1 / 16000)
    voice = voices(who)
    expected = PHONES[NAMES.index(phone)].formants[0] * voice.tract[0]
    low = hertz < 1000
    assert abs(hertz[low][spectrum[low].argmax()] - expected) < voice.pitch[0]


def test_the_voice_repeats_at_its_pitch() -> None:
    who = np.arange(8)
    made = utter([[[NAMES.index("a")] * 10]] * 8, who)
    for n in range(8):
        wave = made.wave[n, 2000 : made.samples[n] - 2000].astype(np.float64)
        correlation = np.correlate(wave, wave, "full")[len(wave) - 1 :]
        lag = 30 + np.flatnonzero(correlation[30:110] > 0.85 * correlation[30:110].max())[0]
        assert abs(8000 / lag - voices(who).pitch[n]) < 0.05 * voices(who).pitch[n]


def test_faster_speakers_are_shorter() -> None:
    who = np.arange(100)
    made = say(["a red circle left of a blue square"] * 100, who)
    assert np.corrcoef(voices(who).pace, made.samples)[0, 1] < -0.9


def test_utterances_are_pure_under_chunking() -> None:
    texts, who = caption(facts(0, 12)), speakers(np.arange(12), 20, 0)
    whole, part = say(texts, who, snr=20), say(texts[4:8], who[4:8], snr=20, index=np.arange(4, 8))
    for n in range(4):
        count = int(part.samples[n])
        assert count == whole.samples[4 + n] and np.array_equal(part.wave[n, :count], whole.wave[4 + n, :count])


def test_noise_is_exact_over_each_utterance() -> None:
    texts, who = caption(facts(0, 6)), np.arange(6)
    clean, loud = say(texts, who), say(texts, who, snr=15)
    for n, count in enumerate(clean.samples.tolist()):
        a, b = clean.wave[n, :count].astype(float), loud.wave[n, :count].astype(float)
        assert np.isclose(10 * np.log10((a**2).mean() / ((b - a) ** 2).mean()), 15, atol=0.01)
    assert not loud.wave[~loud.mask()].any()


def test_test_speakers_never_train() -> None:
    train, test = (speakers(np.arange(2000), 30, 0, part) for part in ("train", "test"))
    assert len(set(train.tolist())) == 30 and not set(train.tolist()) & set(test.tolist()) and test.max() < SPEAKERS
    with pytest.raises(SensoriumError, match="600 speakers"):
        speakers(np.arange(2), 600, 0)


@pytest.mark.parametrize("language", TAGS)
def test_digits_are_said_in_every_language(language: str) -> None:
    made = digits(0, 200, language)
    assert (
        set(made.digit.tolist()) == set(range(10))
        and made.digit[40:45].tolist() == digits(0, 5, language, 40).digit.tolist()
    )
    said = {d: made.speech.phones[n] for n, d in enumerate(made.digit.tolist())}
    assert len(set(said.values())) == 10
    with pytest.raises(SensoriumError, match="language 'xx'"):
        digits(0, 1, "xx")


def test_labels_of_words_become_labels_of_frames() -> None:
    made = say(["red ring", "star"], np.array([0, 1]))
    labels = frame_labels(made, [[7, 8], [9]], hop=0.01)
    for n, found in enumerate(labels):
        for frame, label in enumerate(found.tolist()):
            middle = (frame + 0.5) * 0.01
            at = [p for p in range(len(made.phones[n])) if made.bounds[n][p] <= middle < made.bounds[n][p + 1]]
            word = int(made.word[n][at[0]]) if at else -1
            assert label == (([7, 8], [9])[n][word] if word >= 0 else -1)
    assert {7, 8, -1} == set(labels[0].tolist())


def test_spoken_questions_carry_their_kind_in_every_frame() -> None:
    """The streaming task of multiqt: label what is asked while it is being said."""
    asked = questions(facts(0, 3), ("colour", "where"))
    made = say(asked.text, np.arange(len(asked)))
    labels = frame_labels(made, [[KINDS.index(k)] * len(spell(t)) for k, t in zip(asked.kind, asked.text, strict=True)])
    for found, kind in zip(labels, asked.kind, strict=True):
        assert set(found.tolist()) == {KINDS.index(kind), -1}


def test_mistakes_are_named() -> None:
    with pytest.raises(SensoriumError, match="2 texts, 1 speakers"):
        say(["a", "a"], np.array([1]))
    with pytest.raises(SensoriumError, match="11025 samples per second"):
        say(["a"], np.array([1]), rate=11025)
    with pytest.raises(SensoriumError, match="frames of 0"):
        frame_labels(say(["a"], np.array([1])), [[0]], hop=0)
