from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from sensorium.data.limits import Limits, Refused, Seen
from sensorium.data.media import series

LIMITS = Limits()
SCIENCE = Path(__file__).parents[3] / "../shared/data/science"


def test_channels_of_time_become_steps_of_channels() -> None:
    got = series.load([[1, 2, 3], [4.5, 5, 6]], LIMITS).values
    assert got.tolist() == [[1, 4.5], [2, 5], [3, 6]] and got.dtype == np.float32 and got.flags.c_contiguous
    assert series.check([[1, 2, 3], [4.5, 5, 6]], LIMITS) == Seen(about="3 steps, 2 channels")


def test_flat_list_is_one_channel() -> None:
    assert series.load([1, 2, 3], LIMITS).values.tolist() == [[1], [2], [3]]
    assert series.check([7], LIMITS) == Seen(about="1 step, 1 channel")


@given(arrays.arrays(np.float32, arrays.array_shapes(min_dims=2, max_dims=2), elements=st.floats(-1e6, 1e6, width=32)))
@settings(max_examples=50, deadline=None)
def test_arrays_lists_and_lists_of_arrays_are_one(values: np.ndarray) -> None:
    for given_as in (values, values.tolist(), list(values), tuple(map(tuple, values)), values.astype(np.float64)):
        assert (series.load(given_as, LIMITS).values == values.T).all()


BAD: list[tuple[Any, str]] = [
    (None, "not a list of numbers but a NoneType"),
    ("1, 2", "not a list of numbers but a str"),
    (3.5, "not a list of numbers but a float"),
    ({"a": 1}, "not a list of numbers but a dict"),
    (np.float32(3), "not a list of numbers but a float32"),
    ([], "empty"),
    ([[]], "empty"),
    ([[], []], "empty"),
    (np.zeros((2, 0)), "empty"),
    ([1, 2, float("nan")], "[2] is nan; expected a finite number"),
    ([[1, 2], [float("inf"), 1]], "[1][0] is inf; expected a finite number"),
    (np.array([[0, 1], [2, np.nan]]), "[1][1] is nan; expected a finite number"),
    ([1e300], "[0] is 1e+300; expected a finite number"),
    ([10**400], "[0] is a int; expected a finite number"),
    ([1, "2"], "[1] is a str; expected a finite number"),
    ([1, None], "[1] is a NoneType; expected a finite number"),
    ([1, True], "[1] is a bool; expected a finite number"),
    (np.array([True, False]), "[0] is a bool; expected a finite number"),
    ([1, 2j], "[1] is a complex; expected a finite number"),
    ([1, [2]], "[1] is a list; expected a finite number"),
    ([[1], 2], "[1] is a int; expected a list, as the one before it"),
    ([[1, 2], [3]], "[1] has 1 entries; expected 2, as the first"),
    ([[[1], [2]], [[3], [4, 5]]], "[1][1] has 2 entries; expected 1, as the first"),
    ([[[1]]], "nested 3 deep; expected [channels][time] or [time]"),
    ([[[[1]]]], "lists nested more than 3 deep"),
]


@pytest.mark.parametrize(("value", "reason"), BAD)
def test_bad_series(value: Any, reason: str) -> None:
    assert series.check(value, LIMITS) == Seen(reason)
    with pytest.raises(Refused) as refused:
        series.load(value, LIMITS)
    assert str(refused.value) == reason


def test_nesting_bomb_is_refused_without_recursion() -> None:
    value: list[Any] = [1]
    for _ in range(100_000):
        value = [value]
    assert series.check(value, LIMITS).reason == "lists nested more than 3 deep"


def test_numbers_are_limited() -> None:
    few = Limits(bytes=5 * series.ROOM)
    assert series.check([[1, 2, 3], [4, 5, 6]], few).reason == "more than 5 numbers"
    assert series.check([[1, 2], [4, 5]], few).reason == ""
    same = [0.0] * 3
    assert series.check([same] * 3, few).reason == "more than 5 numbers"  # one list, named again and again


