"""Splits: disjoint, whole groups, equal for equal seeds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sensorium.core import SensoriumError
from sensorium.data.split import auto_mode, look_alikes, overlap, split


@dataclass
class Data:
    """Group ids and given splits alone."""

    groups: np.ndarray
    given: np.ndarray
    pictures: np.ndarray

    def __len__(self) -> int:
        return len(self.groups)


def make(groups: list[int] | np.ndarray, names: list[str] | np.ndarray | None = None) -> Data:
    n = len(groups)
    return Data(np.asarray(groups), np.array([""] * n if names is None else names, dtype="<U10"), np.arange(n))


@st.composite
def data(draw: st.DrawFn) -> Data:
    n = draw(st.integers(20, 900))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    groups = rng.integers(0, draw(st.integers(3, n)), n)
    groups[:3] = [0, 1, 2]
    share = draw(st.sampled_from([0.0, 0.1, 0.5]))
    names = np.where(rng.random(n) < share, "test", "train") if share else np.array([""] * n)
    return make(groups, names)


@settings(max_examples=60, deadline=None)
@given(data(), st.integers(0, 5))
def test_redrawn(d: Data, seed: int) -> None:
    s, again = split(d, seed, "redrawn"), split(d, seed, "redrawn")
    parts = (s.train, s.validation, s.test)
    assert all((a == b).all() for a, b in zip(parts, (again.train, again.validation, again.test), strict=True))
    rows = np.concatenate(parts)
    assert len(set(rows.tolist())) == len(rows)
    assert all(len(p) for p in parts)
    sets = [set(d.groups[p].tolist()) for p in parts]
    assert not (sets[0] & sets[1] or sets[0] & sets[2] or sets[1] & sets[2])
    assert (s.validation == split(d, seed + 1, "redrawn").validation).all()
    assert not look_alikes(d, s).any() and overlap(d, s) is None


@settings(max_examples=30, deadline=None)
@given(data(), st.integers(0, 5))
def test_given(d: Data, seed: int) -> None:
    s = split(d, seed, "given")
    if not {"train", "test"} <= set(d.given.tolist()):
        assert s.note == split(d, seed, "redrawn").note
        return
    assert (s.test == np.flatnonzero(d.given == "test")).all()
    rows = np.concatenate([s.train, s.validation, s.test])
    assert sorted(rows.tolist()) == list(range(len(d)))


def test_given_test_split_at_seed_0() -> None:
    names = np.array(["train"] * 900 + ["test"] * 100)
    groups = np.arange(1000)
    groups[900] = 0  # one planted twin
    d = make(groups, names)
    s = split(d, 0, "redrawn")
    assert (s.test == np.arange(900, 1000)).all() and 0 not in s.train and "1 train rows" in s.note
    kept = split(d, 0, "given")
    assert overlap(d, kept) == "1 of 100 test rows share a picture or a text with a train row"
    assert look_alikes(d, kept).tolist() == [True] + [False] * 99
    assert len(set(groups[split(d, 1, "redrawn").test])) == 100 and auto_mode(d)[0] == "redrawn"


def test_classes_keep_the_given_split() -> None:
    d = make(np.arange(1000) % 80, np.array(["train"] * 800 + ["test"] * 200))
    assert auto_mode(d) == (
        "given", "200 of 200 given test rows share a picture or a text with train, so the given split is kept",
    )  # fmt: skip
    s = split(d, 0, "given")
    assert len(s.validation) == 80 and set(d.groups[s.train]) == set(range(80))  # no class is lost to validation


def test_few_groups_take_turns() -> None:
    d = make(np.arange(810) % 81)
    tested = [set(d.groups[split(d, seed, "redrawn").test].tolist()) for seed in range(3)]
    assert not (tested[0] & tested[1] or tested[0] & tested[2] or tested[1] & tested[2])
    assert "only 81 groups: folds of" in split(d, 0, "redrawn").note
    assert tested[0] != set(d.groups[split(d, 3, "redrawn").test].tolist())


def test_at_least_100_groups() -> None:
    d = make(np.arange(500))
    assert len(split(d, 0, "redrawn").test) == 100


def test_refusals() -> None:
    with pytest.raises(SensoriumError, match="did you mean 'given'"):
        split(make([0, 1, 2]), 0, "givn")
    with pytest.raises(SensoriumError, match="at least 3 are needed"):
        split(make([0, 1] * 20), 0, "redrawn")
    with pytest.raises(SensoriumError, match="seed -1"):
        split(make(np.arange(30)), -1, "redrawn")
