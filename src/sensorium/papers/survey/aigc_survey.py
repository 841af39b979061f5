"""A Comprehensive Survey of AI-Generated Content (AIGC): A History of Generative AI from GAN to ChatGPT.

Cao et al., 2023, arXiv 2303.04226. The survey orders what generates by family (GAN, VAE, flow and energy,
autoregressive, diffusion) and by what goes in and comes out. Here each family is a small model on the same pictures
under the same number of samples, with one table of FID and of bits per dimension where the family has a likelihood, and
`MAP` says which part of this library makes what from what.
Differs from the denoiser in the family, which is a setting; that one is `diffusion`, the others are five other ways to
the same pictures from the same noise.
Claim: of one budget diffusion makes the best FID and autoregression the fewest bits per dimension.
Seen in one run each on validation, 32,000 samples, 57 to 111 CPU-s: FID 0.09 by diffusion, 0.18 by autoregression, 0.67
by the flow, 0.79 by the GAN, which shows one colour (true pictures: 0.01); bits 3.05 by autoregression, 4.35 by the
flow, 4.58 as diffusion's bound. The VAE after 12,800: FID 0.69, grey clouds, bits 3.68. The energy, 200 steps in: the
ground, and no object.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sensorium.blocks.codecs.pixels import signal
from sensorium.blocks.decode.diffuse import Canvas
from sensorium.blocks.denoiser import PictureDenoiser
from sensorium.blocks.generators.convolutional import Down, Up, halvings
from sensorium.blocks.generators.energy import langevin
from sensorium.blocks.generators.flow import Flow, Mixing, Unmixed
from sensorium.blocks.generators.once import at_once
from sensorium.blocks.generators.pixels import PixelDecoder
from sensorium.blocks.objectives.adversarial import (
    critic_hinge,
    critic_logistic,
    generator_hinge,
    generator_logistic,
    gradient_penalty,
)
from sensorium.blocks.objectives.elbo import (
    LEVELS,
    denoising_gap,
    dequantised,
    discretised_logistic,
    gaussian_kl,
    standard_normal,
)
from sensorium.blocks.towers.patches import UNetPatches
from sensorium.blocks.towers.text import TextTower
from sensorium.core import (
    Above,
    Arm,
    Bases,
    Batch,
    Budget,
    Claim,
    Field,
    FieldInfo,
    Fields,
    Ids,
    Method,
    Rng,
    SensoriumError,
    Terms,
    Tokens,
    Tower,
    Trial,
    nearest,
)
from sensorium.data.rows import Rows
from sensorium.data.stream import Epochs
from sensorium.run.fit import AdamW, Stage

NEEDS = {"image": "image", "text": "ids optional"}
PARTS = {
    "GAN": "Adversarial",
    "critic and generator in turns": "stages",
    "gradient penalty": "gradient_penalty",
    "VAE": "Variational",
    "divergence from the prior": "gaussian_kl",
    "flow": "Invertible",
    "mixing between couplings": "Mixing",
    "energy model": "Energy",
    "short-run Langevin dynamics": "langevin",
    "autoregression over pixels": "Autoregressive",
    "diffusion": "Diffusion",
    "bits per dimension": "Generator.nats",
    "unimodal and multimodal map": "MAP",
}
MEASURES = ("sensorium.lab.sampling:quality", "sensorium.lab.sampling:likelihood")


@dataclass(frozen=True)
class Config:
    """`family` is one of FAMILIES; pictures are made at `side` pixels. The share `untold` of captions is left out where
    a family reads them; 1: none is read.

    `dim`, `layers` and `heads` are those of transformers, `width` that of convolutions, `latent` the numbers that a GAN
    and a VAE begin with. `players` names the adversarial losses, `penalty` weighs the critic's gradient, `beta` the
    divergence of a VAE, `mixing` is what stands between couplings. A picture rolls `walk` steps of `stride` down an
    energy, held by `level`, with a `pull` to grey in it. Diffusion ends at the time `last`, where a logistic says the
    pixels.
    """

    family: str = "diffusion"
    side: int = 16
    untold: float = 0.1
    dim: int = 64
    layers: int = 3
    heads: int = 4
    width: int = 24
    latent: int = 64
    players: str = "logistic"
    penalty: float = 1.0
    beta: float = 1.0
    mixing: str = "learnt"
    walk: int = 20
    stride: float = 20.0
    level: float = 0.1
    pull: float = 0.01
    guidance: float = 1.0
    last: float = 0.03

    def __post_init__(self) -> None:
        for name, known in (("family", FAMILIES), ("players", PLAYERS), ("mixing", MIXINGS)):
            if getattr(self, name) not in known:
                raise SensoriumError(f"{name} {getattr(self, name)!r}{nearest(getattr(self, name), known)}")
        if not 0 <= self.untold <= 1:
            raise SensoriumError(f"untold {self.untold:g}; expected a share")
        halvings(self.side)


class Family(Protocol):
    """What a family is asked: how it is trained, where it paints and, with a `likelihood`, what pictures cost it."""

    likelihood: str
    """ "exact", "dequantised" (exact of values anywhere in their bins), "bound", or "none"."""

    def losses(self, image: Field, text: Ids | None, rng: Rng) -> Terms: ...
    def canvas(self, rows: int, text: Ids | None, device: torch.device) -> Canvas: ...
    def nats(self, image: Field, text: Ids | None, rng: Rng) -> Tensor: ...


Players = tuple[Callable[[Tensor, Tensor], Tensor], Callable[[Tensor], Tensor]]
PLAYERS: Mapping[str, Players] = {
    "logistic": (critic_logistic, generator_logistic),
    "hinge": (critic_hinge, generator_hinge),
}
MIXINGS: Mapping[str, Callable[[int], nn.Module]] = {"learnt": Mixing, "none": Unmixed}


class Adversarial(nn.Module):
    """A generator from noise, and the critic that it plays against."""

    likelihood = "none"

    def __init__(self, config: Config, text: FieldInfo | None) -> None:
        super().__init__()
        self.config = config
        self.generator = Up(config.side, config.latent, config.width, 3)
        self.critic = Down(config.side, 3, config.width, 1)

    def losses(self, image: Field, text: Ids | None, rng: Rng) -> Terms:
        """Of each player that is being trained."""
        real, device, terms = signal(image), image.data.device, dict[str, Tensor]()
        critic_loss, generator_loss = PLAYERS[self.config.players]
        made = self.made(torch.randn(real.shape, generator=rng("noise", device), device=device))
        if _trained(self.critic):
            terms["d/score"] = critic_loss(self.critic(real), self.critic(made.detach()))
            if self.config.penalty:
                terms["d/penalty"] = self.config.penalty * gradient_penalty(self.critic, real)
        if _trained(self.generator):
            terms["g/score"] = generator_loss(self.critic(made))
        return terms

    def made(self, noise: Tensor) -> Tensor:
        """Noise [B 3 H W], of which as much is read as there are latent numbers -> signals."""
        return self.generator(noise.flatten(1)[:, : self.config.latent]).tanh()  # type: ignore[no-any-return]

    def canvas(self, rows: int, text: Ids | None, device: torch.device) -> Canvas:
        return at_once(self.made, (rows, 3, self.config.side, self.config.side), device)

    def nats(self, image: Field, text: Ids | None, rng: Rng) -> Tensor:
        raise SensoriumError("a GAN gives pictures no likelihood")


class Variational(nn.Module):
    """Pictures through a Gaussian of `latent` numbers; pixels are discretised logistics with scales of their own."""

    likelihood = "bound"

    def __init__(self, config: Config, text: FieldInfo | None) -> None:
        super().__init__()
        self.config = config
        self.encoder = Down(config.side, 3, config.width, 2 * config.latent)
        self.decoder = Up(config.side, config.latent, config.width, 6)

    def losses(self, image: Field, text: Ids | None, rng: Rng) -> Terms:
        rebuilt, divergence = self.costs(image, rng)
        numbers = image.data[0].numel()
        kl = {"divergence": self.config.beta * divergence.mean() / numbers} if self.config.beta else {}
        return {"rebuild": rebuilt.mean() / numbers, **kl}

    def costs(self, image: Field, rng: Rng) -> tuple[Tensor, Tensor]:
        """Nats of the pixels given a draw of the latent numbers, and of these, [B] each."""
        x, device = signal(image), image.data.device
        mean, log_variance = self.encoder(x).chunk(2, 1)
        luck = torch.randn(mean.shape, generator=rng("latent", device), device=device)
        middle, log_scale = self.decoder(mean + (log_variance / 2).exp() * luck).chunk(2, 1)
        return discretised_logistic(image.data, middle, log_scale - 2), gaussian_kl(mean, log_variance)

    def made(self, noise: Tensor) -> Tensor:
        """Noise [B 3 H W] -> the middle of each pixel."""
        return self.decoder(noise.flatten(1)[:, : self.config.latent])[:, :3]  # type: ignore[no-any-return]

    def canvas(self, rows: int, text: Ids | None, device: torch.device) -> Canvas:
        return at_once(self.made, (rows, 3, self.config.side, self.config.side), device)

    def nats(self, image: Field, text: Ids | None, rng: Rng) -> Tensor:
        return sum(self.costs(image, rng))  # type: ignore[return-value]


class Invertible(nn.Module):
    """A flow between pictures and as many normal numbers."""

    likelihood = "dequantised"

    def __init__(self, config: Config, text: FieldInfo | None) -> None:
        super().__init__()
        self.side = config.side
        self.flow = Flow(3, halvings(config.side), 4, 4 * config.width, MIXINGS[config.mixing])

    def losses(self, image: Field, text: Ids | None, rng: Rng) -> Terms:
        return {"likelihood": self.nats(image, text, rng).mean() / image.data[0].numel()}

    def nats(self, image: Field, text: Ids | None, rng: Rng) -> Tensor:
        x = 2 * dequantised(image.data, rng("bins", image.data.device)) - 1
        z, log_det = self.flow(x)
        cost: Tensor = standard_normal(z) - log_det + x[0].numel() * math.log(LEVELS / 2)
        return cost

    def made(self, noise: Tensor) -> Tensor:
        """Noise [B 3 H W] -> signals, whose zero is half a bin from the flow's."""
        return self.flow.inverse(noise) + 0.5 / 128

    def canvas(self, rows: int, text: Ids | None, device: torch.device) -> Canvas:
        return at_once(self.made, (rows, 3, self.side, self.side), device)


