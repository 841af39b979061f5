"""GILL: Generating Images with Multimodal Language Models.

Koh et al., 2023, arXiv 2305.17216. A frozen language model learns some [IMG] tokens; a small encoder-decoder reads its
states at them and gives what a frozen denoiser reads, as that makes it of the caption. The same states find pictures by
a linear map into a space that they share, and decide whether the picture at hand is shown or a new one painted.
Differs from denoiser in who reads the text: a language model, which goes through long contexts as it does otherwise.
Claim: pictures after several turns above those that the denoiser paints from the last turn, or from all turns by its
own text tower; the decision above painting always and above retrieving always.
Differs from the paper in that contexts are trained on, towards the caption of their picture, and in who says which
picture is better: the frozen eye, of what frozen parts paint and find for captions of train; the authors asked people.
Piloted, not yet measured (one seed, rate 3e-3; objects right, place included): at 19,200 samples 0.93 as decided, 0.81
always painted, 0.84 always found, 0.98 with the better of both; at 16,000 samples 0.85 on test. The denoiser alone has
0.02 from the last turn and 0.01 from all turns, whose words it never learnt: hence the arm with a trained text tower.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sensorium.blocks.adapt.vocabulary import extended
from sensorium.blocks.connect.mapper import LinearMapper, QueryMapper, Readout, existing, regression
from sensorium.blocks.decode import Cache, Canvas, Decoder, Prompt, paint
from sensorium.blocks.decode.interleave import Part, alone, interleave, next_token
from sensorium.blocks.denoiser import PictureDenoiser
from sensorium.blocks.mixed import following, opened, packed
from sensorium.blocks.objectives.contrastive import same_group, symmetric
from sensorium.blocks.objectives.nll import nll
from sensorium.blocks.shared import decoder_of
from sensorium.blocks.similarity import pool, unit
from sensorium.blocks.towers.head import linear
from sensorium.blocks.two_tower import TwoTower, by_cosine, groups
from sensorium.core import (
    Above,
    Arm,
    Bases,
    Batch,
    Budget,
    Claim,
    Field,
    Fields,
    Ids,
    Method,
    NotBelow,
    Rng,
    SensoriumError,
    Space,
    Statement,
    Terms,
    Tokens,
    Tower,
    Trial,
    Value,
    choice,
    nearest,
)
from sensorium.data.rows import Rows
from sensorium.data.stream import Epochs
from sensorium.lab.retell import retold
from sensorium.run.evaluate import Scored
from sensorium.run.fit import Stage
from sensorium.run.tasks import Question

NEEDS = {"image": "image", "text": "ids", "text/caption": "ids optional"}
BASES = {"causal-lm": "ids", "denoiser": "", "pair-encoder": ""}
PARTS = {
    "learnt [IMG] tokens in a frozen LM": "extended",
    "loss on saying them": "Gill.saying",
    "mapper into the denoiser's conditioning": "QueryMapper",
    "regression to what its text side gives": "regression",
    "retrieval head, InfoNCE both ways": "symmetric",
    "pictures into the LM, caption loss": "Gill.captioning",
    "retrieve or generate, learnt": "Gill.choose",
}
_MEASURED = ("sensorium.lab.showing:showing", "sensorium.papers.generate.gill:chosen")


def _arm(data: str = "", **changes: float | str) -> Arm:
    return Arm(config=changes, data=data, measures=_MEASURED)


def _claim(arms: Mapping[str, Arm], *says: Statement) -> Claim:
    return Claim(
        arms=arms,
        says=says,
        beats="mean image",
        rates=(1e-3, 3e-3, 1e-2),
        budget=Budget(14_400),
        data="world/contexts",
        needs=("paints objects", "texts foreseen", "binding in pictures"),
        batch=32,
    )


CLAIMS = {
    "long context": _claim(
        {
            "ours": _arm(decides="paint"),
            "last turn": _arm("world/last-turns", led="words"),
            "all turns": _arm(led="words"),
            "trained text tower": _arm(led="tower"),
            "linear map": _arm(decides="paint", mapper="linear"),
            "nothing said": _arm(decides="paint", saying=0.0),
        },
        Above("shown objects", 0.2, baseline="last turn"),
        Above("shown objects", 0.2, baseline="all turns"),
        Above("shown objects", 0.0, baseline="trained text tower", ceiling=0.99),
        Above("shown objects", 0.05, baseline="linear map", ceiling=0.99),
        NotBelow("shown objects", 0.03, baseline="nothing said"),
        Above("said", 0.2, baseline="nothing said"),
    ),
    "decision": _claim(
        {
            "ours": _arm(),
            "always painted": _arm(decides="paint"),
            "always found": _arm(decides="retrieve"),
            "by chance": _arm(decides="chance"),
        },
        Above("shown objects", 0.03, baseline="always painted", ceiling=0.99),
        Above("shown objects", 0.03, baseline="always found", ceiling=0.99),
        Above("shown objects", 0.03, baseline="by chance", ceiling=0.99),
    ),
}
"""What is found comes from 320 pictures of train, which hold most of the scenes that texts can tell, not all."""

PICTURE, STROKES, AT_ONCE = 1, 12, 128
"""Kind of a picture in a sequence; steps of a picture that is judged; how many are painted together."""
START, DECISION = 1 / 0.07, 10.0
"""Inverse temperature at first; rate of the decision head, one layer on states that still move, as a multiple."""


@dataclass(frozen=True)
class Config:
    """`tokens` [IMG] tokens; `mapper` queries, of `layers` layers and width `width`, or linear, gives at most `queries`
    tokens to the denoiser. Pictures are found in a space of `dim` numbers among `index` pictures of train, and come
    into the LM as `seen` tokens. `saying` weighs the loss on saying [IMG].

    `judged` captions of train have one picture painted, to learn the decision from; `decides` learnt, paint, retrieve
    or chance. `led` by states; to compare with, by words: the denoiser with its own text tower, untrained, or by that
    tower trained like the mapper.
    """

    tokens: int = 4
    mapper: str = "queries"
    layers: int = 2
    width: int = 96
    queries: int = 24
    dim: int = 64
    index: int = 320
    seen: int = 2
    saying: float = 1.0
    judged: int = 400
    decides: str = "learnt"
    led: str = "states"

    def __post_init__(self) -> None:
        for name in ("tokens", "layers", "queries", "dim", "index", "seen", "judged"):
            if getattr(self, name) < 1:
                raise SensoriumError(f"{name} {getattr(self, name)}; expected 1 or more")


Decides = Callable[["Gill", Tokens, Tensor], Tensor]
"""A method, states [B R D] and the similarity of the closest picture [B] -> whether to paint [B] bool."""


def learnt(method: Gill, states: Tokens, best: Tensor) -> Tensor:
    """What the decision head says."""
    return method.choose(states, best) > 0


def always(method: Gill, states: Tokens, best: Tensor) -> Tensor:
    """A new picture each time."""
    return torch.ones_like(best, dtype=torch.bool)


def never(method: Gill, states: Tokens, best: Tensor) -> Tensor:
    """A picture that is there each time."""
    return torch.zeros_like(best, dtype=torch.bool)


def chance(method: Gill, states: Tokens, best: Tensor) -> Tensor:
    """Nobody decides."""
    return torch.rand(len(best), generator=Rng(0)("chance")).to(best.device) < 0.5


DECIDES: Mapping[str, Decides] = {"learnt": learnt, "paint": always, "retrieve": never, "chance": chance}


class Gill(Method):
    """Shows a picture after a text ("image"), painted or found, tells one ("text"), and embeds both in one space.

    What is found is one of `features` [n F], `pixels` u8 [n 3 H W], the rows `ids` [n] of train.
    """

    features: Tensor
    pixels: Tensor
    ids: Tensor

    def __init__(
        self, decoder: Decoder, eye: TwoTower, painter: PictureDenoiser, retell: Callable[[Ids], Ids], config: Config
    ) -> None:
        super().__init__()
        self.generates: Mapping[str, str] = {"image": "image", "text": "text"}
        self.spaces: Mapping[str, Space] = dict.fromkeys(("image", "text"), Space(config.dim))
        self.shown = extended(decoder, config.tokens)
        self.decoder, self.eye, self.painter = decoder, eye, painter
        self.retell, self.config, self.decides = retell, config, choice("decides", config.decides, DECIDES)
        width = self.seen(Field(torch.zeros(1, 3, *painter.size, dtype=torch.uint8))).x.shape[2]
        self.mapper = choice("mapper", config.mapper, MAPPERS)(decoder.dim, painter.dim, config)
        self.see = linear(width, config.seen * decoder.dim)
        self.of_text, self.of_image = Readout(decoder.dim, config.dim), linear(width, config.dim)
        self.log_scale = nn.Parameter(torch.tensor(math.log(START)))
        self.decision = linear(decoder.dim + 1, 1)
        for name in ("features", "pixels", "ids"):
            self.register_buffer(name, torch.empty(0))

    @property
    def scale(self) -> Tensor:
        """The inverse temperature, a scalar of at most 100."""
        return self.log_scale.exp().clamp(max=100.0)

    def losses(self, batch: Batch, rng: Rng) -> Terms:
        """The five losses of rows of text and picture; a sixth on the decision, where rows are judged ("better")."""
        text, seen = packed(_ids(batch, "text")), self.seen(batch["image"])
        caption = _ids(batch, "text/caption") if "text/caption" in batch else text
        h, states = self.read(text)
        with torch.no_grad():
            wanted = self.painter.told(self.retell(caption))
        image, existence = regression(self.mapper(states), wanted)
        same = same_group(groups(batch), groups(batch)) | alike(caption)
        scores = self.scale * self.in_text(states) @ self.in_image(seen).T
        terms = {
            "image": image,
            "existence": existence,
            "retrieval": symmetric(scores, same),
            "saying": self.config.saying * self.saying(text, h, states),
            "caption": self.captioning(seen, caption),
        }
        if "better" not in batch:
            return terms
        better, row = batch["better"], batch["row"]
        assert isinstance(better, Field) and better.mask is not None and isinstance(row, Field)
        found = self.choose(states, self.near(states, row.data).amax(1))
        each = F.binary_cross_entropy_with_logits(found, better.data, reduction="none")
        return terms | {"decision": (each * better.mask).sum() / better.mask.sum().clamp(min=1)}

    def read(self, text: Ids) -> tuple[Tensor, Tokens]:
        """Packed text [B n] -> the LM's states at its beginning and words [B n+1 D], and at the [IMG] tokens [B R D].

        What comes before the first learnt token needs no gradient.
        """
        cache = Cache()
        with torch.no_grad():
            begin = self.decoder.embed(alone(self.decoder.begin, text.mask.any(1) | True)).x[0, 0]
            h = self.decoder(opened(self.decoder.embed(text), begin), cache=cache)
        shown = self.images(len(text), text.ids.device)
        return h, Tokens(self.decoder(self.decoder.embed(shown), cache=cache), shown.mask)

    def images(self, rows: int, device: torch.device) -> Ids:
        """The [IMG] ids [B R]."""
        ids = torch.tensor(list(self.shown), device=device).expand(rows, -1)
        return Ids(ids, torch.ones_like(ids, dtype=torch.bool))

    def saying(self, text: Ids, h: Tensor, states: Tokens) -> Tensor:
        """The next-token loss of the text and of the [IMG] tokens after it: only their scores can learn by it."""
        after, shown = following(text, self.shown[0]), self.images(len(text), text.ids.device)
        ids = torch.cat([after.ids, shown.ids[:, 1:]], 1)
        mask = torch.cat([after.mask, (shown.mask & text.mask.any(1, keepdim=True))[:, 1:]], 1)
        return nll(self.decoder.logits(torch.cat([h, states.x[:, :-1]], 1)), ids, mask)

    def captioning(self, seen: Tokens, caption: Ids) -> Tensor:
        """The next-token loss of captions after their pictures."""
        there = caption.mask.any(1)
        end = Part(alone(self.decoder.end, there), learn=True)
        seq = interleave(self.decoder.embed, [*self.before(seen), Part(caption, learn=True), end])
        return next_token(self.decoder, self.decoder(seq.tokens), seq)

    def before(self, seen: Tokens) -> list[Part]:
        """What stands before a caption: the picture's tokens and the mark of a beginning."""
        x = self.see(seen.x[:, 0]).unflatten(1, (-1, self.decoder.dim))
        mask = seen.mask.expand(-1, x.shape[1])
        every = torch.ones_like(seen.mask[:, 0])
        return [Part(Tokens(x * mask[..., None], mask), PICTURE), Part(alone(self.decoder.begin, every))]

    def choose(self, states: Tokens, best: Tensor) -> Tensor:
        """States [B R D], the scaled similarity of the closest picture [B] -> above 0: paint [B]. Neither learns by
        it."""
        return self.decision(torch.cat([pool(states), best[:, None]], 1).detach())[:, 0]  # type: ignore[no-any-return]

    def near(self, states: Tokens, but: Tensor | None = None) -> Tensor:
        """States [B R D] -> scaled similarities to the index [B n]; rows `but` [B] of train do not find themselves."""
        found = self.scale * self.in_text(states) @ unit(self.of_image(self.features)).T
        return found if but is None else found.masked_fill(but[:, None] == self.ids, -self.scale.item())

    def seen(self, image: Value) -> Tokens:
        """Pictures u8 [B 3 H W] -> what the frozen eye sees, place by place, as one vector [B 1 F] of mean 0 and
        variance 1; Tokens pass."""
        if isinstance(image, Tokens):
            return image
        assert isinstance(image, Field)
        with torch.no_grad():
            grid = self.eye.latent({"image": self.sized(image)}, "image")
        flat = grid.x.flatten(1)
        return Tokens(F.layer_norm(flat, flat.shape[1:])[:, None], grid.mask.any(1, keepdim=True))

    def sized(self, image: Field) -> Field:
        """Pictures in the size that is painted."""
        if tuple(image.data.shape[2:]) == self.painter.size:
            return image
        small = F.adaptive_avg_pool2d(image.data.float(), self.painter.size).round().to(torch.uint8)
        return Field(small, image.mask)

    def in_text(self, states: Tokens) -> Tensor:
        """States [B R D] -> unit vectors [B dim]."""
        return unit(self.of_text(states))

    def in_image(self, seen: Tokens) -> Tensor:
        """What the eye sees [B 1 F] -> unit vectors [B dim]."""
        return unit(self.of_image(seen.x[:, 0]))

    def solve(self, train: Iterable[Batch]) -> None:
        """Keep `index` pictures of train, evenly spaced."""
        kept, step, n = [], 1, 0
        for batch in train:
            image, row = batch["image"], batch["row"]
            assert isinstance(image, Field) and isinstance(row, Field)
            at = torch.arange(-n % step, len(row), step)
            kept.append((row.data[at], self.sized(image.rows(at)).data))
            n += len(row)
            while sum(len(ids) for ids, _ in kept) > 4 * self.config.index:  # twice as far apart
                ids, pixels = (torch.cat(side)[::2] for side in zip(*kept, strict=True))
                kept, step = [(ids, pixels)], 2 * step
        ids, pixels = (torch.cat(side) for side in zip(*kept, strict=True))
        which = torch.linspace(0, len(ids) - 1, min(self.config.index, len(ids))).long()
        self.ids, self.pixels = ids[which], pixels[which]
        self.features = self.seen(Field(self.pixels)).x[:, 0]

    def frozen(self, batch: Batch) -> Batch:
        return {k: self.seen(v) if k == "image" else v for k, v in batch.items()}

    def embed(self, batch: Batch, of: str) -> Tokens:
        if of.startswith("image"):
            seen = self.seen(batch[of])
            return Tokens(self.in_image(seen)[:, None], seen.mask)
        text = packed(_ids(batch, of))
        return Tokens(self.in_text(self.read(text)[1])[:, None], text.mask.any(1, keepdim=True))

    def rank(self, queries: Batch, items: Batch) -> Tensor:
        return by_cosine(self, queries, items)

    def decided(self, batch: Batch) -> tuple[Tokens, Tensor, Tensor]:
        """A batch with texts -> states [B R D], whether to paint [B] bool, and the place in the index of the closest
        picture [B] int64."""
        states = self.read(packed(_ids(batch, "text")))[1]
        best, which = self.near(states).max(1)
        return states, self.decides(self, states, best), which

    def prompt(self, batch: Batch, to: str) -> Prompt | Canvas:
        """To "image": where a picture is painted, which in some rows gives way to one that is found; to "text": a
        picture, before its caption."""
        if to == "text":
            return Prompt(self.decoder, interleave(self.decoder.embed, self.before(self.seen(batch["image"]))).tokens)
        if to not in self.generates:
            raise SensoriumError(f"cannot give {to!r}{nearest(to, self.generates)}")
        states, paints, which = self.decided(batch)
        canvas = self.painter.canvas(existing(self.mapper(states)))

        def finish(samples: Tensor) -> Field:
            painted = canvas.finish(samples).data
            return Field(torch.where(paints[:, None, None, None], painted, self.pixels[which]))

        return replace(canvas, finish=finish)


