"""Scenes with words in their empty cells: what is seen, what is written, and questions of both kinds.

Shape legend: N scenes, H W pixels. Boxes are in pixels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sensorium.core import SensoriumError

from ..facts import Facts, shown
from ..lang import Questions, questions
from ..lang.english import ENGLISH
from ..lang.plan import below, draw
from ..scene import STYLE as SCENE
from ..scene import Style, render, shape_of
from .fonts import Hand
from .outline import names
from .reading import read_within
from .typeset import BLACK, WHITE, Box, Sheet, strip


@dataclass(frozen=True, eq=False)
class Signs:
    """N pictures and what is written on them."""

    images: np.ndarray
    """uint8 [N 3 H W]."""
    texts: list[tuple[str, ...]]
    cells: list[tuple[int, ...]]
    """Row x cells + column of each sign, in reading order."""
    boxes: list[tuple[Box, ...]]
    """The board of each sign; its ink lies within."""
    names: list[tuple[str, ...]]
    """Those written and others, one for each cell of the grid, sorted: what a question to read may be answered by."""
    free: list[tuple[Box, ...]]
    """Every cell without an object: where a word can stand and hide none."""


def signs(facts: Facts, size: int = 64, count: int = 2, px: int = 5, style: Style = SCENE, seed: int = 0) -> Signs:
    """Up to `count` names, black on white boards, each in an empty cell; fewer where the scene has fewer such cells.

    Raises:
        SensoriumError: cells too small for a name, objects that outgrow their cells.
    """
    cells, hand = facts.config.cells, Hand("sans", px)
    if style.scale > 1:
        raise SensoriumError(f"objects at scale {style.scale}; expected at most 1, or signs would hide them")
    (height, width), seen = shape_of(size, style), shown(facts)
    down, across = (np.arange(cells + 1) * pixels // cells for pixels in (height, width))
    images = render(facts, size, style)
    who = names(facts, cells**2, seed, "signs")
    order = draw(facts, cells**2, seed, "page", "signs").argsort(1).tolist()
    taken = [
        set((row * cells + col)[:n].tolist())
        for row, col, n in zip(seen.row.astype(int), seen.col.astype(int), seen.n, strict=True)
    ]
    out = Signs(images, [], [], [], [], [])
    for i, used in enumerate(taken):
        free = [cell for cell in order[i] if cell not in used]
        chosen = sorted(free[:count])
        windows = {
            at: Box(
                *(
                    int(v)
                    for v in (across[at % cells], down[at // cells], across[at % cells + 1], down[at // cells + 1])
                )
            )
            for at in free
        }
        boards = [_board(images[i], windows[at], who[i][at], hand) for at in chosen]
        out.texts.append(tuple(who[i][at] for at in chosen))
        out.cells.append(tuple(chosen))
        out.boxes.append(tuple(boards))
        out.names.append(tuple(sorted(who[i])))
        out.free.append(tuple(windows[at] for at in sorted(free)))
    return out


def _board(image: np.ndarray, window: Box, text: str, hand: Hand) -> Box:
    """A word on a white board in the middle of a cell."""
    one = strip(text, hand)
    h, w = one.cover.shape[0] + 4, one.cover.shape[1] + 4
    if h > window.y1 - window.y0 or w > window.x1 - window.x0:
        raise SensoriumError(
            f"{text!r} takes {h} x {w} pixels; expected at most {window.y1 - window.y0} x {window.x1 - window.x0}: a "
            "larger picture, fewer cells or smaller letters"
        )
    x, y = (window.x0 + window.x1 - w) // 2, (window.y0 + window.y1 - h) // 2
    sheet = Sheet(image)
    sheet.rectangle(Box(x, y, x + w, y + h), WHITE)
    sheet.word(text, x + 2 - one.left, y + 2 - one.top, hand, BLACK)
    return Box(x, y, x + w, y + h)


def ask(facts: Facts, made: Signs, seed: int = 0) -> Questions:
    """What `lang.questions` asks of what is seen, and "what is written at the top left?", kind "read".

    A name is drawn for each scene and cell, so that a question to read tells nothing about its answer.
    """
    rows = [i for i, cells in enumerate(made.cells) if cells]
    chosen = below(facts, np.array([max(1, len(cells)) for cells in made.cells]), seed, "page", "read").tolist()
    seen = questions(facts, (), seed)
    cells = facts.config.cells
    asked = [divmod(made.cells[i][chosen[i]], cells) for i in rows]
    return Questions(
        text=[*seen.text, *(f"what is written {ENGLISH.place(row, col, cells)}?" for row, col in asked)],
        answer=[*seen.answer, *(made.texts[i][chosen[i]] for i in rows)],
        kind=[*seen.kind, *("read" for _ in rows)],
        options=[*seen.options, *(made.names[i] for i in rows)],
        scene=np.concatenate([seen.scene, np.array(rows, np.int64)]),
        slot=np.concatenate([seen.slot, np.full(len(rows), -1)]),
    )


def read(image: np.ndarray, boxes: tuple[Box, ...], px: int = 5) -> tuple[str, ...]:
    """uint8 [3 H W] -> what is written on boards at known places; "" where no name can be made out."""
    return tuple(read_within(image, box, Hand("sans", px)) for box in boxes)