class Energy(nn.Module):
    """A number for each picture; noise that rolls down it becomes pictures. What is learnt tilts a wide Gaussian (Xie
    et al. 2016, arXiv 1602.03264): without its curvature a net that is all but linear leaves the noise in."""

    likelihood = "none"

    def __init__(self, config: Config, text: FieldInfo | None) -> None:
        super().__init__()
        self.config = config
        self.score = Down(config.side, 3, config.width, 1)

    def energy(self, x: Tensor) -> Tensor:
        """[B 3 H W] -> [B]."""
        reference = 0.5 * self.config.pull * x.square().flatten(1).sum(1)
        return reference + self.score(x)[:, 0]  # type: ignore[no-any-return]

    def losses(self, image: Field, text: Ids | None, rng: Rng) -> Terms:
        """True pictures are to lie low and rolled ones high; `level` keeps both near zero (Du and Mordatch 2019, arXiv
        1903.08689)."""
        real, device = signal(image), image.data.device
        noise = torch.randn(real.shape, generator=rng("noise", device), device=device)
        low, high = self.energy(real), self.energy(self.made(noise))
        return {
            "contrast": low.mean() - high.mean(),
            "level": self.config.level * (low.square() + high.square()).mean(),
        }

    def made(self, noise: Tensor) -> Tensor:
        """Noise [B 3 H W] -> what it has become."""
        return langevin(self.energy, 0.5 * noise, self.config.walk, self.config.stride)

    def canvas(self, rows: int, text: Ids | None, device: torch.device) -> Canvas:
        return at_once(self.made, (rows, 3, self.config.side, self.config.side), device)

    def nats(self, image: Field, text: Ids | None, rng: Rng) -> Tensor:
        raise SensoriumError("an energy is a likelihood but for a sum over all pictures, which nobody can take")