class Led(Method):
    """The frozen denoiser with its own text tower, on all that it is given to read."""

    def __init__(self, painter: PictureDenoiser, retell: Callable[[Ids], Ids]) -> None:
        super().__init__()
        self.generates: Mapping[str, str] = {"image": "image"}
        self.painter, self.retell = painter, retell

    def losses(self, batch: Batch, rng: Rng) -> Terms:
        """The diffusion loss; nothing is trained by it."""
        image = batch["image"]
        assert isinstance(image, Field)
        return {"picture": self.painter.denoising(image, self.painter.told(self.retell(_ids(batch, "text"))), rng)}

    def prompt(self, batch: Batch, to: str) -> Canvas:
        if to not in self.generates:
            raise SensoriumError(f"cannot give {to!r}{nearest(to, self.generates)}")
        return self.painter.canvas(self.painter.told(self.retell(_ids(batch, "text"))))


class Taught(Method):
    """The frozen denoiser with a copy of its text tower, which is trained on the same texts by the same regression."""

    def __init__(self, tower: Tower, painter: PictureDenoiser, retell: Callable[[Ids], Ids], mapper: nn.Module) -> None:
        super().__init__()
        self.generates: Mapping[str, str] = {"image": "image"}
        self.tower, self.painter, self.retell, self.mapper = tower, painter, retell, mapper

    def losses(self, batch: Batch, rng: Rng) -> Terms:
        text, caption = (_ids(batch, k if k in batch else "text") for k in ("text", "text/caption"))
        with torch.no_grad():
            wanted = self.painter.told(self.retell(caption))
        image, existence = regression(self.mapper(self.tower(self.retell(text))), wanted)
        return {"image": image, "existence": existence}

    def prompt(self, batch: Batch, to: str) -> Canvas:
        if to not in self.generates:
            raise SensoriumError(f"cannot give {to!r}{nearest(to, self.generates)}")
        return self.painter.canvas(existing(self.mapper(self.tower(self.retell(_ids(batch, "text"))))))


