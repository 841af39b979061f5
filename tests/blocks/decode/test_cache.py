from __future__ import annotations

import torch
from torch import Tensor

from sensorium.blocks.decode import Cache, Decoder
from sensorium.core import Tokens


def decoder() -> Decoder:
    torch.manual_seed(1)
    return Decoder(10, 8, 2, 2, 16).eval()


def vectors(b: int, t: int, seed: int = 0) -> Tokens:
    x = torch.randn(b, t, 8, generator=torch.Generator().manual_seed(seed))
    return Tokens(x, torch.ones(b, t, dtype=torch.bool))


def test_extend_puts_new_tokens_last() -> None:
    cache, q = Cache(), torch.zeros(1, 2, 1, 3)
    k1, k2 = torch.full((1, 1, 2, 3), 1.0), torch.full((1, 1, 1, 3), 2.0)
    cache.extend(0, q, k1, 10 * k1, torch.tensor([[True, False]]))
    k, v, mask = cache.extend(0, q, k2, 10 * k2, torch.tensor([[True]]))
    assert k[0, 0, :, 0].tolist() == [1, 1, 2] and v[0, 0, :, 0].tolist() == [10, 10, 20]
    assert mask.tolist() == [[[True, False, True]]]
    assert cache.numbers() == 2 * 3 * 3


def test_layers_are_held_apart() -> None:
    cache, q, k = Cache(), torch.zeros(1, 2, 1, 3), torch.ones(1, 1, 2, 3)
    cache.extend(0, q, k, k, torch.ones(1, 2, dtype=torch.bool))
    found, _, _ = cache.extend(1, q, 2 * k, k, torch.ones(1, 2, dtype=torch.bool))
    assert torch.equal(found, 2 * k)


def test_rows_go_on_apart() -> None:
    """A cache whose rows are taken in another order, one twice, goes on as those rows would."""
    d, first, later = decoder(), vectors(3, 4), vectors(3, 2, 1)
    cache, index = Cache(), torch.tensor([2, 0, 0])
    d(first, cache=cache)
    cache.rows(index)
    found = d(later, cache=cache)
    x = torch.cat([first.x[index], later.x], 1)
    torch.testing.assert_close(found, d(Tokens(x, torch.ones(3, 6, dtype=torch.bool)))[:, 4:])


def test_a_subclass_decides_what_later_calls_see() -> None:
    """Heads that keep other slots: the pass itself still sees everything; later ones see what was kept."""

    class Alternate(Cache):
        def keep(self, layer: int, q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> tuple[Tensor, Tensor, Tensor]:
            if k.shape[2] != q.shape[2]:
                return k, v, mask
            kept = torch.arange(k.shape[2]) % 2 == torch.arange(k.shape[1])[:, None]
            return k, v, mask & kept

    d, first, later = decoder(), vectors(2, 4), vectors(2, 3, 1)
    cache = Alternate()
    assert torch.equal(d(first, cache=cache), d(first))
    found = d(later, cache=cache)
    assert not torch.allclose(found, d(Tokens(torch.cat([first.x, later.x], 1), torch.ones(2, 7).bool()))[:, 4:])
    assert cache.next is not None and cache.next.tolist() == [7, 7]
    seen = cache._held[0][2]
    assert seen[0].int().tolist() == [[1, 0, 1, 0, 1, 1, 1], [0, 1, 0, 1, 1, 1, 1]]
