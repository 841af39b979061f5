"""Image tokens: one decoder over words and the discrete codes of a picture, all by the next-token loss.

Chameleon Team, 2024, arXiv 2405.09818. A codebook makes a picture a grid of ids; captions and grids, either first, are
one sequence of one vocabulary, causal throughout. The codebook is trained first, by itself, and then stays as it is; or
a shared start is taken, and all of the budget goes to the decoder.
What Transfusion is compared with: the picture's half differs, the decoder, the order and the caption's loss do not.
Seen in one run (one object, long captions, 207 CPU-s): captions right at 0.995; pictures at 0.53 drawn at temperature 1
and guidance 2, and on validation at 0.63 with guidance 1.5, at 0.93 with temperature 0.3 besides.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from sensorium.blocks.codecs.vq import PictureTokeniser
from sensorium.blocks.decode import Decoder, Prompt
from sensorium.blocks.mixed import Mixed, Mosaic, following, framed, mixed, opened, packed, taken
from sensorium.blocks.objectives.nll import nll
from sensorium.core import (
    Bases,
    Batch,
    Budget,
    Claim,
    Field,
    Fields,
    Ids,
    Method,
    Rng,
    SensoriumError,
    Terms,
    Tokens,
    Trial,
    nearest,
)
from sensorium.data.rows import Rows
from sensorium.data.stream import Epochs
from sensorium.run.fit import Stage

NEEDS = {"image": "image", "text": "ids"}
PARTS = {
    "pictures as ids of a codebook": "PictureTokeniser",
    "one sequence of words and ids": "mixed",
    "next-token loss on both": "nll",
}
BASES = {"vq": "optional"}
CLAIMS: dict[str, Claim] = {}


@dataclass(frozen=True)
class Config:
    """`codes` of the codebook, whose own training takes the share `tokeniser` of the budget; with `start` "vq" it is
    that start's, whatever `codes` says. Pictures are drawn at `temperature`. Else as Transfusion's."""

    dim: int = 128
    layers: int = 4
    heads: int = 4
    codes: int = 256
    words_first: float = 0.8
    untold: float = 0.1
    guidance: float = 1.5
    temperature: float = 1.0
    tokeniser: float = 0.2
    start: str = ""


class ImageTokens(Method):
    """The codebook's ids stand after the words' in one vocabulary; `marks` open text, open a picture and close it."""

    def __init__(self, config: Config, fields: Fields, tokeniser: PictureTokeniser) -> None:
        super().__init__()
        self.generates: Mapping[str, str] = {"text": "text", "image": "image"}
        self.config, self.words = config, fields["text"].vocab
        self.tokeniser, self.codes = tokeniser, len(tokeniser.codebook.codes)
        side = fields["image"].shape[1] // 4
        self.cells = (side, side)
        length = fields["text"].length + side * side + 3
        self.decoder = Decoder(self.words + self.codes, config.dim, config.layers, config.heads, length)
        self.marks = nn.Parameter(torch.randn(3, config.dim))

    def ids(self, image: Field) -> Ids:
        """u8 [B 3 H W] -> ids of the one vocabulary [B h*w]; a row without a picture has none."""
        codes = self.tokeniser.encode(image).flatten(1) + self.words
        there = torch.ones_like(codes, dtype=torch.bool)
        return Ids(codes, there if image.mask is None else there & image.mask[:, None])

    def sequence(self, text: Ids, codes: Ids, there: Tensor, words_first: Tensor) -> Mixed:
        """Words [B n], codes [B N] of the pictures that are `there` [B], the order of each row [B] bool."""
        words = opened(self.decoder.embed(text), self.marks[0])
        picture = framed(self.decoder.embed(codes), there, self.marks[1], self.marks[2])
        return mixed(words, picture, words_first)

    def losses(self, batch: Batch, rng: Rng) -> Terms:
        """Of each part that is being trained: the tokeniser's, the decoder's."""
        text, image = batch["text"], batch["image"]
        assert isinstance(text, Ids) and isinstance(image, Field)
        terms: dict[str, Tensor] = {}
        if _trained(self.tokeniser):
            terms.update(self.tokeniser.losses(image, rng("codebook", image.data.device)))
        if _trained(self.decoder):
            terms.update(self.next_tokens(packed(text), image, rng))
        return terms

    def next_tokens(self, text: Ids, image: Field, rng: Rng) -> Terms:
        """The next-token losses on words and codes."""
        device = image.data.device
        words_first = torch.rand(len(image), generator=rng("order", device), device=device) < self.config.words_first
        told = torch.rand(len(image), generator=rng("untold", device), device=device) >= self.config.untold
        text = Ids(text.ids, text.mask & (told | ~words_first)[:, None])
        codes = self.ids(image)
        seq = self.sequence(text, codes, codes.mask.all(1), words_first)
        h = self.decoder(seq.tokens)
        words, cells = (self.decoder.logits(taken(h, at)) for at in (seq.words, seq.picture[:, :-2]))
        after = following(text, self.decoder.end)
        return {"text": nll(words, after.ids, after.mask), "picture": nll(cells, codes.ids, codes.mask)}

    def prompt(self, batch: Batch, to: str) -> Prompt:
        """To "text": the picture's codes, then the caption's begin. To "image": the caption, then the picture's."""
        if to == "text":
            image = batch["image"]
            assert isinstance(image, Field)
            none = torch.zeros(len(image), 0, dtype=torch.long, device=image.data.device)
            later = torch.zeros(len(image), dtype=torch.bool, device=image.data.device)
            codes = self.ids(image)
            seq = self.sequence(Ids(none, none.bool()), codes, codes.mask.all(1), later)
            return Prompt(self.decoder, seq.tokens)
        if to != "image":
            raise SensoriumError(f"image-tokens does not generate {to!r}{nearest(to, self.generates)}")
        text = batch["text"]
        assert isinstance(text, Ids)
        text, (rows, columns) = packed(text), self.cells

        def finish(found: Ids) -> Field:
            return self.tokeniser.decode(found.ids.view(-1, rows, columns) - self.words)

        return Mosaic(
            decoder=self.decoder,
            tokens=self._opened(text),
            n=rows * columns,
            codes=range(self.words, self.words + self.codes),
            finish=finish,
            unlike=Prompt(self.decoder, self._opened(Ids(text.ids, torch.zeros_like(text.mask)))),
            guidance=self.config.guidance,
            temperature=self.config.temperature,
        )

    def _opened(self, text: Ids) -> Tokens:
        """The caption, and the mark that opens a picture."""
        nothing = Ids(text.ids[:, :0], text.mask[:, :0])
        yes = torch.ones(len(text), dtype=torch.bool, device=text.ids.device)
        tokens = self.sequence(text, nothing, yes, yes).tokens
        return Tokens(tokens.x[:, :-1], tokens.mask[:, :-1])


