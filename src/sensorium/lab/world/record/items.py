"""Things in a shop, each with picture and text, used together by a hidden rule; places with several pictures and tags.

Shape legend: N items or places, E uses, V pictures of a place, Q queries.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from sensorium.core import SensoriumError, derive, nearest

from ..facts import COLOURS, SHAPES, Facts, facts, uniform
from ..facts import Config as Scene
from ..lang.english import ENGLISH
from ..lang.names import name_word
from .table import DOMAINS

RULES = ("visual", "textual", "both", "null")
"""visual: items of one colour go together; textual: of one maker; both: of one colour and maker; null: any."""
MAKERS = 12
ONE = Scene(fewest=1, most=1)


@dataclass(frozen=True, eq=False)
class Items:
    """N items. The picture alone shows the colour, the text alone tells the maker; both have the shape."""

    picture: Facts
    """Scenes of one object."""
    maker: np.ndarray
    """int64 [N], 0 to MAKERS - 1; `makers` names them."""
    seed: int
    part: str = "train"

    def __len__(self) -> int:
        return len(self.maker)

    @property
    def colour(self) -> np.ndarray:
        """int8 [N]."""
        return np.asarray(self.picture.colour[:, 0])

    @property
    def shape(self) -> np.ndarray:
        """int8 [N]."""
        return np.asarray(self.picture.shape[:, 0])

    def rows(self, index: np.ndarray) -> Items:
        """The items at row numbers [R]."""
        return replace(self, picture=self.picture.rows(index), maker=self.maker[index])


def items(seed: int, n: int, start: int = 0, part: str = "train", config: Scene = ONE) -> Items:
    """Items `start` to `start + n` of a part; colours, shapes and makers are independent.

    Raises:
        SensoriumError: an unknown part, a negative n or start, scenes of more than one object.
    """
    if (config.fewest, config.most) != (1, 1):
        raise SensoriumError(f"items of {config.fewest} to {config.most} objects; expected scenes of one")
    picture = facts(derive(seed, "items"), n, config, start, part)
    luck = uniform(picture.index, 1, seed, part, "maker")[:, 0]
    return Items(picture, (luck * MAKERS).astype(np.int64), seed, part)


def makers() -> tuple[str, ...]:
    """The names of the makers, which no picture shows."""
    return tuple(name_word(7 * number + 3) for number in range(MAKERS))


def titles(shop: Items, poor: float = 0.0, seed: int = 0) -> list[str]:
    """ "square by Juba" per item; a share of `poor` texts leaves out the shape, as a careless seller would.

    Raises:
        SensoriumError: a `poor` that is no share.
    """
    if not 0 <= poor <= 1:
        raise SensoriumError(f"poor texts {poor}; expected a share from 0 to 1")
    names, bare = makers(), uniform(shop.picture.index, 1, shop.seed, shop.part, seed, "title")[:, 0] < poor
    return [
        f"{'item' if short else ENGLISH.shapes[s].forms['nominative']} by {names[m]}"
        for s, m, short in zip(shop.shape.tolist(), shop.maker.tolist(), bare.tolist(), strict=True)
    ]


def related(shop: Items, rule: str, row: int) -> np.ndarray:
    """bool [N]: the items that go with item `row` by a rule, itself not among them.

    Raises:
        SensoriumError: a rule that is not one of RULES.
    """
    if rule not in RULES:
        raise SensoriumError(f"rule of use {rule!r}{nearest(rule, RULES)}")
    same = np.ones(len(shop), bool)
    if rule in ("visual", "both"):
        same &= shop.colour == shop.colour[row]
    if rule in ("textual", "both"):
        same &= shop.maker == shop.maker[row]
    same[row] = False
    return same


def uses(shop: Items, rule: str, each: int = 4, noise: float = 0.0, seed: int = 0) -> np.ndarray:
    """int64 [E 2]: for every item `each` others that it was used with, by the rule; a share of `noise` are any others.

    Sorted, the smaller number first, none twice. An item that goes with no other has only noise.

    Raises:
        SensoriumError: an unknown rule, a noise that is no share.
    """
    if not 0 <= noise <= 1 or each < 0:
        raise SensoriumError(f"{each} uses of each item, noise {noise}; expected 0 or more, and a share from 0 to 1")
    if rule not in RULES:
        raise SensoriumError(f"rule of use {rule!r}{nearest(rule, RULES)}")
    group = {
        "visual": shop.colour.astype(np.int64),
        "textual": shop.maker,
        "both": shop.colour.astype(np.int64) * MAKERS + shop.maker,
        "null": np.zeros(len(shop), np.int64),
    }[rule]
    order = np.argsort(group, kind="stable")
    size = np.bincount(group)
    first = np.cumsum(size) - size
    place = np.empty(len(shop), np.int64)
    place[order] = np.arange(len(shop)) - first[group[order]]
    luck = uniform(shop.picture.index, 2 * each, shop.seed, shop.part, seed, "uses").reshape(len(shop), 2, each)
    own = size[group][:, None]
    onward = 1 + (luck[:, 0] * np.maximum(own - 1, 1)).astype(np.int64)
    friend = order[np.minimum(first[group][:, None] + (place[:, None] + onward) % own, len(shop) - 1)]
    any_other = (np.arange(len(shop))[:, None] + 1 + (luck[:, 0] * max(1, len(shop) - 1)).astype(np.int64)) % max(
        1, len(shop)
    )
    other = np.where(luck[:, 1] < noise, any_other, friend)
    pairs = np.stack([np.repeat(np.arange(len(shop)), each), other.ravel()], 1)
    pairs = np.sort(pairs[pairs[:, 0] != pairs[:, 1]], 1)
    return np.unique(pairs, axis=0) if len(pairs) else np.zeros((0, 2), np.int64)


def queries(shop: Items) -> tuple[list[str], np.ndarray]:
    """ "red circle", … for each kind in the shop, and bool [Q N]: the items that it describes."""
    kinds = sorted(set(zip(shop.colour.tolist(), shop.shape.tolist(), strict=True)))
    relevant = [(shop.colour == c) & (shop.shape == s) for c, s in kinds]
    texts = [f"{COLOURS[c]} {SHAPES[s]}" for c, s in kinds]
    return texts, np.stack(relevant) if relevant else np.zeros((0, len(shop)), bool)


KINDS_OF_PLACE = tuple(DOMAINS["places"][1]["market"])


@dataclass(frozen=True, eq=False)
class Places:
    """N places, each with V pictures of one object."""

    pictures: Facts
    """[N V] scenes, place by place."""
    kind: np.ndarray
    """int64 [N], index into KINDS_OF_PLACE; only the text tells it."""
    off: np.ndarray
    """bool [N V]: a picture that has nothing to do with the place."""
    views: int

    def tags(self) -> np.ndarray:
        """bool [N tags of TAGS]: the kind, and each shape that at least two of the place's own pictures show."""
        shape = np.where(self.off, -1, self.pictures.shape[:, 0].reshape(-1, self.views))
        seen = (shape[:, :, None] == np.arange(len(SHAPES))).sum(1) >= 2
        return np.concatenate([self.kind[:, None] == np.arange(len(KINDS_OF_PLACE)), seen], 1)

    def text(self) -> list[str]:
        """ "a fish market"."""
        return [f"a {KINDS_OF_PLACE[k]} market" for k in self.kind.tolist()]


