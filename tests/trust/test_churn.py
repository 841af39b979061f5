"""Checkpoints that are written, killed and pruned at random: one that is whole is always there, never an older one than
the last that was acknowledged."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sensorium.core import SensoriumError
from sensorium.run.checkpoint import newest

from .conftest import Server
from .test_killed import drawn

EVENTS = 150
"""About as many as four checkpoints have."""


def complaints(server: Server, run: Path, sequences: int, **more: Any) -> list[str]:
    """What is wrong after each of many processes that went on from the last one and was killed at a seeded event."""
    wrong, saved, killed = [], 0, 0
    for number in range(sequences):
        at = ("save", drawn("churn", number, EVENTS))
        ended = server(run, "churn", first=saved + 1, at=at, how=("kill", "power")[number % 2], **more)
        killed += ended.code == -9
        if ended.code not in (0, -9):
            wrong.append(ended.said)
        saved = max([saved, *ended.noted("saved")])
        try:
            found = int(newest(run, lambda _: None).name.strip(".").removesuffix(".old"))
        except SensoriumError:
            found = 0
        if found < saved:
            wrong.append(f"{number}: {found} is the newest although {saved} was acknowledged")
            saved = found
    assert killed > sequences / 2
    return wrong


def test_some_sequences_lose_nothing(server: Server, tmp_path: Path) -> None:
    assert complaints(server, tmp_path / "run", 60) == []


@pytest.mark.trust
@pytest.mark.timeout(1200)
def test_a_thousand_sequences_lose_nothing(server: Server, tmp_path: Path) -> None:
    assert complaints(server, tmp_path / "run", 1000) == []


@pytest.mark.parametrize("defect", ["pruned_first", "unsynced"])
def test_a_seeded_defect_is_caught(server: Server, tmp_path: Path, defect: str) -> None:
    assert complaints(server, tmp_path / "run", 40, defect=defect)
