"""Budgets by hand, shares against their distribution, spans against T5's own example."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from sensorium.blocks.subsets import budgets, compacted, dirichlet, ranked, spanned
from sensorium.core import Ids


def test_shares_are_dirichlet() -> None:
    """A share of a symmetric Dirichlet distribution of M is Beta(a, (M-1) a)."""
    for alpha in (0.3, 2.0):
        found = dirichlet(4_000, [alpha] * 4, 1).numpy()
        np.testing.assert_allclose(found.sum(1), 1)
        assert stats.kstest(found[:, 2], stats.beta(alpha, 3 * alpha).cdf).pvalue > 0.01


def test_unequal_concentrations_give_unequal_means() -> None:
    found = dirichlet(20_000, [1.0, 2.0, 5.0], 0).mean(0)
    torch.testing.assert_close(found, torch.tensor([1, 2, 5]).double() / 8, atol=0.01, rtol=0)


def test_tiny_concentrations_choose_one_and_are_numbers() -> None:
    found = dirichlet(1_000, [0.001] * 5, 3)
    assert found.isfinite().all() and (found.amax(1) > 0.99).float().mean() > 0.95
    assert found.argmax(1).unique().numel() == 5


def test_budgets_by_hand() -> None:
    shares = torch.tensor([[0.5, 0.25, 0.25], [0.5, 0.25, 0.25], [0.75, 0.25, 0.0], [0.2, 0.2, 0.6]]).double()
    room = torch.tensor([[10, 10, 10], [3, 10, 10], [10, 10, 10], [10, 10, 0]])
    found = budgets(shares, room, torch.tensor([8, 8, 2, 6]))
    # 4 2 2; the first has room for 3 alone; running sums 1.5 and 2 round to 2; no room, no share.
    assert found.tolist() == [[4, 2, 2], [3, 2, 2], [2, 0, 0], [3, 3, 0]]


@given(st.integers(0, 10_000), st.integers(1, 60))
def test_budgets_never_exceed_room_or_total(seed: int, total: int) -> None:
    shares = dirichlet(16, [0.3] * 5, seed)
    room = torch.randint(0, 20, (16, 5), generator=torch.Generator().manual_seed(seed))
    wanted = torch.full((16,), total)
    found = budgets(shares, room, wanted)
    assert (found >= 0).all() and (found <= room).all() and (found.sum(1) <= wanted).all()
    wide = budgets(shares, torch.full_like(room, 100), wanted)
    assert wide.sum(1).tolist() == [total] * 16


def test_places_count_what_is_there() -> None:
    luck, there = torch.tensor([[0.9, 0.1, 0.5, 0.2]]), torch.tensor([[True, False, True, True]])
    assert ranked(luck, there).tolist() == [[2, 3, 1, 0]]


def test_kept_ids_move_to_the_front() -> None:
    found = compacted(torch.tensor([[5, 6, 7, 8]]), torch.tensor([[False, True, False, True]]))
    assert found.ids[found.mask].tolist() == [6, 8] and found.mask.tolist() == [[True, True, False, False]]


def rows(ids: Ids) -> list[list[int]]:
    return [i[m].tolist() for i, m in zip(ids.ids, ids.mask, strict=True)]


def test_spans_are_those_of_t5() -> None:
    """ "Thank you <X> me to your party <Y> week" and "<X> for inviting <Y> last <Z>", as its figure 2 has it."""
    words = torch.arange(10, 20)  # Thank you for inviting me to your party last week
    visible = torch.tensor([True, True, False, False, True, True, True, True, False, True])
    text = Ids(words[None].repeat(3, 1), torch.ones(3, 10).bool())
    seen = torch.stack([visible, torch.ones(10).bool(), torch.zeros(10).bool()])
    found = spanned(text, seen, torch.tensor([100, 101, 102]), 99)
    assert rows(found.shown) == [
        [10, 11, 100, 14, 15, 16, 17, 101, 19], list(range(10, 20)), [100],
    ]  # fmt: skip
    assert rows(found.asked) == [[100, 12, 13, 101, 18, 99], [], [100, *range(10, 20), 99]]


def test_more_spans_than_sentinels_share_the_last_and_padding_says_nothing() -> None:
    text = Ids(torch.arange(6)[None].repeat(2, 1), torch.tensor([[True] * 6, [False] * 6]))
    found = spanned(text, torch.tensor([[False, True] * 3] * 2), torch.tensor([50, 51]), 60)
    assert rows(found.shown) == [[50, 1, 51, 3, 51, 5], []]
    assert rows(found.asked) == [[50, 0, 51, 2, 51, 4, 60], []]
