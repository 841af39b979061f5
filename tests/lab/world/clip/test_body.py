"""The skeleton: bones keep their lengths, hands go where they are sent, mirrors mirror."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from sensorium.lab.world.clip.body import (
    FORE_ARM,
    JOINTS,
    PARENTS,
    SHIN,
    THIGH,
    UPPER_ARM,
    bones,
    joints,
    mirrored,
    rest,
)


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.floats(-1, 1), min_size=6, max_size=6),
    st.floats(-0.5, 1.2),
    st.floats(-0.3, 0.5),
    st.floats(-3, 3),
    st.floats(0.8, 1.2),
)
def test_bones_keep_their_lengths_in_any_posture(
    hands: list[float], lean: float, sink: float, yaw: float, size: float
) -> None:
    posture = replace(
        rest(1),
        hands=np.array(hands).reshape(1, 2, 3),
        lean=np.array([lean]),
        sink=np.array([sink]),
        yaw=np.array([yaw]),
    )
    still, found = bones(joints(rest(1))), bones(joints(posture, size))
    assert np.allclose(found, size * still, atol=2e-3)


def test_the_bones_are_those_of_the_table() -> None:
    lengths = dict(zip(JOINTS[2:], bones(joints(rest(1)))[0], strict=True))
    for joint, length in (
        ("lower arm left", UPPER_ARM),
        ("hand right", FORE_ARM),
        ("lower leg left", THIGH),
        ("foot right", SHIN),
    ):
        assert np.isclose(lengths[joint], length, atol=1e-6)
    assert len(JOINTS) == len(PARENTS) == 22


def test_a_hand_within_reach_arrives_and_one_without_points_there() -> None:
    near, far = np.array([0.1, 0.2, 0.3]), np.array([0.0, 0.0, 5.0])
    for goal, exact in ((near, True), (far, False)):
        hands = rest(1).hands.copy()
        hands[0, 0] = goal
        body = joints(replace(rest(1), hands=hands))[0]
        offset = body[9] - body[7]
        if exact:
            assert np.allclose(offset, goal, atol=1e-6)
        else:
            assert np.isclose(np.linalg.norm(offset), UPPER_ARM + FORE_ARM, atol=2e-3)
            assert np.allclose(offset / np.linalg.norm(offset), goal / 5, atol=1e-5)


def test_the_rest_posture_stands_on_the_floor_and_is_its_own_mirror() -> None:
    body = joints(rest(1))
    assert body[0, :, 1].min() >= 0 and 1.2 < body[0, :, 1].max() < 1.4
    assert np.allclose(mirrored(body), body, atol=1e-6)
    assert body[0, 7, 0] > 0 > body[0, 11, 0]


def test_turning_left_shows_the_left_side_to_where_the_back_was() -> None:
    body = joints(replace(rest(1), yaw=np.array([np.pi / 2])))[0]
    facing = body[17] - body[16]
    assert np.allclose(facing / np.linalg.norm(facing), [1, 0, 0], atol=1e-6)
