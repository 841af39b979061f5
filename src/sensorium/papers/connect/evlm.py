"""EVLM: An Efficient Vision-Language Model for Visual Understanding.

Chen et al., 2024, arXiv 2407.14177, by Flamingo (Alayrac et al., 2022, arXiv 2204.14198). Before each layer of a
language model the text, and a few learnt media tokens that stand in it for a picture, read the picture by gated
cross-attention; each layer reads another layer of the image tower, and routed experts are the second half.
Differs from prefix-lm in that visual tokens never enter the sequence: they cost keys and values, not layers.
Claim: FLOPs far below concatenating visual tokens as their number grows, at equal accuracy; hierarchical above last
layer.
Piloted, not yet measured (world/questions, one seed, rate 3e-3, 16 visual tokens): 0.99 exact at 28,800 samples where
the same LM and tower with concatenation have 0.80; at 12,800 0.80, last layer 0.73, from the lowest layer 0.61. An
answer takes 1.1, 0.5 and 0.2 times the operations at 16, 64 and 256 visual tokens; keys and values are held of all of
them either way.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from sensorium.blocks.connect.layers import CELL, ConvLayers, TransformerLayers, layers_of
from sensorium.blocks.connect.media import MediaTokens
from sensorium.blocks.decode import Decoder, Prompt, decode
from sensorium.blocks.decode.interleave import Interleaved, Part, alone, interleave, next_token
from sensorium.blocks.fusion.experts import Dense, Experts
from sensorium.blocks.fusion.gated import Gated, GatedCross, TanhGate
from sensorium.blocks.prefix_lm import PrefixLM, sayable
from sensorium.blocks.shared import decoder_of
from sensorium.blocks.towers.frozen import role_of
from sensorium.core import (
    Above,
    Arm,
    Bases,
    Batch,
    Budget,
    Cheaper,
    Claim,
    Fields,
    Ids,
    Method,
    NotBelow,
    Rng,
    SensoriumError,
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
from sensorium.run.evaluate import Scored
from sensorium.run.fit import Stage
from sensorium.run.tasks import Question, few

NEEDS = {
    "image": "image",
    "image.*": "image optional",
    "text": "ids",
    "text/question": "ids optional",
    "text/answer": "ids optional",
}
BASES = {"causal-lm": "ids", "pair-encoder": ""}
PARTS = {
    "gated cross-attention, shut at first": "GatedCross",
    "several vision layers, another for each layer of the LM": "hierarchical",
    "learnable media tokens": "MediaTokens",
    "mixture of experts on the cross-attention FFN": "Experts",
}


def _arm(**changes: float | str) -> Arm:
    return Arm(
        config={"lm": "trained", "says": ("text/answer",), **changes}, measures=("sensorium.papers.connect.evlm:spent",)
    )


def _claim(data: str, samples: int, arms: Mapping[str, Arm], *says: Statement) -> Claim:
    return Claim(
        arms={"ours": _arm(), **arms},
        says=says,
        beats="blind majority",
        rates=(1e-3, 3e-3, 1e-2),
        budget=Budget(samples),
        data=data,
        towers="scratch",
        batch=64,
    )


_CONCATENATED = {
    "baseline": _arm(joined="prefix"),
    "64 visual tokens": _arm(stride=4),
    "64 concatenated": _arm(joined="prefix", stride=4),
}
CLAIMS = {
    "equal accuracy": _claim(
        "world/questions",
        28_800,
        {**_CONCATENATED, "one mlp": _arm(experts=0), "gates open": _arm(gate="open")},
        NotBelow("exact", 0.03),
        NotBelow("exact", 0.03, ours="64 visual tokens", baseline="64 concatenated"),
        Above("exact", 0.01, baseline="one mlp", ceiling=0.98),
        Above("exact", 0.01, baseline="gates open", ceiling=0.98),
    ),
    "cost of an answer": _claim(
        "world/questions",
        640,
        {
            **_CONCATENATED,
            "256 visual tokens": _arm(stride=2),
            "256 concatenated": _arm(joined="prefix", stride=2),
        },
        Cheaper("flops", 0.6, ours="64 visual tokens", baseline="64 concatenated"),
        Cheaper("flops", 0.3, ours="256 visual tokens", baseline="256 concatenated"),
    ),
    "several layers": _claim(
        "world/details",
        51_200,
        {
            "last layer": _arm(reads="last"),
            "from the lowest layer": _arm(reads="whole"),
            "frozen eye": _arm(eye="frozen"),
            "frozen eye, last layer": _arm(eye="frozen", reads="last"),
        },
        Above("exact", 0.01, baseline="last layer", ceiling=0.98),
        NotBelow("exact", 0.02, baseline="from the lowest layer"),
        Above("exact", 0.01, ours="frozen eye", baseline="frozen eye, last layer", ceiling=0.98),
    ),
}
"""The same LM and tower in all arms. What an answer costs is counted, so that arms of ten steps do."""

Layers = ConvLayers | TransformerLayers
Reads = Callable[[int, int, int], int]
"""Layer of the LM, of how many, of how many layers of the tower -> which of these it reads."""


def whole(layer: int, layers: int, seen: int) -> int:
    """From the lowest layer of the tower to the last, evenly, halves upwards."""
    return _spread(0, layer, layers, seen)


def hierarchical(layer: int, layers: int, seen: int) -> int:
    """The same from the middle of the tower: below are edges, and a layer of the LM is lost on them."""
    return _spread(seen // 2, layer, layers, seen)


def _spread(first: int, layer: int, layers: int, seen: int) -> int:
    return int(first + layer * (seen - 1 - first) / max(1, layers - 1) + 0.5)


def last(layer: int, layers: int, seen: int) -> int:
    """The tower's last layer for all."""
    return seen - 1


