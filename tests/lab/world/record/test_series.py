"""Series: trend, season and event as they are told, and a reader that finds them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from sensorium.core import SensoriumError
from sensorium.lab.world.guards import balanced
from sensorium.lab.world.record.series import (
    EVENTS,
    PERIODS,
    SEASONS,
    SERIES,
    TRENDS,
    Config,
    Series,
    caption,
    parse,
    read,
    reader_error,
    series,
    signal,
    values,
)

CLEAN = Config(noise=0)


def one(trend: str, season: str = "no", event: str = "no", at: int = -1, config: Config = CLEAN) -> Series:
    factors = {"trend": TRENDS.index(trend), "season": SEASONS.index(season), "event": EVENTS.index(event)}
    arrays = {name: np.array([value], np.int8) for name, value in factors.items()}
    return replace(series(0, 1, config), **arrays, at=np.array([at]), phase=np.zeros(1))


def test_each_part_by_hand() -> None:
    assert np.allclose(signal(one("rising"))[0, 0], np.arange(64) / 32)
    assert np.allclose(signal(one("falling"))[0, 0], -np.arange(64) / 32)
    spike, step = (signal(one("flat", event=name, at=20))[0, 0] for name in ("spike", "step"))
    assert spike.nonzero()[0].tolist() == [20] and step.nonzero()[0].tolist() == list(range(20, 64))
    assert spike[20] == step[63] == 3.0
    for season, period in zip(SEASONS[1:], PERIODS, strict=True):
        wave = signal(one("flat", season))[0, 0]
        assert np.allclose(wave[period:], wave[:-period]) and np.isclose(wave[period // 4], 1.0)


def test_the_future_is_the_series_carried_on() -> None:
    rows = series(0, 30)
    longer = signal(rows, 0, 96)
    assert np.array_equal(longer[:, :, :64], signal(rows)) and np.array_equal(longer[:, :, 64:], signal(rows, 64, 96))


def test_channels_are_a_quarter_of_a_turn_apart() -> None:
    found = signal(one("flat", "slow", config=replace(CLEAN, channels=5)))[0]
    assert (
        np.allclose(found[1][4:], found[0][:-4])
        and np.allclose(found[0], found[4])
        and np.allclose(found[2], -found[0])
    )
    loud = values(series(0, 200, Config(channels=2)))
    noise = loud - signal(series(0, 200, Config(channels=2)))
    assert abs(noise.std() - 0.2) < 0.005 and abs(np.corrcoef(noise[:, 0].ravel(), noise[:, 1].ravel())[0, 1]) < 0.03


def test_classes_are_balanced_and_rows_pure() -> None:
    rows = series(0, 5400)
    assert balanced(rows.label.tolist(), 27).ok
    part = series(0, 20, start=300)
    assert np.array_equal(values(part), values(rows)[300:320]) and not np.array_equal(
        values(part), values(part, seed=1)
    )
    assert ((rows.at >= 16) & (rows.at < 48) | (rows.event == 0)).all()


def test_captions_say_it_and_are_read() -> None:
    rows = series(0, 200)
    for text, *told in zip(caption(rows), rows.trend, rows.season, rows.event, rows.at, strict=True):
        assert parse(text) == tuple(told)
    assert caption(one("rising", "slow", "spike", 20)) == ["a rising series with a slow season and a spike at step 20"]
    assert parse("a rising series") is None


@pytest.mark.parametrize("config", [CLEAN, SERIES, Config(noise=0.4, channels=3)])
def test_the_reader_is_exact(config: Config) -> None:
    assert all(rate.wrong == 0 for rate in reader_error(config, 150).values())


def test_its_error_grows_with_noise() -> None:
    loud = reader_error(Config(noise=2.0), 150)
    assert loud["at"].wrong > 0.2 and loud["trend"].wrong > 0.02


def test_mistakes_are_named() -> None:
    for call, message in (
        (lambda: Config(trends=("up",)), "trends 'up'"),
        (lambda: Config(steps=4), "steps 4 of series"),
        (lambda: read(np.zeros((2, 1, 9))), r"expected \[N 1 64\]"),
        (lambda: series(0, 1, part="val"), "part 'val'"),
    ):
        with pytest.raises(SensoriumError, match=message):
            call()
    assert len(read(np.zeros((0, 1, 64))).trend) == 0
