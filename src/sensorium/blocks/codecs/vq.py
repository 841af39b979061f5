"""Vector quantisation: vectors to ids of a codebook and back, and the picture tokeniser built on it.

Shape legend: B batch, N vectors, D their width, K codes, H W pixels, h w cells of the grid.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sensorium.core import Field, SensoriumError, Terms

from .pixels import picture, signal


class Codebook(nn.Module):
    """`size` codes of width `dim`, moving averages of the vectors nearest to them (VQ-VAE, arXiv 1711.00937, appendix).

    A code whose average use per update is below `dead` vectors is put on a random vector of the batch (Jukebox, arXiv
    2005.00341). All are so at first: the first update puts every code on a vector.
    """

    def __init__(self, size: int, dim: int, decay: float = 0.99, dead: float = 0.5) -> None:
        super().__init__()
        if not (0 <= decay < 1 and dead > 0):
            raise SensoriumError(f"decay {decay} and dead {dead}; expected 0 to below 1, and above 0")
        self.decay, self.dead = decay, dead
        self.codes: Tensor
        self.used: Tensor
        self.register_buffer("codes", torch.randn(size, dim))
        self.register_buffer("used", torch.zeros(size))

    def ids(self, x: Tensor) -> Tensor:
        """[... D] -> [...] int64: the nearest code, the first of equally near ones."""
        with torch.no_grad():
            flat = x.reshape(-1, x.shape[-1]).to(self.codes.dtype)
            far = self.codes.square().sum(1) - 2 * flat @ self.codes.T
            return far.argmin(1).reshape(x.shape[:-1])

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """[... D] -> its codes [... D], through which the gradient passes straight to x, and their ids [...]."""
        ids = self.ids(x)
        return x + (self.codes[ids].to(x.dtype) - x).detach(), ids

    @torch.no_grad()
    def update(self, x: Tensor, ids: Tensor, generator: torch.Generator) -> None:
        """One step of the averages with vectors [... D] and their ids [...]; the generator places dead codes."""
        x = x.detach().reshape(-1, x.shape[-1]).to(self.codes.dtype)
        hit = F.one_hot(ids.reshape(-1), len(self.codes)).to(x.dtype)
        kept, used = self.decay * self.used, (1 - self.decay) * hit.sum(0)
        total = (kept + used)[:, None]
        moved = (kept[:, None] * self.codes + (1 - self.decay) * hit.T @ x) / total.clamp_min(1e-12)
        dead = total[:, 0] < self.dead
        anywhere = torch.randint(len(x), (len(dead),), generator=generator, device=generator.device).to(x.device)
        self.codes.copy_(torch.where(dead[:, None], x[anywhere], moved))
        self.used.copy_(torch.where(dead, self.dead, total[:, 0]))


class PictureTokeniser(nn.Module):
    """u8 [B 3 H W] <-> a grid of ids [B H/4 W/4], by two strided convolutions, a codebook, and the way back."""

    def __init__(self, size: int = 256, dim: int = 16, width: int = 32, decay: float = 0.99) -> None:
        super().__init__()
        self.codebook = Codebook(size, dim, decay)
        self.down = nn.Sequential(
            nn.Conv2d(3, width, 4, 2, 1),
            nn.GELU(),
            nn.Conv2d(width, 2 * width, 4, 2, 1),
            _Residual(2 * width),
            nn.Conv2d(2 * width, dim, 1),
        )
        self.up = nn.Sequential(
            nn.Conv2d(dim, 2 * width, 1),
            _Residual(2 * width),
            nn.ConvTranspose2d(2 * width, width, 4, 2, 1),
            nn.GELU(),
            nn.ConvTranspose2d(width, 3, 4, 2, 1),
        )

    def _vectors(self, x: Tensor) -> Tensor:
        if x.shape[2] % 4 or x.shape[3] % 4:
            raise SensoriumError(f"pictures of {x.shape[2]} x {x.shape[3]}; expected multiples of 4")
        return self.down(x).movedim(1, -1)  # type: ignore[no-any-return]

    def encode(self, image: Field) -> Tensor:
        """u8 [B 3 H W] -> ids [B h w] int64."""
        return self.codebook.ids(self._vectors(signal(image)))

    def decode(self, ids: Tensor) -> Field:
        """ids [B h w] -> u8 [B 3 H W]."""
        return picture(self.up(self.codebook.codes[ids].movedim(-1, 1)))

    def losses(self, image: Field, generator: torch.Generator) -> Terms:
        """Squared error of the picture, and a quarter of the commitment; in training the codebook moves along."""
        x = signal(image if image.mask is None else Field(image.data[image.mask]))
        vectors = self._vectors(x)
        codes, ids = self.codebook(vectors)
        if self.training and len(x):
            self.codebook.update(vectors, ids, generator)
        return {
            "rebuild": _mean_square(self.up(codes.movedim(-1, 1)) - x),
            "commit": 0.25 * _mean_square(vectors - codes.detach()),
        }


def _mean_square(x: Tensor) -> Tensor:
    return x.square().sum() / max(1, x.numel())  # no picture at all is 0, not NaN


class _Residual(nn.Module):
    """x + a 3x3 and a 1x1 convolution of it; nothing is normalised over the picture, so that ids stay local."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.GELU(), nn.Conv2d(width, width, 3, padding=1), nn.GELU(), nn.Conv2d(width, width, 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)  # type: ignore[no-any-return]
