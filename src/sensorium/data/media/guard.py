"""Decoders of untrusted bytes in a process of their own, which may crash, hang or run out of memory.

`python -m sensorium.data.media.guard FD` is that process. It loads no torch and speaks JSON and bytes, never pickle.
"""

from __future__ import annotations

import io
import json
import os
import resource
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
import weakref
from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from types import TracebackType
from typing import Any

from sensorium.data.limits import Limits, Seen

KINDS = ("audio", "html", "pdf", "video")
START = 60.0
"""Seconds that the process may take for its imports on a busy machine."""
SPARE = 5
"""Seconds after its patience at which the process ends itself, should nobody be left to end it."""
ANSWER = 1 << 20
"""Bytes that an answer may have."""
_LENGTHS = struct.Struct(">IQ")


class Guard:
    """One process, started at the first check and again after it fell; threads take turns.

    with Guard(limits) as guard:
        seen = guard.check("pdf", data)
    """

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._turn = threading.Lock()
        self._process: _Process | None = None

    def check(self, kind: str, data: bytes) -> Seen:
        """What `sensorium.data.media.<kind>.check` finds, or how its decoder failed.

        Raises:
            SensoriumError: no such kind; the process does not start.
        """
        if kind not in KINDS:
            raise _unknown(kind)
        if len(data) > min(self.limits.bytes, self.limits.memory):
            return Seen(f"{len(data):,} bytes, limit {min(self.limits.bytes, self.limits.memory):,}")
        with self._turn:
            process = self._running()
            try:
                answer = process.ask({"kind": kind}, data, self.limits.patience)
                if not answer.pop("spent"):
                    return Seen(**{**answer, "notes": tuple(answer["notes"])})
                reason = f"needs more memory than {self.limits.memory >> 20} MiB"
            except TimeoutError:
                reason = f"took longer than {self.limits.patience:g} s"
            except (OSError, ValueError, TypeError, KeyError):  # gone, or no longer itself
                reason = "decoder crashed"
            except BaseException:  # an interrupted answer would be taken for that to the next question
                self._end()
                raise
            self._end()
            return Seen(reason)

    @property
    def pid(self) -> int | None:
        """Of the process, while there is one."""
        return self._process.pid if self._process else None

    def close(self) -> None:
        """Ends the process; a later check starts another."""
        with self._turn:
            self._end()

    def __enter__(self) -> Guard:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _running(self) -> _Process:
        if self._process is None or not self._process.is_alive():
            self._end()
            self._process = _Process(self.limits)
        return self._process

    def _end(self) -> None:
        if self._process:
            self._process.end()
        self._process = None


class _Process:
    """The worker as its parent sees it."""

    def __init__(self, limits: Limits) -> None:
        self._owner = os.getpid()
        self._line, other = socket.socketpair()
        with other:
            command = [sys.executable, "-P", "-m", __spec__.name, str(other.fileno())]
            nowhere = subprocess.DEVNULL
            self._child = subprocess.Popen(
                command, stdin=nowhere, stdout=nowhere, stderr=nowhere, pass_fds=[other.fileno()], env=_environment()
            )
        self.end = weakref.finalize(self, _end, self._child, self._line, self._owner)
        try:
            self.ask({"limits": asdict(limits)}, b"", START)
        except OSError as error:
            self.end()
            raise _not_started(self._child.returncode, error) from None

    @property
    def pid(self) -> int:
        return self._child.pid

    def is_alive(self) -> bool:
        """Whether it can be asked: not from a fork of its parent, which would share its line."""
        return self._owner == os.getpid() and self._child.poll() is None

    def ask(self, header: dict[str, Any], data: bytes, patience: float) -> dict[str, Any]:
        """Its answer. OSError: it is gone; TimeoutError: no answer within `patience` seconds."""
        until = time.monotonic() + patience
        for piece in (_frame(header, data), data):
            self._line.settimeout(max(0.001, until - time.monotonic()))
            self._line.sendall(piece)
        size, _ = _LENGTHS.unpack(self._receive(_LENGTHS.size, until))
        if size > ANSWER:
            raise ValueError
        answer: dict[str, Any] = json.loads(self._receive(size, until))
        return answer

    def _receive(self, size: int, until: float) -> bytes:
        found = b""
        while len(found) < size:
            self._line.settimeout(max(0.001, until - time.monotonic()))
            if not (piece := self._line.recv(size - len(found))):
                raise ConnectionResetError
            found += piece
        return found


def _end(child: subprocess.Popen[bytes], line: socket.socket, owner: int) -> None:
    line.close()
    if owner == os.getpid():  # a fork of the parent must not end what it did not start
        child.kill()
        child.wait()


def _environment() -> dict[str, str]:
    """Ours, with this package on the path wherever the parent found it, and one thread for numpy."""
    path = os.pathsep.join(filter(None, [str(Path(__file__).parents[3]), os.environ.get("PYTHONPATH")]))
    return {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


def _frame(header: dict[str, Any], data: bytes = b"") -> bytes:
    """Lengths and header; the data follow on their own, so that they are not copied."""
    text = json.dumps(header).encode()
    return _LENGTHS.pack(len(text), len(data)) + text


def _unknown(kind: str) -> Exception:
    from sensorium.core import SensoriumError, nearest  # brings torch

    return SensoriumError(f"no guarded decoder for {kind!r}{nearest(kind, KINDS)}")


def _not_started(code: int | None, error: OSError) -> Exception:
    from sensorium.core import SensoriumError  # brings torch

    how = f"not ready after {START:g} s" if isinstance(error, TimeoutError) else f"exit code {code}"
    return SensoriumError(f"the process for decoders does not start: {how}; try `python -m {__spec__.name}`")


def _serve(line: io.BufferedRWPair) -> None:
    """Answers questions until the parent is gone."""
    header, _ = _read(line)
    limits = Limits(**header["limits"])
    checks = {kind: import_module(f"sensorium.data.media.{kind}").check for kind in KINDS}
    _confine(limits)
    _write(line, {})
    while True:
        header, data = _read(line)
        signal.alarm(int(limits.patience) + SPARE)
        try:
            answer = asdict(checks[header["kind"]](data, limits)) | {"spent": False}
        except MemoryError:
            answer = {"spent": True}
        except Exception as error:
            answer = asdict(Seen(f"does not decode: {type(error).__name__}")) | {"spent": False}
        signal.alarm(0)
        del data
        _write(line, answer)


def _confine(limits: Limits) -> None:
    """limits.memory above what the imports take, no files written, no core dumped."""
    pages = int(Path("/proc/self/statm").read_text().split()[0]) if sys.platform == "linux" else 0
    room = pages * resource.getpagesize() + limits.memory
    for what, most in ((resource.RLIMIT_AS, room), (resource.RLIMIT_FSIZE, 0), (resource.RLIMIT_CORE, 0)):
        hard = resource.getrlimit(what)[1]
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(what, (most, most))


def _read(line: io.BufferedRWPair) -> tuple[dict[str, Any], bytes]:
    lengths = line.read(_LENGTHS.size)
    if len(lengths) < _LENGTHS.size:
        raise SystemExit
    size, data = _LENGTHS.unpack(lengths)
    return json.loads(line.read(size)), line.read(data)


def _write(line: io.BufferedRWPair, answer: dict[str, Any]) -> None:
    line.write(_frame(answer))
    line.flush()


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit("this module is started by sensorium.data.media.guard.Guard")
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, whose end ends this
    with socket.socket(fileno=int(sys.argv[1])) as end:
        _serve(end.makefile("rwb"))
