"""Runs that are killed anywhere and go on end as if nobody had stopped them: equal bytes of weights and moments, equal
order of samples, equal scores and step lines; and no more is lost than what came after the last checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sensorium.core import derive
from sensorium.run.load import papers

from .conftest import Ended, Server, Whole, hashes

SHORT, LONG = 20, 50
FIRST = ["save"] * 7 + ["prune"] * 3 + ["evaluate"] * 4 + ["step"] * 4 + ["begin", "finish"]
FURTHER = ["save"] * 10 + ["prune"] * 4 + ["evaluate"] * 4 + ["step"] * 8 + ["begin", "finish"] * 2
POINTS = FIRST + FURTHER
CUTS = ["save", "prune"] * 50


def numbered(total: int, short: int) -> list[Any]:
    """0 to `total`; those from `short` on are for `make trust`."""
    return [pytest.param(k, marks=[pytest.mark.trust] if k >= short else []) for k in range(total)]


def drawn(name: str, number: int, upto: int) -> int:
    """A seeded number in [1, upto]."""
    return 1 + derive("trust", name, number) % upto


def complaints(
    server: Server, whole: dict[str, str], out: Path, kills: list[tuple[str, int]], **more: Any
) -> list[str]:
    """What is wrong after a run was killed at each of `kills` in turn and then left to go on."""
    ends: list[Ended] = []
    wrong: list[str] = []
    for kill in [*kills, None]:
        ends.append(server(out, resume=True, at=kill, **more))
        saved = [step for end in ends[:-1] for step in end.noted("saved")]
        for step in ends[-1].noted("resumed"):
            if step < max(saved, default=0):
                wrong.append(f"went on from {step} although {max(saved)} had been saved")
        if kill is not None and ends[-1].code == 0:  # little was left to do: it was over before
            break
        if ends[-1].code != (0 if kill is None else -9):
            return [*wrong, f"exit code {ends[-1].code}: {ends[-1].said[-2000:]}"]
    assert ends[0].code == -9, ends[0].said
    after = hashes(out)
    return wrong + [f"other {what}" for what in whole if after[what] != whole[what]]


def test_the_points_are_those_that_were_asked_for() -> None:
    assert len(FIRST) == SHORT and len(POINTS) == LONG
    for points, least in ((FIRST, (6, 3, 3)), (POINTS, (15, 5, 5))):
        counts = [points.count(phase) for phase in ("save", "prune", "evaluate")]
        assert all(a >= b for a, b in zip(counts, least, strict=True))


def test_two_runs_that_nobody_stops_are_equal(server: Server, whole: Whole, tmp_path: Path) -> None:
    assert server(tmp_path / "run").code == 0
    assert hashes(tmp_path / "run") == whole.hashes
    assert all(whole.counts[phase] >= 10 for phase in POINTS), whole.counts


@pytest.mark.parametrize("number", numbered(LONG, SHORT))
def test_a_killed_run_ends_as_if_nobody_had_stopped_it(
    server: Server, whole: Whole, tmp_path: Path, number: int
) -> None:
    """Every third is killed once more while it goes on."""
    phase = POINTS[number]
    kills = [(phase, drawn("first", number, whole.counts[phase]))]
    if number % 3 == 0:
        kills.append(("save", drawn("second", number, whole.counts["save"] // 4)))
    assert complaints(server, whole.hashes, tmp_path / "run", kills) == []


@pytest.mark.parametrize("number", numbered(len(CUTS), 6))
def test_what_was_saved_survives_a_power_cut(server: Server, whole: Whole, tmp_path: Path, number: int) -> None:
    phase = CUTS[number]
    kills = [(phase, drawn("power", number, whole.counts[phase]))]
    assert complaints(server, whole.hashes, tmp_path / "run", kills, how="power") == []


SEEDED = {
    "in_place": ("exit code", "save", 0.12),
    "no_optimiser": ("other weights", "step", 0.3),
    "redrawn": ("other rows", "step", 0.3),
    "later_weights": ("other weights", "step", 0.8),
    "pruned_first": ("had been saved", "save", 0.4),
}


@pytest.mark.parametrize("defect", SEEDED)
def test_a_seeded_defect_is_caught(server: Server, whole: Whole, tmp_path: Path, defect: str) -> None:
    """At one of a few neighbouring events: not each of them does harm."""
    words, phase, share = SEEDED[defect]
    first = round(share * whole.counts[phase])
    found: list[str] = []
    for k in range(first, first + 12):
        found += complaints(server, whole.hashes, tmp_path / str(k), [(phase, k)], defect=defect)
        if any(words in line for line in found):
            return
    pytest.fail(f"{defect} passed unseen: {found}")


def test_a_power_cut_without_fsync_is_caught(server: Server, whole: Whole, tmp_path: Path) -> None:
    kills = [("prune", round(0.7 * whole.counts["prune"]))]
    assert complaints(server, whole.hashes, tmp_path / "run", kills, how="power", defect="unsynced")


@pytest.mark.trust
@pytest.mark.parametrize("slug", sorted(papers()))
def test_every_paper_goes_on_exactly(server: Server, tmp_path: Path, slug: str) -> None:
    short = {"paper": slug, "samples": 80}
    whole = server(tmp_path / "whole", **short)
    assert whole.code == 0, whole.said
    counts = whole.noted("counts")[0]
    for number, phase in enumerate(("step", "step", "save", "evaluate", "finish")):
        if counts[phase]:
            kills = [(phase, drawn(slug, number, counts[phase]))]
            assert complaints(server, hashes(tmp_path / "whole"), tmp_path / str(number), kills, **short) == []