WALK = np.random.default_rng(0).normal(size=(4, 22, 3)).astype(np.float32)


@pytest.mark.parametrize("value", [WALK, WALK.tolist(), WALK.reshape(4, 66), WALK.reshape(4, 66).tolist()])
def test_pose_of_every_layout(value: Any) -> None:
    got = series.load_pose(value, LIMITS)
    assert (got.joints == WALK).all() and got.joints.dtype == np.float32
    assert series.check_pose(value, LIMITS) == Seen(about="4 frames, 22 joints")
    assert (series.load_pose(value, LIMITS, joints=22).joints == WALK).all()


@pytest.mark.parametrize(("joints", "dims"), [(-1, 3), (22, 0), (0, -3)])
def test_impossible_skeleton(joints: int, dims: int) -> None:
    assert series.check_pose(WALK, LIMITS, joints, dims) == Seen(f"{joints} joints in {dims} dimensions")


def test_flat_pose_needs_the_number_of_joints() -> None:
    flat = WALK.reshape(-1).tolist()
    assert (series.load_pose(flat, LIMITS, joints=22).joints == WALK).all()
    assert series.load_pose(flat, LIMITS, joints=33, dims=2).joints.shape == (4, 33, 2)
    with pytest.raises(Refused, match="flat list of 264 numbers; the number of joints is needed"):
        series.load_pose(flat, LIMITS)


@pytest.mark.parametrize(
    ("value", "joints", "reason"),
    [
        ([1.0] * 67, 22, "67 numbers; expected a multiple of 66, one frame"),
        ([[1.0] * 67], 0, "67 numbers a frame; expected a multiple of 3"),
        ([[1.0] * 66], 21, "shape [1, 22, 3]; expected [frames, 21, 3]"),
        ([[[1.0, 2.0]]], 0, "shape [1, 1, 2]; expected [frames, joints, 3]"),
        ([[[1.0, 2.0, 3.0], [1.0, float("nan"), 3.0]]], 0, "[0][1][1] is nan; expected a finite number"),
        ([[1.0] * 66, [1.0] * 63], 0, "[1] has 63 entries; expected 66, as the first"),
        ([], 0, "empty"),
        ("walk", 0, "not a list of numbers but a str"),
    ],
)
def test_bad_pose(value: Any, joints: int, reason: str) -> None:
    assert series.check_pose(value, LIMITS, joints) == Seen(reason)
    with pytest.raises(Refused):
        series.load_pose(value, LIMITS, joints)


@given(
    st.recursive(
        st.floats() | st.integers() | st.none() | st.text(max_size=3) | st.booleans(),
        lambda inner: st.lists(inner, max_size=4),
        max_leaves=20,
    )
)
@settings(max_examples=200, deadline=None)
def test_check_never_raises(value: Any) -> None:
    if not series.check(value, LIMITS).reason:
        got = series.load(value, LIMITS).values
        assert got.ndim == 2 and got.size and np.isfinite(got).all()
    assert isinstance(series.check_pose(value, LIMITS), Seen)


def test_real_series_and_motion() -> None:
    if not SCIENCE.exists():
        pytest.skip("the shared series are not beside the checkout")
    for name, about in (("gunpoint_train", "150 steps, 1 channel"), ("basicmotions_test", "100 steps, 6 channels")):
        rows = [json.loads(line)["series"] for line in (SCIENCE / f"timeseries/{name}.jsonl").open()]
        assert {series.check(row, LIMITS).about for row in rows} == {about}
        assert (series.load(rows[0], LIMITS).values == np.array(rows[0], np.float32).T).all()
    parquet = pytest.importorskip("pyarrow.parquet")
    row = parquet.read_table(SCIENCE / "motion/train.parquet").slice(0, 1).to_pylist()[0]
    got = series.load_pose(row["joints"], LIMITS, joints=row["n_joints"])
    assert got.joints.shape == (row["n_frames"], 22, 3)
