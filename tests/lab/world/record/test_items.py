"""Items and places: uses by their rule, texts and pictures that keep their secrets, tags by what is shown."""

from __future__ import annotations

import numpy as np
import pytest

from sensorium.core import SensoriumError
from sensorium.lab.world.facts import COLOURS, SHAPES, Config
from sensorium.lab.world.guards import balanced, blind
from sensorium.lab.world.record.items import MAKERS, RULES, TAGS, items, makers, places, queries, related, titles, uses


@pytest.mark.parametrize("rule", RULES)
def test_uses_follow_their_rule(rule: str) -> None:
    shop = items(0, 300)
    edges = uses(shop, rule)
    assert (edges[:, 0] < edges[:, 1]).all() and len(np.unique(edges, axis=0)) == len(edges)
    same_colour = shop.colour[edges[:, 0]] == shop.colour[edges[:, 1]]
    same_maker = shop.maker[edges[:, 0]] == shop.maker[edges[:, 1]]
    assert all(related(shop, rule, a)[b] and related(shop, rule, b)[a] for a, b in edges.tolist())
    if rule == "visual":
        assert same_colour.all() and abs(same_maker.mean() - 1 / MAKERS) < 0.04
    elif rule == "textual":
        assert same_maker.all() and abs(same_colour.mean() - 1 / len(COLOURS)) < 0.05
    elif rule == "both":
        assert same_colour.all() and same_maker.all()
    else:
        assert same_colour.mean() < 0.2 and same_maker.mean() < 0.2
    partners = np.bincount(edges.ravel(), minlength=300)
    lonely = np.array([not related(shop, rule, row).any() for row in range(300)])
    assert ((partners > 0) | lonely).all()


def test_noise_adds_uses_beside_the_rule() -> None:
    shop = items(0, 400)
    edges = uses(shop, "visual", noise=0.3)
    off = shop.colour[edges[:, 0]] != shop.colour[edges[:, 1]]
    assert abs(off.mean() - 0.3 * (1 - 1 / 8)) < 0.05
    assert np.array_equal(uses(shop, "visual"), uses(shop, "visual")) and not np.array_equal(
        uses(shop, "visual"), uses(shop, "visual", seed=1)
    )
    assert uses(items(0, 1), "null").shape == uses(items(0, 0), "null").shape == (0, 2)


def test_the_text_hides_the_colour_and_the_picture_the_maker() -> None:
    shop = items(0, 4000)
    texts = titles(shop)
    assert not any(name in text for text in texts for name in COLOURS)
    for text, s, m in zip(texts, shop.shape.tolist(), shop.maker.tolist(), strict=True):
        assert text == f"{SHAPES[s]} by {makers()[m]}"
    assert blind(texts, shop.colour.tolist()).ok
    assert blind([*zip(shop.colour.tolist(), shop.shape.tolist(), strict=True)], shop.maker.tolist()).ok
    assert len(set(makers())) == MAKERS and balanced(shop.maker.tolist(), MAKERS).ok


def test_poor_texts_leave_out_the_shape() -> None:
    shop = items(0, 2000)
    bare = np.array([text.startswith("item by") for text in titles(shop, poor=0.4)])
    assert abs(bare.mean() - 0.4) < 0.05 and not any(t.startswith("item") for t in titles(shop))
    assert titles(items(0, 10, start=50), 0.4) == titles(shop, 0.4)[50:60]


def test_queries_find_every_item_once() -> None:
    shop = items(0, 200)
    texts, relevant = queries(shop)
    assert relevant.sum(0).tolist() == [1] * 200 and relevant.any(1).all() and len(set(texts)) == len(texts)
    first = next(row for row in range(200) if relevant[0, row])
    assert texts[0] == f"{COLOURS[shop.colour[first]]} {SHAPES[shop.shape[first]]}"


def test_tags_are_what_two_pictures_of_a_place_show() -> None:
    town = places(0, 400, views=6)
    shape = town.pictures.shape[:, 0].reshape(400, 6)
    tags = town.tags()
    assert tags.shape == (400, len(TAGS)) and (tags[:, :4].sum(1) == 1).all() and (tags[:, 4:].sum(1) <= 2).all()
    for row in range(400):
        own = [int(s) for s, off in zip(shape[row], town.off[row], strict=True) if not off]
        assert {s for s in range(6) if tags[row, 4 + s]} == {s for s in set(own) if own.count(s) >= 2}
        strays = {int(s) for s, off in zip(shape[row], town.off[row], strict=True) if off}
        assert not strays & set(own)
        assert f"a {TAGS[town.kind[row]]} market" == town.text()[row]
    assert abs(town.off.mean() - 0.2) < 0.04
    assert blind(town.text(), tags[:, 4].tolist(), float(max(tags[:, 4].mean(), 1 - tags[:, 4].mean()))).ok
    part = places(0, 5, start=100)
    assert np.array_equal(part.pictures.shape, town.pictures.shape[600:630])


def test_mistakes_are_named() -> None:
    shop = items(0, 5)
    for call, message in (
        (lambda: uses(shop, "visul"), "did you mean 'visual'"),
        (lambda: related(shop, "x", 0), "rule of use 'x'"),
        (lambda: titles(shop, 2.0), "poor texts 2.0"),
        (lambda: items(0, 1, config=Config()), "scenes of one"),
        (lambda: places(0, 1, views=2), "2 views"),
        (lambda: uses(shop, "null", noise=3.0), "noise 3.0"),
    ):
        with pytest.raises(SensoriumError, match=message):
            call()
