"""Forms: labels and links against pixels, unseen templates, what text alone can and cannot tell."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from sensorium.core import SensoriumError
from sensorium.lab.world.facts import facts
from sensorium.lab.world.guards import balanced, blind
from sensorium.lab.world.page.fonts import Hand
from sensorium.lab.world.page.forms import (
    FIELDS,
    INFORMATIVE,
    STYLE,
    TAGS,
    Form,
    Style,
    as_text,
    forms,
    read,
    read_form,
    reader_error,
    records,
    template,
)
from sensorium.lab.world.page.reading import read_box


def text_of(form: Form, at: int) -> str:
    return " ".join(form.words[word].text for word in form.entities[at].words)


def test_each_value_is_linked_to_its_key_and_says_what_the_record_says() -> None:
    for form in forms(facts(0, 60)):
        look = template(form.template)
        assert [form.entities[a].field for a, _ in form.links] == list(FIELDS)
        for key, value in form.links:
            name = form.entities[key].field
            assert form.entities[value].field == name and text_of(form, value) == form.record[name]
            assert text_of(form, key).rstrip(":") == look.words[FIELDS.index(name)]


def test_the_words_are_drawn_where_their_boxes_say() -> None:
    for form in forms(facts(1, 4)):
        hands = [Hand(template(form.template).font, px) for px in (STYLE.px, STYLE.px + 2)]
        assert [read_box(form.image, word.box, hands) for word in form.words] == [word.text for word in form.words]


def test_words_do_not_overlap_and_are_read_row_by_row() -> None:
    for form in forms(facts(2, 200)):
        boxes = np.array([word.box for word in form.words])
        x0, y0, x1, y1 = boxes.T
        apart = (x0[:, None] >= x1) | (x0 >= x1[:, None]) | (y0[:, None] >= y1) | (y0 >= y1[:, None])
        assert (apart | np.eye(len(boxes), dtype=bool)).all()
        middle = (y0 + y1) / 2
        assert (np.diff(middle) > -STYLE.px).all()


def test_tags_mark_where_entities_begin() -> None:
    form = forms(facts(0, 1))[0]
    assert set(form.tags) <= set(TAGS) and len(form.tags) == len(form.words)
    assert form.tags.count("B-key") == form.tags.count("B-value") == len(FIELDS) and form.tags.count("B-header") == 1
    for entity in form.entities:
        tags = [form.tags[word] for word in entity.words]
        first, later = ("O", "O") if entity.kind == "other" else (f"B-{entity.kind}", f"I-{entity.kind}")
        assert tags == [first, *[later] * (len(tags) - 1)]
    assert sorted(word for entity in form.entities for word in entity.words) == list(range(len(form.words)))


def test_records_keep_their_rules() -> None:
    for record in records(facts(0, 500)):
        assert int(record["total"]) == int(record["number"]) * int(record["price"]) and record["from"] != record["to"]
        assert int(record["sent"].split()[0]) > int(record["ordered"].split()[0])
    world = facts(0, 2000)
    assert balanced([int(r["number"]) for r in records(world)], 11).ok


def test_test_shows_templates_that_no_other_part_shows() -> None:
    seen = {form.template for part in ("train", "validation", "seen") for form in forms(facts(0, 120, part=part))}
    unseen = {form.template for form in forms(facts(0, 120, part="test"))}
    assert seen == set(range(16)) and unseen == set(range(16, 24))
    assert len({template(number) for number in range(24)}) == 24
    open_style = replace(STYLE, unseen=0)
    assert {form.template for form in forms(facts(0, 120, part="test"), open_style)} == set(range(16))


def test_a_word_alone_does_not_tell_its_field_and_the_word_before_it_only_in_the_null_world() -> None:
    world = facts(0, 300)

    def pairs(style: Style) -> tuple[list[str], list[str], list[str]]:
        alone, before, field = [], [], []
        for form in forms(world, style):
            for entity in form.entities:
                if entity.kind == "value" and entity.field in ("from", "to", "number", "price"):
                    first = entity.words[0]
                    alone.append(form.words[first].text)
                    before.append(form.words[first - 1].text.rstrip(":"))
                    field.append(entity.field)
        return alone, before, field

    alone, before, field = pairs(replace(STYLE, arrangements=("above", "table"), synonyms=False))
    assert blind(alone, field, chance=0.52).ok and blind(before, field, chance=0.6).ok
    alone, before, field = pairs(INFORMATIVE)
    assert blind(alone, field, chance=0.52).ok and not blind(before, field, chance=0.9).ok


def test_any_chunk_has_the_same_forms() -> None:
    world = facts(3, 30)
    whole, part = forms(world, seed=2), forms(world.rows(slice(10, 20)), seed=2)
    for a, b in zip(whole[10:20], part, strict=True):
        assert np.array_equal(a.image, b.image) and (a.words, a.entities, a.record) == (b.words, b.entities, b.record)


def test_a_form_is_read_back_drawn_and_written() -> None:
    assert reader_error(facts(4, 5)) == 0
    form = forms(facts(0, 1))[0]
    assert read(as_text(form.record)) == form.record
    assert read("sender: Baba\nto pay: 12; nonsense; : 3; from: Bebe; total:") == {"from": "Baba", "total": "12"}
    blank = np.full_like(form.image, 255)
    assert set(read_form(blank, form.template).values()) == {""}


def test_bad_styles_and_records_are_refused() -> None:
    with pytest.raises(SensoriumError, match="arrangement 'tabel'; did you mean 'table'"):
        Style(arrangements=("tabel",))
    with pytest.raises(SensoriumError, match="0 templates, 8 unseen"):
        Style(templates=0)
    with pytest.raises(SensoriumError, match="no room for"):
        forms(facts(0, 1), replace(STYLE, width=60))
    with pytest.raises(SensoriumError, match="1 records for 2 scenes; expected one each, of from, to"):
        forms(facts(0, 2), values=[dict.fromkeys(FIELDS, "x")])
