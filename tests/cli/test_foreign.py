"""Data sets of other people, read from ../shared/data beside the repository; skipped where they are not there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from .conftest import Cli

DATA = Path(__file__).parents[3] / "shared" / "data"
NAMES = ("images/grocery", "images/figures")

pytestmark = pytest.mark.slow


@pytest.fixture(params=NAMES)
def foreign(request: pytest.FixtureRequest) -> Path:
    path: Path = DATA / request.param
    if not path.is_dir():
        pytest.skip(f"{path} is not there: put the shared data sets beside the repository")
    return path


def test_data_show(foreign: Path, cli: Cli) -> None:
    said = cli("data", "show", foreign, "--rows", 2)
    assert said.code == 0, said.err
    rows = re.search(r"(\d+) rows, (\d+) groups, (\d+) set aside", said.out)
    assert rows is not None
    assert int(rows[1]) > 100
    assert int(rows[3]) <= 0.1 * int(rows[1])
    assert re.search(r"image <- \w+", said.out) and re.search(r"text <- \w+", said.out)
    assert re.search(r"would use (given|redrawn) splits", said.out)
    assert re.search(r"image: \d+x\d+", said.out)
    assert said.err == ""


def test_dry_run_of_a_race(foreign: Path, cli: Cli, tmp_path: Path) -> None:
    words = ("--papers", "ridge", "--towers", "scratch", "--batch", 16, "--seeds", 2, "--budget", "9h", "--dry-run")
    said = cli("race", foreign, *words, "--out", tmp_path / "race")
    assert said.code == 0, said.err
    assert re.search(r"2 entrants, up to \d+ runs, [\d,]+ samples each within 9h", said.out)
    assert not (tmp_path / "race").exists()