class Autoregressive(nn.Module):
    """Patch after patch and value after value, after the caption where there is one."""

    likelihood = "exact"

    def __init__(self, config: Config, text: FieldInfo | None) -> None:
        super().__init__()
        self.side = config.side
        words, length = (0, 0) if text is None else (text.vocab, text.length)
        size = (config.side, config.side)
        self.pixels = PixelDecoder(size, config.dim, config.layers, config.heads, words=words, length=length)

    def losses(self, image: Field, text: Ids | None, rng: Rng) -> Terms:
        return {"likelihood": self.nats(image, text, rng).mean() / image.data[0].numel()}

    def nats(self, image: Field, text: Ids | None, rng: Rng) -> Tensor:
        return self.pixels.nll(image.data, text)

    def canvas(self, rows: int, text: Ids | None, device: torch.device) -> Canvas:
        def made(noise: Tensor) -> Tensor:
            return signal(Field(self.pixels.drawn(torch.special.ndtr(noise), text)))

        return at_once(made, (rows, 3, self.side, self.side), device)


class Silence(Tower):
    """A caption that nobody wrote."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, text: Ids) -> Tokens:
        return Tokens(text.mask.new_zeros(*text.mask.shape, self.dim, dtype=torch.float32), text.mask)


class Diffusion(nn.Module):
    """The conditional denoiser, and a logistic that says the pixels once the noise is nearly gone."""

    likelihood = "bound"
    PIECES, LOOKS = 256, 16
    """Steps of the chain that is bounded, and those of them that are looked at for each picture."""

    def __init__(self, config: Config, text: FieldInfo | None) -> None:
        super().__init__()
        dim, size = config.dim, (config.side, config.side)
        tower = Silence(dim) if text is None else TextTower(text.vocab, dim, 1, config.heads, text.length)
        patches = UNetPatches(2, dim)
        self.denoiser = PictureDenoiser(
            tower, patches, size, dim, config.layers, config.heads, guidance=config.guidance
        )
        if text is None:
            self.denoiser.listen.requires_grad_(False)
        self.log_scale = nn.Parameter(torch.full((3, 1, 1), -3.0))
        self.last = config.last

    def losses(self, image: Field, text: Ids | None, rng: Rng) -> Terms:
        told = self.told(len(image), text, image.data.device)
        few = max(1, len(image) // 8)
        part = Tokens(told.x[:few].detach(), told.mask[:few])
        said = self.said(Field(image.data[:few]), part, rng)
        return {"picture": self.denoiser.denoising(image, told, rng), "pixels": said.mean() / image.data[0].numel()}

    def told(self, rows: int, text: Ids | None, device: torch.device) -> Tokens:
        """The caption of each row as a condition; an empty one where there is none."""
        if text is None:
            none = torch.zeros(rows, 1, dtype=torch.long, device=device)
            text = Ids(none, none.bool())
        return self.denoiser.told(text)

    def said(self, image: Field, told: Tokens, rng: Rng) -> Tensor:
        """Nats of the pixels [B], given what is left of the picture at the last time."""
        t = torch.full((len(image),), self.last, device=image.data.device)
        estimate = self._seen(signal(image), t, told, rng("last", image.data.device))
        return discretised_logistic(image.data, estimate, self.log_scale.expand_as(estimate))

    @torch.no_grad()
    def _seen(self, clean: Tensor, t: Tensor, told: Tokens, generator: torch.Generator) -> Tensor:
        noise = torch.randn(clean.shape, generator=generator, device=clean.device)
        return self.denoiser.estimate(self.denoiser.path.at(clean, noise, t), t, told).clamp(-1, 1)

    @torch.no_grad()
    def nats(self, image: Field, text: Ids | None, rng: Rng) -> Tensor:
        """A chain from noise in PIECES steps, whose every LOOKS-th part gives one step at random, and the last word."""
        clean, device, path = signal(image), image.data.device, self.denoiser.path
        told = self.told(len(image), text, device)
        times = torch.logspace(math.log10(self.last), 0, self.PIECES + 1, device=device)
        total, each = self.said(image, told, rng), self.PIECES // self.LOOKS
        for look in range(self.LOOKS):
            draw = rng(f"look {look}", device)
            k = look * each + torch.randint(each, (len(image),), generator=draw, device=device)
            s, t = times[k], times[k + 1]
            total = total + each * denoising_gap(path, s, t, clean, self._seen(clean, t, told, draw))
        return total

    def canvas(self, rows: int, text: Ids | None, device: torch.device) -> Canvas:
        return self.denoiser.canvas(self.told(rows, text, device))


FAMILIES: Mapping[str, Callable[[Config, FieldInfo | None], nn.Module]] = {
    "gan": Adversarial,
    "vae": Variational,
    "flow": Invertible,
    "energy": Energy,
    "autoregressive": Autoregressive,
    "diffusion": Diffusion,
}
READERS = ("autoregressive", "diffusion")
"""Families that a caption leads."""


class Generator(Method):
    """One family, on pictures of one size."""

    def __init__(self, config: Config, text: FieldInfo | None) -> None:
        super().__init__()
        self.generates: Mapping[str, str] = {"image": "image"}
        self.config, self.reads = config, text is not None
        self.model = FAMILIES[config.family](config, text)

    @property
    def family(self) -> Family:
        """The model by what it can do."""
        return cast(Family, self.model)

    @property
    def likelihood(self) -> str:
        """How exact `nats` are."""
        return self.family.likelihood

    def losses(self, batch: Batch, rng: Rng) -> Terms:
        text = self._text(batch)
        if text is not None:
            draw = torch.rand(len(text), generator=rng("untold", text.mask.device), device=text.mask.device)
            text = Ids(text.ids, text.mask & (draw >= self.config.untold)[:, None])
        return self.family.losses(self._image(batch), text, rng)

    def nats(self, batch: Batch, rng: Rng) -> Tensor:
        """-log probability [B] of pictures at `side` pixels, or a bound from above, as `likelihood` says; captions that
        are in the batch are given.

        Raises:
            SensoriumError: a family without a likelihood.
        """
        return self.family.nats(self._image(batch), self._text(batch), rng)

    def prompt(self, batch: Batch, to: str) -> Canvas:
        """A canvas for each row, led by its caption where the family reads one."""
        if to not in self.generates:
            raise SensoriumError(f"aigc-survey does not generate {to!r}{nearest(to, self.generates)}")
        rows = len(next(iter(batch.values())))
        return self.family.canvas(rows, self._text(batch), next(self.parameters()).device)

    def _text(self, batch: Batch) -> Ids | None:
        text = batch.get("text") if self.reads else None
        assert text is None or isinstance(text, Ids)
        return text

    def _image(self, batch: Batch) -> Field:
        """The pictures that are there, at the size of the model."""
        image = batch["image"]
        assert isinstance(image, Field)
        if image.data.shape[-1] == self.config.side:
            return image
        small = F.adaptive_avg_pool2d(image.data.float(), self.config.side)
        return Field(small.round().to(torch.uint8), image.mask)


def _trained(module: nn.Module) -> bool:
    return any(p.requires_grad for p in module.parameters())


def build(config: Config, fields: Fields, bases: Bases) -> Generator:
    """A family from scratch; it reads captions where it can, the data has some, and not all are left out."""
    reads = config.family in READERS and config.untold < 1
    return Generator(config, fields.get("text") if reads else None)


RATES: Mapping[str, float] = {
    "gan": 1.0,
    "vae": 1.0,
    "flow": 1.0,
    "energy": 0.1,
    "autoregressive": 1.0,
    "diffusion": 1.0,
}
"""Multiples of a trial's rate."""


