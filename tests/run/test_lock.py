"""The lock of a folder: held by one process, named to the others, dropped when its holder dies."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from sensorium.core import SensoriumError
from sensorium.run import lock
from sensorium.run.lock import held, refuse_held


@contextmanager
def another(folder: Path) -> Iterator[int]:
    """A process that holds the folder until the block ends; its id."""
    ready, release = os.pipe(), os.pipe()
    if not (pid := os.fork()):
        with held(folder, "sensorium train clip photos"):
            os.write(ready[1], b".")
            os.close(release[1])
            os.read(release[0], 1)
        os._exit(0)
    os.read(ready[0], 1)
    try:
        yield pid
    finally:
        os.close(release[1])
        os.waitpid(pid, 0)
        for end in (*ready, release[0]):
            os.close(end)


def test_a_folder_is_made_held_and_left_as_it_was(tmp_path: Path) -> None:
    with held(tmp_path / "a" / "run", "here"):
        told = json.loads((tmp_path / "a" / "run" / "LOCK").read_text())
        assert told["pid"] == os.getpid() and told["host"] == socket.gethostname() and told["command"] == "here"
    assert not (tmp_path / "a" / "run").exists()
    (tmp_path / "kept").mkdir()
    with held(tmp_path / "kept", "here"):
        pass
    assert list((tmp_path / "kept").iterdir()) == []


def test_a_folder_that_was_written_to_stays(tmp_path: Path) -> None:
    with held(tmp_path / "run", "here"):
        (tmp_path / "run" / "run.json").write_text("{}")
    assert [p.name for p in (tmp_path / "run").iterdir()] == ["run.json"]


@pytest.mark.parametrize("ask", [lambda folder: held(folder, "there").__enter__(), refuse_held])
def test_a_live_holder_is_named_within_two_seconds(tmp_path: Path, ask: object) -> None:
    with another(tmp_path / "run") as pid:
        start = time.monotonic()
        with pytest.raises(SensoriumError) as refused:
            ask(tmp_path / "run")  # type: ignore[operator]
        assert time.monotonic() - start < 2
    host, folder = re.escape(socket.gethostname()), re.escape(str(tmp_path / "run"))
    since = r"\d{4}-\d\d-\d\d \d\d:\d\d"
    expected = rf"{folder} is in use by process {pid} on {host} since {since} \(sensorium train clip photos\)"
    assert re.fullmatch(expected, str(refused.value))


def test_one_process_does_not_take_it_twice(tmp_path: Path) -> None:
    with held(tmp_path / "run", "first"), pytest.raises(SensoriumError, match=r"in use by process \d+ .*\(first\)"):
        held(tmp_path / "run", "second").__enter__()


def test_who_waits_a_moment_gets_what_is_given_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "PATIENCE", 20.0)
    if not (pid := os.fork()):
        with held(tmp_path / "run", "child"):
            (tmp_path / "there").touch()
            time.sleep(0.2)
        os._exit(0)
    while not (tmp_path / "there").exists():
        time.sleep(0.005)
    with held(tmp_path / "run", "here"):
        assert json.loads((tmp_path / "run" / "LOCK").read_text())["pid"] == os.getpid()
    os.waitpid(pid, 0)


def test_what_a_killed_process_left_is_taken_over(tmp_path: Path) -> None:
    with another(tmp_path / "run") as pid:
        os.kill(pid, signal.SIGKILL)
        while json.loads((tmp_path / "run" / "LOCK").read_text())["pid"] == pid:
            try:
                with held(tmp_path / "run", "here"):
                    break
            except SensoriumError:
                time.sleep(0.01)
    refuse_held(tmp_path / "run")


def test_an_empty_file_of_a_start_that_died_early_is_taken_over(tmp_path: Path) -> None:
    (tmp_path / "LOCK").touch()
    with held(tmp_path, "here"):
        pass
    assert not (tmp_path / "LOCK").exists()


def test_what_another_machine_left_is_refused_with_how_to_remove_it(tmp_path: Path) -> None:
    told = {"pid": 123, "host": "elsewhere", "since": "2026-01-02 14:02", "command": "sensorium race photos"}
    (tmp_path / "LOCK").write_text(json.dumps(told))
    with pytest.raises(SensoriumError) as refused:
        held(tmp_path, "here").__enter__()
    line = str(refused.value)
    assert "was left by process 123 on elsewhere since 2026-01-02 14:02 (sensorium race photos)" in line
    assert f"remove {tmp_path / 'LOCK'}" in line
    assert json.loads((tmp_path / "LOCK").read_text()) == told
    (tmp_path / "LOCK").unlink()
    with held(tmp_path, "here"):
        pass


@pytest.mark.parametrize("content", ["my own notes", "[1, 2]", "{torn"])
def test_a_file_of_that_name_that_is_no_lock_is_kept(tmp_path: Path, content: str) -> None:
    (tmp_path / "LOCK").write_text(content)
    with pytest.raises(SensoriumError, match="is not the lock of a run"):
        held(tmp_path, "here").__enter__()
    assert (tmp_path / "LOCK").read_text() == content


def test_a_lock_goes_when_its_block_fails(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), held(tmp_path / "run", "here"):
        raise ZeroDivisionError
    with held(tmp_path / "run", "again"):
        pass


def test_where_nothing_can_be_written_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file", tmp_path / "file" / "run"):
        with pytest.raises(SensoriumError, match=r"cannot write to .*file.*: (File exists|Not a directory)"):
            held(folder, "here").__enter__()


def test_asking_writes_nothing(tmp_path: Path) -> None:
    refuse_held(tmp_path / "nowhere")
    refuse_held(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_the_lock_ends_with_the_block_although_a_child_of_its_holder_lives(tmp_path: Path) -> None:
    """A descriptor that a program started meanwhile inherited would hold it."""
    with held(tmp_path / "run", "here"):
        pid = os.posix_spawn("/bin/sleep", ["sleep", "30"], {})
    try:
        with held(tmp_path / "run", "again"):
            pass
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
