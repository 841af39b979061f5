"""4M-21: An Any-to-Any Vision Model for Tens of Tasks and Modalities.

Bachmann et al., 2024, arXiv 2406.09406. 4M with three times the kinds: what a frozen encoder sees, as one vector and as
a map, instances, main colours, numbers about the picture, further texts; each has a tokeniser of its own kind, and a
share of the rows is text alone. A vector that is predicted from any modality finds pictures.
Differs from four-m in the modalities, in rows of text alone and in what is embedded.
Claim: four-m's own modalities are no worse among three times as many; pictures are found from any of them.
Seen, one seed, 150 validation rows, 28,800 samples, rate 5e-3, losses still falling: four-m's own at 0.37 in the mean
(depth 0.74, edges 0.67, masks 0.46, boxes 0.28, captions 0.05, pictures of captions 0.00); four-m was run for 38,400
alone, so the two are not compared yet. Of 150 pictures (chance 0.01) depth finds the right one first at 0.35, masks at
0.37, edges at 0.19; captions and boxes at chance.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sensorium.blocks.any_to_any import AnyToAny, Drawing, Modality, Sizes, Through, listed, settings
from sensorium.blocks.codecs.bins import BoxBins, PaletteBins, ValueBins
from sensorium.blocks.codecs.derived import brightness, colourfulness, contrast, edges, palette
from sensorium.blocks.codecs.kmeans import FeatureCodes, PatchCodes, VectorCodes
from sensorium.blocks.decode import Canvas, Prompt
from sensorium.blocks.similarity import unit
from sensorium.blocks.two_tower import TwoTower, by_cosine
from sensorium.core import (
    Arm,
    Bases,
    Batch,
    Budget,
    Claim,
    Field,
    Fields,
    Keeps,
    Method,
    NotBelow,
    Rng,
    SensoriumError,
    Space,
    Terms,
    Tokens,
    nearest,
    pooled,
)

NEEDS = {
    "image": "image",
    "text": "ids optional",
    "text.*": "ids optional",
    "image.*": "image optional",
    "boxes": "boxes optional",
    "value": "value optional",
    "value.*": "value optional",
}
PARTS = {
    "pictures, maps and instances as ids": "PatchCodes",
    "feature maps as ids": "FeatureCodes",
    "vectors as ids": "VectorCodes",
    "boxes as ids": "BoxBins",
    "palettes as ids": "PaletteBins",
    "metadata as ids": "ValueBins",
    "random subsets in and out, chained generation, text alone": "AnyToAny",
    "retrieval from any modality": "FourM21.embed",
}
PARTIAL = "poses: the columns of training rows carry none"
BASES = {"pair-encoder": ""}
SMALL = {"dim": 64, "encoder": 2, "decoder": 2, "codes": 200, "read": 40, "asked": 40}
OWN = "sensorium.lab.modalities:own"
CLAIMS = {
    "more": Claim(
        arms={
            "ours": Arm(config=SMALL, measures=(OWN, "sensorium.lab.modalities:retrieved")),
            "baseline": Arm(paper="four-m", config=SMALL, measures=(OWN,)),
        },
        says=[
            NotBelow("score", 0.05, ceiling=0.97),
            Keeps("found", 5.0, baseline="ours", of="guessed"),
        ],
        beats="mean image",
        rates=(2e-3, 5e-3, 1.25e-2),
        budget=Budget(51_200),
        data="world/modalities",
        towers="scratch",
        batch=32,
    ),
}
VECTOR, FEATURES = "vector", "features"
EYE = 32
"""Side of the pictures that the frozen encoder knows."""
NUMBERS = {"brightness": brightness, "contrast": contrast, "colourfulness": colourfulness}


@dataclass(frozen=True)
class Config:
    """As four-m's; the vector is `groups` ids of `vector` codes each, the palette `colours` of `tones` steps a channel,
    a number one of `values` ids; `alone` is the share of rows of which one text is read and asked for."""

    dim: int = 96
    heads: int = 2
    encoder: int = 3
    decoder: int = 3
    read: int = 32
    asked: int = 32
    alpha: float = 0.3
    blank: float = 0.1
    codes: int = 256
    boxes: int = 4
    bins: int = 32
    groups: int = 8
    vector: int = 32
    colours: int = 3
    tones: int = 16
    values: int = 16
    alone: float = 0.1
    steps: int = 6
    temperature: float = 0.5
    guidance: float = 1.5
    reads: str = ""
    writes: str = ""
    through: str = ""


class Seen(nn.Module):
    """u8 [B 3 H W] -> what a frozen pair encoder sees in it: its vector [B D], or the map before its head [B T D]."""

    def __init__(self, encoder: TwoTower, read: str) -> None:
        super().__init__()
        self.encoder, self.read = encoder, read

    @torch.no_grad()
    def forward(self, image: Field) -> Field:
        large = F.interpolate(image.data.float(), (EYE, EYE), mode="nearest").to(torch.uint8)
        batch = {"image": Field(large, image.mask)}
        if self.read == VECTOR:
            return Field(self.encoder.embed(batch, "image").x[:, 0], image.mask)
        return Field(self.encoder.latent(batch, "image").x, image.mask)


class FourM21(Method):
    """4M over more modalities; embeds whatever it reads as the vector that it predicts from it."""

    def __init__(self, model: AnyToAny) -> None:
        super().__init__()
        self.model = model
        self.generates: Mapping[str, str] = model.generates
        self.reads, self.writes = model.reads, model.writes
        width = sum(book.codes.shape[1] for book in self.vectors.books)  # type: ignore[index,misc]
        self.spaces: Mapping[str, Space] = {n: Space(width) for n in model.reads if n != VECTOR}

    @property
    def vectors(self) -> VectorCodes:
        """The tokeniser of vectors."""
        through = self.model.grids[VECTOR].codec
        assert isinstance(through, Through) and isinstance(through.codec, VectorCodes)
        return through.codec

    def solve(self, train: Iterable[Batch]) -> None:
        self.model.solve(train)

    def losses(self, batch: Batch, rng: Rng) -> Terms:
        return self.model.losses(batch, rng)

    def prompt(self, batch: Batch, to: str) -> Prompt | Canvas:
        """As 4M's."""
        return self.model.prompt(batch, to)

    def cells(self, batch: Batch) -> Mapping[str, object]:
        """As 4M's."""
        return self.model.cells(batch)

    def embed(self, batch: Batch, of: str) -> Tokens:
        """The mean of the vectors that are likely after one modality alone, of length 1: [B 1 D]; a derived one may be
        given as what it is derived from."""
        if of not in self.spaces:
            raise SensoriumError(f"four-m-21 does not embed {of!r}{nearest(of, self.spaces)}")
        key = of if of in batch else self.model.grids[of].source
        known = {of: self.model.cells({key: batch[key]})[of]}
        odds = self.model.scores(VECTOR, known, len(batch[key])).softmax(-1)
        return pooled(unit(self.vectors.expected(odds)))

    def rank(self, queries: Batch, items: Batch) -> Tensor:
        """Cosines of what each side is embedded as [Q I]."""
        return by_cosine(self, queries, items)


