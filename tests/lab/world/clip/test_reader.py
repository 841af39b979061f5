"""The checker of clips: no error on clean renders, a measured one on noise, and impossible events found out."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from sensorium.core import SensoriumError
from sensorium.lab.world.clip.changes import backwards, shown, swapped
from sensorium.lab.world.clip.film import FLAT, film
from sensorium.lab.world.clip.reader import check, expected, read, reader_error
from sensorium.lab.world.clip.timeline import KINDS, THREE, Config, clips

CLEAN = replace(FLAT, noise=0)
LARGE = Config(replace(THREE, cells=4, fewest=4, most=4), frames=12, events=3)


@pytest.mark.parametrize(("config", "size"), [(Config(), 48), (Config(reach=1), 32), (LARGE, 64)])
def test_clean_clips_are_read_without_error(config: Config, size: int) -> None:
    world = clips(5, 60, config)
    found = read(film(world, size, CLEAN), config, CLEAN)
    assert found.events == expected(world) and check(found, world).all_right().all()


def test_the_error_on_noise_is_measured() -> None:
    rates = reader_error(style=replace(FLAT, noise=25.0), n=60)
    assert all(rate.wrong == rate.unsure == 0 for rate in rates.values())
    loud = reader_error(style=replace(FLAT, noise=110.0), n=20)
    assert loud["event"].wrong + loud["event"].unsure + loud["extra"].wrong > 0


def test_changed_clips_are_told_from_their_twins() -> None:
    world = clips(0, 60)
    for other, where in ((swapped(world), "order"), (backwards(world), "right")):
        found = check(read(film(other, style=CLEAN), style=CLEAN), world)
        assert not found.all_right().any()
        if where == "order":
            assert found.right.all() and not found.order.any() and not found.extra.any()


def test_null_worlds_are_read_as_shown() -> None:
    world = clips(0, 30, Config(null="order"))
    found = read(film(world, style=CLEAN), style=CLEAN)
    assert check(found, shown(world)).all_right().all() and not check(found, world).all_right().all()


def test_late_events_and_missing_and_extra_ones_are_counted() -> None:
    world = clips(0, 40)
    images = film(world, style=CLEAN)
    late = check(read(np.concatenate([images[:, :1], images[:, :-1]], 1), style=CLEAN), world)
    kept = world.end.max(1) < world.config.frames
    assert kept.any() and (late.when[kept] == 1).all() and late.right[kept].all()
    stopped = check(read(np.repeat(images[:, :1], 8, 1), style=CLEAN), world)
    assert not stopped.there.any() and not stopped.order.any() and not stopped.extra.any()
    jumped = images.copy()
    jumped[:, 4] = images[:, 0][::-1]
    assert check(read(jumped, style=CLEAN), world).extra.any()


def test_a_jump_over_both_axes_is_no_event_of_the_world() -> None:
    still = film(clips(0, 20), style=CLEAN)[:, 0]
    found = read(np.stack([still, np.roll(still, (16, 16), (2, 3))], 1), style=CLEAN)
    kinds = {event.kind for events in found.events for event in events}
    assert -1 in kinds and kinds <= {-1}


def test_wrong_arrays_are_refused() -> None:
    with pytest.raises(SensoriumError, match=r"clips uint8 \[2, 3\]"):
        read(np.zeros((2, 3), np.uint8))
    found = read(film(clips(0, 2)))
    with pytest.raises(SensoriumError, match="2 clips read, 3 told"):
        check(found, clips(0, 3))
    assert len(KINDS) == 5 and len(read(film(clips(0, 0)))) == 0
