"""Web pages: the tree against a parser that we did not write, boxes against pixels, unseen shops, looks that matter."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from sensorium.core import SensoriumError
from sensorium.lab.world.facts import facts
from sensorium.lab.world.guards import balanced, blind
from sensorium.lab.world.lang import TAGS, caption
from sensorium.lab.world.page.fonts import Hand
from sensorium.lab.world.page.html import FIELDS, STYLE, TONES, Style, pages, read, reader_error, records, site
from sensorium.lab.world.page.reading import read_box
from sensorium.lab.world.page.typeset import BLACK
from sensorium.lab.world.scene import render


@pytest.mark.parametrize("part", ["train", "test"])
def test_a_parser_finds_the_nodes_with_their_paths(part: str) -> None:
    lxml = pytest.importorskip("lxml.html")
    for page in pages(facts(0, 60, part=part)):
        told = [(node.path, node.text) for node in page.nodes]
        assert read(page.markup) == told
        tree = lxml.fromstring(page.markup).getroottree()
        for path, text in told:
            (element,) = tree.xpath(path)
            assert element.text == text


def test_special_characters_survive() -> None:
    world = facts(0, 1)
    values = [records(world)[0] | {"maker": "<b>&\"x'"}]
    (page,) = pages(world, values=values)
    assert "<b>&\"x'" in [text for _, text in read(page.markup)]


def test_each_field_has_one_node_with_its_value_drawn_where_its_box_says() -> None:
    for page in pages(facts(1, 12)):
        hands = [Hand(site(page.site).font, px) for px in (STYLE.px, STYLE.px + 2)]
        fields = {node.field: node for node in page.nodes if node.field}
        assert sorted(fields) == sorted(FIELDS) and {name: node.text for name, node in fields.items()} == page.record
        for name in ("maker", "stock", "price", "was"):
            node = fields[name]
            assert read_box(page.image, node.box, hands, (BLACK, *TONES.values())) == node.text


def test_the_picture_and_the_text_are_those_of_the_scene() -> None:
    world = facts(2, 20)
    for i, page in enumerate(pages(world)):
        path = next(path for path in page.boxes if path.endswith("/img"))
        x0, y0, x1, y1 = page.boxes[path]
        assert np.array_equal(page.image[:, y0:y1, x0:x1], render(world.rows([i]), 40)[0])
        assert next(node.text for node in page.nodes if node.tag == "p") == caption(world, "long")[i]


def test_an_elements_box_holds_those_of_its_children() -> None:
    for page in pages(facts(0, 30)):
        for path, (x0, y0, x1, y1) in page.boxes.items():
            above = path.rpartition("/")[0]
            if above in page.boxes:
                a0, b0, a1, b1 = page.boxes[above]
                assert a0 <= x0 and b0 <= y0 and x1 <= a1 and y1 <= b1
        assert not any(page.nodes[0].box) and page.nodes[0].tag == "title"


def test_only_looks_tell_the_two_prices_apart() -> None:
    seen, field = [], []
    for page in pages(facts(0, 400)):
        prices = [node for node in page.nodes if node.field in ("price", "was")]
        seen += [node.path.rpartition("/")[2] for node in prices]
        field += [node.field for node in prices]
        for node in prices:
            x0, y0, x1, y1 = node.box
            darkest = page.image[:, y0:y1, x0:x1].reshape(3, -1).min(1)
            assert (darkest[0] > darkest[2]) == (node.field == "price")
    assert blind(seen, field).ok and balanced(field, 2).ok
    higher = [int(r["price"]) > int(r["was"]) for r in records(facts(0, 2000))]
    assert balanced(higher, 2).ok


def test_without_looks_the_markup_tells_the_prices_apart() -> None:
    for page in pages(facts(0, 40), replace(STYLE, looks=False)):
        assert [node.field for node in page.nodes if node.field in ("price", "was")] == ["price", "was"]
        assert page.markup.index("<i>was</i>") < page.markup.rindex(page.record["was"])


def test_test_shows_shops_that_no_other_part_shows() -> None:
    seen = {page.site for part in ("train", "seen") for page in pages(facts(0, 60, part=part))}
    assert seen == set(range(12)) and {page.site for page in pages(facts(0, 80, part="test"))} == set(range(12, 18))
    assert len({site(number) for number in range(18)}) == 18


def test_the_maker_is_someone_else_and_names_are_alike() -> None:
    found = records(facts(0, 800))
    assert all(r["maker"] != r["name"] for r in found)
    names, makers = ({r[key] for r in found} for key in ("name", "maker"))
    assert len(names & makers) > 0.5 * len(names)


def test_any_chunk_has_the_same_pages() -> None:
    world = facts(3, 24)
    whole, part = pages(world, seed=1), pages(world.rows(slice(8, 16)), seed=1)
    for a, b in zip(whole[8:16], part, strict=True):
        assert a.markup == b.markup and np.array_equal(a.image, b.image) and a.nodes == b.nodes


@pytest.mark.parametrize("language", TAGS)
def test_descriptions_are_in_any_language(language: str) -> None:
    (page,) = pages(facts(0, 1), replace(STYLE, language=language, height=400))
    assert caption(facts(0, 1), "long", language)[0] in [text for _, text in read(page.markup)]


def test_drawn_pages_are_read_without_error_and_what_is_no_page_as_nothing() -> None:
    assert reader_error(facts(5, 8)) == 0
    assert read("no markup at all") == [] and read("") == []
    assert read("<p>one<p>two") == [("/html/body/p[1]", "one"), ("/html/body/p[2]", "two")]


def test_words_of_a_page_are_drawn_once() -> None:
    for page in pages(facts(6, 10)):
        boxes = Counter(node.box for node in page.nodes if any(node.box))
        assert max(boxes.values()) == 1


def test_bad_styles_are_refused() -> None:
    with pytest.raises(SensoriumError, match="0 sites, 6 unseen"):
        Style(sites=0)
    with pytest.raises(SensoriumError, match="no room for"):
        pages(facts(0, 1), replace(STYLE, height=60))
    with pytest.raises(SensoriumError, match="0 records for 1 scenes"):
        pages(facts(0, 1), values=[])
