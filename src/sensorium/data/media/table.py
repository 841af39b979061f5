"""Records of typed columns as numbers with a mask, and boxes. Types are those of the values: no text is parsed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from sensorium.data.limits import Limits, Refused, Seen

COLUMNS = 1000
"""Columns of a record."""
CATEGORIES = 256
"""Different texts of a column; one of more is taken for free text or names."""
BOXES = 100_000
"""Boxes of one picture."""
_LARGEST = float(np.finfo(np.float32).max)


@dataclass(frozen=True)
class Column:
    """A number, read as (value - mean) / std, or a category, read as one feature for each of its `values`."""

    name: str
    mean: float = 0.0
    std: float = 1.0
    values: tuple[str, ...] = ()
    may_be_missing: bool = False

    @property
    def features(self) -> tuple[str, ...]:
        """ "age" for a number, "sex=F", "sex=M" for a category."""
        return tuple(f"{self.name}={value}" for value in self.values) or (self.name,)


@dataclass(frozen=True)
class Schema:
    """Columns in the order in which they were first seen."""

    columns: tuple[Column, ...]

    @property
    def features(self) -> tuple[str, ...]:
        """Names of the F features, in the order of `load`."""
        return tuple(feature for column in self.columns for feature in column.features)


def fit(rows: Iterable[Mapping[str, object]]) -> Schema:
    """The columns of rows (the train rows): mean and standard deviation of numbers, sorted values of categories.

    None and "" are missing; True and False are categories.

    Raises:
        SensoriumError: a bad row; a column of numbers and texts, of nothing, or of too many texts; no columns.
    """
    from sensorium.core import SensoriumError  # brings torch

    found: dict[str, list[float | str]] = {}
    count = 0
    for count, row in enumerate(rows, 1):
        try:
            for name, cell in _cells(row).items():
                found.setdefault(name, []).extend([] if cell is None else [cell])
        except Refused as reason:
            raise SensoriumError(f"row {count}: {reason}") from None
    if not found:
        raise SensoriumError(f"{count} rows without columns; a table needs at least one of each")
    try:
        return Schema(tuple(_column(name, cells, count) for name, cells in found.items()))
    except Refused as reason:
        raise SensoriumError(str(reason)) from None


def check(row: object, limits: Limits) -> Seen:
    """A record on its own, without a schema."""
    try:
        cells = _cells(row)
        texts = sum(len(cell) for cell in cells.values() if isinstance(cell, str))
        if texts > limits.text:
            raise Refused(f"{texts:,} characters, limit {limits.text:,}")
        if not any(cell is not None for cell in cells.values()):
            raise Refused("a record without values")
    except Refused as reason:
        return Seen(str(reason))
    missing = sum(cell is None for cell in cells.values())
    about = f"{len(cells)} column{'s' * (len(cells) != 1)}"
    return Seen(about=about + (f", {missing} missing" if missing else ""))


def load(row: object, schema: Schema) -> tuple[np.ndarray, np.ndarray]:
    """A record -> values float32 [F] and mask bool [F] (True is real), by `schema.features`; 0 where missing.

    Raises:
        Refused: a column that the schema has not, misses, or knows with other values.
    """
    cells = _cells(row)
    known = {column.name for column in schema.columns}
    if unknown := [name for name in cells if name not in known]:
        raise Refused(f"column {unknown[0]!r} is not in the schema: {', '.join(sorted(known))[:100]}")
    parts = [_features(column, cells.get(column.name)) for column in schema.columns]
    mask = [cells.get(column.name) is not None for column in schema.columns for _ in column.features]
    return np.array([value for part in parts for value in part], np.float32), np.array(mask, bool)


def boxes(value: object, form: Literal["xywh", "xyxy"]) -> np.ndarray:
    """[[x, y, width, height], …] or [[x0, y0, x1, y1], …] -> float32 [K 4] as x0, y0, x1, y1, in the unit given.

    Raises:
        Refused: not four finite numbers each, or a negative size; SensoriumError for another form.
    """
    if form not in ("xywh", "xyxy"):
        from sensorium.core import SensoriumError, nearest  # brings torch

        raise SensoriumError(f"boxes of form {form!r}{nearest(form, ('xywh', 'xyxy'))}")
    if not isinstance(value, (list, tuple)) and not (isinstance(value, np.ndarray) and value.ndim == 2):
        raise Refused(f"not a list of boxes but a {type(value).__name__}")
    if len(value) > BOXES:
        raise Refused(f"{len(value):,} boxes, limit {BOXES:,}")
    corners = np.array([_corners(box, k, form) for k, box in enumerate(value, 1)], np.float64).reshape(-1, 4)
    return corners.astype(np.float32)


def _cells(row: object) -> dict[str, float | str | None]:
    """Names with a number, a category or None."""
    if not isinstance(row, Mapping):
        raise Refused(f"not a record but a {type(row).__name__}")
    if len(row) > COLUMNS:
        raise Refused(f"{len(row):,} columns, limit {COLUMNS:,}")
    return {_name(name): _cell(name, value) for name, value in row.items()}


def _name(name: object) -> str:
    if not isinstance(name, str) or not name:
        raise Refused(f"a column named {str(name)[:40]!r}; expected a text")
    return name


def _cell(name: str, value: object) -> float | str | None:
    if value is None or value == "":
        return None
    if isinstance(value, (bool, np.bool_)):
        return str(bool(value)).lower()
    if isinstance(value, str):
        return value
    if not isinstance(value, (int, float, np.integer, np.floating)):
        raise Refused(f"column {name!r} holds a {type(value).__name__}; expected a number, a text or nothing")
    if not -_LARGEST <= value <= _LARGEST:
        raise Refused(f"column {name!r} holds a number that is not finite")
    return float(value)


def _column(name: str, cells: list[float | str], rows: int) -> Column:
    numbers = [cell for cell in cells if isinstance(cell, float)]
    texts = sorted({cell for cell in cells if isinstance(cell, str)})
    missing = len(cells) < rows
    if not cells:
        raise Refused(f"column {name!r} is empty in all {rows} rows; leave it out")
    if numbers and texts:
        raise Refused(f"column {name!r} holds {len(numbers)} numbers and also texts, such as {texts[0][:40]!r}")
    if len(texts) > CATEGORIES:
        raise Refused(f"column {name!r} holds {len(texts):,} different texts, limit {CATEGORIES}; leave it out")
    if texts:
        return Column(name, values=tuple(texts), may_be_missing=missing)
    std = float(np.std(numbers)) if max(numbers) > min(numbers) else 0.0  # that of equal numbers rounds to more than 0
    return Column(name, float(np.mean(numbers)), std or 1.0, may_be_missing=missing)


def _features(column: Column, cell: float | str | None) -> list[float]:
    if cell is None:
        if not column.may_be_missing:
            raise Refused(f"column {column.name!r} is missing")
        return [0.0] * len(column.features)
    if column.values:
        if cell not in column.values:
            raise Refused(f"column {column.name!r} is {str(cell)[:40]!r}; expected {', '.join(column.values)[:100]}")
        return [float(cell == value) for value in column.values]
    if isinstance(cell, str):
        raise Refused(f"column {column.name!r} is {cell[:40]!r}; expected a number")
    scaled = (cell - column.mean) / column.std
    if abs(scaled) > _LARGEST:
        raise Refused(f"column {column.name!r} is {cell:g}, too far from its mean {column.mean:g}")
    return [scaled]


def _corners(box: object, k: int, form: str) -> list[float]:
    if not isinstance(box, (list, tuple, np.ndarray)) or np.shape(box)[:1] != (4,):
        raise Refused(f"box {k} is not a list of 4 numbers")
    x, y, right, bottom = (_number(side, k) for side in box)
    if form == "xywh":
        right, bottom = x + right, y + bottom
    if right < x or bottom < y:
        raise Refused(f"box {k} has a negative size: {right - x:g} x {bottom - y:g}")
    if max(right, bottom) > _LARGEST:
        raise Refused(f"box {k} ends beyond what float32 holds")
    return [x, y, right, bottom]


def _number(side: object, k: int) -> float:
    if isinstance(side, bool) or not isinstance(side, (int, float, np.integer, np.floating)):
        raise Refused(f"box {k} holds a {type(side).__name__}; expected 4 numbers")
    if not -_LARGEST <= side <= _LARGEST:
        raise Refused(f"box {k} holds a number that is not finite")
    return float(side)
