from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from sensorium.evals.metrics.ties import tie_groups


def test_by_hand() -> None:
    """Sorted 3 | 2 2 | 1 with gains 0 | 1 4 | 2; the second row is one group."""
    got = tie_groups(np.array([[2.0, 1, 3, 2], [0, 0, 0, 0]]), np.array([[1.0, 2, 0, 4], [1, 0, 0, 0]]))
    assert got.start.tolist() == [[0, 1, 1, 3], [0, 0, 0, 0]]
    assert got.size.tolist() == [[1, 2, 2, 1], [4, 4, 4, 4]]
    assert got.before.tolist() == [[0, 0, 0, 5], [0, 0, 0, 0]]
    assert got.gain.tolist() == [[0, 5, 5, 2], [1, 1, 1, 1]]
    assert got.shared.tolist() == [[0, 2.5, 2.5, 2], [0.25] * 4]


def test_nan_is_first_without_gain_and_last_with() -> None:
    got = tie_groups(np.array([[np.nan, 1.0, np.nan]]), np.array([[1.0, 0, 0]]))
    assert got.shared.tolist() == [[0, 0, 1]]


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), max_size=9))
@settings(max_examples=60, deadline=None)
def test_groups_are_the_plain_ones(items: list[tuple[int, int]]) -> None:
    scores, gains = (np.array([[float(i[n]) for i in items]]) for n in (0, 1))
    got = tie_groups(scores, gains)
    for place, score in enumerate(sorted((s for s, _ in items), reverse=True)):
        same = [g for s, g in items if s == score]
        assert got.size[0, place] == len(same) and got.gain[0, place] == sum(same)
        assert got.start[0, place] == sum(s > score for s, _ in items)
        assert got.before[0, place] == sum(g for s, g in items if s > score)
