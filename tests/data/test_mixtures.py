from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sensorium.core import Batch, Field, Ids, SensoriumError, Tokens
from sensorium.data.mixtures import (
    Domains,
    Foreign,
    Mixture,
    as_given,
    buffer,
    common_first,
    easy_first,
    hard_first,
    rare_first,
    shares,
    shuffled,
    together,
)
from sensorium.data.rows import Rows
from sensorium.data.stream import Epochs


def rows(n: int, length: int = 3, extra: bool = False) -> Rows:
    """Texts whose ids are their row."""
    text = Ids(torch.arange(n)[:, None].expand(-1, length), torch.ones(n, length, dtype=torch.bool))
    columns: dict[str, Ids | Field] = {"text": text}
    if extra:
        columns["label"] = Field(torch.zeros(n, dtype=torch.long))
    return Rows(columns, np.arange(n), {}, np.arange(n) // 2)


def numbers(batch: Batch, key: str = "row") -> list[int]:
    value = batch[key]
    assert isinstance(value, Field)
    return [int(v) for v in value.data]


def test_a_batch_holds_every_stream_in_the_keys_that_all_have() -> None:
    a, b = Epochs(rows(10, 3, extra=True), 4, 0), Foreign(Epochs(rows(6, 5), 2, 1))
    mixture = Mixture([a, b])
    for step in (0, 7, 1):  # any order: a batch depends on its step alone
        batch = mixture.batch(step)
        assert sorted(batch) == ["group", "row", "text"]
        own, foreign = numbers(batch)[:4], numbers(batch)[4:]
        assert own == numbers(a.batch(step)) and all(r < 0 for r in foreign) and len(foreign) == 2
        text = batch["text"]
        assert isinstance(text, Ids)
        assert text.ids[:, 0].tolist() == own + [-1 - r for r in foreign]
        assert text.mask.tolist() == [[True] * 3 + [False] * 2] * 4 + [[True] * 5] * 2
    assert numbers(mixture.batch(7)) == numbers(Mixture([a, b]).batch(7))


def test_foreign_rows_keep_their_groups_apart_from_those_of_the_data() -> None:
    group = numbers(Foreign(Epochs(rows(6), 6, 0)).batch(0), "group")
    assert sorted(group) == [-3, -3, -2, -2, -1, -1]


def test_masks_are_filled_in_where_one_has_none() -> None:
    joined = together([Field(torch.ones(2)), Field(torch.zeros(1), torch.tensor([False]))])
    assert isinstance(joined, Field) and joined.mask is not None
    assert joined.data.tolist() == [1, 1, 0] and joined.mask.tolist() == [True, True, False]
    plain = together([Field(torch.ones(2)), Field(torch.ones(1))])
    assert isinstance(plain, Field) and plain.mask is None


@given(st.integers(0, 200), st.lists(st.floats(0, 10, allow_subnormal=False), min_size=1, max_size=5))
def test_shares_are_whole_and_within_one_of_exact(size: int, weights: list[float]) -> None:
    if sum(weights) <= 0:
        return
    found = shares(size, weights)
    assert sum(found) == size
    assert all(abs(n - size * w / sum(weights)) < 1 + 1e-9 for n, w in zip(found, weights, strict=True))


def test_shares_by_hand() -> None:
    assert shares(64, (1, 1, 1)) == [22, 21, 21] and shares(12, (1, 0, 1)) == [6, 0, 6] and shares(1, (1, 1)) == [1, 0]


def test_a_buffer_is_drawn_once_and_a_small_one_is_part_of_a_large_one() -> None:
    every = rows(40).select(np.arange(10, 40))
    small, large = buffer(every, 5, 3), buffer(every, 12, 3)
    assert len(small) == 5 and set(small.index) < set(large.index) <= set(range(10, 40))
    assert buffer(every, 5, 3).index.tolist() == small.index.tolist() != buffer(every, 5, 4).index.tolist()
    assert buffer(every, 99, 3).index.tolist() == list(range(10, 40))


def test_orderings_by_hand() -> None:
    domains = Domains(["a", "b", "c"], [5, 9, 2], [0.5, 0.9, 0.1])
    order = {f.__name__: f(domains).tolist() for f in (as_given, easy_first, hard_first, common_first, rare_first)}
    assert order == {
        "as_given": [0, 1, 2],
        "easy_first": [2, 0, 1],
        "hard_first": [1, 0, 2],
        "common_first": [1, 0, 2],
        "rare_first": [2, 0, 1],
    }


def test_a_shuffled_order_is_the_seeds() -> None:
    drawn = [tuple(shuffled(Domains("abcdef", [1] * 6, [1.0] * 6, seed))) for seed in (0, 0, 1, 2)]
    assert drawn[0] == drawn[1] and len(set(drawn)) == 3 and all(sorted(d) == list(range(6)) for d in drawn)


def test_bad_input_is_named() -> None:
    with pytest.raises(SensoriumError, match="no streams"):
        Mixture([])
    with pytest.raises(SensoriumError, match=r"shapes \(2,\) and \(3,\)"):
        together([Field(torch.ones(1, 3)), Field(torch.ones(1, 2))])
    with pytest.raises(SensoriumError, match="Field and Ids"):
        together([Field(torch.ones(1)), Ids(torch.ones(1, 1).long(), torch.ones(1, 1).bool())])
    with pytest.raises(SensoriumError, match="stored features"):
        together([Tokens(torch.ones(1, 1, 2), torch.ones(1, 1).bool())] * 2)
    for weights in ([], [0.0], [1.0, -1.0]):
        with pytest.raises(SensoriumError, match="one above 0"):
            shares(4, weights)
    with pytest.raises(SensoriumError, match="a buffer of 0 rows"):
        buffer(rows(3), 0, 0)
