"""Holes: at the rate that is asked, where the mechanism says, and reversed by a negative strength."""

from __future__ import annotations

import numpy as np
import pytest

from sensorium.core import SensoriumError
from sensorium.lab.world.record.missing import MECHANISMS, missing
from sensorium.lab.world.record.table import table

ROWS = table(0, 20_000)
HIGH, N = ROWS.high(), len(ROWS)


def near(share: float, expected: float, n: int) -> bool:
    return abs(share - expected) < 4.5 * np.sqrt(expected * (1 - expected) / n)


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_holes_are_as_likely_as_they_are_said_to_be(mechanism: str) -> None:
    made = missing(HIGH, ROWS.index, mechanism, 0.3, label=ROWS.target)
    assert made.mask.shape == HIGH.shape and made.mechanism == mechanism
    for chance in np.unique(made.probability):
        here = made.probability == chance
        assert near(float((~made.mask)[here].mean()), float(chance), int(here.sum())) or chance in (0.0, 1.0)


def test_completely_at_random_looks_at_nothing() -> None:
    hole = ~missing(HIGH, ROWS.index, "mcar", 0.25).mask
    for values in (HIGH, np.broadcast_to(ROWS.target[:, None], HIGH.shape)):
        assert near(float(hole[values].mean()), 0.25, int(values.sum()))


def test_at_random_looks_at_a_column_that_is_never_missing() -> None:
    hole = ~missing(HIGH, ROWS.index, "mar", 0.25, strength=0.6, driver=2).mask
    assert not hole[:, 2].any()
    for column in (0, 1, 3):
        assert near(float(hole[HIGH[:, 2], column].mean()), 0.4, N // 2)
        assert near(float(hole[~HIGH[:, 2], column].mean()), 0.1, N // 2)
        again = hole[:, column][HIGH[:, 2]]
        assert abs(again[HIGH[HIGH[:, 2], column]].mean() - again[~HIGH[HIGH[:, 2], column]].mean()) < 0.05


@pytest.mark.parametrize("strength", [0.6, -0.6])
def test_not_at_random_looks_at_the_value_itself_and_a_shift_turns_it_round(strength: float) -> None:
    hole = ~missing(HIGH, ROWS.index, "mnar", 0.25, strength).mask
    assert near(float(hole[HIGH].mean()), 0.25 * (1 + strength), int(HIGH.sum()))
    assert near(float(hole[~HIGH].mean()), 0.25 * (1 - strength), int((~HIGH).sum()))
    by_label = ~missing(HIGH, ROWS.index, "label", 0.25, strength, label=ROWS.target).mask
    assert near(float(by_label[ROWS.target].mean()), 0.25 * (1 + strength), int(ROWS.target.sum()) * 6)


def test_rows_are_named_by_index() -> None:
    whole, part = (missing(HIGH[s], ROWS.index[s], "mnar", 0.3, seed=3) for s in (slice(0, 100), slice(40, 60)))
    assert np.array_equal(part.mask, whole.mask[40:60])


def test_mistakes_are_named() -> None:
    for arguments, message in (
        (("mnra", 0.3), "did you mean 'mnar'"),
        (("mcar", 1.2), "rate 1.2"),
        (("mnar", 0.6), "rate 0.6, strength 0.8"),
        (("label", 0.3), "without labels"),
        (("mar", 0.3, 0.8, 9), "driver 9"),
    ):
        with pytest.raises(SensoriumError, match=message):
            missing(HIGH, ROWS.index, *arguments)  # type: ignore[arg-type]