def _ids(batch: Batch, key: str) -> Ids:
    value = batch[key]
    assert isinstance(value, Ids)
    return value


def alike(text: Ids) -> Tensor:
    """Texts [B n] -> which are equal, [B B] bool: pictures of one caption are not each other's negatives."""
    said = packed(text)
    ids = said.ids.masked_fill(~said.mask, -1)
    return (ids[:, None] == ids[None]).all(2)


def queries(d_in: int, d_out: int, config: Config) -> nn.Module:
    """GILLMapper: an encoder of states, a decoder of learnt queries."""
    return QueryMapper(d_in, d_out, config.queries, config.width, config.layers, 4)


def each_alone(d_in: int, d_out: int, config: Config) -> nn.Module:
    """A linear map of each state."""
    return LinearMapper(d_in, d_out, config.queries, config.tokens)


MAPPERS: Mapping[str, Callable[[int, int, Config], nn.Module]] = {"queries": queries, "linear": each_alone}


def by_states(config: Config, painter: PictureDenoiser, retell: Callable[[Ids], Ids], bases: Bases) -> Method:
    """The language model reads."""
    eye = bases.get("pair-encoder")
    assert isinstance(eye, TwoTower)
    return Gill(decoder_of(bases.get("causal-lm")), eye, painter, retell, config)


