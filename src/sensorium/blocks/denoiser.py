"""The conditional denoiser: noisy pictures and a condition in tokens -> clean pictures.

Shape legend: B batch, H W pixels, N patches, S tokens of the condition, D width.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from sensorium.core import Batch, Field, Ids, Method, Rng, SensoriumError, Terms, Tokens, Tower, nearest

from .codecs.pixels import picture, signal
from .decode.diffuse import FLOW, Canvas, Denoiser, diffuse, guided, noisier, within
from .towers.head import Projector, linear
from .towers.patches import Patches
from .towers.positions import grid, sines
from .towers.query import QueryLayer


class PictureDenoiser(Method):
    """Patches that see each other and read a condition, between the two halves of `patches`; trained on captions.

    What it reads is Tokens of width `dim`, whoever made them: `lead` is the way in for other conditions than `told`.
    The share `untold` of the captions is left out, so that `guidance` has what to lead away from; `late`: how far the
    times lie towards noise.
    """

    def __init__(
        self,
        text: Tower,
        patches: Patches,
        size: tuple[int, int],
        dim: int,
        layers: int,
        heads: int,
        *,
        late: float = 5.0,
        untold: float = 0.1,
        guidance: float = 1.5,
    ) -> None:
        super().__init__()
        self.generates: Mapping[str, str] = {"image": "image"}
        self.dim, self.size, self.untold, self.guidance = dim, size, untold, guidance
        self.cells = patches.grid(*size)
        self.path = noisier(FLOW, late)
        self.text, self.listen, self.patches = text, Projector(text.dim, dim), patches
        self.clock = nn.Sequential(linear(dim, dim), nn.GELU(), linear(dim, dim))
        self.layers = nn.ModuleList(QueryLayer(dim, heads) for _ in range(layers))
        self.norm = nn.LayerNorm(dim)

    def told(self, text: Ids | Tokens) -> Tokens:
        """A caption as a condition [B S D]."""
        return self.listen(self.text(text))  # type: ignore[no-any-return]

    def estimate(self, x: Tensor, t: Tensor, condition: Tokens) -> Tensor:
        """Noisy pictures [B 3 H W] at times [B] under a condition [B S D] -> the clean ones [B 3 H W]; a row whose
        condition is empty is estimated without."""
        time = self.clock(sines(t[:, None] * 1000, self.dim, 1e4))
        h, skips = self.patches.enter(x, time)
        place = sines(grid(*self.cells, x.device), self.dim)
        for layer in self.layers:
            h = layer(h, condition, place)
        return self.patches.leave(self.norm(h), time, skips, self.size)

    def lead(self, condition: Tokens) -> Denoiser:
        """The field of pictures under a condition [B S D], guided away from none."""

        def field(read: Tokens) -> Denoiser:
            return lambda x, t: self.estimate(x, t, read)

        nothing = Tokens(condition.x[:, :1], torch.zeros_like(condition.mask[:, :1]))
        return within(guided(field(condition), field(nothing), self.guidance))

    def canvas(self, condition: Tokens) -> Canvas:
        """Where the pictures of a condition [B S D] are painted."""
        return Canvas(self.lead(condition), (len(condition), 3, *self.size), self.path, picture, condition.x.device)

    def denoising(self, image: Field, condition: Tokens, rng: Rng) -> Tensor:
        """The diffusion loss of pictures under a condition [B S D]: scalar, over the rows that have a picture."""
        clean, device = signal(image), image.data.device
        t = torch.rand(len(clean), generator=rng("time", device), device=device)
        noise = torch.randn(clean.shape, generator=rng("noise", device), device=device)
        found = self.estimate(self.path.at(clean, noise, t), t, condition)
        return diffuse(found, clean, t, self.path, mask=image.mask)

    def losses(self, batch: Batch, rng: Rng) -> Terms:
        text, image = batch["text"], batch["image"]
        assert isinstance(text, Ids | Tokens) and isinstance(image, Field)
        told, device = self.told(text), image.data.device
        kept = torch.rand(len(image), generator=rng("untold", device), device=device) >= self.untold
        return {"picture": self.denoising(image, Tokens(told.x, told.mask & kept[:, None]), rng)}

    def prompt(self, batch: Batch, to: str) -> Canvas:
        """A canvas led by the caption."""
        if to not in self.generates:
            raise SensoriumError(f"a denoiser does not generate {to!r}{nearest(to, self.generates)}")
        text = batch["text"]
        assert isinstance(text, Ids | Tokens)
        return self.canvas(self.told(text))
