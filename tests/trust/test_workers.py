"""A race with worker processes that is ended or killed: nobody is left behind, finished runs are kept."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from .conftest import Server
from .driver import BATCH, MOST
from .test_race import Raced, arms_of, finished, raced, table_of

__all__ = ["raced"]
COMMAND = """
import signal
import sensorium.run.race as race
from sensorium.cli import main
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
race.MOST_SAMPLES = {}
main()
"""


class Started:
    """The command line in a session of its own, so that what it left behind can be looked for."""

    def __init__(self, server: Server, out: Path) -> None:
        paper = Path(__file__).parent / "tiny.py"
        words = ["race", str(server.data), "--papers", f"clip,{paper}", "--budget", "60m", "--seeds", "2"]
        words += [
            "--batch",
            str(BATCH),
            "--towers",
            "scratch",
            "--split",
            "redrawn",
            "--workers",
            "2",
            "--out",
            str(out),
        ]
        more = {"SENSORIUM_HOME": str(server.scratch.parent), "OMP_NUM_THREADS": "1"}
        self.out = out
        self.process = subprocess.Popen(
            [sys.executable, "-c", COMMAND.format(MOST), *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=os.environ | more,
            start_new_session=True,
        )

    def until_arms(self, many: int) -> None:
        """Wait until so many runs are finished."""
        until = time.monotonic() + 120
        while len(finished(self.out)) < many:
            assert self.process.poll() is None, self.process.communicate()[0]
            assert time.monotonic() < until
            time.sleep(0.02)

    def gone(self, seconds: float) -> bool:
        """Whether nobody of the session is left within some seconds."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            try:
                os.killpg(self.process.pid, 0)
            except ProcessLookupError:
                return True
            time.sleep(0.05)
        return False


@pytest.fixture
def started(server: Server, tmp_path: Path) -> Iterator[Started]:
    """A race that runs; whatever is left of it at the end is killed."""
    race = Started(server, tmp_path / "race")
    yield race
    if not race.gone(0.1):
        os.killpg(race.process.pid, signal.SIGKILL)
    race.process.wait()


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_race_that_is_told_to_end_takes_its_workers_with_it(
    server: Server, raced: Raced, started: Started, number: int, code: int
) -> None:
    started.until_arms(2)
    start = time.monotonic()
    # A terminal sends Ctrl-C to the workers, too; what stops a job tells the race alone.
    (os.killpg if number == signal.SIGINT else os.kill)(started.process.pid, number)
    said = started.process.communicate(timeout=40)[0]
    assert started.process.returncode == code, said
    assert time.monotonic() - start < 30
    assert said.strip().endswith("sensorium: stopped; finished runs are kept, the same command continues")
    assert "Traceback" not in said
    assert started.gone(5)
    before = finished(started.out)
    assert len(before) >= 2
    again = server(started.out, "race")
    assert again.code == 0, again.said
    assert {k: finished(started.out)[k] for k in before} == before
    assert arms_of(started.out) == raced.arms and table_of(started.out) == raced.table


@pytest.mark.slow
def test_workers_die_with_a_race_that_is_killed(server: Server, raced: Raced, started: Started) -> None:
    """SIGKILL for the race alone: what it started is not told."""
    started.until_arms(2)
    os.kill(started.process.pid, signal.SIGKILL)
    started.process.wait()
    assert started.gone(10)
    before = finished(started.out)
    again = server(started.out, "race")
    assert again.code == 0, again.said
    assert {k: finished(started.out)[k] for k in before} == before
    assert arms_of(started.out) == raced.arms and table_of(started.out) == raced.table


@pytest.mark.slow
def test_a_worker_that_dies_is_one_clear_line(started: Started) -> None:
    started.until_arms(1)
    children = Path(f"/proc/{started.process.pid}/task/{started.process.pid}/children")
    if not children.exists():
        pytest.skip("children are found through /proc")
    workers = [
        int(pid) for pid in children.read_text().split() if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()
    ]
    os.kill(workers[0], signal.SIGKILL)
    said = started.process.communicate(timeout=60)[0]
    assert started.process.returncode == 2, said
    assert "a worker process died" in said.strip().splitlines()[-1] and "the same command continues" in said
    assert "Traceback" not in said and started.gone(5)
