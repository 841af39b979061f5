"""RAD-DINO: Exploring Scalable Medical Image Encoders Beyond Text Supervision.

Pérez-García et al., 2024, arXiv 2401.10815, by DINOv2 (Oquab et al., 2023, arXiv 2304.07193). From pictures alone: a
student names the prototypes that its slow teacher assigns to other crops of a picture and to its masked patches, and
summaries are spread apart by their nearest neighbours. Differs from CLIP in that no text is seen.
Claim: frozen features match or beat language-supervised ones, hold what captions never mention, and improve with data.
Piloted, not yet measured (25,600 samples, one or two seeds): neighbours name size, texture, place and ground, which
the captions leave out, in 0.80 of cases (CLIP 0.66, the same tower untrained 0.76; CLIP told of the ground rises from
0.57 to 0.98 on it); linear probes hold as much of the untrained tower, so that the world is suspected to be too easy
for them. Masked patches raise pixel AUROC (0.86 to 0.89), spreading raises neighbours (0.78 to 0.80); local crops and
more than 100 pictures change nothing here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from sensorium.blocks.augment import View, multi_crop
from sensorium.blocks.memory.momentum import Momentum
from sensorium.blocks.objectives.koleo import koleo
from sensorium.blocks.objectives.self_distillation import (
    PrototypeHead,
    across_views,
    block_masks,
    hidden_patches,
    sinkhorn,
)
from sensorium.blocks.similarity import pool, unit
from sensorium.blocks.towers.vit import VisionTransformer
from sensorium.blocks.two_tower import by_cosine
from sensorium.core import (
    Above,
    Arm,
    Bases,
    Batch,
    Budget,
    Claim,
    Field,
    Fields,
    Method,
    NotBelow,
    Rng,
    Space,
    Statement,
    Terms,
    Tokens,
    Trend,
    Trial,
    Value,
    pooled,
)
from sensorium.data.rows import Rows
from sensorium.data.stream import Epochs
from sensorium.run.fit import AdamW, Stage

NEEDS = {"image": "image"}
PARTS = {
    "student and slow teacher": "Momentum",
    "multi-crop views": "multi_crop",
    "self-distillation across views": "across_views",
    "Sinkhorn-Knopp centring of the teacher": "sinkhorn",
    "masked patch loss (iBOT)": "hidden_patches",
    "spread of summaries (KoLeo)": "koleo",
    "schedules of momentum and teacher temperature": "schedule",
}
PARTIAL = (
    "report generation from frozen features, a start from DINOv2's weights, the rise of the weight decay, "
    "a last stretch at higher resolution, stochastic depth"
)
_SMALL = {"dim": 64, "dropout": 0.0}
_PROBED = ("sensorium.lab.factors:factors", "sensorium.lab.factors:segments")


def _ours(**changes: float | bool) -> Arm:
    return Arm(config=changes, measures=_PROBED)


def _claim(arms: Mapping[str, Arm], *says: Statement) -> Claim:
    return Claim(
        arms={"ours": _ours(), **arms},
        says=says,
        beats="blind majority",
        rates=(1e-3, 3e-3, 1e-2),
        budget=Budget(25_600),
        data="world/unsaid",
        towers="scratch",
        batch=64,
    )


CLAIMS = {
    "what captions leave out": _claim(
        {
            "baseline": Arm(paper="baseline/clip", config=_SMALL, measures=_PROBED),
            "clip told all": Arm(paper="baseline/clip", config=_SMALL, measures=_PROBED, data="world/told"),
            "untrained": _ours(trained=False),
        },
        Above("knn unsaid", 0.05, ceiling=0.97),
        Above("knn unsaid", 0.02, baseline="untrained", ceiling=0.97),
        NotBelow("auroc unsaid", 0.02),
        Above("knn ground", 0.1, ours="clip told all", ceiling=0.97),
        Above("knn place", 0.1, ours="clip told all", ceiling=0.97),
    ),
    "parts": _claim(
        {
            "without masked patches": _ours(ibot=0.0),
            "without spreading": _ours(koleo=0.0),
            "without local crops": _ours(locals=0),
        },
        Above("pixel auroc", 0.01, baseline="without masked patches", ceiling=0.99),
        Above("knn unsaid", 0.01, baseline="without spreading", ceiling=0.97),
        Above("knn unsaid", 0.01, baseline="without local crops", ceiling=0.97),
    ),
    "more pictures": _claim(
        {"100 pictures": _ours(rows=100), "1,000 pictures": _ours(rows=1000)},
        Trend("knn unsaid", 0.02, ("100 pictures", "1,000 pictures", "ours"), ceiling=0.97),
    ),
}
GLOBALS = 2
"""Views that the teacher sees; the student sees the same, and the local ones."""


@dataclass(frozen=True)
class Config:
    """The tower (`patch` pixels, `dim`, `layers`, `heads`), its two heads, and the recipe.

    `locals` small crops per picture; crops are a `global_scale` or `local_scale` share of its area; `coloured` is the
    chance that a crop's colours change, `masked` that a global crop has masked patches. `ibot` and `koleo` weigh their
    losses, 0 leaves one out. The teacher's `decay` rises to 1, its temperature along `sharp`. `rows` above 0 trains on
    the first so many rows alone; `trained` False leaves the tower as it starts.
    """

    patch: int = 8
    dim: int = 64
    layers: int = 2
    heads: int = 2
    prototypes: int = 64
    hidden: int = 128
    bottleneck: int = 32
    locals: int = 2
    global_scale: tuple[float, float] = (0.5, 1.0)
    local_scale: tuple[float, float] = (0.15, 0.5)
    coloured: float = 0.5
    masked: float = 0.5
    ibot: float = 1.0
    koleo: float = 0.1
    decay: float = 0.99
    sharp: tuple[float, float] = (0.04, 0.07)
    temperature: float = 0.1
    rows: int = 0
    trained: bool = True


def schedule(config: Config, done: float) -> tuple[float, float]:
    """Share of the training done -> the teacher's decay, on half a cosine to 1, and its temperature, which is at the
    upper end after three tenths."""
    decay = 1 - (1 - config.decay) * (1 + math.cos(math.pi * done)) / 2
    low, high = config.sharp
    return decay, low + (high - low) * min(1.0, done / 0.3)


class Network(nn.Module):
    """A tower and its heads: of summaries, and of patches where these are learnt from."""

    def __init__(self, config: Config, size: int) -> None:
        super().__init__()
        self.tower = VisionTransformer(config.patch, config.dim, config.layers, config.heads, size)
        head = config.dim, config.prototypes, config.hidden, config.bottleneck
        self.summaries = PrototypeHead(*head)
        self.patches = PrototypeHead(*head) if config.ibot else None


class RadDino(Method):
    """A student and its slow teacher, whose tower is what is used. `steps` are those of the whole training."""

    def __init__(self, config: Config, size: int) -> None:
        super().__init__()
        self.config, self.steps = config, 1
        self.student = Network(config, size)
        self.teacher = Momentum(self.student, config.decay)
        wide = View(size, config.global_scale, coloured=config.coloured)
        small = View(max(1, size // 2 // config.patch) * config.patch, config.local_scale, coloured=config.coloured)
        # The second global view is blurred seldom and solarised at times (BYOL, arXiv 2006.07733).
        self.views = (replace(wide, blurred=1.0), replace(wide, blurred=0.1, solarised=0.2), small)
        self.spaces = {"image": Space(2 * config.dim)}

    @property
    def tower(self) -> VisionTransformer:
        """The teacher's tower."""
        slow = self.teacher.module
        assert isinstance(slow, Network)
        return slow.tower

    def crops(self, pixels: Tensor, rng: Rng) -> tuple[Tensor, Tensor]:
        """u8 [B 3 H W] -> global views [2B 3 H W] and local ones [nB 3 h w], in grey levels."""
        first, second, small = self.views
        views = [multi_crop(pixels, v, 1, rng(f"global view {k}")) for k, v in enumerate((first, second))]
        return 255 * torch.cat(views), 255 * multi_crop(pixels, small, self.config.locals, rng("local views"))

    @torch.no_grad()
    def targets(self, views: Tensor, masked: Tensor, sharp: float) -> tuple[Tensor, Tensor]:
        """What the teacher sees in whole views: assignments of summaries [2B K] and of masked patches [M K]."""
        slow = self.teacher.module
        assert isinstance(slow, Network)
        seen = slow.tower.seen(Field(views))
        hidden = slow.patches(seen.patches.x[masked]) if slow.patches is not None else seen.patches.x[:0, 0]
        return sinkhorn(slow.summaries(seen.summary), sharp), sinkhorn(hidden, sharp)

    def losses(self, batch: Batch, rng: Rng) -> Terms:
        config, pixels = self.config, image_of(batch["image"]).data
        self.teacher.decay, sharp = schedule(config, min(1.0, rng.step / self.steps))
        views, small = self.crops(pixels, rng)
        grid = views.shape[2] // config.patch, views.shape[3] // config.patch
        share = config.masked if config.ibot else 0.0
        masked = block_masks(len(views), *grid, (0.1, 0.5), share, rng("masks")).to(pixels.device)
        summaries, patches = self.targets(views, masked, sharp)
        seen = self.student.tower.seen(Field(views), masked)
        said = [seen.summary, *([self.student.tower.seen(Field(small)).summary] if len(small) else [])]
        logits = by_view(self.student.summaries(torch.cat(said)), len(pixels))
        terms = {"dino": across_views(logits, by_view(summaries, len(pixels)), config.temperature)}
        if self.student.patches is not None:
            picture, _ = masked.nonzero(as_tuple=True)
            hidden = self.student.patches(seen.patches.x[masked])
            terms["ibot"] = hidden_patches(hidden, patches, picture, config.temperature)
        if config.koleo:
            spread = [koleo(view) for view in seen.summary.chunk(GLOBALS)]
            terms["koleo"] = torch.stack(spread).sum()
        return terms

    def after_step(self, batch: Batch) -> None:
        self.teacher.update(self.student)

    @torch.no_grad()
    def latent(self, batch: Batch, key: str) -> Tokens:
        """The teacher's patches [B N dim]."""
        patches: Tokens = self.tower(image_of(batch[key]))
        return patches

    def embed(self, batch: Batch, of: str) -> Tokens:
        """Summary and mean patch, side by side: the features that DINOv2's linear probes read."""
        image = image_of(batch[of])
        seen = self.tower.seen(image)
        both = torch.cat([unit(seen.summary), unit(pool(seen.patches))], 1)
        return pooled(unit(both)) if image.mask is None else Tokens(unit(both)[:, None], image.mask.reshape(-1, 1))

    def rank(self, queries: Batch, items: Batch) -> Tensor:
        """Pictures against pictures [Q I]."""
        return by_cosine(self, queries, items)


def by_view(x: Tensor, pictures: int) -> Tensor:
    """[V*B K] -> [V B K]."""
    return x.reshape(-1, pictures, x.shape[-1])


def image_of(value: Value) -> Field:
    """The pictures of a batch."""
    assert isinstance(value, Field)
    return value


def build(config: Config, fields: Fields, bases: Bases) -> RadDino:
    """A tower from scratch for pictures of the data's size; nothing of `bases` is used, since these see text."""
    method = RadDino(config, fields["image"].shape[-1])
    return method if config.trained else method.requires_grad_(False)


def stages(config: Config, method: RadDino, rows: Rows, trial: Trial) -> Sequence[Stage]:
    """One stage; weights decay as DINOv2's do at the start (its rise to 0.4 is left out)."""
    if not config.trained:
        return []
    method.steps = trial.budget.steps(trial.batch)
    seen = rows.select(rows.index[: config.rows]) if config.rows else rows
    stream = Epochs(seen, trial.batch, trial.seed)
    weights = {"ibot": config.ibot, "koleo": config.koleo}
    return [Stage(stream, trial.budget, trial.batch, optim=AdamW(decay=0.04), clip=3.0, weights=weights)]
