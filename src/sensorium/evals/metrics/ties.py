"""Rows sorted best first, with what a metric must know of equal scores."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .inputs import Floats, Ints


class Ties(NamedTuple):
    """[Q I] for each place of each sorted row: `start` places and `before` gain ahead of its group of equal scores,
    `size` and `gain` of that group."""

    start: Ints
    size: Ints
    before: Floats
    gain: Floats

    @property
    def shared(self) -> Floats:
        """[Q I] the gain expected at each place when equal scores come in random order."""
        return self.gain / self.size


def tie_groups(scores: Floats, gains: Floats) -> Ties:
    """[Q I], [Q I] -> groups of equal scores, highest first. A NaN score counts against the scorer: last, or first if
    the item has no gain."""
    ranked = np.where(np.isnan(scores), np.where(gains > 0, -np.inf, np.inf), scores)
    order = np.argsort(-ranked, axis=1, kind="stable")
    ranked, sorted_gains = np.take_along_axis(ranked, order, 1), np.take_along_axis(gains, order, 1)
    queries, items = ranked.shape
    edge = np.ones((queries, items + 1), dtype=bool)
    edge[:, 1:-1] = ranked[:, 1:] != ranked[:, :-1]
    place = np.arange(items)
    start = np.maximum.accumulate(np.where(edge[:, :-1], place, 0), axis=1)
    end = np.minimum.accumulate(np.where(edge[:, 1:], place + 1, items)[:, ::-1], axis=1)[:, ::-1]
    total = np.zeros((queries, items + 1))
    np.cumsum(sorted_gains, axis=1, out=total[:, 1:])
    before = np.take_along_axis(total, start, 1)
    return Ties(start, end - start, before, np.take_along_axis(total, end, 1) - before)