def by_words(config: Config, painter: PictureDenoiser, retell: Callable[[Ids], Ids], bases: Bases) -> Method:
    """The denoiser's own text tower reads."""
    return Led(painter, retell)


def by_tower(config: Config, painter: PictureDenoiser, retell: Callable[[Ids], Ids], bases: Bases) -> Method:
    """A copy of it reads, and learns to."""
    copied = bases.copy("denoiser")
    assert isinstance(copied, PictureDenoiser)
    mapper = choice("mapper", config.mapper, MAPPERS)(copied.text.dim, painter.dim, config)
    return Taught(copied.text, painter, retell, mapper)


LED: Mapping[str, Callable[[Config, PictureDenoiser, Callable[[Ids], Ids], Bases], Method]] = {
    "states": by_states,
    "words": by_words,
    "tower": by_tower,
}


def build(config: Config, fields: Fields, bases: Bases) -> Method:
    """The shared starts, frozen, and what is between them."""
    painter = bases.get("denoiser")
    assert isinstance(painter, PictureDenoiser)
    return choice("led", config.led, LED)(config, painter, retold(bases, "causal-lm", "denoiser"), bases)


def stages(config: Config, method: Method, rows: Rows, trial: Trial) -> Sequence[Stage]:
    """One stage, for a method that decides on judged rows; none where nothing is trained."""
    if isinstance(method, Led):
        return []
    data, rates = rows, {"": 1.0}
    if isinstance(method, Gill):
        data, rates = rows.with_columns({"better": judged(method, rows, trial.rng)}), {"": 1.0, "decision": DECISION}
    return [Stage(Epochs(data, trial.batch, trial.seed), trial.budget, trial.batch, rates=rates)]


