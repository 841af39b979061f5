"""Charts: pixels against the table, answers against the table, blind scores."""

from __future__ import annotations

import numpy as np
import pytest

from sensorium.core import SensoriumError
from sensorium.lab.world.facts import COLOURS, facts
from sensorium.lab.world.guards import balanced, blind
from sensorium.lab.world.page.charts import (
    KINDS,
    MOST,
    QUESTIONS,
    WHOLE,
    Style,
    as_table,
    ask,
    charts,
    read_chart,
    read_table,
    reader_error,
)
from sensorium.lab.world.page.words import tone


def test_bars_are_as_high_as_their_values() -> None:
    for chart in charts(facts(0, 60), Style(kinds=("bar",))):
        for value, box, colour in zip(chart.values, chart.boxes, chart.colours, strict=True):
            assert box.y1 - box.y0 == 4 * value and 1 <= value <= MOST
            inside = chart.image[:, box.y0 : box.y1, box.x0 : box.x1]
            assert (inside == np.array(tone(COLOURS[colour]))[:, None, None]).all()


def test_shares_add_up_and_areas_follow_them() -> None:
    for chart in charts(facts(1, 60), Style(kinds=("pie", "map"))):
        assert sum(chart.values) == WHOLE and min(chart.values) >= 1
        for value, colour in zip(chart.values, chart.colours, strict=True):
            same = (chart.image[:, :, :120] == np.array(tone(COLOURS[colour]))[:, None, None]).all(0)
            area = same.sum() / (400 if chart.kind == "map" else np.pi * 44**2 / WHOLE)
            assert abs(area - value) < (1e-9 if chart.kind == "map" else 0.1)


def test_every_chart_is_read_back() -> None:
    world = facts(2, 100)
    assert reader_error(world) == 0
    assert {chart.kind for chart in charts(world)} == set(KINDS)


def test_a_chart_that_was_changed_is_read_as_changed() -> None:
    chart = charts(facts(0, 1), Style(kinds=("bar",)))[0]
    box, image = chart.boxes[0], chart.image.copy()
    image[:, box.y0 - 8 : box.y0, box.x0 : box.x1] = image[:, box.y0, box.x0][:, None, None]
    assert read_chart(image, "bar")[chart.names[0]] == chart.values[0] + 2
    assert read_chart(np.full_like(image, 255), "bar") == {}


def expected(kind: str, table: dict[str, int], named: list[int]) -> str:
    if kind in ("most", "least"):
        return (max if kind == "most" else min)(table, key=lambda name: table[name])
    if kind == "more":
        return "yes" if named[0] > named[1] else "no"
    return str({"value": named[0], "difference": abs(named[0] - named[-1]), "sum": sum(named)}[kind])


def test_answers_follow_from_the_table() -> None:
    world = facts(0, 300)
    made = charts(world)
    asked = ask(world, made)
    assert set(asked.kind) == set(QUESTIONS)
    for text, answer, kind, options, scene in zip(
        asked.text, asked.answer, asked.kind, asked.options, asked.scene.tolist(), strict=True
    ):
        table = dict(zip(made[scene].names, made[scene].values, strict=True))
        named = [table[name] for name in sorted(table, key=text.find) if name in text]
        assert answer == expected(kind, table, named) and answer in options


@pytest.mark.parametrize(("kind", "chance"), [("value", 1 / 20), ("more", 1 / 2), ("most", 1 / 5), ("least", 1 / 5)])
def test_the_question_alone_does_not_tell_the_answer(kind: str, chance: float) -> None:
    world = facts(0, 2000)
    made = charts(world, Style(kinds=("bar", "line"), fewest=5))
    asked = ask(world, made, (kind,))
    answers = [
        str(made[scene].names.index(answer)) if kind in ("most", "least") else answer
        for answer, scene in zip(asked.answer, asked.scene.tolist(), strict=True)
    ]
    assert blind(None, answers, chance).ok and balanced(answers).ok


def test_tables_are_read_back() -> None:
    chart = charts(facts(0, 1))[0]
    assert read_table(as_table(chart)) == dict(zip(chart.names, chart.values, strict=True))
    assert read_table("name | value\n| Baba | 1.5 |\nBaba | 2\nnothing") == {"Baba": 2.0}


def test_any_chunk_has_the_same_charts() -> None:
    world = facts(3, 40)
    for a, b in zip(charts(world, seed=4)[10:20], charts(world.rows(slice(10, 20)), seed=4), strict=True):
        assert np.array_equal(a.image, b.image) and (a.names, a.values, a.kind) == (b.names, b.values, b.kind)


def test_kinds_are_balanced() -> None:
    made = charts(facts(0, 1200))
    assert balanced([chart.kind for chart in made], 4).ok and balanced([len(chart.names) for chart in made], 3).ok


def test_bad_kinds_are_refused() -> None:
    with pytest.raises(SensoriumError, match="chart 'bars'; did you mean 'bar'"):
        Style(kinds=("bars",))
    with pytest.raises(SensoriumError, match="1 kinds of charts with 3 to 9 categories"):
        Style(kinds=("bar",), most=9)
    with pytest.raises(SensoriumError, match="chart question 'mostly'; did you mean 'most'"):
        ask(facts(0, 1), charts(facts(0, 1)), ("mostly",))
    with pytest.raises(SensoriumError, match=r"picture \[3, 8, 8\]; expected \[3 128 192\]"):
        read_chart(np.zeros((3, 8, 8), np.uint8), "bar")