TAGS = (*KINDS_OF_PLACE, *SHAPES)


def places(seed: int, n: int, views: int = 6, off: float = 0.2, start: int = 0, part: str = "train") -> Places:
    """Places `start` to `start + n` of a part: two shapes of its own in the pictures, `off` of which are strays.

    A stray shows any shape but the place's two, so it must be known as one by its being alone.

    Raises:
        SensoriumError: fewer than four views, an `off` that is no share, an unknown part.
    """
    if views < 4 or not 0 <= off <= 1:
        raise SensoriumError(f"{views} views, {off} off; expected four or more, and a share from 0 to 1")
    pictures = facts(derive(seed, "places"), n * views, ONE, start * views, part)
    index = np.arange(start, start + n, dtype=np.int64)
    luck = uniform(index, 1 + len(SHAPES) + 2 * views, seed, part, "place")
    deal = luck[:, 1 : 1 + len(SHAPES)].argsort(1)
    stray, which = luck[:, 1 + len(SHAPES) :].reshape(n, 2, views).transpose(1, 0, 2)
    strays = stray < off
    turn = np.cumsum(strays, 1) - 1
    own = np.take_along_axis(deal, (which * 2).astype(np.int64), 1)
    other = np.take_along_axis(deal, 2 + turn % (len(SHAPES) - 2), 1)
    shape = np.where(strays, other, own).astype(np.int8)
    kind = (luck[:, 0] * len(KINDS_OF_PLACE)).astype(np.int64)
    return Places(replace(pictures, shape=shape.reshape(-1, 1)), kind, strays, views)
