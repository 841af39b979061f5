"""Rows and epochs."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sensorium.core import Field, FieldInfo, SensoriumError
from sensorium.data.rows import Rows
from sensorium.data.stream import Epochs


def rows(n: int, index: np.ndarray | None = None) -> Rows:
    columns = {"image": Field(torch.arange(n) * 10)}
    return Rows(columns, np.arange(n) if index is None else index, {"image": FieldInfo("image")}, np.arange(n) // 2)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 60), st.integers(1, 16), st.integers(0, 3), st.integers(0, 2**40))
def test_an_epoch_covers_rows_once(n: int, size: int, epoch: int, seed: int) -> None:
    e = Epochs(rows(n), size, seed)
    batches = [e.positions(epoch * e.per_epoch + k) for k in range(e.per_epoch)]
    assert all(len(b) == min(size, n) for b in batches)
    seen = np.concatenate(batches)
    assert len(set(seen.tolist())) == len(seen) > n - size


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 4), st.integers(0, 50), st.integers(0, 9))
def test_ranks_share_one_batch(world: int, step: int, seed: int) -> None:
    whole = Epochs(rows(50), 12, seed).batch(step)["row"]
    parts = [Epochs(rows(50), 12, seed, rank, world).batch(step)["row"] for rank in range(world)]
    assert sorted(torch.cat([p.data for p in parts]).tolist()) == sorted(whole.data.tolist())  # type: ignore[union-attr]


def test_pure_function_of_the_step() -> None:
    forward = Epochs(rows(40), 8, 3)
    wanted = [forward.positions(k).tolist() for k in range(12)]
    fresh = [Epochs(rows(40), 8, 3).positions(k).tolist() for k in reversed(range(12))][::-1]
    assert wanted == fresh and wanted[0] != Epochs(rows(40), 8, 4).positions(0).tolist()


def test_rows() -> None:
    r = rows(10).select(np.array([7, 2, 5]))
    batch = r.batch(np.array([2, 0]))
    assert batch["image"].data.tolist() == [50, 70]  # type: ignore[union-attr]
    assert batch["row"].data.tolist() == [5, 7] and batch["group"].data.tolist() == [2, 3]  # type: ignore[union-attr]
    assert [len(b["row"]) for b in r.batches(2)] == [2, 1]
    more = r.with_columns({"x": Field(torch.zeros(10))}, {"x": FieldInfo("value")})
    assert set(more.batch(np.array([0]))) == {"image", "x", "row", "group"} and set(more.fields) == {"image", "x"}
    assert "x" not in r.columns


def test_refusals() -> None:
    with pytest.raises(SensoriumError, match="no rows"):
        Epochs(rows(5).select(np.array([], dtype=np.int64)), 2, 0)
    with pytest.raises(SensoriumError, match="rank 2 of 2"):
        Epochs(rows(5), 2, 0, 2, 2)
    with pytest.raises(SensoriumError, match="has 3 rows; expected 10"):
        rows(10).with_columns({"x": Field(torch.zeros(3))})
