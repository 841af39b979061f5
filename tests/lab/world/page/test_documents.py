"""Documents: what each element says against the facts, what evidence answers, Markdown there and back."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from sensorium.core import SensoriumError
from sensorium.lab.world.facts import SIZES, TEXTURES, Config, facts
from sensorium.lab.world.guards import balanced, blind
from sensorium.lab.world.lang import row_by_row
from sensorium.lab.world.lang.names import name_number
from sensorium.lab.world.page.documents import (
    PLACES,
    STYLE,
    Style,
    ask,
    documents,
    markdown,
    read_markdown,
    read_pages,
    reader_error,
)
from sensorium.lab.world.page.outline import several
from sensorium.lab.world.scene import render

RICH = Config(sizes=SIZES, textures=TEXTURES)


def test_sentences_are_true_of_their_section_and_state_told_objects_only() -> None:
    world = facts(0, 30, RICH)
    worlds = several(world, STYLE.sections)
    for i, made in enumerate(documents(world)):
        for one in made.elements:
            if one.kind == "sentence":
                assert row_by_row([one.text], worlds[one.section].rows([i]))[0]
                assert all(slot < 0 or made.told[one.section, slot] for slot, _ in one.states)
        for k, told in enumerate(made.told):
            stated = {slot for one in made.elements if one.section == k for slot, _ in one.states if slot >= 0}
            assert stated == set(np.flatnonzero(told).tolist())


def test_figures_are_the_scenes_of_their_sections() -> None:
    world = facts(1, 10)
    for style in (STYLE, replace(STYLE, figures="end")):
        pictures = [render(scene, style.picture) for scene in several(world, style.sections)]
        for i, made in enumerate(documents(world, style)):
            for number, section in enumerate(made.figures, 1):
                one = made.element(f"f{number}")
                x0, y0, x1, y1 = one.box
                assert one.section == section
                assert np.array_equal(made.pages[one.page, :, y0:y1, x0:x1], pictures[section][i])


def test_figures_at_the_end_are_in_an_order_of_their_own_and_references_follow_it() -> None:
    world = facts(0, 300)
    made = documents(world, replace(STYLE, figures="end"))
    assert balanced([one.figures for one in made], 6).ok
    for one in made[:40]:
        for section in range(3):
            assert one.element(f"r{section + 1}").text == f"see figure {one.figures.index(section) + 1}."
    bare = documents(world.rows(range(5)), replace(STYLE, figures="end", numbered=False))
    assert not any(one.kind == "reference" for made in bare for one in made.elements)


def test_words_lie_in_their_element_and_say_its_text() -> None:
    for made in documents(facts(2, 20)):
        for at, one in enumerate(made.elements):
            words = [(page, word) for page, element, word in made.words if element == at]
            assert {page for page, _ in words} <= {one.page}
            for _, word in words:
                assert one.box.x0 <= word.box.x0 and word.box.x1 <= one.box.x1
                assert one.box.y0 <= word.box.y0 and word.box.y1 <= one.box.y1
            if one.kind not in ("figure", "table"):
                assert " ".join(word.text for _, word in words) == (one.text or "figure")
        assert [one.page for one in made.elements] == sorted(one.page for one in made.elements)


def test_no_two_elements_overlap() -> None:
    for made in documents(facts(3, 30)):
        words = [(page, word.box) for page, _, word in made.words]
        words += [(one.page, one.box) for one in made.elements if one.kind == "figure"]
        for page in range(len(made.pages)):
            x0, y0, x1, y1 = np.array([box for at, box in words if at == page]).T
            apart = (x0[:, None] >= x1) | (x0 >= x1[:, None]) | (y0[:, None] >= y1) | (y0 >= y1[:, None])
            assert (apart | np.eye(len(x0), dtype=bool)).all()


@pytest.mark.parametrize("figures", PLACES)
def test_evidence_states_the_answer_and_nothing_else_does(figures: str) -> None:
    world, style = facts(0, 60, RICH), replace(STYLE, figures=figures)
    made = documents(world, style)
    asked = ask(world, made, style)
    assert {one.kind for one in asked} == {"colour", "shape", "size", "texture", "where", "coins"}
    for one in asked:
        document = made[one.document]
        found = [document.element(name) for name in one.evidence]
        assert one.pages == tuple(sorted({element.page for element in found}))
        if one.kind == "coins":
            assert one.evidence == ("t1",) and f"{document.table[one.section][0]}: {one.answer}" in found[0].text
            continue
        assert one.text.startswith(f"in the section {document.element(f'h{one.section + 1}').text}: ")
        assert found[-1].kind == "figure" and all(element.section == one.section for element in found)
        for element in found[:-1]:
            assert one.answer.removeprefix("at the ") in element.text and one.answer in one.options
    told = [len(one.evidence) > 1 for one in asked if one.kind != "coins"]
    assert 0.35 < np.mean(told) < 0.65


def test_the_question_alone_does_not_tell_the_answer() -> None:
    world = facts(0, 1000)
    style = replace(STYLE, sections=2, told=0.0)
    asked = ask(world, documents(world, style), style)
    for kind, chance in (("colour", 1 / 8), ("shape", 1 / 6), ("where", 1 / 4), ("coins", 1 / 90)):
        rows = [one for one in asked if one.kind == kind]
        assert blind([one.text.partition(":")[2] for one in rows], [one.answer for one in rows], chance).ok


@pytest.mark.parametrize("style", [STYLE, replace(STYLE, figures="end", numbered=False, sections=4)])
def test_markdown_is_read_back(style: Style) -> None:
    for made in documents(facts(0, 15), style):
        outline = read_markdown(markdown(made))
        assert outline.title == made.element("title").text
        assert outline.headings == tuple(name for name, _ in made.table)
        for k, paragraphs in enumerate(outline.paragraphs):
            kinds = ("sentence", "reference")
            told = " ".join(one.text for one in made.elements if one.section == k and one.kind in kinds)
            assert " ".join(paragraphs) == told
        assert [number for number, _ in outline.figures] == list(range(1, style.sections + 1))
        if style.figures == "near":
            assert [section for _, section in outline.figures] == list(made.figures)
        assert outline.rows == tuple((name, str(coins)) for name, coins in made.table)


def test_the_markdown_of_its_pages_is_that_of_the_document() -> None:
    for made in documents(facts(1, 10)):
        parts = [read_markdown(markdown(made, page)) for page in range(len(made.pages))]
        assert sum((part.headings for part in parts), ()) == read_markdown(markdown(made)).headings
        for page in range(len(made.pages)):
            source = markdown(made, page)
            for one in made.elements:
                if one.kind == "sentence" and one.page == page:
                    assert one.text in source


def test_what_is_no_markdown_is_read_as_far_as_it_goes() -> None:
    outline = read_markdown("words\n## a\nb\n![figure x](y.png)\n| c |\n| d | e |\n# f\n# g")
    assert (outline.title, outline.headings) == ("f", ("a",)) and outline.paragraphs == (("b", "![figure x](y.png)"),)
    assert outline.rows == (("c",), ("d", "e")) and outline.figures == ()


def test_pages_are_read_without_error() -> None:
    world = facts(4, 6)
    assert reader_error(world) == 0
    made = documents(world)[0]
    assert read_pages(made.pages)[0][:3] == ["on", "3", "pictures"]


def test_any_chunk_has_the_same_documents() -> None:
    world = facts(5, 20)
    whole, part = documents(world, seed=3), documents(world.rows(slice(5, 10)), seed=3)
    for a, b in zip(whole[5:10], part, strict=True):
        assert np.array_equal(a.pages, b.pages) and a.elements == b.elements and a.table == b.table
    one, other = ask(world, whole, seed=3), ask(world.rows(slice(5, 10)), part, seed=3)
    assert [q.text for q in one if 5 <= q.document < 10] == [q.text for q in other]


def test_sections_have_names_of_their_own() -> None:
    for made in documents(facts(6, 50)):
        names = [name for name, _ in made.table]
        assert len(set(names)) == 3 and all(name_number(name) >= 0 for name in names)


def test_bad_styles_are_refused() -> None:
    with pytest.raises(SensoriumError, match="figures 'close'; expected one of end, near"):
        Style(figures="close")
    with pytest.raises(SensoriumError, match="told 2; expected a share"):
        Style(told=2)
    with pytest.raises(SensoriumError, match="no room for a picture of 180 x 180"):
        documents(facts(0, 1), replace(STYLE, picture=180))
    with pytest.raises(SensoriumError, match="0 documents for 1 scenes"):
        ask(facts(0, 1), [])
    with pytest.raises(SensoriumError, match="element 's9'"):
        documents(facts(0, 1))[0].element("s9")
