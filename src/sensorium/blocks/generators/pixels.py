"""Pictures value by value, with the exact likelihood of each: a transformer over patches, an order within each patch.

The chain rule over pixels is PixelRNN's (van den Oord et al. 2016, arXiv 1601.06759), the mixture of discretised
logistics PixelCNN++'s (Salimans et al. 2017, arXiv 1701.05517), the transformer Image GPT's (Chen et al. 2020).
Shape legend: B batch, n words, N patches, P values of a patch, K logistics, D width.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sensorium.core import Ids, SensoriumError, Tokens, pooled

from ..decode import Cache, Decoder
from ..mixed import packed
from ..objectives.elbo import LEVELS, log_bins
from ..towers.head import linear
from ..towers.positions import grid, sines

NARROWEST = -6.0
"""Log-scale below which no logistic goes: an eighth of a bin."""


class PixelDecoder(nn.Module):
    """Pictures of `size` in patches of `side` after a text of at most `length` of `words` ids, or after nothing.

    What stands before a patch gives its state; the state and the values of the patch that are known, row by row and red
    before green before blue, give a mixture of `mixture` logistics for the next value.
    """

    def __init__(
        self,
        size: tuple[int, int],
        dim: int,
        layers: int,
        heads: int,
        *,
        side: int = 2,
        mixture: int = 5,
        words: int = 0,
        length: int = 0,
    ) -> None:
        super().__init__()
        if size[0] % side or size[1] % side:
            raise SensoriumError(f"pictures of {size[0]} x {size[1]} do not split into patches of side {side}")
        self.side, self.cells, self.values = side, (size[0] // side, size[1] // side), 3 * side**2
        self.decoder = Decoder(words, dim, layers, heads, length + 1 + self.cells[0] * self.cells[1])
        self.decoder.says.requires_grad_(False)  # it says no ids
        self.read = nn.Sequential(linear(self.values, dim), nn.GELU(), linear(dim, dim))
        self.known, self.slot = linear(self.values, dim), nn.Parameter(torch.randn(self.values, dim))
        self.say = nn.Sequential(nn.GELU(), linear(dim, dim), nn.GELU(), linear(dim, 3 * mixture))
        self.before: Tensor
        self.register_buffer("before", torch.ones(self.values, self.values).tril(-1), persistent=False)

    def nll(self, values: Tensor, text: Ids | None = None) -> Tensor:
        """Pixel values [B 3 H W] -> [B]: -log probability in nats."""
        patches = self._patches(values)
        known = (patches - 127) / 128
        begun, x = self._begin(len(values), text), self.read(known[:, :-1]) + self._places()[1:]
        tokens = Tokens(torch.cat([begun.x, x], 1), F.pad(begun.mask, (0, x.shape[1]), value=True))
        h = self.decoder(tokens)[:, begun.x.shape[1] - 1 :]
        odds, mean, log_scale = self._mixture(h[:, :, None], known[:, :, None] * self.before, self.slot)
        each = log_bins(patches[..., None].expand_as(mean), mean, log_scale)
        return -(odds + each).logsumexp(-1).flatten(1).sum(1)

    @torch.no_grad()
    def drawn(self, luck: Tensor, text: Ids | None = None) -> Tensor:
        """Uniform [B 3 H W] -> pixel values [B 3 H W]: each value is the first at which its distribution function
        reaches its luck, so that rows do not touch."""
        tokens, places, cache = self._begin(len(luck), text), self._places(), Cache()
        lucky, found = self._patches(luck), list[Tensor]()
        for k in range(lucky.shape[1]):
            h = self.decoder(tokens, cache=cache)[:, -1]
            known = torch.zeros_like(lucky[:, k])
            for slot in range(self.values):
                value = self._value(h, known, slot, lucky[:, k, slot])
                known[:, slot] = (value - 127) / 128
            found.append((known * 128 + 127).round())
            x = self.read(known) + places[(k + 1) % len(places)]
            tokens = pooled(x)
        return self._picture(torch.stack(found, 1)).long()

    def _value(self, h: Tensor, known: Tensor, slot: int, luck: Tensor) -> Tensor:
        """The next value [B] of a patch, given its state [B D], the values before it [B P] and luck [B]."""
        odds, mean, log_scale = self._mixture(h, known, self.slot[slot])
        edge = (torch.arange(LEVELS - 1, device=h.device) - 127) / 128 + 1 / LEVELS
        up_to = torch.sigmoid((edge[:, None] - mean[:, None]) * (-log_scale[:, None]).exp())  # [B 255 K]
        return ((odds.exp()[:, None] * up_to).sum(-1) < luck[:, None]).sum(-1).to(h.dtype)

    def _mixture(self, h: Tensor, known: Tensor, slot: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Log-weights, means and log-scales [... K] of the logistics of a value."""
        odds, mean, log_scale = self.say(h + self.known(known) + slot).chunk(3, -1)
        return odds.log_softmax(-1), mean, (log_scale - 2).clamp(min=NARROWEST)

    def _begin(self, rows: int, text: Ids | None) -> Tokens:
        """The words of each row, and the mark that begins a picture: [B n+1 D]."""
        mark = torch.full((rows, 1), self.decoder.begin, device=self.slot.device)
        ids, mask = mark, torch.ones_like(mark, dtype=torch.bool)
        if text is not None:
            text = packed(text)
            ids, mask = torch.cat([text.ids, ids], 1), torch.cat([text.mask, mask], 1)
        return self.decoder.embed(Ids(ids, mask))

    def _places(self) -> Tensor:
        """[N D]."""
        return sines(grid(*self.cells, self.slot.device), self.decoder.dim)

    def _patches(self, x: Tensor) -> Tensor:
        """[B 3 H W] -> float [B N P], in a patch by rows, then columns, then colours."""
        (rows, columns), side = self.cells, self.side
        cut = x.to(self.slot.dtype).view(len(x), 3, rows, side, columns, side)
        return cut.permute(0, 2, 4, 3, 5, 1).reshape(len(x), rows * columns, -1)

    def _picture(self, patches: Tensor) -> Tensor:
        """[B N P] -> [B 3 H W]."""
        (rows, columns), side = self.cells, self.side
        cut = patches.view(len(patches), rows, columns, side, side, 3)
        return cut.permute(0, 5, 1, 3, 2, 4).reshape(len(patches), 3, rows * side, columns * side)
