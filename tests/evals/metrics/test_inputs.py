from __future__ import annotations

import numpy as np
import pytest

from sensorium.core import SensoriumError
from sensorium.evals.metrics.inputs import (
    classes,
    flags,
    floats,
    mean,
    optional,
    reference_lists,
    same_length,
    shaped,
    share,
)


def test_lengths_are_shared_or_named() -> None:
    assert same_length(a=[1, 2], b="xy", c=np.zeros((2, 5))) == 2
    with pytest.raises(SensoriumError, match="1 first boxes and 2 scores and 1 labels; expected one of each per item"):
        same_length(first_boxes=[1], scores=[1, 2], labels=[1])


def test_numbers_have_the_dimensions_asked_for() -> None:
    assert floats("x", [[1, 2]], 2).dtype == np.float64 and floats("x", [], 3).shape == (0, 0, 0)
    assert np.isnan(shaped("x", [np.nan], 1)).all()
    with pytest.raises(SensoriumError, match=r"x has shape \[2\]; expected 2 dimensions"):
        floats("x", [1, 2], 2)
    with pytest.raises(SensoriumError, match=r"x has shape \[1, 1\]; expected 1 dimension$"):
        floats("x", [[1]])
    with pytest.raises(SensoriumError, match="x holds NaN"):
        floats("x", [np.nan])
    for wrong in ([[1], [1, 2]], ["a"], [None, {}]):
        with pytest.raises(SensoriumError, match=r"x is no table of numbers|x holds NaN"):
            floats("x", wrong)


def test_flags_are_true_or_false() -> None:
    assert flags("x", [1, 0, True, False]).tolist() == [True, False, True, False]
    with pytest.raises(SensoriumError, match=r"x holds 0\.5; expected True or False"):
        flags("x", [1, 0.5])


def test_classes_are_whole_and_in_range() -> None:
    assert classes("x", [0, 2.0], 3).tolist() == [0, 2] and classes("x", []).dtype == np.int64
    for wrong, told in (
        ([3], "class 3; expected 0 ≤ class < 3"),
        ([-1], "class -1"),
        ([0.5], "0[.]5"),
        ([np.inf], "inf"),
    ):
        with pytest.raises(SensoriumError, match=told):
            classes("x", wrong, 3)


def test_references_are_lists_of_strings() -> None:
    reference_lists([["a"], ["b", "c"]])
    for wrong in (["a"], [[]]):
        with pytest.raises(SensoriumError, match=r"references\[0\] is"):
            reference_lists(wrong)


def test_means_leave_out_what_is_undefined() -> None:
    assert mean([1, np.nan, 3]) == 2 and np.isnan(mean([np.nan])) and np.isnan(mean([]))
    assert share(1, 4) == 0.25 and np.isnan(share(0, 0))


def test_a_missing_library_is_named() -> None:
    assert optional("math").floor(1.5) == 1
    with pytest.raises(SensoriumError, match=r"needs nosuchlibrary; pip install 'sensorium\[eval\]'"):
        optional("nosuchlibrary.part")
