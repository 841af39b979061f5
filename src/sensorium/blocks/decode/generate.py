"""Sampling from a decoder: greedy, drawn, or beams, under rules, with stop ids and guidance.

Shape legend: B rows, V ids, K beams, n tokens said so far. No paper has a sampling loop: it gives a `Prompt`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor
from torch.nn import functional as F

from sensorium.core import Batch, Ids, SensoriumError, Tokens

from ..precision import wide
from .cache import Cache, Tap
from .decoder import Decoder
from .diffuse import Canvas

Pick = Callable[[Tensor], Tensor]
"""Scores [B V] -> ids [B]."""
Rule = Callable[[Tensor, Tensor], Tensor]
"""Scores [B V], ids said so far [B n] -> scores [B V]."""
Ruled = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Scores [B V], ids said so far [B n], which rows go on [B] bool -> scores under every rule."""
Allow = Callable[[int, Sequence[int]], Iterable[int]]
"""A row's number and what it has said so far -> the ids that may follow."""


@dataclass(frozen=True)
class Prompt:
    """What a decoder goes on from: tokens [B T D], padded on any side. `cache` makes what it remembers with.

    A tap or cache that keeps something by row is made for B rows; under beams, what follows the prompt is B * K rows.
    """

    decoder: Decoder
    tokens: Tokens
    memory: Tokens | None = None
    tap: Tap | None = None
    cache: Callable[[], Cache] = Cache


@runtime_checkable
class Generates(Protocol):
    """Says text, or paints a picture, from a batch."""

    @property
    def generates(self) -> Mapping[str, str]:
        """Key of what comes out -> its kind."""
        ...

    def prompt(self, batch: Batch, to: str) -> Prompt | Canvas:
        """Where generation of the key `to` begins, from a batch without it."""
        ...


def greedy(scores: Tensor) -> Tensor:
    """The best id of each row: [B V] -> [B]."""
    return scores.argmax(-1)


def sample(generator: torch.Generator, temperature: float = 1.0, top_k: int = 0, top_p: float = 1.0) -> Pick:
    """Draws from the softmax of scores / `temperature`, among the `top_k` best (0: all), then among the fewest whose
    share reaches `top_p` (nucleus: Holtzman et al. 2019, arXiv 1904.09751).

    Raises:
        SensoriumError: a temperature of 0 or less, a negative number of ids, a share outside (0, 1].
    """
    for name, given, sound, expected in (
        ("temperature", temperature, temperature > 0, "more than 0; for the best id use greedy"),
        ("top_k", top_k, top_k >= 0, "0 for all, or how many"),
        ("top_p", top_p, 0 < top_p <= 1, "a share above 0 and up to 1"),
    ):
        if not sound:
            raise SensoriumError(f"{name} {given:g}; expected {expected}")

    def pick(scores: Tensor) -> Tensor:
        kept = nucleus(best(wide(scores) / temperature, top_k), top_p)
        return torch.multinomial(kept.softmax(-1), 1, generator=generator)[:, 0]

    return pick


def best(scores: Tensor, k: int) -> Tensor:
    """Scores [B V] with all but the k highest, and what equals the last of them, at -inf; 0 keeps all."""
    if not 0 < k < scores.shape[-1]:
        return scores
    return scores.masked_fill(scores < scores.topk(k).values[:, -1:], -torch.inf)


def nucleus(scores: Tensor, share: float) -> Tensor:
    """Scores [B V] with all at -inf but the fewest of the highest whose probabilities reach `share`."""
    if share == 1:
        return scores
    ranked, order = scores.sort(-1, descending=True)
    p = ranked.softmax(-1)
    beyond = p.cumsum(-1) - p >= share  # what stands above it is enough already
    return scores.masked_fill(torch.zeros_like(beyond).scatter(-1, order, beyond), -torch.inf)


def repetition(penalty: float) -> Rule:
    """Divides the scores of ids already said by `penalty`, or multiplies where they are below 0 (CTRL: Keskar et al.
    2019, arXiv 1909.05858)."""

    def rule(scores: Tensor, said: Tensor) -> Tensor:
        there = scores.gather(1, said)
        return scores.scatter(1, said, torch.where(there < 0, there * penalty, there / penalty))

    return rule


def no_repeat(n: int) -> Rule:
    """No `n` ids in a row come twice."""

    def rule(scores: Tensor, said: Tensor) -> Tensor:
        if said.shape[1] < n:
            return scores
        runs = said.unfold(1, n, 1)  # [B runs n]
        last = said[:, said.shape[1] - n + 1 :]
        again = (runs[..., :-1] == last[:, None]).all(-1)
        row, run = again.nonzero(as_tuple=True)
        scores = scores.clone()
        scores[row, runs[row, run, -1]] = -torch.inf
        return scores

    return rule


