"""Tool tasks: each solution against another way to the answer, tools on what they cannot take."""

from __future__ import annotations

from itertools import pairwise

import pytest

from sensorium.core import SensoriumError
from sensorium.lab.world.facts import COLOURS, RELATIONS, SHAPES, Config, Facts, facts
from sensorium.lab.world.guards import balanced, blind
from sensorium.lab.world.lang import true_of
from sensorium.lab.world.talk.objects import kind
from sensorium.lab.world.talk.tools import (
    KINDS,
    NOTHING,
    OUTPUTS,
    PRICES,
    TOOLS,
    Call,
    as_text,
    execute,
    prices,
    read,
    run,
    solves,
    tasks,
)

CROWDED = Config(cells=3, fewest=1, most=5, distinct=False, colours=4, shapes=3)


def mentioned(text: str) -> list[tuple[int, int]]:
    """Colours and shapes in order."""
    words = text.rstrip(".").split()
    pairs = pairwise(words)
    return [(COLOURS.index(a), SHAPES.index(b)) for a, b in pairs if a in COLOURS and b in SHAPES]


def expected(text: str, name: str, world: Facts, scene: int) -> str:
    one = world.rows([scene])
    price = prices(one)[0]
    named = mentioned(text)
    if name == "sum":
        return str(sum(int(price[at]) for at in named))
    if name == "many":
        return str(int(one.n[0]) * int(price[named[0]]))
    relation = next(r for r in RELATIONS if f" {r} the " in text)
    base = f"{COLOURS[named[0][0]]} {SHAPES[named[0][1]]}"
    beside = [
        (c, s)
        for c in range(len(COLOURS))
        for s in range(len(SHAPES))
        if true_of(f"a {COLOURS[c]} {SHAPES[s]} {relation} a {base}", one, "en")[0]
    ]
    assert len(beside) == 1
    return str(int(price[beside[0]]))


@pytest.mark.parametrize("config", [Config(), CROWDED], ids=["plain", "crowded"])
def test_answers_follow_by_another_way(config: Config) -> None:
    world = facts(0, 60, config)
    made = tasks(world)
    assert {one.kind for one in made} == set(KINDS)
    for one in made:
        if one.kind == "place":
            ((c, s),) = mentioned(one.text)
            assert true_of(f"a {COLOURS[c]} {SHAPES[s]} is {one.answer}.", world.rows([one.scene]), "en")[0]
        else:
            assert one.answer == expected(one.text, one.kind, world, one.scene)
        assert one.calls[-1].result == one.answer and OUTPUTS[one.calls[-1].tool] == one.output


def test_the_verb_tells_the_output() -> None:
    made = tasks(facts(0, 900), ("place",))
    verbs = {"write": "text", "tell": "sound", "draw": "picture"}
    assert (
        all(one.output == verbs[one.text.split()[0]] for one in made) and balanced([one.output for one in made], 3).ok
    )


def test_the_task_alone_does_not_tell_the_answer() -> None:
    made = tasks(facts(0, 3000), ("cost",))
    assert blind(None, [one.answer for one in made], 1 / PRICES).ok
    assert blind([one.text for one in made], [one.answer for one in made], 1 / PRICES).ok
    assert balanced(prices(facts(0, 500)).ravel().tolist(), PRICES).ok


def test_tools_return_nothing_where_there_is_none_or_several() -> None:
    world = facts(0, 50, CROWDED)
    absent = next(
        (i, f"{c} {s}")
        for i in range(50)
        for c in COLOURS[:4]
        for s in SHAPES[:3]
        if f"{c} {s}" not in [kind(world, i, k) for k in range(world.n[i])]
    )
    assert execute("where", (absent[1],), world, absent[0]) == NOTHING
    kinds = [[kind(world, i, k) for k in range(world.n[i])] for i in range(50)]
    twice = next((i, k) for i, found in enumerate(kinds) for k in found if found.count(k) > 1)
    assert execute("where", (twice[1],), world, twice[0]) == NOTHING
    assert execute("price", ("brown ring",), world, 0) == NOTHING
    assert execute("count", (), world, 3) == str(world.n[3]) and execute("speak", ("x y",), world, 0) == "x y"


def test_bad_calls_are_refused_in_one_line() -> None:
    world = facts(0, 1)
    for tool, arguments, message in (
        ("wheer", ("red circle",), "tool 'wheer'; did you mean 'where'"),
        ("add", ("1",), "add of 1 arguments; expected a, b"),
        ("count", ("1",), "count of 1 arguments; expected none"),
        ("add", ("1", "x"), "add of 'x'; expected a whole number"),
        ("price", ("red",), "price of 'red'; expected a colour and a shape"),
        ("beside", ("near", kind(world, 0, 0)), "relation 'near'"),
    ):
        with pytest.raises(SensoriumError, match=message):
            execute(tool, arguments, world, 0)
    with pytest.raises(SensoriumError, match="argument '#2' after 1 calls; expected #1 to #1"):
        run([("count", ()), ("add", ("#1", "#2"))], world, 0)
    with pytest.raises(SensoriumError, match="task 'costs'; did you mean 'cost'"):
        tasks(world, ("costs",))


def test_solutions_are_written_and_read_back() -> None:
    world = facts(1, 40)
    for one in tasks(world):
        assert read(as_text(one.calls)) == list(one.calls) and solves(one.calls, one, world)
        assert all(call.tool in TOOLS for call in one.calls)
    assert read("I think:\nprice(red circle)\ncount() -> 2\nadd(1; 2) -> 3 \n) (") == [
        Call("price", ("red circle",)),
        Call("count", (), "2"),
        Call("add", ("1", "2"), "3"),
    ]


def test_only_what_ends_in_the_answer_by_its_way_solves_a_task() -> None:
    world = facts(2, 30)
    for one in tasks(world, ("sum",)):
        swapped = (one.calls[1], one.calls[0], *one.calls[2:])
        assert solves(swapped, one, world)
        assert not solves(one.calls[:-1], one, world) and not solves((), one, world)
        other = next(tool for tool in OUTPUTS if OUTPUTS[tool] != one.output)
        assert not solves((*one.calls[:-1], Call(other, ("#3",))), one, world)
        assert not solves((*one.calls[:-1], Call(one.calls[-1].tool, ("#1",))), one, world)
        assert not solves((Call("fly", ()), *one.calls), one, world)


def test_any_chunk_has_the_same_tasks() -> None:
    world = facts(3, 30)
    whole = [one for one in tasks(world, seed=5) if 10 <= one.scene < 20]
    part = tasks(world.rows(slice(10, 20)), seed=5)
    assert [(a.text, a.calls, a.scene - 10) for a in whole] == [(b.text, b.calls, b.scene) for b in part]
