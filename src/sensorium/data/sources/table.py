"""What every source gives: entries in order, one at a time, as often as asked."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
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
class Blob:
    """Bytes that lie inside a table or an archive. `at` says where to read them again ("" where that cannot be done:
    then they are copied), `name` is the file name they carry, if any."""

    data: bytes = field(repr=False)
    at: str = ""
    name: str = ""


@dataclass(frozen=True)
class Row:
    """Raw values by column. `where` is its place for messages, `id` its name for people; paths start at `base`."""

    where: str
    id: str
    values: dict[str, Any]
    base: Path
    given: str = ""


Entry = Row | Bad


@dataclass
class Source:
    """Where rows come from. `root` is the folder that no path may leave, `files` what was opened and `folders` whose
    listing counts, `reads` give the entries of each file anew whenever they are called, and `about` is dataset.json."""

    root: Path
    files: list[Path] = field(default_factory=list)
    folders: list[Path] = field(default_factory=list)
    reads: Sequence[Callable[[], Iterator[Entry]]] = ()
    notes: list[str] = field(default_factory=list)
    about: dict[str, Any] = field(default_factory=dict)

    def __iter__(self) -> Iterator[Entry]:
        for read in self.reads:
            yield from read()