def at_least(n: int, stop: Sequence[int]) -> Rule:
    """None of the `stop` ids before `n` others were said."""
    return lambda scores, said: scores if said.shape[1] >= n else _without(scores, stop)


def trie(texts: Iterable[Sequence[int]], end: int) -> Allow:
    """Only one of `texts`, then `end`: what may follow what was said so far."""
    follow: dict[tuple[int, ...], dict[int, None]] = {}
    for text in texts:
        whole = [*text, end]
        for k, one in enumerate(whole):
            follow.setdefault(tuple(whole[:k]), {})[one] = None
    return lambda row, said: follow.get(tuple(said), (end,))


@torch.no_grad()
def decode(
    p: Prompt,
    n: int,
    *,
    pick: Pick = greedy,
    rules: Sequence[Rule] = (),
    allow: Allow | None = None,
    beams: int = 1,
    longer: float = 1.0,
    unlike: Prompt | None = None,
    guidance: float = 1.5,
    stop: Sequence[int] | None = None,
) -> Ids:
    """At most `n` ids per row, [B up to n]; a row ends before the first of `stop` (the decoder's own `end` by default).

    With `beams` the best of a beam search: its score is the sum of log-probabilities over the `longer` power of the
    length, the stop id included; it ends where the best unfinished beam is below the worst of `beams` finished ones.
    `unlike` is a prompt of the same rows to be led away from: `guidance` times the difference of the log-probabilities
    is added to the other's (arXiv 2306.17806).

    Raises:
        SensoriumError: a row of the prompt without a real token, no beams, or beams with drawn ids.
    """
    if beams < 1 or (beams > 1 and pick is not greedy):
        raise SensoriumError(f"{beams} beams{' with drawn ids' if pick is not greedy else ''}; expected 1, or greedy")
    stops = (p.decoder.end,) if stop is None else tuple(stop)
    if beams > 1:
        return _beams(_reader(p, unlike, guidance), n, beams, longer, _ruled(rules, allow, beams), stops)
    said = list(steps(p, n, pick=pick, rules=rules, allow=allow, unlike=unlike, guidance=guidance, stop=stops))
    empty = torch.zeros(len(p.tokens), 0, dtype=torch.long, device=p.tokens.x.device)
    ids = torch.cat([empty, *(s.ids for s in said)], 1)
    return Ids(ids, torch.cat([empty.bool(), *(s.mask for s in said)], 1))


def steps(
    p: Prompt,
    n: int,
    *,
    pick: Pick = greedy,
    rules: Sequence[Rule] = (),
    allow: Allow | None = None,
    unlike: Prompt | None = None,
    guidance: float = 1.5,
    stop: Sequence[int] | None = None,
) -> Iterator[Ids]:
    """What `decode` returns, column by column [B 1] as it is said: for streaming. Ends where every row has ended."""
    stops = (p.decoder.end,) if stop is None else tuple(stop)
    with torch.no_grad():
        reader, ruled = _reader(p, unlike, guidance), _ruled(rules, allow)
        ends = torch.tensor(stops, device=p.tokens.x.device)
        said = torch.zeros(len(p.tokens), 0, dtype=torch.long, device=p.tokens.x.device)
        going = p.tokens.mask.any(1)
    for k in range(n):
        with torch.no_grad():
            scores = reader.first() if k == 0 else reader.after(said[:, -1], going)
            ids = pick(ruled(scores, said, going))
            going = going & ~torch.isin(ids, ends)
            said = torch.cat([said, ids[:, None]], 1)
        if not going.any():
            return
        yield Ids(ids[:, None].masked_fill(~going[:, None], 0), going[:, None])


class _Reader:
    """A prompt being gone on from: scores [B V] of what follows."""

    def __init__(self, p: Prompt) -> None:
        if not p.tokens.mask.any(1).all():
            row = int((~p.tokens.mask.any(1)).nonzero()[0])
            raise SensoriumError(f"row {row} of the prompt has no real token; expected at least one to go on from")
        self.p, self.memory, self.cache = p, p.memory, p.cache()

    def first(self) -> Tensor:
        h, mask = self._pass(self.p.tokens), self.p.tokens.mask
        last = mask.shape[1] - 1 - mask.flip(1).long().argmax(1)
        return wide(self.p.decoder.logits(h[torch.arange(len(h), device=h.device), last]))

    def after(self, ids: Tensor, real: Tensor) -> Tensor:
        """Goes on by one id per row [B]; rows that are not `real` [B] stand still."""
        return wide(self.p.decoder.logits(self._pass(self.p.decoder.embed(Ids(ids[:, None], real[:, None])))[:, 0]))

    def rows(self, index: Tensor) -> None:
        self.cache.rows(index)
        self.memory = self.memory and self.memory.rows(index)

    def _pass(self, t: Tokens) -> Tensor:
        return self.p.decoder(t, memory=self.memory, cache=self.cache, tap=self.p.tap)  # type: ignore[no-any-return]


