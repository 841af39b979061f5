"""SIGTERM and Ctrl-C: the step is finished, a checkpoint is written, one line says how to go on."""

from __future__ import annotations

import signal
import time
from pathlib import Path
from typing import Any

import pytest

from .conftest import PAPER, Ended, Server, Whole, hashes
from .test_killed import drawn, numbered

PHASES = ("step", "evaluate", "save", "prune", "begin", "finish")


def words(server: Server, out: Path) -> list[str]:
    """The command whose run is the whole one."""
    dials = ["--samples", "320", "--batch", "8", "--rate", "0.01", "--towers", "scratch"]
    return ["train", str(PAPER), str(server.data), *dials, "--out", str(out)]


def told(server: Server, out: Path, at: tuple[str, int], number: int, **more: Any) -> Ended:
    return server(out, "command", words=words(server, out), at=at, how="signal", number=number, **more)


@pytest.mark.parametrize("number", numbered(20, 6))
def test_a_signal_ends_a_run_in_order(server: Server, whole: Whole, tmp_path: Path, number: int) -> None:
    out, phase = tmp_path / "run", PHASES[number % len(PHASES)]
    signalled = (signal.SIGTERM, signal.SIGINT)[number // len(PHASES) % 2]
    ended = told(server, out, (phase, drawn("signal", number, whole.counts[phase])), signalled)
    assert ended.code == 128 + signalled, ended.said
    assert time.time() - ended.noted("signal")[0] < 30
    last = ended.said.strip().splitlines()[-1]
    assert last.startswith("sensorium: stopped") and "Traceback" not in ended.said
    if phase in ("step", "evaluate", "save", "prune") and ended.noted("saved")[-1] < 40:
        steps = len((out / "steps.jsonl").read_text().splitlines())
        assert ended.noted("saved")[-1] == steps and f"stopped after step {steps} of 40" in last
        assert "--resume goes on" in last
    again = server(out, "command", words=[*words(server, out), "--resume"])
    assert again.code == 0, again.said
    assert hashes(out) == whole.hashes
    assert not (out / "LOCK").exists()


def test_a_run_that_ends_at_once_is_caught(server: Server, whole: Whole, tmp_path: Path) -> None:
    """Without the deferral the steps since the last checkpoint are lost."""
    out = tmp_path / "run"
    ended = told(server, out, ("step", 70), signal.SIGTERM, defect="at_once")
    assert ended.code == 143
    assert ended.noted("saved")[-1] < len((out / "steps.jsonl").read_text().splitlines())


def test_going_on_needs_to_be_asked_for_and_finishing_twice_is_no_error(
    server: Server, whole: Whole, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    assert told(server, out, ("step", 30), signal.SIGTERM).code == 143
    refused = server(out, "command", words=words(server, out))
    assert refused.code == 2
    assert refused.said.strip().endswith(
        "holds an unfinished run; --resume goes on with it, or give --out a new folder"
    )
    more = [w if w != "0.01" else "0.02" for w in words(server, out)]
    changed = server(out, "command", words=[*more, "--resume"])
    assert changed.code == 2 and "was started with rate 0.01, asked for 0.02" in changed.said
    assert server(out, "command", words=[*words(server, out), "--resume"]).code == 0
    before = hashes(out)
    twice = server(out, "command", words=[*words(server, out), "--resume"])
    assert twice.code == 0 and "is finished; nothing is left to do" in twice.said
    assert hashes(out) == before == whole.hashes
