"""Frames and the truth of their pixels."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from sensorium.core import SensoriumError
from sensorium.lab.world.clip.changes import states
from sensorium.lab.world.clip.film import FLAT, boxes, film, masks, seconds
from sensorium.lab.world.clip.timeline import clips

CLEAN = replace(FLAT, noise=0)


def test_frames_are_pure_under_chunking_and_the_seed_moves_noise_only() -> None:
    world = clips(0, 12)
    whole = film(world)
    assert whole.shape == (12, 8, 3, 48, 48) and whole.dtype == np.uint8
    assert np.array_equal(film(clips(0, 4, start=6)), whole[6:10])
    other = film(world, seed=1)
    assert not np.array_equal(other, whole) and abs(other.astype(int) - whole).mean() < 10
    assert not np.array_equal(whole[:, 0], film(world, seed=0)[:, 1])


def test_noise_differs_between_still_frames() -> None:
    world = clips(0, 50)
    first = world.begin[:, 0] > 1
    noisy, clean = film(world)[first], film(world, style=CLEAN)[first]
    assert np.array_equal(clean[:, 0], clean[:, 1]) and not np.array_equal(noisy[:, 0], noisy[:, 1])


def test_masks_and_boxes_follow_each_object_by_its_slot() -> None:
    world = clips(0, 60)
    found, corners, now = masks(world), boxes(world), states(world)
    for k in range(3):
        seen = found == k + 1
        assert np.array_equal(seen.any((2, 3)), now.there[:, :, k])
        rows = np.where(seen.any(3), np.arange(48), 0).max(2) + 1
        assert np.allclose(rows[now.there[:, :, k]] / 48, corners[:, :, k, 3][now.there[:, :, k]])
        assert not corners[:, :, k][~now.there[:, :, k]].any()
    middle = (corners[..., :2] + corners[..., 2:]) / 2 * 3
    there = now.there
    assert np.array_equal(np.floor(middle[..., 1])[there], now.row[there])
    assert np.array_equal(np.floor(middle[..., 0])[there], now.col[there])


def test_seconds_count_from_the_start() -> None:
    assert seconds(np.array([0, 2, 5])).tolist() == [0.0, 0.5, 1.25]
    with pytest.raises(SensoriumError, match="0 frames per second"):
        seconds(np.array([1]), 0)
