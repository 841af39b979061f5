"""The checker of sounds: exact on clean waves, with a measured error on noise and on overlaps."""

from __future__ import annotations

import numpy as np
import pytest

from sensorium.core import SensoriumError
from sensorium.lab.world.sound.events import Config, heard, sounds, swapped, waves
from sensorium.lab.world.sound.reader import check, read, reader_error


@pytest.mark.parametrize(("rate", "snr"), [(8000, np.inf), (16000, np.inf), (8000, 20.0)])
def test_sounds_one_after_the_other_are_read_without_error(rate: int, snr: float) -> None:
    world = sounds(9, 80)
    found = check(read(waves(world, rate, snr), rate=rate), world)
    assert found.right().all() and (found.loud[world.real()] == 1).all()
    assert np.abs(found.late).max() < 0.03


def test_the_error_grows_with_noise_and_overlap_and_is_reported() -> None:
    quiet, loud = reader_error(snr=20, n=100), reader_error(snr=0, n=100)
    assert all(rate.wrong == rate.unsure == 0 for rate in quiet.values())
    assert loud["there"].unsure > 0.1 and loud["kind"].wrong < 0.02
    over = reader_error(Config(overlap=True), n=100)
    assert over["there"].unsure > 0.2


def test_twins_and_other_scenes_are_told_apart() -> None:
    world = sounds(0, 60, Config(fewest=2))
    found = check(read(waves(swapped(world))), world)
    assert not found.right().any()
    strange = check(read(waves(world.rows(slice(None, None, -1)))), world)
    assert strange.right().mean() < 0.1


def test_null_worlds_are_read_as_heard() -> None:
    config = Config(null="class")
    world = sounds(0, 40, config)
    found = read(waves(world), config)
    assert check(found, heard(world)).right().all() and not check(found, world).right().all()


def test_silence_has_no_events_and_noise_alone_is_not_named() -> None:
    assert read(np.zeros((2, 8000), np.float32)) == [(), ()]
    rng = np.random.default_rng(0)
    events = [event for own in read(rng.normal(0, 0.1, (20, 8000))) for event in own]
    assert all(event.kind == -1 for event in events)


def test_invented_sounds_are_counted() -> None:
    world = sounds(0, 40, Config(most=1))
    wave = waves(world) + np.roll(waves(world), 4000, axis=1)
    assert check(read(wave), world).extra.sum() >= 30


def test_wrong_arrays_are_refused() -> None:
    with pytest.raises(SensoriumError, match=r"waves \[5\] at 8000 Hz"):
        read(np.zeros(5, np.float32))
    with pytest.raises(SensoriumError, match="0 waves read, 1 told"):
        check([], sounds(0, 1))
