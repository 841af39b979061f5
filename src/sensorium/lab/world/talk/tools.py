"""Tasks that take tools: which ones, with which arguments, in which order, and what each returns.

Tools look at the scene, look up prices that nothing shows, calculate, and put out text, a picture or speech. A price
belongs to a scene and a kind, so that it cannot be learnt.

Shape legend: Q tasks.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from sensorium.core import SensoriumError, nearest

from ..facts import COLOURS, RELATIONS, SHAPES, Facts
from ..lang.english import ENGLISH
from ..lang.plan import draw
from ..lang.questions import unique
from .objects import kind

TOOLS: dict[str, tuple[str, ...]] = {
    "count": (),
    "where": ("kind",),
    "beside": ("relation", "kind"),
    "price": ("kind",),
    "add": ("a", "b"),
    "multiply": ("a", "b"),
    "write": ("text",),
    "draw": ("text",),
    "speak": ("text",),
}
"""Each tool and the names of its arguments. The last three put out what they are given."""
OUTPUTS = {"write": "text", "draw": "picture", "speak": "sound"}
PRICES = 40
NOTHING = "nothing"


class Call(NamedTuple):
    """One use of a tool."""

    tool: str
    arguments: tuple[str, ...]
    result: str = ""


@dataclass(frozen=True)
class Task:
    """An order with its one shortest solution; a "#2" in an argument is the result of the second call."""

    text: str
    kind: str
    scene: int
    """Row of the facts."""
    calls: tuple[Call, ...]
    answer: str
    output: str
    """One of the values of OUTPUTS."""


def prices(facts: Facts, seed: int = 0) -> np.ndarray:
    """int64 [N C S]: what each colour and shape costs in each scene, 1 to PRICES."""
    c, s = facts.config.colours, facts.config.shapes
    return np.asarray(1 + np.floor(draw(facts, c * s, seed, "talk", "prices") * PRICES), np.int64).reshape(-1, c, s)


def execute(tool: str, arguments: Sequence[str], facts: Facts, scene: int, seed: int = 0) -> str:
    """What a tool returns on one scene; NOTHING where there is no such object, or several.

    Raises:
        SensoriumError: an unknown tool, arguments of another number, words or numbers that it cannot take.
    """
    if tool not in TOOLS:
        raise SensoriumError(f"tool {tool!r}{nearest(tool, TOOLS)}")
    if len(arguments) != len(TOOLS[tool]):
        raise SensoriumError(f"{tool} of {len(arguments)} arguments; expected {', '.join(TOOLS[tool]) or 'none'}")
    if tool in OUTPUTS:
        return arguments[0]
    if tool in ("add", "multiply"):
        a, b = (_number(tool, text) for text in arguments)
        return str(a + b if tool == "add" else a * b)
    if tool == "count":
        return str(int(facts.n[scene]))
    colour, shape = _kind(tool, arguments[-1])
    if tool == "price":
        if colour >= facts.config.colours or shape >= facts.config.shapes:
            return NOTHING
        return str(int(prices(facts.rows([scene]), seed)[0, colour, shape]))
    (found,) = np.nonzero((facts.colour[scene] == colour) & (facts.shape[scene] == shape))
    if len(found) != 1:
        return NOTHING
    if tool == "where":
        row, col = int(facts.row[scene, found[0]]), int(facts.col[scene, found[0]])
        return ENGLISH.place(row, col, facts.config.cells)
    if arguments[0] not in RELATIONS:
        raise SensoriumError(f"relation {arguments[0]!r}{nearest(arguments[0], RELATIONS)}")
    others = _beside(facts, scene, RELATIONS.index(arguments[0]), int(found[0]))
    return kind(facts, scene, others[0]) if len(others) == 1 else NOTHING


def _number(tool: str, text: str) -> int:
    if not re.fullmatch(r"-?\d{1,9}", text):
        raise SensoriumError(f"{tool} of {text!r}; expected a whole number")
    return int(text)


def _kind(tool: str, text: str) -> tuple[int, int]:
    colour, _, shape = text.partition(" ")
    if colour not in COLOURS or shape not in SHAPES:
        raise SensoriumError(f"{tool} of {text!r}; expected a colour and a shape, as in 'red circle'")
    return COLOURS.index(colour), SHAPES.index(shape)


def _beside(facts: Facts, scene: int, relation: int, slot: int) -> list[int]:
    """The slots that lie in a relation to one."""
    one = facts.rows([scene])
    return [a for a in range(int(facts.n[scene])) if a != slot and one.holds(a, slot)[0, relation]]


def run(steps: Sequence[tuple[str, tuple[str, ...]]], facts: Facts, scene: int, seed: int = 0) -> tuple[Call, ...]:
    """Calls in order, "#k" filled in with the result of call k; with their results.

    Raises:
        SensoriumError: as `execute`, or a "#k" of a call that has not yet been made.
    """
    done: list[Call] = []
    for tool, arguments in steps:
        filled = tuple(_filled(argument, done) for argument in arguments)
        done.append(Call(tool, tuple(arguments), execute(tool, filled, facts, scene, seed)))
    return tuple(done)


def _filled(argument: str, done: Sequence[Call]) -> str:
    def result(found: re.Match[str]) -> str:
        at = int(found[1])
        if not 1 <= at <= len(done):
            raise SensoriumError(f"argument {argument!r} after {len(done)} calls; expected #1 to #{len(done)}")
        return done[at - 1].result

    return re.sub(r"#(\d{1,4})", result, argument)


def tasks(facts: Facts, kinds: Sequence[str] = (), seed: int = 0) -> list[Task]:
    """One task of each kind per scene that allows it; none can be solved by one tool but the simplest, `place`.

    Raises:
        SensoriumError: a kind not in KINDS.
    """
    for name in kinds:
        if name not in KINDS:
            raise SensoriumError(f"task {name!r}{nearest(name, KINDS)}")
    clear = unique(facts, "colour", "shape").tolist()
    luck = draw(facts, 4, seed, "talk", "tools").tolist()
    out = []
    for name in kinds or KINDS:
        for scene, (row, free) in enumerate(zip(luck, clear, strict=True)):
            slots = [slot for slot, here in enumerate(free) if here]
            if not slots or (made := _KINDS[name](facts, scene, slots, row)) is None:
                continue
            text, steps = made
            output, order = _ORDERS[int(row[3] * len(_ORDERS))]
            calls = run([*steps, (output, (f"#{len(steps)}",))], facts, scene, seed)
            out.append(Task(order.format(text), name, scene, calls, calls[-1].result, OUTPUTS[output]))
    return out


_ORDERS = (("write", "write down {}."), ("speak", "tell me aloud {}."), ("draw", "draw {}."))
_Steps = list[tuple[str, tuple[str, ...]]]
_Made = tuple[str, _Steps] | None


def _place(facts: Facts, scene: int, slots: list[int], luck: Sequence[float]) -> _Made:
    one = kind(facts, scene, slots[int(luck[0] * len(slots))])
    return f"where the {one} is", [("where", (one,))]


def _cost(facts: Facts, scene: int, slots: list[int], luck: Sequence[float]) -> _Made:
    """What lies to one side of an object, and its price."""
    found = [
        (relation, slot)
        for slot in slots
        for relation in range(len(RELATIONS))
        if len(_beside(facts, scene, relation, slot)) == 1
    ]
    if not found:
        return None
    relation, slot = found[int(luck[0] * len(found))]
    one = kind(facts, scene, slot)
    steps: _Steps = [("beside", (RELATIONS[relation], one)), ("price", ("#1",))]
    return f"the price of what is {RELATIONS[relation]} the {one}", steps


def _sum(facts: Facts, scene: int, slots: list[int], luck: Sequence[float]) -> _Made:
    if len(slots) < 2:
        return None
    first = int(luck[0] * len(slots))
    second = (first + 1 + int(luck[1] * (len(slots) - 1))) % len(slots)
    a, b = (kind(facts, scene, slots[at]) for at in (first, second))
    return f"the price of the {a} and the {b} together", [("price", (a,)), ("price", (b,)), ("add", ("#1", "#2"))]


def _many(facts: Facts, scene: int, slots: list[int], luck: Sequence[float]) -> _Made:
    one = kind(facts, scene, slots[int(luck[0] * len(slots))])
    text = f"the price of as many of the {one} as there are shapes"
    return text, [("count", ()), ("price", (one,)), ("multiply", ("#1", "#2"))]


_KINDS: dict[str, Callable[[Facts, int, list[int], Sequence[float]], _Made]] = {
    "place": _place,
    "cost": _cost,
    "sum": _sum,
    "many": _many,
}
KINDS = tuple(_KINDS)


def as_text(calls: Sequence[Call]) -> str:
    """A line "tool(argument; argument) -> result" per call."""
    return "\n".join(f"{one.tool}({'; '.join(one.arguments)}) -> {one.result}" for one in calls)


def read(text: str) -> list[Call]:
    """`as_text`, or what a model wrote for it, back to calls; lines that are none are left out, results may be."""
    out = []
    for line in text.splitlines():
        if found := re.fullmatch(r"\s*(\w+)\((.*?)\)\s*(?:->\s*(.*?))?\s*", line):
            arguments = tuple(part.strip() for part in found[2].split(";")) if found[2].strip() else ()
            out.append(Call(found[1], arguments, found[3] or ""))
    return out


def solves(calls: Sequence[Call], task: Task, facts: Facts, seed: int = 0) -> bool:
    """The calls run without fault on the task's scene and end in its answer, put out in its way."""
    try:
        done = run([(one.tool, one.arguments) for one in calls], facts, task.scene, seed)
    except SensoriumError:
        return False
    return bool(done) and OUTPUTS.get(done[-1].tool) == task.output and done[-1].result == task.answer
