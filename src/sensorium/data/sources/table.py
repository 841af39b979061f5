"""What every source gives: rows of raw values, and the rows that could not even be read."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

SPLITS = {
    "train": "train",
    "training": "train",
    "validation": "validation",
    "val": "validation",
    "valid": "validation",
    "dev": "validation",
    "test": "test",
}


@dataclass(frozen=True)
class Bad:
    """A row set aside: where it stood ("train/metadata.jsonl:12"), which key was bad ("" for the row), and why."""

    source: str
    key: str
    reason: str


@dataclass(frozen=True)
class Row:
    """Raw values by column. `where` is its place for messages, `id` its name for people; paths start at `base`."""

    where: str
    id: str
    values: dict[str, Any]
    base: Path
    given: str = ""


@dataclass
class Table:
    """Rows of one source in order. `root` is the folder that no picture path may leave; `about` is dataset.json."""

    root: Path
    rows: list[Row] = field(default_factory=list)
    bad: list[Bad] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    about: dict[str, Any] = field(default_factory=dict)

    @property
    def columns(self) -> list[str]:
        """Every column name, in order of first appearance."""
        return list(dict.fromkeys(name for row in self.rows for name in row.values))

    def extend(self, parts: Iterable[Table]) -> None:
        """Appends the rows of `parts`."""
        for part in parts:
            self.rows += part.rows
            self.bad += part.bad
            self.notes += part.notes
