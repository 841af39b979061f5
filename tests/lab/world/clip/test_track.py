"""Sound tracks: in step, late by what is asked, and told event by event."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from sensorium.core import SensoriumError
from sensorium.lab.world.clip.steps import Voice, narrate
from sensorium.lab.world.clip.telling import clause, say
from sensorium.lab.world.clip.timeline import clips
from sensorium.lab.world.clip.track import (
    IN_STEP,
    OF_KIND,
    Config,
    accompanied,
    caption,
    exchanged,
    track,
    voiceover,
    waves,
)
from sensorium.lab.world.guards import balanced, blind
from sensorium.lab.world.sound.music import music, play
from sensorium.lab.world.sound.reader import check, read
from sensorium.lab.world.sound.timbre import CLASSES


def test_sounds_begin_with_their_events() -> None:
    world = clips(0, 100)
    made = track(world)
    assert np.array_equal(made.sounds.onset * 4, world.begin) and np.array_equal(made.event, np.tile([0, 1], (100, 1)))
    wave = waves(made)
    assert wave.shape == (100, 16000)
    found = check(read(wave), made.sounds)
    assert found.right().all() and np.abs(found.late).max() <= 0.02


def test_a_lag_is_exact_and_what_falls_outside_is_cut() -> None:
    world = clips(0, 50)
    late = track(world, Config(lag=0.125))
    assert np.array_equal(late.sounds.onset, track(world).sounds.onset + 0.125)
    wave, later = waves(track(world)), waves(late)
    assert np.allclose(later[:, 1000:], wave[:, :-1000], atol=1e-6)
    assert not waves(track(world, Config(lag=-10.0))).any() and not waves(track(world, Config(lag=10.0))).any()


def test_drawn_sounds_tell_nothing_of_the_event_and_ruled_ones_all() -> None:
    world = clips(0, 4000)
    made = track(world)
    assert blind(made.sounds.kind[:, 0].tolist(), world.kind[:, 0].tolist(), 0.2).ok
    assert balanced(made.sounds.kind[:, 0].tolist(), len(CLASSES)).ok
    ruled = track(world, Config(rule="kind"))
    assert [CLASSES[k] for k in ruled.sounds.kind[:, 1].tolist()] == [OF_KIND[k] for k in world.kind[:, 1].tolist()]


def test_silent_events_have_no_sound() -> None:
    world = clips(0, 3000)
    made = track(world, Config(audible=0.5))
    assert abs(made.sounds.n.sum() / 6000 - 0.5) < 0.03 and np.array_equal(made.sounds.real(), made.event >= 0)
    rows, k = np.nonzero(made.event >= 0)
    assert np.array_equal(made.sounds.onset[rows, k] * 4, world.begin[rows, made.event[rows, k]])
    part = track(clips(0, 10, start=500), Config(audible=0.5))
    assert np.array_equal(part.sounds.kind, made.sounds.kind[500:510])


def test_captions_tell_what_is_seen_and_heard_and_twins_exchange_it() -> None:
    world = clips(0, 50)
    made = track(world)
    twin = exchanged(made)
    for row, (text, other) in enumerate(zip(caption(world, made), caption(world, twin), strict=True)):
        parts, others = text.split(", then "), other.split(", then ")
        assert [p.split(" to a ")[0] for p in parts] == [say(clause(world, row, e)) for e in (0, 1)]
        heard = [p.split(" to a ")[1] for p in parts]
        assert [p.split(" to a ")[1] for p in others] == heard[::-1] and heard[0] != heard[1]
    assert np.array_equal(twin.sounds.onset, made.sounds.onset)
    with pytest.raises(SensoriumError, match="two or more"):
        exchanged(track(world, Config(audible=0.2)))


def test_music_lies_below() -> None:
    wave, pieces = waves(track(clips(0, 3))), music(0, 3)
    out = accompanied(wave, pieces, level=0.2)
    assert np.allclose(out - wave, 0.2 * play(pieces)[0][:, :16000], atol=1e-6)
    with pytest.raises(SensoriumError, match="3 waves, 2 pieces"):
        accompanied(wave, music(0, 2))


def test_a_voiceover_speaks_each_line_from_its_start() -> None:
    world = clips(0, 6)
    told = narrate(world, rate=0.4)
    wave, whole = voiceover(told, list(range(6)), world.index, 20.0)
    assert wave.shape == (6, 160000)
    for row, lines in enumerate(told.lines):
        starts = [round(line.start * 8000) for line in lines]
        assert not wave[row, : starts[0]].any() and wave[row, starts[0] : starts[0] + 4000].any()
        assert whole[row] == [line.text for line in lines]
    part, _ = voiceover(narrate(world.rows([4]), rate=0.4), [4], world.index[4:5], 20.0)
    assert np.array_equal(part[0], wave[4])
    early, cut = voiceover(narrate(world, Voice(offset=-30.0), rate=0.4), list(range(6)), world.index, 20.0)
    assert not early.any() and not any(cut)


def test_mistakes_are_named() -> None:
    for dials in ({"rule": "kinds"}, {"audible": 2.0}, {"length": 9.0}, {"lag": float("inf")}):
        with pytest.raises(SensoriumError):
            replace(IN_STEP, **dials)
