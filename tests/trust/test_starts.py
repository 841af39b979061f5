"""Many starts on one folder: one wins, the others name it."""

from __future__ import annotations

from pathlib import Path

import pytest

from .conftest import Ended, Server

SECONDS = 2.0


def complaints(ended: Ended, many: int) -> list[str]:
    """What is wrong with a round of starts."""
    won, lost = ended.noted("won"), ended.noted("lost")
    wrong = [f"{len(won)} won"] if len(won) != 1 else []
    if len(won) + len(lost) != many:
        wrong.append(f"{len(won) + len(lost)} of {many} had an answer: {ended.said}")
    for seconds, line in lost:
        if seconds > SECONDS:
            wrong.append(f"{seconds:.1f} s to be refused")
        if not won or f"is in use by process {won[0]} on " not in line or "(a start)" not in line:
            wrong.append(line)
    return wrong


def test_of_twenty_starts_one_wins_and_the_others_name_it(server: Server, tmp_path: Path) -> None:
    ended = server(tmp_path / "run", "starts", many=20)
    assert complaints(ended, 20) == []
    assert not (tmp_path / "run").exists()


@pytest.mark.trust
@pytest.mark.timeout(1200)
def test_of_a_hundred_starts_one_wins_a_hundred_times(server: Server, tmp_path: Path) -> None:
    for k in range(100):
        many = 100 if k == 0 else 5
        assert complaints(server(tmp_path / str(k), "starts", many=many), many) == []


def test_looking_before_making_would_let_two_in(server: Server, tmp_path: Path) -> None:
    rounds = (server(tmp_path / str(k), "starts", many=20, defect="looked_first") for k in range(10))
    assert any(len(ended.noted("won")) > 1 for ended in rounds)