@torch.no_grad()
def judged(method: Gill, rows: Rows, rng: Rng) -> Field:
    """Per row of the whole data set, 1.0 where a picture that is painted from the caption by the denoiser's own text
    tower is closer to the true one than the closest other picture of the index, to the eye; masked where no picture was
    painted: outside of train, and for captions beyond `judged`."""
    texts = rows.columns["text/caption" if "text/caption" in rows.columns else "text"].rows(
        torch.from_numpy(rows.index)
    )
    seen = method.seen(rows.columns["image"].rows(torch.from_numpy(rows.index))).x[:, 0]
    assert isinstance(texts, Ids)
    _, first, same = np.unique(
        texts.ids.masked_fill(~texts.mask, -1).numpy(), axis=0, return_index=True, return_inverse=True
    )
    chosen = np.linspace(0, len(first) - 1, min(len(first), method.config.judged)).astype(np.int64)
    place = np.full(len(first), -1)
    place[chosen] = np.arange(len(chosen))
    at = torch.from_numpy(place[same.reshape(-1)])
    made = painted(method, packed(texts).rows(torch.from_numpy(first[chosen])), rng)
    ids = torch.from_numpy(rows.index)
    own = (unit(seen) * unit(made[at.clamp(min=0)])).sum(1)
    found = (unit(seen) @ unit(method.features).T).masked_fill(ids[:, None] == method.ids, -1).amax(1)
    better, mask = torch.zeros(len(rows.groups)), torch.zeros(len(rows.groups), dtype=torch.bool)
    better[ids], mask[ids] = (own > found).float(), at >= 0
    return Field(better, mask)