def _trained(module: nn.Module) -> bool:
    return any(p.requires_grad for p in module.parameters())


def build(config: Config, fields: Fields, bases: Bases) -> ImageTokens:
    """A decoder from scratch, and a codebook from scratch or from the start that the config names."""
    if not config.start:
        return ImageTokens(config, fields, PictureTokeniser(config.codes))
    if config.start not in BASES:
        raise SensoriumError(f"start {config.start!r}{nearest(config.start, BASES)}")
    tokeniser = bases.get(config.start).tokeniser
    assert isinstance(tokeniser, PictureTokeniser)
    return ImageTokens(config, fields, tokeniser)


def stages(config: Config, method: ImageTokens, rows: Rows, trial: Trial) -> Sequence[Stage]:
    """The tokeniser by itself, then the decoder on its ids; the decoder alone where the tokeniser is a start's."""
    steps, stream = trial.budget.steps(trial.batch), Epochs(rows, trial.batch, trial.seed)
    if not _trained(method.tokeniser):
        return [Stage(stream, trial.budget, trial.batch)]
    first = max(1, round(config.tokeniser * steps))
    shares = (({"tokeniser": 1.0}, first), ({"": 1.0, "tokeniser": None}, max(1, steps - first)))
    return [Stage(stream, Budget(n * trial.batch), trial.batch, rates=rates) for rates, n in shares]
