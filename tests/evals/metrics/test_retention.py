from __future__ import annotations

import numpy as np
import pytest

from sensorium.core import SensoriumError
from sensorium.evals.metrics.retention import (
    backward_transfer,
    balance,
    change,
    forgetting,
    forward_transfer,
    front,
)

SCORES = [[0.8, 0.3, 0.2], [0.9, 0.7, 0.4], [0.6, 0.4, 0.9]]


def test_by_hand() -> None:
    assert forgetting(SCORES) == pytest.approx(((0.9 - 0.6) + (0.7 - 0.4)) / 2)  # task 0 was best after stage 1
    assert backward_transfer(SCORES) == pytest.approx(((0.6 - 0.8) + (0.4 - 0.7)) / 2)
    assert forward_transfer(SCORES, [0.1, 0.2, 0.0]) == pytest.approx(((0.3 - 0.2) + (0.4 - 0.0)) / 2)
    assert change([0.8, -2, 0], [0.6, -1, 1]) == pytest.approx([-0.25, 0.5, np.nan], nan_ok=True)


def test_nothing_is_forgotten_where_nothing_changes() -> None:
    still = np.tile([0.3, 0.8, 0.5], (3, 1))
    assert forgetting(still) == backward_transfer(still) == 0
    assert forgetting([[1, 0], [2, 1]]) == -1  # a later task helped


def test_a_single_task_says_nothing() -> None:
    assert np.isnan([forgetting([[1]]), backward_transfer([[1]]), forward_transfer([[1]], [0])]).all()


def test_bad_input_is_named() -> None:
    with pytest.raises(SensoriumError, match=r"shape \[1, 2\]; expected a row per stage"):
        forgetting([[1, 2]])
    with pytest.raises(SensoriumError, match="3 tasks and 1 untrained scores"):
        forward_transfer(SCORES, [0])
    with pytest.raises(SensoriumError, match="1 scores before and 2 scores after"):
        change([1], [1, 2])


def test_the_balance_is_the_geometric_mean_of_both_means() -> None:
    assert balance([0.2, 0.4, 0.6], [0.9]) == pytest.approx(0.6)
    assert balance([0.0], [1.0]) == 0  # what forgets all, or learns nothing, is worth nothing
    with pytest.raises(SensoriumError, match="expected 0 or more"):
        balance([-0.5], [0.5])


def test_the_front_holds_what_nothing_beats_in_all() -> None:
    points = [[0.9, 0.1], [0.5, 0.5], [0.5, 0.4], [0.1, 0.9], [0.4, 0.4], [0.5, 0.5]]
    assert front(points).tolist() == [True, True, False, True, False, True]
    assert front([[0.0, 0.0]]).tolist() == [True]