def grids(config: Config, fields: Fields, encoder: TwoTower) -> list[Modality]:
    """Every picture, number and set of boxes that the data has, and what is derived of the picture."""
    found = []
    for name, info in fields.items():
        if "/" in name:
            continue
        if info.kind == "image":
            found.append(Modality(name, "image", name, PatchCodes((info.shape[1], info.shape[2]), config.codes)))
        elif info.kind == "value":
            found.append(Modality(name, "value", name, ValueBins(config.values)))
        elif info.kind == "boxes":
            found.append(Modality(name, "boxes", name, BoxBins(config.boxes, config.bins)))
    size = fields["image"].shape[1], fields["image"].shape[2]
    probe = Seen(encoder, FEATURES)(Field(torch.zeros(1, 3, EYE, EYE, dtype=torch.uint8))).data
    cells = round(probe.shape[1] ** 0.5)
    vector = Through(Seen(encoder, VECTOR), VectorCodes(encoder.spaces["image"].dim, config.groups, config.vector))
    features = Through(Seen(encoder, FEATURES), FeatureCodes((cells, cells), probe.shape[2], config.codes))
    tones = Through(partial(palette, colours=config.colours), PaletteBins(config.colours, config.tones))
    return [
        *found,
        Modality("contours", "image", "image", Through(edges, PatchCodes(size, config.codes))),
        Modality(VECTOR, "vector", "image", vector),
        Modality(FEATURES, "features", "image", features),
        Modality("palette", "palette", "image", tones),
        *(Modality(n, "value", "image", Through(f, ValueBins(config.values))) for n, f in NUMBERS.items()),
    ]


def build(config: Config, fields: Fields, bases: Bases) -> FourM21:
    """One model from scratch for the modalities that the data has, beside the shared pair encoder."""
    encoder = bases.get("pair-encoder")
    assert isinstance(encoder, TwoTower)
    texts = {k: info for k, info in fields.items() if info.kind == "text" and "/" not in k}
    model = AnyToAny(
        grids(config, fields, encoder),
        {k: info.length for k, info in texts.items()},
        max((info.vocab for info in texts.values()), default=0),
        settings(Sizes, config),
        settings(Drawing, config),
        reads=listed(config.reads),
        writes=listed(config.writes),
        through=listed(config.through),
        alone=config.alone,
    )
    return FourM21(model)
