"""Transfusion: Predict the Next Token and Diffuse Images with One Multi-Modal Model.

Zhou et al., 2024, arXiv 2408.11039. One decoder over mixed sequences of a caption and a picture: the next-token loss on
the words, a diffusion loss on continuous patches, attention causal across and both ways inside the picture; linear
layers or the halves of a U-Net between pixels and patches. Differs from image-tokens in the picture's half alone.
Differs from the paper in the diffusion target, the clean picture instead of the noise (in a small width an estimate of
noise copies its input), and in pixels instead of latents.
Claim: at equal FLOPs, picture loss and text perplexity scale better than with discrete picture tokens.
Seen in one run each: with captions that tell the place, colour and shape are painted right at 181 CPU-s (0.88); with
short captions colour stays at chance at 131. Which of place words and noisy times is needed was not taken apart.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from sensorium.blocks.codecs.pixels import picture, signal
from sensorium.blocks.decode import Cache, Decoder, Prompt
from sensorium.blocks.decode.diffuse import FLOW, Canvas, Denoiser, diffuse, guided, noisier, within
from sensorium.blocks.mixed import Mixed, both_ways, following, framed, mixed, opened, packed, taken
from sensorium.blocks.objectives.nll import nll
from sensorium.blocks.towers.head import linear
from sensorium.blocks.towers.patches import LinearPatches, Patches, UNetPatches
from sensorium.blocks.towers.positions import grid, sines
from sensorium.core import Bases, Batch, Claim, Field, Fields, Ids, Method, Rng, SensoriumError, Terms, Tokens, nearest

NEEDS = {"image": "image", "text": "ids"}
PARTS = {
    "one transformer over mixed sequences": "mixed",
    "next-token loss on text": "nll",
    "diffusion loss on continuous patches": "diffuse",
    "causal across, both ways within an image": "both_ways",
    "linear layers in and out": "LinearPatches",
    "U-Net blocks in and out": "UNetPatches",
    "guidance by captions left out": "guided",
}
PARTIAL = "FID and perplexity at equal FLOPs, measured as a claim"
CLAIMS: dict[str, Claim] = {}


@dataclass(frozen=True)
class Config:
    """`patches` "linear" or "unet" (`width` channels), `side` pixels each. `words_first`: share of rows whose caption
    comes first, `untold`: share of these without one, so that `guidance` has what to lead away from. `picture`: weight
    of its loss, `late`: how far its times lie towards noise.
    """

    dim: int = 128
    layers: int = 4
    heads: int = 4
    patches: str = "unet"
    side: int = 8
    width: int = 32
    words_first: float = 0.8
    untold: float = 0.1
    picture: float = 20.0
    late: float = 5.0
    guidance: float = 1.5


MAKERS: Mapping[str, Callable[[Config], Patches]] = {
    "linear": lambda c: LinearPatches(c.side, c.dim),
    "unet": lambda c: UNetPatches(c.side.bit_length() - 1, c.dim, c.width),
}


class Transfusion(Method):
    """A caption and a picture in one sequence; `marks` open the text, open the picture and close it."""

    def __init__(self, config: Config, fields: Fields) -> None:
        super().__init__()
        self.generates: Mapping[str, str] = {"text": "text", "image": "image"}
        if config.patches not in MAKERS:
            raise SensoriumError(f"patches {config.patches!r}{nearest(config.patches, MAKERS)}")
        self.config = config
        self.size = (fields["image"].shape[1], fields["image"].shape[2])
        self.patches = MAKERS[config.patches](config)
        if self.patches.side != config.side:
            raise SensoriumError(f"side {config.side}; a U-Net halves the picture, so expected a power of two")
        rows, columns = self.patches.grid(*self.size)
        length = fields["text"].length + rows * columns + 3
        self.decoder = Decoder(fields["text"].vocab, config.dim, config.layers, config.heads, length)
        self.clock = nn.Sequential(linear(config.dim, config.dim), nn.GELU(), linear(config.dim, config.dim))
        self.path = noisier(FLOW, config.late)
        self.marks = nn.Parameter(torch.randn(3, config.dim))

    def time(self, t: Tensor) -> Tensor:
        """Times [B] -> [B D]."""
        return self.clock(sines(t[:, None] * 1000, self.config.dim, 1e4))  # type: ignore[no-any-return]

    def sequence(self, text: Ids, patches: Tensor, there: Tensor, words_first: Tensor) -> Mixed:
        """Ids [B n], patches [B N D] of the pictures that are `there` [B], the order of each row [B] bool."""
        place = sines(grid(*self.patches.grid(*self.size), patches.device), self.config.dim)
        words = opened(self.decoder.embed(text), self.marks[0])
        shown = Tokens(patches + place, there[:, None].expand(patches.shape[:2]))
        picture = framed(shown, there, self.marks[1], self.marks[2])
        return mixed(words, picture, words_first)

    def both(self, text: Ids, x: Tensor, t: Tensor, there: Tensor, words_first: Tensor) -> tuple[Tensor, Tensor]:
        """Noisy pictures [B 3 H W] at times [B] -> logits of the next word [B n+1 V], clean pictures [B 3 H W]."""
        time = self.time(t)
        patches, skips = self.patches.enter(x, time)
        seq = self.sequence(text, patches, there, words_first)
        assert seq.tokens.kind is not None
        h = self.decoder(seq.tokens, see=both_ways(seq.tokens.kind))
        clean = self.patches.leave(taken(h, seq.picture[:, 1:-1]), time, skips, self.size)
        return self.decoder.logits(taken(h, seq.words)), clean

    def losses(self, batch: Batch, rng: Rng) -> Terms:
        text, image = batch["text"], batch["image"]
        assert isinstance(text, Ids) and isinstance(image, Field)
        text = packed(text)
        clean, device = signal(image), image.data.device
        words_first = torch.rand(len(clean), generator=rng("order", device), device=device) < self.config.words_first
        told = torch.rand(len(clean), generator=rng("untold", device), device=device) >= self.config.untold
        text = Ids(text.ids, text.mask & (told | ~words_first)[:, None])
        t = torch.rand(len(clean), generator=rng("time", device), device=device)
        # A caption must be able to see the picture before it (section 4.1): up to half noise.
        t = torch.where(words_first, t, t / (1 + self.config.late))
        noise = torch.randn(clean.shape, generator=rng("noise", device), device=device)
        logits, found = self.both(text, self.path.at(clean, noise, t), t, _there(image), words_first)
        after = following(text, self.decoder.end)
        return {
            "text": nll(logits, after.ids, after.mask),
            "picture": self.config.picture * diffuse(found, clean, t, self.path, mask=_there(image)),
        }

    def prompt(self, batch: Batch, to: str) -> Prompt | Canvas:
        """To "text": the picture, then the caption's begin. To "image": a canvas led by the caption."""
        if to == "text":
            image = batch["image"]
            assert isinstance(image, Field)
            return self._asked(image)
        if to != "image":
            raise SensoriumError(f"transfusion does not generate {to!r}{nearest(to, self.generates)}")
        text = batch["text"]
        assert isinstance(text, Ids)
        return self._canvas(packed(text))

    @torch.no_grad()
    def _asked(self, image: Field) -> Prompt:
        """The caption's begin, after a cache of the picture: a prompt itself is read causally."""
        at = torch.zeros(len(image), 1, device=image.data.device)
        nothing = Ids(at[:, :0].long(), at[:, :0].bool())
        patches, _ = self.patches.enter(signal(image), self.time(at[:, 0]))
        seq, seen = self.sequence(nothing, patches, _there(image), at[:, 0].bool()).tokens, Cache()
        assert seq.kind is not None
        before = Tokens(seq.x[:, :-1], seq.mask[:, :-1])
        self.decoder(before, see=both_ways(seq.kind[:, :-1]), cache=seen)
        return Prompt(self.decoder, Tokens(seq.x[:, -1:], seq.mask[:, -1:]), cache=lambda: deepcopy(seen))

    def _canvas(self, text: Ids) -> Canvas:
        yes = torch.ones(len(text), dtype=torch.bool, device=text.ids.device)

        def field(told: Ids) -> Denoiser:
            return lambda x, t: self.both(told, x, t, yes, yes)[1]

        untold = field(Ids(text.ids, torch.zeros_like(text.mask)))
        guide = within(guided(field(text), untold, self.config.guidance))
        return Canvas(guide, (len(text), 3, *self.size), self.path, picture, text.ids.device)


def _there(image: Field) -> Tensor:
    """[B] bool: rows that have a picture."""
    return image.data.new_ones(len(image), dtype=torch.bool) if image.mask is None else image.mask


def build(config: Config, fields: Fields, bases: Bases) -> Transfusion:
    """A decoder from scratch, with the in and out layers that the config names."""
    return Transfusion(config, fields)
