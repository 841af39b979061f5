"""Races that are killed anywhere: the same command goes on to the same table and repeats no finished run."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from .conftest import Server
from .test_killed import drawn

FIRST = (("timing", 0.5), ("run", 0.2), ("run", 0.8), ("table", 0.5), ("save", 0.6))
"""While entrants are timed, tuned, run for good, judged; while a run saves."""
PHASES = ("run", "step", "save", "table", "evaluate", "finish", "begin", "prune", "timing")


@dataclass(frozen=True)
class Raced:
    """A race that nobody stopped: its table, its arms, its events."""

    table: dict[str, Any]
    arms: dict[str, Any]
    counts: dict[str, int]


def table_of(out: Path) -> dict[str, Any]:
    """The table without what things cost."""
    table = json.loads((out / "table.json").read_text())
    table["entrants"] = [{k: v for k, v in e.items() if k != "cost"} for e in table["entrants"]]
    return {k: v for k, v in table.items() if k not in ("sentence", "notes")}


def arms_of(out: Path) -> dict[str, Any]:
    """Scores of each arm."""
    found = {p.parent.name: json.loads(p.read_text()) for p in out.glob("arms/*/scores.json")}
    return {k: [v["validation"], v["test"], v["curve"]] for k, v in found.items()}


def finished(out: Path) -> dict[str, tuple[int, int]]:
    """Which arms are finished, as files that a second run would replace."""
    return {p.parent.name: (p.stat().st_ino, p.stat().st_mtime_ns) for p in out.glob("arms/*/scores.json")}


def complaints(server: Server, raced: Raced, out: Path, at: tuple[str, int], **more: Any) -> list[str]:
    """What is wrong after a race was killed and its command given again."""
    killed = server(out, "race", at=at)
    assert killed.code == -9, killed.said
    before = finished(out)
    again = server(out, "race", **more)
    if again.code != 0:
        return [again.said]
    wrong = [f"{arm} was repeated" for arm, mark in before.items() if finished(out).get(arm) != mark]
    if arms_of(out) != raced.arms:
        wrong.append("other scores")
    if table_of(out) != raced.table:
        wrong.append("another table")
    if left := [str(p) for p in out.rglob("*") if p.name.endswith((".tmp", ".old"))]:
        wrong.append(f"{left[0]} was left")
    return wrong


@pytest.fixture(scope="module")
def raced(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Raced:
    """What every other race is compared with."""
    out = tmp_path_factory.mktemp("raced") / "race"
    ended = server(out, "race")
    assert ended.code == 0, ended.said
    return Raced(table_of(out), arms_of(out), ended.noted("counts")[0])


@pytest.mark.parametrize(("phase", "share"), FIRST)
def test_a_killed_race_ends_as_if_nobody_had_stopped_it(
    server: Server, raced: Raced, tmp_path: Path, phase: str, share: float
) -> None:
    at = (phase, round(share * raced.counts[phase]))
    assert complaints(server, raced, tmp_path / "race", at) == []


@pytest.mark.trust
@pytest.mark.parametrize("number", range(27))
def test_a_race_that_is_killed_anywhere_does_so_too(server: Server, raced: Raced, tmp_path: Path, number: int) -> None:
    phase = PHASES[number % len(PHASES)]
    at = (phase, drawn("race", number, raced.counts[phase]))
    assert complaints(server, raced, tmp_path / "race", at) == []


def test_a_race_that_forgets_is_caught(server: Server, raced: Raced, tmp_path: Path) -> None:
    at = ("run", raced.counts["run"] // 4)
    assert any("repeated" in line for line in complaints(server, raced, tmp_path / "race", at, defect="forgetful"))
