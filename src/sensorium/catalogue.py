"""The catalogue: every paper, what it needs and how much of it is there. Standard library only.

Reads `index.json`, which `tools/index.py` builds from `papers.yaml` and the papers' files without importing them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

UNMEASURED, UNTESTED = "not measured", "not tested"
"""What stands for the verdict of a claim without a row in the ledger; the verdict of one whose start lacks what it
needs."""
INDEX = Path(__file__).with_name("index.json")


@dataclass(frozen=True)
class Row:
    """One paper; a baseline has `n` 0 and a slug that begins with `baseline/`.

    `n` is its place among the papers, `path` its file below the package or "" where there is none, `doc` that file's
    docstring, `needs` its roles and their kinds, `parts` what its mechanism names and the symbol that is it, `partial`
    the missing parts, `verdicts` what the laboratory found of each of its claims, if anything.
    """

    slug: str
    n: int
    family: str
    kind: str
    title: str
    mechanism: str
    claim: str
    evidence: str
    path: str
    doc: str
    needs: Mapping[str, str]
    parts: Mapping[str, str]
    partial: str | None
    verdicts: Mapping[str, str]

    @property
    def status(self) -> str:
        """A row without a file is "planned", a baseline "baseline"; else "partial:" and what is missing, or "done:" and
        what was found."""
        if not self.path:
            return "planned"
        if self.kind == "baseline":
            return "baseline"
        left = [f"{claim} {word}" for claim, word in self.verdicts.items() if word in (UNMEASURED, UNTESTED)]
        none = all(word == UNMEASURED for word in self.verdicts.values())
        parts = [self.partial, *([f"claim {UNMEASURED}"] if none else left)]
        missing = "; ".join(part for part in parts if part)
        if missing:
            return f"partial: {missing}"
        return "done: " + ", ".join(f"{claim} {verdict}" for claim, verdict in self.verdicts.items())


@cache
def _table() -> dict[str, Row]:
    stored = json.loads(INDEX.read_text(encoding="utf-8"))
    return {entry["slug"]: Row(**entry) for entry in stored["rows"]}


def rows() -> list[Row]:
    """Every paper in catalogue order, then the baselines."""
    return list(_table().values())


def find(name: str) -> Row | None:
    """The row of a slug; the family may stand before it, and `baseline/` may be left out. None where there is none."""
    for candidate in (name, name.rsplit("/", 1)[-1], f"baseline/{name}"):
        if candidate in _table():
            return _table()[candidate]
    return None


def nearest_slug(name: str) -> str | None:
    """The slug that looks most like `name`, or None where nothing is close."""
    from difflib import get_close_matches

    known = {slug.removeprefix("baseline/"): slug for slug in _table()}
    close = get_close_matches(name.rsplit("/", 1)[-1], known, n=1, cutoff=0.5)
    return known[close[0]] if close else None
