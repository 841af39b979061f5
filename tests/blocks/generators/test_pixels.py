from __future__ import annotations

import math
from itertools import product

import pytest
import torch
from torch import Tensor

from sensorium.blocks.generators.pixels import PixelDecoder
from sensorium.core import Ids, SensoriumError


def model(seed: int = 0, **changes: int) -> PixelDecoder:
    torch.manual_seed(seed)
    settings = {"side": 2, "mixture": 3, "words": 6, "length": 4} | changes
    return PixelDecoder((4, 4), 16, 2, 2, **settings)


def values(n: int, seed: int = 0, side: int = 4) -> Tensor:
    return torch.randint(0, 256, (n, 3, side, side), generator=torch.Generator().manual_seed(seed))


def words(*rows: list[int]) -> Ids:
    longest = max(map(len, rows))
    ids = torch.tensor([[*r, *[0] * (longest - len(r))] for r in rows])
    return Ids(ids, torch.arange(longest) < torch.tensor([len(r) for r in rows])[:, None])


def order(side: int, patch: int) -> list[tuple[int, int, int]]:
    """Colour, row and column of every value, in the order in which they are said."""
    cells = product(range(side // patch), repeat=2)
    return [
        (c, i * patch + r, j * patch + k) for i, j in cells for r, k, c in product(range(patch), range(patch), range(3))
    ]


def test_a_value_depends_on_those_before_it_alone() -> None:
    """Moving the value at a place changes the total by what it costs itself and later ones, nothing before: the cost of
    the first n values is the same whatever follows."""
    one, places = model(), order(4, 2)
    x = values(1)
    for n in (0, 5, 12, 30, 47):
        found = []
        for last in (3, 250):
            y = x.repeat(2, 1, 1, 1)
            y[:, *places[n]] = torch.tensor([7, 200])
            for later in places[n + 1 :]:
                y[:, *later] = last
            known = (one._patches(y) - 127) / 128
            begun, rest = one._begin(2, None), one.read(known[:, :-1]) + one._places()[1:]
            h = one.decoder(type(begun)(torch.cat([begun.x, rest], 1), torch.ones(2, 4, dtype=torch.bool)))
            odds, mean, scale = one._mixture(h[:, :, None], known[:, :, None] * one.before, one.slot)
            found.append([t.flatten(1, 2)[:, : n + 1] for t in (odds, mean, scale)])
        for a, b in zip(*found, strict=True):
            torch.testing.assert_close(a, b)  # the future is not seen
            torch.testing.assert_close(a[0], a[1])  # nor the value itself


def test_an_empty_net_costs_what_one_logistic_says_of_every_value() -> None:
    """All weights of the last layer at zero: a logistic of log-scale -2 about 0, for each value by itself."""
    one, x = model(), values(2)
    with torch.no_grad():
        one.say[-1].weight.zero_()
        one.say[-1].bias.zero_()
    edge = ((x.double() - 127) / 128)[..., None] + torch.tensor([1, -1]).double() / 256
    upper, lower = (edge * math.e**2).sigmoid().unbind(-1)
    upper[x == 255], lower[x == 0] = 1.0, 0.0
    want = -(upper - lower).log().sum((1, 2, 3))
    torch.testing.assert_close(one.nll(x).double(), want, rtol=1e-4, atol=0)


def test_what_is_drawn_is_what_its_luck_says() -> None:
    """By hand at the first value: the distribution function summed from `nll` reaches the luck there and not before."""
    one = model().eval()
    luck = torch.rand(3, 3, 4, 4, generator=torch.Generator().manual_seed(4))
    made = one.drawn(luck)
    assert made.shape == (3, 3, 4, 4) and int(made.min()) >= 0 and int(made.max()) <= 255
    last = order(4, 2)[-1]
    for row in range(3):
        every = made[row : row + 1].repeat(256, 1, 1, 1)
        every[:, *last] = torch.arange(256)
        p = (-one.nll(every)).softmax(0).cumsum(0)
        v, u = int(made[row, *last]), float(luck[row, *last])
        assert p[v] >= u - 1e-4 and (v == 0 or p[v - 1] < u + 1e-4)


def test_rows_are_drawn_apart_and_captions_lead_them() -> None:
    one = model().eval()
    luck = torch.rand(2, 3, 4, 4, generator=torch.Generator().manual_seed(5)).expand(-1, -1, -1, -1)
    text = words([1, 2], [3])
    both = one.drawn(luck, text)
    assert torch.equal(both[1:], one.drawn(luck[1:], words([3])))
    assert not torch.equal(both, one.drawn(luck, words([4], [5, 5])))


def test_padding_of_a_caption_changes_nothing() -> None:
    one, x, text = model(), values(2), words([1, 2], [3])
    pad = torch.nn.functional.pad
    wide = Ids(pad(text.ids, (2, 1), value=5), pad(text.mask, (2, 1)))
    torch.testing.assert_close(one.nll(x, wide), one.nll(x, text))
    assert not torch.allclose(one.nll(x, text), one.nll(x))


def test_training_learns_what_chance_costs() -> None:
    """Black or white pictures: one bit for the first value, and nothing for what follows from it."""
    one = model(words=0, length=0)
    draw = torch.Generator().manual_seed(0)
    optimiser = torch.optim.Adam(one.parameters(), 1e-2)
    for _ in range(100):
        x = (255 * torch.randint(2, (64, 1, 1, 1), generator=draw)).expand(-1, 3, 4, 4)
        optimiser.zero_grad()
        loss = one.nll(x).mean()
        loss.backward()
        optimiser.step()
    assert 0.9 * math.log(2) < loss.item() < 3 * math.log(2)


def test_every_weight_but_the_words_scores_gets_a_gradient() -> None:
    one = model()
    one.nll(values(2), words([1, 2, 3], [4, 5, 0])).mean().backward()
    assert [n for n, p in one.named_parameters() if p.requires_grad and (p.grad is None or not p.grad.any())] == []


def test_a_picture_that_patches_do_not_tile_is_named() -> None:
    with pytest.raises(SensoriumError, match="4 x 4 do not split into patches of side 3"):
        model(side=3)
