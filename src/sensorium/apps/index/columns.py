"""What a filter sees: labels, texts, groups, numbers and the fields of records, by their names in the data."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from sensorium.core import SensoriumError, nearest
from sensorium.data.dataset import Dataset

OWN = "id"
"""The one column of every index that a filter sees."""
TYPES = {"text": pa.string(), "number": pa.float64(), "whole number": pa.int64(), "yes or no": pa.bool_()}


@dataclass(frozen=True)
class FilterColumn:
    """One column: its name in filters, the key of the data set (and the field of a record) that it holds, its type."""

    name: str
    key: str
    field: str = ""
    type: str = "text"


def columns_of(data: Dataset) -> tuple[FilterColumn, ...]:
    """The columns of a data set. A key that comes from one column has its name ("category"), else its own ("text")."""
    found: list[FilterColumn] = []
    for key, column in data.columns.items():
        if column.kind in ("text", "label", "group"):
            name = key if "+" in column.source else column.source
            found.append(FilterColumn(_free(name or key, key, found), key))
        elif column.kind == "value":
            found.append(FilterColumn(_free(column.source or key, key, found), key, type="number"))
        elif column.kind == "table":
            for field, type in _fields(data, key).items():
                found.append(FilterColumn(_free(field, key, found), key, field, type))
    return tuple(found)


def _free(name: str, key: str, before: Sequence[FilterColumn]) -> str:
    """A name that SQL can say, that is not the index's own and that no column before has, whatever its case."""
    plain = re.sub(r"[^\w -]", "_", name).lstrip("_") or key
    taken = {OWN, *(c.name.lower() for c in before)}
    names = (plain, f"{plain}_{key}", *(f"{plain}_{key}_{n}" for n in range(2, len(taken) + 3)))
    return next(n for n in names if n.lower() not in taken)


def _fields(data: Dataset, key: str) -> dict[str, str]:
    """Field of a record -> type of all its values that are there."""
    seen: dict[str, set[type]] = {}
    for text in data.texts(key):
        for field, value in json.loads(text or "{}").items():
            seen.setdefault(field, set()).add(type(value))
    return {field: _type(types - {type(None)}) for field, types in seen.items()}


def _type(types: set[type]) -> str:
    if types == {bool}:
        return "yes or no"
    if types == {int}:
        return "whole number"
    return "number" if types and types <= {int, float} else "text"


def values(data: Dataset, columns: Sequence[FilterColumn], rows: Sequence[int]) -> dict[str, list[Any]]:
    """Per column, its values in some rows of a data set; None where a row or the whole set has none."""
    return {c.name: _values(data, c, rows) for c in columns}


def _values(data: Dataset, column: FilterColumn, rows: Sequence[int]) -> list[Any]:
    if column.key not in data.columns:
        return [None] * len(rows)
    texts = data.texts(column.key)
    found = (texts[k] for k in rows)
    if column.field:
        return [_as(json.loads(text).get(column.field) if text else None, column.type) for text in found]
    return [_as(text, column.type) for text in found]


def _as(value: Any, type: str) -> Any:
    if value is None or value == "":
        return None
    if type == "text":
        return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return float(value) if type == "number" else value


def reconciled(have: Sequence[FilterColumn], mine: Sequence[FilterColumn], where: str) -> None:
    """One clear line where a data set has a key or field that the index lacks, or one of another type."""
    known = {(c.key, c.field): c for c in have}
    for c in mine:
        was = known.get((c.key, c.field))
        if was is None:
            there = ", ".join(x.name for x in have) or "none"
            raise SensoriumError(f"{where} has the column {c.name!r}, which this index lacks ({there}); make a new one")
        if was.type != c.type and not (was.type == "text" or (was.type, c.type) == ("number", "whole number")):
            raise SensoriumError(f"{where} has a {c.type} as {c.name!r}; this index holds a {was.type} there")


def refusal(where: str, problem: str, columns: Sequence[FilterColumn]) -> SensoriumError:
    """A filter that the table did not take, as one line with the columns there are and the nearest name."""
    names = [OWN, *(c.name for c in columns)]
    listed = ", ".join([OWN, *(f"{c.name} ({c.type})" for c in columns)])
    if unknown := re.search(r"No field named (.+?)\. ", problem):
        given = unknown[1].strip('"`')
        near = nearest(given, names)
        hint = near if near.startswith("; did") else ""
        return SensoriumError(f"filter {where!r}: no column {given!r}{hint} The columns are {listed}")
    reason = re.sub(r"^(lance error: )?Invalid (user )?input[,:] ", "", problem)
    reason = re.sub(r",? ?\S*\.rs:\d+(:\d+)?", "", reason)
    if parsed := re.search(r"sql parser error: (.+?)\)?$", reason):
        reason = parsed[1].replace("Expected:", "expected").replace("found: EOF", "found the end")
    return SensoriumError(
        f"filter {where!r} does not parse: {' '.join(reason.split())[:300]}; the columns are {listed}"
    )
