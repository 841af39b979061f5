"""One encoder and one decoder over discrete tokens of any modalities: any subset in, any out.

4M (Mizrahi et al. 2023, arXiv 2312.06647). A modality is a row of data; the model never asks which one it has, but for
texts, which are of any length, said word by word, and hidden in spans.
Shape legend: B batch, N cells of a modality, S all cells, I tokens read, O tokens asked, M modalities, D width, V ids.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, NamedTuple, Protocol, TypeVar

import torch
from torch import Tensor, nn

from sensorium.core import Batch, Field, Ids, Method, Rng, SensoriumError, Terms, Tokens, nearest

from .decode import Canvas, Decoder, Prompt
from .decode.masked import from_luck, unmask
from .fusion.cross import CrossAttention
from .mixed import packed
from .objectives.masked import drawn
from .objectives.nll import nll
from .subsets import budgets, dirichlet, ranked, spanned
from .towers.attention import Block

T = TypeVar("T")
ASKED = "/asked"
"""After a key of a batch: the modality is asked for and not read."""
SPANS = 8
"""Sentinels of a text."""
SOLVED, EACH = 64, 64
"""Batches, and rows of each, that tokenisers are fitted on."""
PLACED = 2.0
"""Size of a place beside its content, 1, so that equal places find each other from the first step on."""


class Codec(Protocol):
    """A value of a modality <-> ids of its own, from 0 on: `vocab` of them in a grid of `shape`."""

    vocab: int
    shape: tuple[int, int]

    def solve(self, values: Sequence[Field], /) -> None: ...
    def encode(self, value: Field, /) -> Ids: ...
    def decode(self, ids: Tensor, /) -> Field: ...


class Through(nn.Module):
    """A codec of what is derived from a value: of the edges of a picture, or its vector."""

    def __init__(self, derive: Callable[[Field], Field], codec: Codec) -> None:
        super().__init__()
        self.derive, self.codec = derive, codec
        self.vocab, self.shape = codec.vocab, codec.shape

    def solve(self, values: Sequence[Field]) -> None:
        self.codec.solve([self.derive(v) for v in values])

    def encode(self, value: Field) -> Ids:
        return self.codec.encode(self.derive(value))

    def decode(self, ids: Tensor) -> Field:
        return self.codec.decode(ids)


@dataclass(frozen=True)
class Modality:
    """A grid of ids: its name, what kind of value it is, the key of the batch that it is read from, its codec."""

    name: str
    kind: str
    source: str
    codec: Codec


@dataclass(frozen=True)
class Sizes:
    """`dim` and `heads` of both halves, their layers; `read` and `asked` tokens of a training row; `alpha` of the
    Dirichlet distribution that shares these among modalities; the share `blank` of rows that read nothing."""

    dim: int = 96
    heads: int = 2
    encoder: int = 3
    decoder: int = 3
    read: int = 32
    asked: int = 32
    alpha: float = 0.3
    blank: float = 0.1


@dataclass(frozen=True)
class Drawing:
    """How a grid is filled: in `steps`, at `temperature`, `guidance` beyond what reading nothing gives."""

    steps: int = 6
    temperature: float = 0.5
    guidance: float = 1.5


@dataclass(frozen=True)
class Layout:
    """Cells of all modalities side by side, [B S] each: joint ids, places, number of the modality, which are there."""

    ids: Tensor
    place: Tensor
    part: Tensor
    there: Tensor

    def first(self, most: int) -> Tensor:
        """Where the cells that are there lie, at most so many, filled up with others: [B most]."""
        return (~self.there).long().argsort(dim=1, stable=True)[:, :most]

    def at(self, index: Tensor) -> Layout:
        """The cells at [B n]."""
        return Layout(*(x.gather(1, index) for x in (self.ids, self.place, self.part, self.there)))

    @staticmethod
    def joined(parts: Sequence[Layout]) -> Layout:
        """Side by side."""
        return Layout(*(torch.cat([getattr(p, f) for p in parts], 1) for f in ("ids", "place", "part", "there")))


class Part(NamedTuple):
    """Of one modality what is read and what is asked, the order of its words and its labels."""

    shown: Layout
    asked: Layout
    order: Tensor
    labels: Tensor


class AnyToAny(Method):
    """Grids and texts by name. `reads` and `writes`, where given, name the only ones that training reads and asks for;
    `alone` is the share of rows of which one text is read and asked for, and nothing else."""

    def __init__(
        self,
        grids: Sequence[Modality],
        texts: Mapping[str, int],
        words: int,
        sizes: Sizes,
        drawing: Drawing,
        *,
        reads: Sequence[str] = (),
        writes: Sequence[str] = (),
        through: Sequence[str] = (),
        alone: float = 0.0,
    ) -> None:
        super().__init__()
        self.grids = {m.name: m for m in grids}
        self.codecs = nn.ModuleList(m.codec for m in grids)  # type: ignore[misc]
        self.names = (*self.grids, *texts)
        for name in (*reads, *writes, *through):
            if name not in self.names:
                raise SensoriumError(f"there is no modality {name!r} here{nearest(name, self.names)}")
        self.generates: Mapping[str, str] = {m.name: m.kind for m in grids} | dict.fromkeys(texts, "text")
        self.texts, self.sizes, self.drawing = dict(texts), sizes, drawing
        self.reads, self.writes = tuple(reads) or self.names, tuple(writes) or self.names
        self.through, self.alone = tuple(through), alone
        first = torch.tensor([words, *(m.codec.vocab for m in grids)]).cumsum(0).tolist()
        self.first = dict(zip(self.grids, first, strict=False))
        self.sentinel = {name: first[-1] + SPANS * k for k, name in enumerate(texts)}
        vocab = first[-1] + SPANS * len(texts)
        longest = max(texts.values(), default=0)
        shapes = sorted({m.codec.shape for m in grids})
        ends = torch.tensor([longest, *(r * c for r, c in shapes)]).cumsum(0).tolist()
        self.begin = dict(zip(shapes, ends, strict=False))
        dim = sizes.dim
        self.content = nn.Embedding(vocab, dim)
        self.places = nn.Parameter(PLACED * torch.randn(ends[-1], dim))
        self.kinds, self.mask = nn.Parameter(torch.randn(len(self.names), dim)), nn.Parameter(torch.randn(dim))
        self.encoder = nn.ModuleList(Block(dim, sizes.heads) for _ in range(sizes.encoder))
        self.norm = nn.LayerNorm(dim)
        self.decoder = Decoder(vocab, dim, sizes.decoder, sizes.heads, 2 * longest + SPANS + 2, memory=True)
        aligned(self.decoder)

    # What a batch holds, as cells

    def cells(self, batch: Batch) -> dict[str, Ids]:
        """The modalities that a batch has, those derived of what it has included, as joint ids [B N]; texts packed."""
        found: dict[str, Ids] = {}
        for name, m in self.grids.items():
            if (own := _encoded(m, batch)) is not None:
                found[name] = Ids(own.ids + self.first[name], own.mask)
        for name in self.texts:
            if isinstance(text := batch.get(name), Ids):
                found[name] = packed(text)
        return found

    def layout(self, name: str, cells: Ids) -> Layout:
        """Cells [B N] of a modality, a text's counted from its first."""
        place = _count(cells.ids)
        if name in self.grids:
            place = place + self.begin[self.grids[name].codec.shape]
        else:
            place = place.clamp(max=self.texts[name] - 1)  # what lies beyond is padding
        return Layout(cells.ids, place, torch.full_like(place, self.names.index(name)), cells.mask)

    def solve(self, train: Iterable[Batch]) -> None:
        """Fit every codec on some rows of each of the first batches."""
        some: dict[str, list[Field]] = {name: [] for name in self.grids}
        for _, batch in zip(range(SOLVED), train, strict=False):
            for name, m in self.grids.items():
                value = batch.get(name if name in batch else m.source)
                if isinstance(value, Field):
                    some[name].append(value.rows(torch.arange(0, len(value), max(1, len(value) // EACH))))
        for name, values in some.items():
            if values:
                self.grids[name].codec.solve(values)

    # The two halves

    def read(self, cells: Layout) -> Tokens:
        """Cells [B I] -> what the decoder attends to [B I D]."""
        about = self.places[cells.place] + self.kinds[cells.part]
        t = Tokens(self.content(cells.ids.masked_fill(~cells.there, 0)) + about, cells.there)
        for block in self.encoder:
            t = block(t)
        return Tokens((self.norm(t.x) + about).masked_fill(~cells.there[..., None], 0), cells.there)

    def answered(self, asked: Layout, memory: Tokens, order: Tensor | None = None) -> Tensor:
        """What is asked [B O], each modality by itself -> states [B O D].

        Cells of grids are empty but for their place, and see each other; words, of a given `order` [B O], see those
        before them.
        """
        is_text = asked.part >= len(self.grids)
        order = torch.zeros_like(asked.part) if order is None else order
        words = self.decoder.embed(Ids(asked.ids, asked.there & is_text)).x
        empty = self.mask + self.places[asked.place] + self.kinds[asked.part]
        x = torch.where(is_text[..., None], words, empty)
        same = asked.part[:, :, None] == asked.part[:, None]
        see = same & (~is_text[:, :, None] | (order[:, :, None] >= order[:, None]))
        found: Tensor = self.decoder(Tokens(x, asked.there, order[..., None]), see=see, memory=memory)
        return found

    # Training

    def losses(self, batch: Batch, rng: Rng) -> Terms:
        """Of each modality the mean over what was asked of it, divided by how many modalities there are.

        A cell is one of its grid's own ids, so that what it costs does not grow with the others; a word is one of all.
        Of a batch with keys that end in `ASKED` these are asked for, and all else that it names is read.
        """
        told = {key: value for key, value in batch.items() if not key.endswith(ASKED)}
        only = {key.removesuffix(ASKED): value for key, value in batch.items() if key.endswith(ASKED)}
        cells = self.cells({**told, **only})
        reads, writes = (told, only) if only else (self.reads, self.writes)
        shown, asked, order, labels = self.drawn(cells, rng, tuple(reads), tuple(writes))
        h = self.answered(asked, self.read(shown), order)
        terms: dict[str, Tensor] = {}
        for name in (n for n in cells if n in writes):
            here = asked.there & (asked.part == self.names.index(name))
            own = labels[here] - self.first.get(name, 0)
            every = torch.ones_like(own, dtype=torch.bool)
            terms[name] = nll(self.among(name, h[here]), own, every) / len(writes)
        return terms

    def among(self, name: str, h: Tensor) -> Tensor:
        """States [... D] -> the scores of a grid's own ids [... vocab]; of every id, the end included, for a text."""
        if name in self.texts:
            return self.decoder.logits(h)
        first = self.first[name]
        return h @ self.decoder.says.weight[first : first + self.grids[name].codec.vocab].T

    def drawn(
        self, cells: Mapping[str, Ids], rng: Rng, readable: Sequence[str], writable: Sequence[str]
    ) -> tuple[Layout, Layout, Tensor, Tensor]:
        """A subset of the `readable` cells of a batch, which is read [B I], one of the `writable`, which is asked
        [B O], the order of its words and its labels [B O].

        What is asked of a text are its sentinels and words but the last, each labelled with the next.
        """
        device = self.places.device
        reads, wants = (n.to(device) for n in self._counts(cells, rng, readable, writable))
        parts = [
            (self._some_words if name in self.texts else self._some_cells)(
                name,
                own,
                drawn(tuple(own.mask.shape), rng(f"cells {name}", device)),
                reads[:, k, None],
                wants[:, k, None],
            )
            for k, (name, own) in enumerate(cells.items())
        ]
        shown, asked = Layout.joined([p.shown for p in parts]), Layout.joined([p.asked for p in parts])
        order, labels = torch.cat([p.order for p in parts], 1), torch.cat([p.labels for p in parts], 1)
        kept = asked.first(self.sizes.asked)
        return shown.at(shown.first(self.sizes.read)), asked.at(kept), order.gather(1, kept), labels.gather(1, kept)

    def _counts(
        self, cells: Mapping[str, Ids], rng: Rng, readable: Sequence[str], writable: Sequence[str]
    ) -> tuple[Tensor, Tensor]:
        """How many cells of each modality are read and how many are asked for, [B M] each."""
        names, sizes = list(cells), self.sizes
        there = torch.stack([c.mask.sum(1) for c in cells.values()], 1).cpu()
        there = there * self._lonely(names, len(there), rng) if self.alone else there
        reads, writes, said = (torch.tensor([n in of for n in names]) for of in (readable, writable, self.texts))
        alpha, room = [sizes.alpha] * len(names), there * reads
        blank = torch.rand(len(there), generator=rng("blank")) < sizes.blank
        # Where all that is read may be asked, half is left to ask for.
        most = room.sum(1) if (reads & ~writes).any() else room.sum(1) // 2
        total = most.clamp(max=sizes.read).masked_fill(blank, 0)
        counts = budgets(dirichlet(len(there), alpha, rng.number("read")), room, total)
        left = there - counts
        left = (left + (said & (left > 0))) * writes  # a text also ends
        total = left.sum(1).clamp(max=sizes.asked)
        return counts, budgets(dirichlet(len(there), alpha, rng.number("asked")), left, total)

    def _some_cells(self, name: str, cells: Ids, luck: Tensor, reads: Tensor, wants: Tensor) -> Part:
        """Of a grid: by luck [B N] some cells that are read, and some of the others, [B 1] each."""
        place, every = ranked(luck, cells.mask), self.layout(name, cells)
        asked = _only(every, (place >= reads) & (place < reads + wants))
        return Part(_only(every, place < reads), asked, torch.zeros_like(every.ids), every.ids)

    def _some_words(self, name: str, text: Ids, luck: Tensor, reads: Tensor, wants: Tensor) -> Part:
        """Of a text: some words and the sentinels of what is hidden between; of the hidden, from the first on."""
        first = self.sentinel[name]
        sentinels = torch.arange(first, first + SPANS, device=luck.device)
        shown, said = spanned(text, ranked(luck, text.mask) < reads, sentinels, self.decoder.end)
        fits = Ids(shown.ids, shown.mask & (_count(shown.ids) < reads))
        order = _count(said.ids[:, 1:])
        part = torch.full_like(order, self.names.index(name))
        asked = Layout(said.ids[:, :-1], torch.zeros_like(order), part, said.mask[:, 1:] & (order < wants))
        return Part(self.layout(name, fits), asked, order, said.ids[:, 1:])

    def _lonely(self, names: Sequence[str], rows: int, rng: Rng) -> Tensor:
        """[B M] bool: what a row is left; in a share of the rows nothing but one text."""
        texts = [k for k, name in enumerate(names) if name in self.texts]
        if not texts:
            return torch.ones(rows, len(names), dtype=torch.bool)
        luck = torch.rand(rows, 2, generator=rng("alone"))
        which = torch.tensor(texts)[(luck[:, 1] * len(texts)).long()]
        one = torch.arange(len(names)) == which[:, None]
        return one | (luck[:, :1] >= self.alone)

    # Generation

    def prompt(self, batch: Batch, to: str) -> Prompt | Canvas:
        """To a text its opening sentinel, to a grid a canvas; both after every other modality that the batch names, and
        after what is made on the way there (`through`). What could be derived is not read unless it is named."""
        if to not in self.generates:
            raise SensoriumError(f"this method does not generate {to!r}{nearest(to, self.generates)}")
        told = {k: v for k, v in batch.items() if k in self.reads and k != to}
        known = {k: v for k, v in self.cells(told).items() if k in told}
        rows = len(next(iter(batch.values())))
        device = self.places.device
        if to in self.texts:
            one = torch.ones(rows, 1, dtype=torch.long, device=device)
            start = self.decoder.embed(Ids(one * self.sentinel[to], one.bool()))
            return Prompt(self.decoder, start, memory=self.read(self.seen(known, rows)))
        chain = [n for n in self.through if n in self.grids and n not in known and n != to] + [to]
        most = max(self._cells(n) for n in chain)

        def fill(luck: Tensor) -> Field:
            have = dict(known)
            for k, name in enumerate(chain):
                have[name] = self.filled(name, have, luck[:, k, :, : self._cells(name)])
            return self.grids[to].codec.decode(have[to].ids - self.first[to])

        return from_luck(fill, (rows, len(chain), self.drawing.steps, most, 2), device)

    def _cells(self, name: str) -> int:
        rows, columns = self.grids[name].codec.shape
        return rows * columns

    def seen(self, known: Mapping[str, Ids], rows: int) -> Layout:
        """All that is known, [B S]; one cell that is not there where nothing is."""
        none = torch.zeros(rows, 1, dtype=torch.long, device=self.places.device)
        nothing = Layout(none, none, none, none.bool())
        return Layout.joined([nothing, *(self.layout(name, ids) for name, ids in known.items())])

    def scores(self, name: str, known: Mapping[str, Ids], rows: int) -> Tensor:
        """What is known -> scores of each cell of a grid [B N vocab]; its known cells see and say nothing."""
        memory = self.read(self.seen(known, rows))
        none = torch.zeros(rows, self._cells(name), dtype=torch.long, device=self.places.device)
        hidden = ~known[name].mask if name in known else none == 0
        return self.among(name, self.answered(self.layout(name, Ids(none, hidden)), memory))

    def filled(self, name: str, known: Mapping[str, Ids], luck: Tensor) -> Ids:
        """A grid after masked decoding, joint ids [B N], with luck [B S N 2] in (0, 1)."""
        rows, first, weight = len(luck), self.first[name], self.drawing.guidance

        def scores(ids: Tensor, done: Tensor) -> Tensor:
            own = {name: Ids(ids + first, done)}
            ours = self.scores(name, {**known, **own}, rows).log_softmax(-1)
            if weight == 1:
                return ours
            other = self.scores(name, own, rows).log_softmax(-1)
            return other + weight * (ours - other)

        none = torch.zeros(rows, self._cells(name), dtype=torch.long, device=luck.device)
        ids = unmask(scores, none, none.bool(), luck, self.drawing.temperature)
        return Ids(ids + first, torch.ones_like(ids, dtype=torch.bool))


def settings(kind: type[T], config: Any) -> T:
    """The settings of a dataclass that a config has under the same names."""
    return kind(**{f.name: getattr(config, f.name) for f in fields(kind)})  # type: ignore[arg-type]


def listed(names: str) -> tuple[str, ...]:
    """Names joined by commas, one by one."""
    return tuple(name.strip() for name in names.split(",") if name.strip())


@torch.no_grad()
def aligned(decoder: Decoder) -> None:
    """Keys of the memory begin as the queries that look for them, so that equal places attend to each other before
    anything is learnt."""
    for part in decoder.modules():
        if isinstance(part, CrossAttention):
            part.kv.weight[: decoder.dim].copy_(part.q.weight)


def _encoded(m: Modality, batch: Batch) -> Ids | None:
    """A modality's own ids of a batch that holds it, or what it is derived from; None of one that holds neither."""
    derived = m.name not in batch
    value = batch.get(m.source if derived else m.name)
    if not isinstance(value, Field):
        return None
    codec = m.codec.codec if isinstance(m.codec, Through) and not derived else m.codec
    return codec.encode(value)


def _count(ids: Tensor) -> Tensor:
    """[B T] -> 0, 1, 2 … in each row."""
    return torch.arange(ids.shape[1], device=ids.device).expand_as(ids)


def _only(cells: Layout, which: Tensor) -> Layout:
    return Layout(cells.ids, cells.place, cells.part, cells.there & which)
