"""One process per run folder: a lock that the kernel drops when its holder dies, with a file that names the holder."""

from __future__ import annotations

import fcntl
import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from sensorium.core import SensoriumError

NAME = "LOCK"
PATIENCE = 0.5
"""Seconds that a start waits for a lock: the workers of a killed race die a moment after it."""


@contextmanager
def held(folder: Path, command: str) -> Iterator[None]:
    """Hold a folder, made where it is missing, until the block ends; one that was made and stayed empty goes again.

    Raises: SensoriumError that names the process, machine, time and `command` of who holds it.
    """
    made = not folder.exists()
    try:
        handle = _take(folder, command)
    except OSError as problem:
        raise SensoriumError(f"cannot write to {folder}: {problem.strerror or problem}") from problem
    try:
        yield
    finally:
        with suppress(OSError):
            (folder / NAME).unlink()  # before the lock goes: whoever waits sees that its file is gone
        os.close(handle)
        if made:
            with suppress(OSError):
                folder.rmdir()


def refuse_held(folder: Path) -> None:
    """The refusal of `held` where another process has the folder; takes nothing and writes nothing."""
    try:
        handle = os.open(folder / NAME, os.O_RDONLY)
    except OSError:
        return
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        raise _in_use(folder) from None
    finally:
        os.close(handle)


def _in_use(folder: Path) -> SensoriumError:
    return SensoriumError(f"{folder} is in use by {_named(_read(folder / NAME))}")


def _take(folder: Path, command: str) -> int:
    """An open descriptor of the lock file, locked."""
    path, until = folder / NAME, time.monotonic() + PATIENCE
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        try:
            handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        except FileNotFoundError:  # another start made the folder, was refused and removed it
            continue
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_open(handle, path):
                _reclaim(handle, path)
                mine = {"pid": os.getpid(), "host": socket.gethostname(), "since": _now(), "command": command}
                os.ftruncate(handle, 0)
                os.pwrite(handle, json.dumps(mine).encode(), 0)
                return handle
        except BlockingIOError:
            if time.monotonic() > until:
                os.close(handle)
                raise _in_use(folder) from None
            time.sleep(0.02)
        except BaseException:
            os.close(handle)
            raise
        os.close(handle)


def _is_open(handle: int, path: Path) -> bool:
    """Whether the file that was locked still has its name: its last holder may have removed it."""
    try:
        return os.path.samestat(os.fstat(handle), os.stat(path))
    except FileNotFoundError:
        return False


def _reclaim(handle: int, path: Path) -> None:
    """Refuse a file that was not left by a dead process of this machine: of others the kernel knows nothing."""
    if not (written := os.pread(handle, 1 << 16, 0)):
        return
    there = _parsed(written)
    if there.get("host") != socket.gethostname():
        why = f"was left by {_named(there)}" if there else "is not the lock of a run"
        raise SensoriumError(f"{path} {why}; if nothing uses {path.parent}, remove {path}")


def _read(path: Path) -> dict[str, Any]:
    """Who holds it; its holder may be about to write that."""
    for _ in range(20):
        with suppress(OSError):
            if there := _parsed(path.read_bytes()):
                return there
        time.sleep(0.02)
    return {}


def _parsed(written: bytes) -> dict[str, Any]:
    try:
        there = json.loads(written)
    except ValueError:
        return {}
    return there if isinstance(there, dict) else {}


def _named(there: dict[str, Any]) -> str:
    if not there:
        return "another process"
    return f"process {there.get('pid')} on {there.get('host')} since {there.get('since')} ({there.get('command')})"


def _now() -> str:
    return datetime.now().astimezone().strftime("%Y-%m-%d %H:%M")
