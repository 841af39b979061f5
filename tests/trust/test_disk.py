"""A disk that fails while a run is saved: one clear line, exit code 2, and the last good checkpoint goes on."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from sensorium.run.checkpoint import newest

from .conftest import Ended, Server, Whole, hashes
from .test_killed import drawn, numbered
from .test_signals import words

ERRORS = (errno.ENOSPC, errno.EIO, errno.EROFS, errno.EACCES)


def failed(server: Server, out: Path, number: int, phase: str, whole: Whole, **more: Any) -> Ended:
    """A run whose operation fails at a seeded event."""
    at = (phase, drawn("disk", number, whole.counts[phase]))
    return server(
        out, "command", words=words(server, out), at=at, how="fail", number=ERRORS[number % len(ERRORS)], **more
    )


@pytest.mark.parametrize("number", numbered(40, 10))
def test_a_failing_disk_is_one_clear_line(server: Server, whole: Whole, tmp_path: Path, number: int) -> None:
    out, phase = tmp_path / "run", ("save", "prune", "save", "begin", "finish")[number % 5]
    ended = failed(server, out, number, phase, whole)
    if ended.code == 0:  # what failed was tidying up, and only that
        assert hashes(out) == whole.hashes
        return
    assert ended.code == 2, ended.said
    line = ended.said.strip().splitlines()[-1]
    assert line.startswith("sensorium: ") and str(out) in line and "Traceback" not in ended.said
    assert os.strerror(ERRORS[number % len(ERRORS)]) in line
    if saved := ended.noted("saved"):
        assert int(newest(out).name) >= saved[-1]
    again = server(out, "command", words=[*words(server, out), "--resume"])
    assert again.code == 0, again.said
    assert hashes(out) == whole.hashes
    assert [p for p in out.rglob("*") if p.name.endswith((".tmp", ".old"))] == []


def test_the_line_says_how_many_bytes_are_needed(server: Server, whole: Whole, tmp_path: Path) -> None:
    out = tmp_path / "run"
    last = ("save", whole.counts["save"] - 10)
    ended = server(out, "command", words=words(server, out), at=last, how="fail", number=errno.ENOSPC)
    needed = sum(p.stat().st_size for p in (whole.path / "checkpoints" / "40").iterdir())
    line = ended.said.strip().splitlines()[-1]
    said = int(line.partition("which needs ")[2].partition(" bytes")[0].replace(",", ""))
    assert abs(said - needed) < 0.01 * needed and line.endswith("No space left on device")


def test_a_write_that_fails_in_silence_is_caught(server: Server, whole: Whole, tmp_path: Path) -> None:
    found = [failed(server, tmp_path / str(number), number, "save", whole, defect="silent_disk") for number in range(6)]
    assert any(
        ended.code != 2 or int(newest(tmp_path / str(k)).name) < ended.noted("saved")[-1]
        for k, ended in enumerate(found)
    )


@pytest.mark.trust
@pytest.mark.parametrize("kilobytes", [40, 90, 140])
def test_a_disk_that_is_really_full(server: Server, whole: Whole, tmp_path: Path, kilobytes: int) -> None:
    """A file system in memory of that size, in a mount namespace of its own."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = f"mount -t tmpfs -o size={kilobytes}k none {disk}"
    if (
        not shutil.which("unshare")
        or subprocess.run(["unshare", "-rm", "sh", "-c", mount], capture_output=True).returncode
    ):
        pytest.skip("file systems cannot be mounted here")
    often = "api.every = lambda seconds: lambda step: step.n % 5 == 0"
    code = f"from sensorium import api\n{often}\nfrom sensorium.cli import main\nmain()"
    run = [sys.executable, "-c", code, *words(server, disk / "run")]
    script = f'{mount} && "$@"; code=$?; cp -r {disk}/run {tmp_path}/kept; exit $code'
    more = {"SENSORIUM_HOME": str(server.scratch.parent), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        ["unshare", "-rm", "sh", "-c", script, "sh", *run], capture_output=True, text=True, env=os.environ | more
    )
    assert done.returncode == 2, done.stderr
    assert "No space left on device" in done.stderr.strip().splitlines()[-1] and "Traceback" not in done.stderr
    again = server(tmp_path / "kept", "command", words=[*words(server, tmp_path / "kept"), "--resume"])
    assert again.code == 0, again.said
    assert hashes(tmp_path / "kept") == whole.hashes