class _Guided:
    """Two prompts being gone on from with the same ids: away from the second."""

    def __init__(self, p: Prompt, unlike: Prompt, weight: float) -> None:
        self.ours, self.other, self.weight = _Reader(p), _Reader(unlike), weight

    def first(self) -> Tensor:
        return self._led(self.ours.first(), self.other.first())

    def after(self, ids: Tensor, real: Tensor) -> Tensor:
        return self._led(self.ours.after(ids, real), self.other.after(ids, real))

    def rows(self, index: Tensor) -> None:
        self.ours.rows(index)
        self.other.rows(index)

    def _led(self, ours: Tensor, other: Tensor) -> Tensor:
        a, b = ours.log_softmax(-1), other.log_softmax(-1)
        return b + self.weight * (a - b)


def _reader(p: Prompt, unlike: Prompt | None, guidance: float) -> _Reader | _Guided:
    return _Reader(p) if unlike is None else _Guided(p, unlike, guidance)


def _ruled(rules: Sequence[Rule], allow: Allow | None, beams: int = 1) -> Ruled:
    """All rules in order, then what is not allowed at -inf."""

    def rule(scores: Tensor, said: Tensor, going: Tensor) -> Tensor:
        for one in rules:
            scores = one(scores, said)
        return scores if allow is None else _only(scores, said, going, allow, beams)

    return rule


def _only(scores: Tensor, said: Tensor, going: Tensor, allow: Allow, beams: int) -> Tensor:
    hidden = torch.zeros_like(scores, dtype=torch.bool)
    for at in going.nonzero()[:, 0].tolist():  # nobody is asked what may follow a text that has ended
        hidden[at] = True
        hidden[at, list(allow(at // beams, said[at].tolist()))] = False
    return scores.masked_fill(hidden, -torch.inf)


def _without(scores: Tensor, ids: Sequence[int]) -> Tensor:
    scores = scores.clone()
    scores[:, list(ids)] = -torch.inf
    return scores


def _beams(reader: _Reader | _Guided, n: int, k: int, longer: float, ruled: Ruled, stops: Sequence[int]) -> Ids:
    """Beam search, K beams per row of the prompt."""
    scores = reader.first()
    b, v, device = len(scores), scores.shape[1], scores.device
    reader.rows(torch.arange(b, device=device).repeat_interleave(k))
    scores = scores.repeat_interleave(k, 0)
    ends = torch.tensor(stops, device=device)
    said = torch.zeros(b, k, 0, dtype=torch.long, device=device)
    total = torch.full((b, k), -torch.inf, device=device)
    total[:, 0] = 0  # all beams are alike at first: one speaks for them
    done, worth = torch.zeros(b, k, n, dtype=torch.long, device=device), torch.full((b, k), -torch.inf, device=device)
    size = torch.zeros(b, k, dtype=torch.long, device=device)
    alive = torch.ones(b, dtype=torch.bool, device=device)
    for step in range(n):
        fresh = ruled(scores.log_softmax(-1), said.flatten(0, 1), total.isfinite().flatten()).view(b, k, v)
        # Enough that k are left when every best one of each beam ends.
        top, at = (total[..., None] + fresh).flatten(1).topk(min(max(2, 1 + len(stops)) * k, k * v))
        beam, ids = at // v, at % v
        texts = torch.cat([said.gather(1, beam[..., None].expand(-1, -1, step)), ids[..., None]], 2)
        stopped = torch.isin(ids, ends)
        ended = stopped if step < n - 1 else torch.ones_like(stopped)
        among = ended & alive[:, None] & (torch.arange(ids.shape[1], device=device) < k)
        value = (top / (step + 1) ** longer).masked_fill(~among, -torch.inf)
        padded = F.pad(texts, (0, n - step - 1))
        worth, order = torch.cat([worth, value], 1).topk(k)
        done = torch.cat([done, padded], 1).gather(1, order[..., None].expand(-1, -1, n))
        size = torch.cat([size, step + 1 - stopped.long()], 1).gather(1, order)
        total, going = top.masked_fill(ended, -torch.inf).topk(k)
        alive = alive & (total[:, 0] / (step + 1) ** longer > worth.amin(1))
        if not alive.any() or step == n - 1:
            break
        said = texts.gather(1, going[..., None].expand(-1, -1, step + 1))
        rows = torch.arange(b, device=device)[:, None] * k + beam.gather(1, going)
        reader.rows(rows.flatten())
        last = said[..., -1].flatten()
        scores = reader.after(last, torch.ones_like(last, dtype=torch.bool))
    mask = torch.arange(n, device=device) < size[:, :1]
    mask = mask[:, : int(size[:, 0].max()) if n else 0]
    return Ids(done[:, 0, : mask.shape[1]].masked_fill(~mask, 0), mask)
