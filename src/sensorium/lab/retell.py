"""Ids of one shared start's tokeniser as those of another's: what a language model read, told to a painter."""

from __future__ import annotations

from collections.abc import Callable

from sensorium.core import Bases, Ids
from sensorium.data.tokenise import encode

from . import starts
from .bases import IDS, Towers, tokeniser


def retold(bases: Bases, name: str, to: str) -> Callable[[Ids], Ids]:
    """Ids [B n] that a start among the bases reads, or a checkpoint in its place -> ids [B m] of another start's
    tokeniser, without needless columns.

    Raises:
        SensoriumError: a start that is unknown, not there, or reads no text.
    """
    begun = bases.bases if isinstance(bases, Towers) else {}
    ours, theirs = tokeniser({name: IDS}, {}, begun), starts.opened(to)
    assert ours is not None
    words, length = theirs.words(), theirs.fields["text"].length

    def retell(text: Ids) -> Ids:
        rows = zip(text.ids.tolist(), text.mask.tolist(), strict=True)
        said = ours.decode_batch([[one for one, real in zip(*row, strict=True) if real] for row in rows])
        found = encode(words, said, length)
        longest = max(1, int(found.mask.sum(1).max()))
        return Ids(found.ids[:, :longest], found.mask[:, :longest]).to(text.ids.device)

    return retell