def stages(config: Config, method: Generator, rows: Rows, trial: Trial) -> Sequence[Stage]:
    """One stage; in a GAN critic and generator play in turns, without momentum (arXiv 1801.04406)."""
    stream = Epochs(rows, trial.batch, trial.seed)
    rates = {"": RATES[config.family]}
    if config.family != "gan":
        return [Stage(stream, trial.budget, trial.batch, rates=rates)]
    optim = AdamW(betas=(0.0, 0.99))
    return [
        Stage(stream, trial.budget, trial.batch, rates=rates, optim=optim, clip=10.0, players={"d": "model.critic"})
    ]


class Way(NamedTuple):
    """A family that makes one modality from others, and what does it here: "module:symbol"."""

    family: str
    reads: tuple[str, ...]
    makes: str
    by: str


_HERE, _BLOCKS = "sensorium.papers.survey.aigc_survey", "sensorium.blocks"
MAP = (
    Way("gan", (), "image", f"{_HERE}:Adversarial"),
    Way("vae", (), "image", f"{_HERE}:Variational"),
    Way("flow", (), "image", f"{_HERE}:Invertible"),
    Way("energy", (), "image", f"{_HERE}:Energy"),
    Way("autoregressive", (), "image", f"{_HERE}:Autoregressive"),
    Way("autoregressive", ("text",), "image", f"{_HERE}:Autoregressive"),
    Way("autoregressive", ("text",), "image", f"{_BLOCKS}.mixed:Mosaic"),
    Way("autoregressive", ("text",), "text", f"{_BLOCKS}.decode:Prompt"),
    Way("autoregressive", ("image",), "text", f"{_BLOCKS}.prefix_lm:PrefixLM"),
    Way("diffusion", (), "image", f"{_HERE}:Diffusion"),
    Way("diffusion", ("text",), "image", f"{_BLOCKS}.denoiser:PictureDenoiser"),
)
"""The survey's map: nothing read is unimodal generation; reading another modality than is made, multimodal."""


