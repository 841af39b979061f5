"""Motions: what a caption says is what the joints do; the reader and its error."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from sensorium.core import SensoriumError
from sensorium.lab.world.clip.body import mirrored
from sensorium.lab.world.clip.pose import (
    MOTIONS,
    POSE,
    STYLES,
    Config,
    Poses,
    allowed,
    bodies,
    caption,
    parse,
    poses,
    read,
    reader_error,
    skeletons,
)
from sensorium.lab.world.guards import balanced

CLEAN = Config(noise=0)
HIPS, HEAD, HAND, FOOT = 1, 5, {"left": 9, "right": 13}, {"left": 16, "right": 20}


def one(motion: str, style: str = "normal") -> np.ndarray:
    """[T 22 3]."""
    world = poses(0, 1, CLEAN)
    said = {"motion": MOTIONS.index(motion), "style": STYLES.index(style)}
    return skeletons(replace(world, **{k: np.array([v], np.int8) for k, v in said.items()}))[0]


@pytest.mark.parametrize("style", STYLES)
def test_each_motion_does_what_it_is_called(style: str) -> None:
    for side, other in (("left", "right"), ("right", "left")):
        body = one(f"raise {side} hand", style)
        high = body[:, HAND[side], 1] - body[0, HAND[side], 1]
        assert high[-1] > 0.4 and np.abs(body[:, HAND[other]] - body[0, HAND[other]]).max() < 1e-5
        kick = one(f"kick {side}", style)
        assert np.ptp(kick[:, FOOT[side], 2]) > 0.2 and np.ptp(kick[:, FOOT[other], 2]) < 1e-5
        turn = one(f"turn {side}", style)
        toes = turn[-1, 17] - turn[-1, 16]
        assert (toes[0] > 0.05) == (side == "left")
        swing = np.diff(np.sign(np.diff(one(f"wave {side} hand", style)[8:, HAND[side], 0])))
        assert (swing != 0).sum() >= 2
    squat, jump, walk, bow = (one(name, style) for name in ("squat", "jump", "walk", "bow"))
    assert np.ptp(squat[:, HIPS, 1]) > 0.15 and squat[:, FOOT["left"], 1].max() < 0.05
    assert jump[:, FOOT["left"], 1].max() > 0.15 and jump[:, FOOT["right"], 1].max() > 0.15
    assert walk[-1, HIPS, 2] - walk[0, HIPS, 2] > 0.5
    assert bow[:, HEAD, 2].max() - bow[0, HEAD, 2] > 0.1


def test_left_is_the_mirror_of_right() -> None:
    for motion in MOTIONS:
        twin = motion.replace("left", "*").replace("right", "left").replace("*", "right")
        assert np.allclose(mirrored(one(motion)), one(twin), atol=1e-5) or motion == "walk"


def test_styles_differ_in_what_they_say() -> None:
    size = {style: np.ptp(one("squat", style)[:, HIPS, 1]) for style in STYLES}
    assert size["active"] > size["normal"] > size["elderly"] > size["exhausted"]
    lean = {style: one("squat", style)[0, HEAD, 2] for style in STYLES}
    assert lean["exhausted"] > lean["elderly"] > lean["normal"] > lean["proud"]


def test_worlds_are_pure_balanced_and_keep_performers_apart() -> None:
    world = poses(0, 3000)
    part = poses(0, 100, start=700)
    assert np.array_equal(part.motion, world.motion[700:800]) and np.array_equal(
        part.performer, world.performer[700:800]
    )
    small = poses(0, 12)
    assert np.array_equal(skeletons(small)[4:9], skeletons(poses(0, 5, start=4)))
    assert not np.array_equal(skeletons(small), skeletons(small, seed=1))
    assert balanced(world.motion.tolist(), len(MOTIONS)).ok and balanced(world.style.tolist(), len(STYLES)).ok
    assert not set(world.performer.tolist()) & set(poses(0, 500, part="test").performer.tolist())


def test_performers_differ_in_size_alone() -> None:
    size, arms = bodies(np.arange(200))
    assert 0.85 <= size.min() < 0.88 and 1.12 < size.max() <= 1.15 and arms.min() >= 0.92 and arms.max() <= 1.08


def test_held_pairs_appear_in_test_only() -> None:
    config = Config(held=0.4)
    seen = [_pairs(poses(0, 3000, config, part=part)) for part in ("train", "test")]
    assert not seen[0] & seen[1] and len(seen[1]) == 28 and len(seen[0] | seen[1]) == 70
    assert allowed(config, "test").sum(1).tolist() == [2] * 14


def _pairs(world: Poses) -> set[tuple[int, int]]:
    return set(zip(world.motion.tolist(), world.style.tolist(), strict=True))


def test_captions_and_synonyms_say_the_same() -> None:
    world = poses(0, 400)
    plain, other = caption(world), caption(world, synonym=True)
    assert not any(a == b for a, b in zip(plain, other, strict=True))
    for texts in (plain, other):
        assert [parse(text) for text in texts] == list(zip(world.motion.tolist(), world.style.tolist(), strict=True))
    assert parse("a person sings") == (-1, -1)
    kick = replace(world, motion=np.full(400, MOTIONS.index("kick left"), np.int8), style=np.full(400, 2, np.int8))
    assert caption(kick)[0] == "a person kicks with the left foot in an elderly way"


def test_the_reader_is_exact_on_its_noise_and_unsure_beyond() -> None:
    for name, rate in reader_error().items():
        assert rate.wrong == rate.unsure == 0, name
    loud = reader_error(Config(noise=0.06), 200)
    assert loud["motion"].wrong < 0.01 and loud["style"].unsure > 0.3


def test_what_no_motion_is_stays_unsure() -> None:
    rng = np.random.default_rng(0)
    found = read(rng.normal(0, 0.5, (20, POSE.frames, 22, 3)))
    assert (found.motion == -1).all() and (found.style == -1).all()
    with pytest.raises(SensoriumError, match=r"expected \[N 24 22 3\]"):
        read(np.zeros((1, 5, 22, 3)))
    assert len(read(np.zeros((0, 24, 22, 3))).motion) == 0


def test_impossible_dials_are_refused() -> None:
    for dials, message in (
        ({"motions": ("wave",)}, "motions 'wave'"),
        ({"styles": ("angry",)}, "styles 'angry'"),
        ({"frames": 2}, "frames 2; expected 8"),
        ({"held": 0.9}, "held 0.9"),
    ):
        with pytest.raises(SensoriumError, match=message):
            Config(**dials)  # type: ignore[arg-type]
