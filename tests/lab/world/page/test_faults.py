"""Broken pages: the elements that are named contradict each other, the pages left alone do not."""

from __future__ import annotations

import numpy as np
import pytest

from sensorium.core import SensoriumError
from sensorium.lab.world.facts import COLOURS, SHAPES, Config, facts
from sensorium.lab.world.lang import row_by_row
from sensorium.lab.world.operators import read as read_scenes
from sensorium.lab.world.page.documents import Document, documents
from sensorium.lab.world.page.faults import FAULTS, flawed
from sensorium.lab.world.page.forms import Form
from sensorium.lab.world.page.html import Page
from sensorium.lab.world.page.html import pages as web_pages


def agrees(document: Document, sentence: str, figure: str) -> bool:
    """A sentence of a document is true of the picture, as the reader of scenes sees it."""
    one = document.element(figure)
    x0, y0, x1, y1 = one.box
    seen = read_scenes(document.pages[one.page, :, y0:y1, x0:x1][None], Config())
    return bool(row_by_row([document.element(sentence).text], seen, "en")[0])


@pytest.mark.parametrize("kind", ["total", "date"])
def test_forms_break_their_rule_exactly_where_it_says(kind: str) -> None:
    for one in flawed(facts(0, 150), kind):
        assert isinstance(one.page, Form)
        record = one.page.record
        right = int(record["total"]) == int(record["number"]) * int(record["price"])
        later = int(record["sent"].split()[0]) > int(record["ordered"].split()[0])
        assert (right, later) == (not (one.broken and kind == "total"), not (one.broken and kind == "date"))
        fields = {"total": ("total", "number", "price"), "date": ("sent", "ordered")}[kind]
        assert one.where == (fields if one.broken else ())
        assert int(record["total"]) > 0 and not one.across


def test_products_are_not_what_their_picture_shows() -> None:
    world = facts(1, 60)
    true = web_pages(world)
    for i, one in enumerate(flawed(world, "fact")):
        assert isinstance(one.page, Page)
        kind = next(node for node in one.page.nodes if node.field == "kind")
        colour, shape = COLOURS[world.colour[i, 0]], SHAPES[world.shape[i, 0]]
        assert (kind.text == f"{colour} {shape}") == (not one.broken) and kind.text.endswith(shape)
        if one.broken:
            assert one.where[0] == kind.path and one.where[1].endswith("/img") and one.across
            text = next(node.text for node in one.page.nodes if node.path == one.where[2])
            assert f"{colour} {shape}" in text
        else:
            assert one.page.markup == true[i].markup


def test_names_in_the_table_are_not_the_headings() -> None:
    for one in flawed(facts(2, 60), "name"):
        assert isinstance(one.page, Document)
        headings = [one.page.element(f"h{k + 1}").text for k in range(3)]
        wrong = [k for k, (name, _) in enumerate(one.page.table) if name != headings[k]]
        assert [("t1", f"h{k + 1}") for k in wrong] == ([one.where] if one.broken else [])
        assert len({name for name, _ in one.page.table}) == 3


@pytest.mark.parametrize("kind", ["figure", "place"])
def test_sentences_contradict_the_figures_that_are_named_and_no_others(kind: str) -> None:
    world = facts(3, 80)
    broken = 0
    for one in flawed(world, kind, share=0.7):
        assert isinstance(one.page, Document)
        found = set()
        for element in one.page.elements:
            figure = f"f{element.section + 1}"
            if element.kind == "sentence" and not agrees(one.page, element.id, figure):
                found |= {element.id, figure}
        assert found == set(one.where) and one.across == one.broken == bool(found)
        assert not one.where or one.where[0].startswith("f" if kind == "figure" else "s")
        broken += one.broken
    assert 20 < broken < 60


def test_pages_that_are_not_broken_are_the_true_ones() -> None:
    world = facts(4, 20)
    for one, true in zip(flawed(world, "place", share=0.0), documents(world), strict=True):
        assert isinstance(one.page, Document)
        assert np.array_equal(one.page.pages, true.pages) and not one.broken and one.where == ()


@pytest.mark.parametrize("kind", FAULTS)
def test_any_chunk_is_broken_alike(kind: str) -> None:
    world = facts(5, 24)
    whole, part = flawed(world, kind, seed=2), flawed(world.rows(slice(8, 16)), kind, seed=2)
    assert [one.where for one in whole[8:16]] == [one.where for one in part]


def test_half_of_the_pages_are_broken() -> None:
    assert 0.43 < np.mean([one.broken for one in flawed(facts(0, 400), "total")]) < 0.57


def test_bad_faults_are_refused() -> None:
    with pytest.raises(SensoriumError, match="fault 'dates'; did you mean 'date'"):
        flawed(facts(0, 1), "dates")
    with pytest.raises(SensoriumError, match="share 2; expected 0 to 1"):
        flawed(facts(0, 1), "date", share=2)
    with pytest.raises(SensoriumError, match="null world 'pair'"):
        flawed(facts(0, 1, Config(null="pair")), "fact")


def test_faults_of_the_test_part_stay_among_its_combinations() -> None:
    config = Config(held=0.25)
    for one in flawed(facts(0, 60, config, part="test"), "fact", share=1.0)[:60]:
        assert isinstance(one.page, Page) and one.broken == bool(one.where)
