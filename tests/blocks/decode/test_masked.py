"""Masked decoding on planted models: what is drawn, in which order, how often."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from sensorium.blocks.decode import Canvas, paint
from sensorium.blocks.decode.masked import drawn_ids, from_luck, hidden_after, unmask
from sensorium.core import Field, Rng, SensoriumError


def luck(rows: int, steps: int, cells: int, seed: int = 0) -> Tensor:
    return torch.rand(rows, steps, cells, 2, generator=torch.Generator().manual_seed(seed))


def nothing(rows: int, cells: int) -> tuple[Tensor, Tensor]:
    return torch.zeros(rows, cells, dtype=torch.long), torch.zeros(rows, cells, dtype=torch.bool)


def test_the_schedule_is_the_cosine() -> None:
    cells = torch.tensor([16, 5, 0])
    found = torch.stack([hidden_after(k, 4, cells) for k in range(1, 5)])
    assert found.tolist() == [
        [math.floor(math.cos(math.pi / 8 * k) * n) if k < 4 else 0 for n in (16, 5, 0)] for k in range(1, 5)
    ]
    assert found[:, 0].tolist() == [14, 11, 6, 0]


def test_ids_are_drawn_as_likely_as_they_are() -> None:
    odds = torch.tensor([0.6, 0.3, 0.1])
    scores = odds.log().expand(1, 20_000, 3)
    ids, sure = drawn_ids(scores, luck(1, 1, 20_000)[:, 0, :, 0], 1.0)
    torch.testing.assert_close(torch.bincount(ids[0]) / 20_000, odds, atol=0.015, rtol=0)
    torch.testing.assert_close(sure[0], odds.log()[ids[0]])
    sharp = drawn_ids(scores, luck(1, 1, 20_000)[:, 0, :, 0], 0.5)[0]
    torch.testing.assert_close(torch.bincount(sharp[0]) / 20_000, odds**2 / (odds**2).sum(), atol=0.015, rtol=0)
    assert (drawn_ids(scores, luck(1, 1, 20_000)[:, 0, :, 0], 0)[0] == 0).all()


def test_the_surest_cells_come_first_and_known_ones_stay() -> None:
    asked: list[list[int]] = []
    sure = torch.tensor([1.0, 5.0, 3.0, 4.0, 2.0, 0.5])

    def scores(ids: Tensor, known: Tensor) -> Tensor:
        asked.append(known[0].nonzero()[:, 0].tolist())
        return torch.nn.functional.one_hot(torch.full((1, 6), 2), 3) * sure[None, :, None]

    ids, known = nothing(1, 6)
    ids[0, 3], known[0, 3] = 1, True
    found = unmask(scores, ids, known, luck(1, 3, 6), temperature=0)
    # Of five hidden cells 4, 2 and 0 stay hidden after the steps.
    assert asked == [[3], [1, 3], [1, 2, 3, 4]]
    assert found.tolist() == [[2, 2, 2, 1, 2, 2]]


def chain(ids: Tensor, known: Tensor) -> Tensor:
    """Cell 0 is 0 or 1, each half of the time; every other cell is surely what a known cell is, and unsure before."""
    half = torch.tensor([0.5, 0.5]).log().expand(*ids.shape, 2)
    said = (ids * known).amax(1)
    sure = torch.nn.functional.one_hot(said, 2)[:, None].float().mul(20).expand(*ids.shape, 2)
    return torch.where(known.any(1)[:, None, None], sure, half)


def test_steps_make_cells_agree_where_one_step_does_not() -> None:
    """Six cells that are all equal: one step draws each by itself, several see what was drawn before."""
    ids, known = nothing(400, 6)
    alone = unmask(chain, ids, known, luck(400, 1, 6))
    assert 0.01 < (alone == alone[:, :1]).all(1).float().mean() < 0.07  # 2 / 64
    together = unmask(chain, ids, known, luck(400, 6, 6))
    assert (together == together[:, :1]).all() and 0.4 < together[:, 0].float().mean() < 0.6


def test_a_row_depends_on_its_own_luck_alone() -> None:
    ids, known = nothing(5, 6)
    drawn = luck(5, 3, 6)
    every = unmask(chain, ids, known, drawn)
    for k in range(5):
        assert torch.equal(unmask(chain, ids[:1], known[:1], drawn[k : k + 1]), every[k : k + 1])


def test_a_canvas_of_luck_gives_even_numbers_and_the_seed_decides() -> None:
    seen: list[Tensor] = []

    def fill(u: Tensor) -> Field:
        seen.append(u)
        return Field(u.mean((1, 2)))

    canvas = from_luck(fill, (50, 20, 4), "cpu")
    assert isinstance(canvas, Canvas)
    one, again, other = (paint(canvas, 12, Rng(seed)).data for seed in (0, 0, 1))
    assert torch.equal(one, again) and not torch.equal(one, other)
    torch.testing.assert_close(seen[0].flatten().sort()[0], torch.linspace(0, 1, 4_000), atol=0.03, rtol=0)


def test_no_steps_and_cold_below_zero_are_refused() -> None:
    ids, known = nothing(1, 2)
    with pytest.raises(SensoriumError, match="0 steps at temperature 1"):
        unmask(chain, ids, known, luck(1, 0, 2))
    with pytest.raises(SensoriumError, match="temperature -1; expected 1 or more, and 0 or more"):
        unmask(chain, ids, known, luck(1, 2, 2), temperature=-1)