def painted(method: Gill, captions: Ids, rng: Rng) -> Tensor:
    """Captions [P n] -> what the eye sees in a picture of each [P F], painted by the denoiser's own text tower."""
    found = []
    for k, part in enumerate(torch.split(torch.arange(len(captions)), AT_ONCE)):
        canvas = method.painter.canvas(method.painter.told(method.retell(captions.rows(part))))
        found.append(method.seen(paint(canvas, STROKES, rng.at(k))).x[:, 0])
    return torch.cat(found)


@torch.no_grad()
def chosen(asked: Question) -> Scored:
    """Scores "retrieved", the share of rows that are shown a picture of the index, and "said", the share after whose
    text the LM says [IMG] next; "said early": after half of it. Nothing of who cannot."""
    method = asked.plan.method
    if not isinstance(method, Gill):
        return Scored({}, {})
    shares: dict[str, list[Tensor]] = {"retrieved": [], "said": [], "said early": []}
    for batch in asked.batches("text"):
        text = packed(_ids(batch, "text"))
        half = Ids(text.ids, text.mask & (text.mask.long().cumsum(1) <= text.mask.sum(1, keepdim=True) // 2))
        shares["retrieved"].append(~method.decided(batch)[1])
        shares["said"].append(says(method, text))
        shares["said early"].append(says(method, half))
    return Scored({name: float(torch.cat(each).float().mean()) for name, each in shares.items()}, {})


def says(method: Gill, text: Ids) -> Tensor:
    """Packed text [B n] -> whether the likeliest next token is [IMG], [B] bool."""
    h = method.read(text)[0]
    last = h[torch.arange(len(h), device=h.device), text.mask.sum(1)]
    return method.decoder.logits(last).argmax(-1) == method.shown[0]