@dataclass(frozen=True)
class Config:
    """`media` tokens stand for a picture, of which the tower gives a vector every `stride` pixels; `reads`
    hierarchical, whole or last; each token goes to `top` of `experts` (0: one mlp for all), whose balance weighs
    `balance`; `gate` tanh or open. `joined` cross, or prefix: visual tokens in the sequence, to compare with. `lm` and
    `eye` frozen or trained.
    """

    media: int = 4
    stride: int = CELL
    reads: str = "hierarchical"
    experts: int = 4
    top: int = 2
    balance: float = 0.01
    gate: str = "tanh"
    joined: str = "cross"
    lm: str = "frozen"
    eye: str = "trained"
    says: tuple[str, ...] = ("text", "text/answer")


OPENING = 10.0
"""Rate of the gates as a multiple of the rest's."""
AT_ONCE, SAID = 64, 3
READS: Mapping[str, Reads] = {"hierarchical": hierarchical, "whole": whole, "last": last}
GATES: Mapping[str, Callable[[], nn.Module]] = {"tanh": TanhGate, "open": nn.Identity}
STARTS: Mapping[str, Callable[[Bases, str], Method]] = {
    "frozen": lambda bases, name: bases.get(name),
    "trained": lambda bases, name: bases.copy(name),
}


class Evlm(Method):
    """Says the caption ("text") of its pictures, the answer ("text/answer") to a question about them, or both.

    A row is read as media tokens of each picture, question, `begin`, text, `end`.
    """

    def __init__(self, eye: Layers, decoder: Decoder, config: Config, says: list[str]) -> None:
        super().__init__()
        self.eye, self.decoder, self.weight = eye, decoder, config.balance
        self.generates: Mapping[str, str] = dict.fromkeys(says, "text")
        self.media = MediaTokens(config.media, decoder.dim)
        count, choose = len(decoder.layers), choice("reads", config.reads, READS)
        self.reads = [choose(n, count, len(eye.dims)) for n in range(count)]
        mlp = partial(Experts, experts=config.experts, top=config.top) if config.experts else Dense
        gate, heads = choice("gate", config.gate, GATES), decoder.dim // decoder.each
        self.crosses = nn.ModuleList(GatedCross(decoder.dim, heads, eye.dims[which], mlp, gate) for which in self.reads)

    def losses(self, batch: Batch, rng: Rng) -> Terms:
        """The next-token loss of each text, and how unevenly the experts were used."""
        seen, terms, balances = self.seen(batch), {}, []
        for key in self.generates:
            said = _ids(batch, key)
            there = said.mask.any(1)
            end = Part(alone(self.decoder.end, there), learn=True)
            parts = [*self.asked(batch, key), self.begin(there), Part(said, learn=True), end]
            seq = self.sequence(seen, parts)
            tap = self.tap(seen, seq.tokens)
            terms[key.rpartition("/")[2]] = next_token(self.decoder, self.decoder(seq.tokens, tap=tap), seq)
            balances += tap.balances
        return terms | {"balance": self.weight * torch.stack(balances).mean()}

    def prompt(self, batch: Batch, to: str) -> Prompt:
        if to not in self.generates:
            raise SensoriumError(f"cannot say {to!r}{nearest(to, self.generates)}")
        seen = self.seen(batch)
        every = seen[0][0].mask.any(1) | True
        tokens = self.sequence(seen, [*self.asked(batch, to), self.begin(every)]).tokens
        return Prompt(self.decoder, tokens, tap=self.tap(seen, tokens))

    def seen(self, batch: Batch) -> list[list[Tokens]]:
        """Of each picture, what every layer of the tower gives."""
        return [self.eye(batch[k]) for k in batch if role_of(k) == "image" and "/" not in k]

    def sequence(self, seen: list[list[Tokens]], parts: list[Part]) -> Interleaved:
        """The media tokens of each picture, of kinds 1, 2 …, and the rest."""
        media = [Part(self.media(layers[0].mask.any(1)), n) for n, layers in enumerate(seen, 1)]
        return interleave(self.decoder.embed, [*media, *parts])

    def tap(self, seen: list[list[Tokens]], tokens: Tokens) -> Gated:
        """What reads the pictures in a pass over these tokens."""
        assert tokens.kind is not None
        crosses = {n: cross for n, cross in enumerate(self.crosses) if isinstance(cross, GatedCross)}
        held = {n: cross.hold(_together([layers[self.reads[n]] for layers in seen])) for n, cross in crosses.items()}
        sizes = torch.tensor([layers[0].mask.shape[1] for layers in seen], device=tokens.x.device)
        parts = torch.arange(1, len(seen) + 1, device=tokens.x.device).repeat_interleave(sizes)
        return Gated(crosses, held, parts, tokens.kind, tokens.mask)

    def asked(self, batch: Batch, to: str) -> list[Part]:
        """The question before an answer, nothing before a caption."""
        return [Part(_ids(batch, "text/question"))] if to == "text/answer" else []

    def begin(self, rows: Tensor) -> Part:
        """What opens the text to be said, in the rows [B] bool that have one."""
        return Part(alone(self.decoder.begin, rows))