def _arm(family: str, **config: object) -> Arm:
    return Arm(config={"family": family, "untold": 1.0, **config}, measures=MEASURES)


CLAIMS = {
    "families": Claim(
        arms={
            "ours": _arm("diffusion"),
            "baseline": _arm("vae"),
            "gan": _arm("gan"),
            "flow": _arm("flow"),
            "energy": _arm("energy", width=16, walk=15),
            "autoregressive": _arm("autoregressive"),
            "gan without penalty": _arm("gan", penalty=0.0),
            "vae without divergence": _arm("vae", beta=0.0),
            "flow without mixing": _arm("flow", mixing="none"),
        },
        says=[
            Above("fid", 0.1, higher=False),
            Above("fid", 0.1, baseline="gan", higher=False),
            Above("fid", 0.05, baseline="flow", higher=False),
            Above("fid", 0.1, baseline="energy", higher=False),
            Above("bits per dimension", 0.5, ours="autoregressive", baseline="flow", higher=False),
            Above("bits per dimension", 0.1, ours="autoregressive", higher=False),
            Above("bits per dimension", 0.1, ours="flow", baseline="flow without mixing", higher=False),
            Above("fid", 0.05, ours="gan", baseline="gan without penalty", higher=False),
            Above("bits per dimension", 0.5, baseline="vae without divergence", ours="baseline", higher=False),
        ],
        beats="mean image",
        rates=(1e-3, 3e-3, 1e-2),
        budget=Budget(32_000),
        data="world/small",
        towers="scratch",
        batch=32,
    )
}
