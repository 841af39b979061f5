"""The prefix LM: an image tower, a projector into the width of a decoder, and the decoder, which says the text.

A row is read as image, question, `begin`, text, `end`; the loss is on what comes after `begin`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from torch import Tensor

from sensorium.core import Batch, Fields, Ids, Method, Rng, SensoriumError, Terms, Tokens, Tower, nearest

from .decode import Cache, Decoder, Prompt
from .decode.interleave import Interleaved, Part, alone, interleave, next_token
from .towers.frozen import Reduced, role_of
from .towers.head import Projector

TEXT, IMAGE = 0, 1
"""Kinds of the parts of a sequence."""
LONGEST = 4096
"""Positions of the decoder: they turn, and cost nothing."""
CacheOf = Callable[[Tokens], Callable[[], Cache]]
"""The tokens of a prompt, with their kinds -> what makes the cache that they are decoded with."""


def whole(tokens: Tokens) -> type[Cache]:
    """The cache that keeps everything."""
    return Cache


class PrefixLM(Method):
    """Says the caption ("text") of an image, the answer ("text/answer") to a question about it, or both.

    `says` are the keys that it learns to say. Every image of a row ("image", "image.two" …) goes in, in the order of
    the batch. `cache` is what prompts are decoded with; training knows none.
    """

    def __init__(self, image: Tower, decoder: Decoder, says: Iterable[str], cache: CacheOf = whole) -> None:
        super().__init__()
        self.image, self.decoder, self.cache = image, decoder, cache
        self.projector = Projector(image.dim, decoder.dim)
        self.generates: Mapping[str, str] = dict.fromkeys(says, "text")

    def losses(self, batch: Batch, rng: Rng) -> Terms:
        seen = self.seen(batch)
        return {key.rpartition("/")[2]: self.loss(seen, batch, key) for key in self.generates}

    def loss(self, seen: list[Part], batch: Batch, key: str) -> Tensor:
        """The loss on one text of each row."""
        said = _ids(batch, key)
        there = said.mask.any(1)
        end = Part(alone(self.decoder.end, there), learn=True)
        seq = self.sequence([*seen, *self.asked(batch, key), self.begin(there), Part(said, learn=True), end])
        return next_token(self.decoder, self.decoder(seq.tokens), seq)

    def prompt(self, batch: Batch, to: str) -> Prompt:
        if to not in self.generates:
            raise SensoriumError(f"cannot say {to!r}{nearest(to, self.generates)}")
        seen = self.seen(batch)
        every = seen[0].value.mask.any(1) | True
        tokens = self.sequence([*seen, *self.asked(batch, to), self.begin(every)]).tokens
        return Prompt(self.decoder, tokens, cache=self.cache(tokens))

    def seen(self, batch: Batch) -> list[Part]:
        """The projected tokens of each image."""
        keys = [k for k in batch if role_of(k) == "image" and "/" not in k]
        return [Part(self.projector(self.image(batch[k])), IMAGE) for k in keys]

    def asked(self, batch: Batch, to: str) -> list[Part]:
        """The question before an answer, nothing before a caption."""
        return [Part(_ids(batch, "text/question"), TEXT)] if to == "text/answer" else []

    def begin(self, rows: Tensor) -> Part:
        """What opens the text to be said, in the rows [B] bool that have one."""
        return Part(alone(self.decoder.begin, rows), TEXT)

    def sequence(self, parts: list[Part]) -> Interleaved:
        return interleave(self.decoder.embed, parts)

    def solve(self, train: Iterable[Batch]) -> None:
        if isinstance(self.image, Reduced):
            tower = self.image
            tower.solve(tower.tower(batch["image"]) for batch in train)

    def frozen(self, batch: Batch) -> Batch:
        if any(p.requires_grad for p in self.image.parameters()):
            return batch
        return {k: self.image(v) if role_of(k) == "image" else v for k, v in batch.items()}


def _ids(batch: Batch, key: str) -> Ids:
    value = batch[key]
    assert isinstance(value, Ids)
    return value


def sayable(fields: Fields, wanted: Iterable[str] = ("text/answer",)) -> list[str]:
    """The `wanted` keys that data of these fields lets a prefix LM learn to say; answers need questions. Captions where
    it lets none."""
    asked = {"text/question", "text/answer"} <= set(fields)
    return [k for k in wanted if k in fields and (asked or k != "text/answer")] or ["text"]