class Last(Tower):
    """What the last of some layers gives, as a tower: Field [B 3 H W] -> Tokens [B N dim]."""

    def __init__(self, eye: Layers) -> None:
        super().__init__()
        self.eye, self.dim = eye, eye.dims[-1]

    def forward(self, value: Value) -> Tokens:
        return self.eye(value)[-1]  # type: ignore[no-any-return]


def _together(of: list[Tokens]) -> Tokens:
    """The tokens of several pictures side by side."""
    return Tokens(torch.cat([t.x for t in of], 1), torch.cat([t.mask for t in of], 1))


def _ids(batch: Batch, key: str) -> Ids:
    value = batch[key]
    assert isinstance(value, Ids)
    return value


def cross(eye: Layers, decoder: Decoder, config: Config, says: list[str]) -> Method:
    """Visual tokens beside the sequence."""
    return Evlm(eye, decoder, config, says)


def prefix(eye: Layers, decoder: Decoder, config: Config, says: list[str]) -> Method:
    """The tower's last layer in the sequence, before the text."""
    return PrefixLM(Last(eye), decoder, says)


JOINED: Mapping[str, Callable[[Layers, Decoder, Config, list[str]], Method]] = {"cross": cross, "prefix": prefix}


def build(config: Config, fields: Fields, bases: Bases) -> Method:
    """The LM and the image tower of the shared starts, joined as the config says."""
    decoder = decoder_of(choice("lm", config.lm, STARTS)(bases, "causal-lm"))
    tower = choice("eye", config.eye, STARTS)(bases, "pair-encoder").towers["image"]  # type: ignore[index]
    eye = layers_of(tower, config.stride)  # type: ignore[arg-type]
    return choice("joined", config.joined, JOINED)(eye, decoder, config, sayable(fields, config.says))


def stages(config: Config, method: Method, rows: Rows, trial: Trial) -> Sequence[Stage]:
    """One stage; gates move faster than the rest, since AdamW moves nothing by more than the rate in a step."""
    gated = any(isinstance(part, TanhGate) for part in method.modules())
    rates = {"": 1.0} | ({"*.openness": OPENING} if gated else {})
    return [Stage(Epochs(rows, trial.batch, trial.seed), trial.budget, trial.batch, rates=rates)]


@torch.no_grad()
def spent(asked: Question) -> Scored:
    """What an answer of `SAID` tokens costs, mean over `AT_ONCE` questions: "flops", the floating-point operations of
    tower, prompt and decoding, counted, and "held", the numbers kept as keys and values at its end."""
    method, (batch,) = asked.plan.method, few(asked, AT_ONCE).batches("image", "text/question")
    counter = FlopCounterMode(display=False)
    with counter:
        prompt = method.prompt(batch, "text/answer")  # type: ignore[operator]
        cache = prompt.cache()
        decode(replace(prompt, cache=lambda: cache), SAID, stop=())
    beside = prompt.tap.numbers() if isinstance(prompt.tap, Gated) else 0
    n = len(prompt.tokens)
    return Scored({"flops": counter.get_total_flops() / n, "held": (cache.numbers() + beside) / n}, {})
