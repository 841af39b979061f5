from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sensorium.core import SensoriumError
from sensorium.data.limits import Limits, Seen
from sensorium.data.media import audio, html, pdf, video
from sensorium.data.media.guard import KINDS, Guard

from .documents import document, locked
from .test_audio import encoded, tone, wav
from .test_html import BAD as PAGES
from .test_html import PAGE
from .test_video import MOVING, mp4_of_repeated_bytes

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="address-space limits and /proc are Linux's")
LIMITS = Limits()
GOOD = Seen(about="1 page, A4")


@pytest.fixture(scope="module")
def guard() -> Iterator[Guard]:
    with Guard(LIMITS) as found:
        yield found


def status(pid: int | None, name: str) -> int:
    """A line of /proc/PID/status, in MiB."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(name):
            return int(line.split()[1]) >> 10
    raise AssertionError(name)


def gone(pid: int | None) -> bool:
    """Whether a process ends within ten seconds; one that is left as a zombie has not been waited for."""
    for _ in range(200):
        if not Path(f"/proc/{pid}").exists():
            return True
        time.sleep(0.05)
    return False


def while_stopped(guard: Guard, act: Callable[[int], None]) -> Seen:
    """What a check finds whose process is stopped before it, and then acted upon."""
    guard.check("pdf", document())
    pid = guard.pid
    assert pid
    os.kill(pid, signal.SIGSTOP)
    found: list[Seen] = []
    thread = threading.Thread(target=lambda: found.append(guard.check("pdf", document())))
    thread.start()
    time.sleep(0.2)
    act(pid)
    thread.join(60)
    return found[0]


def test_finds_what_the_decoder_finds(guard: Guard) -> None:
    for kind, module, data in (
        ("pdf", pdf, document(b"", count=2)), ("pdf", pdf, locked(b"secret")), ("video", video, MOVING),
        ("audio", audio, wav(bytes(800))), ("html", html, PAGE.encode()), ("html", html, b""),
    ):  # fmt: skip
        assert guard.check(kind, data) == module.check(data, LIMITS)  # type: ignore[attr-defined]


def test_one_process_without_torch_serves_all(guard: Guard) -> None:
    guard.check("pdf", document())
    first = guard.pid
    for kind in KINDS:
        guard.check(kind, b"x")
    assert guard.pid == first != os.getpid()
    assert "torch" not in Path(f"/proc/{first}/maps").read_text()


@pytest.mark.parametrize("kind", ["pfd", "image", "guard", "os"])
def test_other_kinds_are_an_error_of_the_user(guard: Guard, kind: str) -> None:
    with pytest.raises(SensoriumError, match=f"no guarded decoder for '{kind}'; "):
        guard.check(kind, b"x")


def test_crash_is_said_and_outlived() -> None:
    with Guard(LIMITS) as guard:
        assert while_stopped(guard, lambda pid: os.kill(pid, signal.SIGKILL)) == Seen("decoder crashed")
        fallen = guard.pid
        assert fallen is None
        assert guard.check("pdf", document()) == GOOD


def test_death_between_two_checks_is_no_reason() -> None:
    with Guard(LIMITS) as guard:
        assert guard.check("pdf", document()) == GOOD
        first = guard.pid
        assert first
        os.kill(first, signal.SIGSEGV)
        os.waitid(os.P_PID, first, os.WEXITED | os.WNOWAIT)
        assert guard.check("pdf", document()) == GOOD and guard.pid != first
        assert gone(first)


def test_hang_is_cut_off_and_outlived() -> None:
    with Guard(Limits(patience=0.5)) as guard:
        start = time.monotonic()
        stopped: list[int] = []
        assert while_stopped(guard, stopped.append) == Seen("took longer than 0.5 s")
        assert time.monotonic() - start < 10 and gone(stopped[0])
        assert guard.check("pdf", document()) == GOOD


def test_hang_while_bytes_are_sent_is_cut_off() -> None:
    """More than a socket holds."""
    with Guard(Limits(patience=0.5)) as guard:
        guard.check("audio", b"x")
        assert guard.pid
        os.kill(guard.pid, signal.SIGSTOP)
        assert guard.check("audio", bytes(20 << 20)) == Seen("took longer than 0.5 s")


def test_memory_is_limited_and_the_process_outlived() -> None:
    """Some 90 MB of content, which PDFium holds twice, in a process that may take 64 MB."""
    with Guard(Limits(memory=64 << 20)) as guard:
        reason = guard.check("pdf", document(b" " * (90 << 20), layers=1)).reason
        assert reason in ("needs more memory than 64 MiB", "decoder crashed")
        assert guard.check("pdf", document()) == GOOD


def test_exhausted_memory_is_named() -> None:
    with Guard(Limits(memory=8 << 20)) as guard:
        assert guard.check("html", b"<p>" + b" " * 7_000_000) == Seen("needs more memory than 8 MiB")
        assert guard.pid is None and guard.check("html", b"<p>x").reason == ""


def test_bytes_are_limited(guard: Guard) -> None:
    with Guard(Limits(bytes=100)) as small:
        assert small.check("pdf", bytes(101)) == Seen("101 bytes, limit 100") and small.pid is None


def test_bombs_take_less_than_256_mib(guard: Guard) -> None:
    bombs: list[tuple[str, bytes]] = [
        ("pdf", document(b" " * (97 << 20), layers=1)),
        ("pdf", document(b" " * (97 << 20), layers=2)),
        ("pdf", document(count=100_000)),
        ("audio", encoded(np.zeros((8000 * 600, 1), np.float32), 8000, "FLAC")),
        ("audio", wav(bytes(100), claims=2**32 - 100)),
        ("video", mp4_of_repeated_bytes()),
        *(("html", str(PAGES[name][0]).encode()) for name in ("100,000 nested tags", "repeated formatting")),
    ]
    assert all(len(data) < 8 << 20 for _, data in bombs)
    guard.check("html", b"<p>x")
    before = status(guard.pid, "VmHWM")
    pid = guard.pid
    for kind, data in bombs:
        start = time.monotonic()
        guard.check(kind, data)
        assert time.monotonic() - start < 20
    assert guard.pid == pid and status(pid, "VmHWM") - before < 256


def test_memory_does_not_grow(guard: Guard) -> None:
    data = [
        ("pdf", document()),
        ("video", MOVING),
        ("audio", encoded(tone(0.5), 16000, "OGG")),
        ("html", PAGE.encode()),
    ]

    def rounds(n: int) -> int:
        for _ in range(n):
            for kind, item in data:
                assert not guard.check(kind, item).reason
        return status(guard.pid, "VmRSS")

    assert rounds(60) - rounds(20) < 20


def test_threads_take_turns(guard: Guard) -> None:
    found: list[Seen] = []

    def ask(count: int) -> None:
        for _ in range(10):
            assert guard.check("pdf", document(count=count)).about.startswith(f"{count} page")
            found.append(GOOD)

    threads = [threading.Thread(target=ask, args=[k]) for k in range(1, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 40


def test_close_leaves_nothing_and_opens_again() -> None:
    guard = Guard(LIMITS)
    assert guard.pid is None
    guard.close()
    guard.check("pdf", document())
    first = guard.pid
    guard.close()
    assert guard.pid is None and not Path(f"/proc/{first}").exists()
    assert guard.check("pdf", document()) == GOOD and guard.pid != first
    second = guard.pid
    del guard
    assert gone(second)


SCRIPT = """
import os, sys
from sensorium.data.limits import Limits
from sensorium.data.media.guard import Guard
guard = Guard(Limits())
print(guard.check("html", b"<p>x").about, guard.pid, flush=True)
{end}
"""


@pytest.mark.parametrize("end", ["", "os.kill(os.getpid(), 9)", "os._exit(0)"])
def test_script_without_main_guard_leaves_no_process(end: str, tmp_path: Path) -> None:
    """Started in a folder whose files would shadow what the process imports."""
    for name in ("json.py", "sensorium.py", "av.py"):
        (tmp_path / name).write_text("raise SystemExit('shadowed')")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/script.py").write_text(SCRIPT.format(end=end))
    done = subprocess.run([sys.executable, "bin/script.py"], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    *about, pid = done.stdout.split()
    assert " ".join(about) == "page, 1 character" and done.stderr == ""
    assert gone(int(pid))


def test_fork_gets_a_process_of_its_own(guard: Guard) -> None:
    guard.check("pdf", document())
    first = guard.pid
    fork = os.fork()
    if not fork:
        good = guard.check("pdf", document()) == GOOD and guard.pid != first
        guard.close()
        os._exit(0 if good else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(fork, 0)[1]) == 0
    assert guard.pid == first and guard.check("pdf", document()) == GOOD


def test_process_that_does_not_start_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(SensoriumError, match="the process for decoders does not start: exit code 1"):
        Guard(LIMITS).check("pdf", document())


def test_module_alone_says_who_starts_it() -> None:
    command = [sys.executable, "-m", "sensorium.data.media.guard"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1 and done.stderr == "this module is started by sensorium.data.media.guard.Guard\n"


@given(
    st.sampled_from(KINDS), st.binary(max_size=200), st.sampled_from([b"", b"%PDF-1.7\n", b"<p>", b"fLaC", b"GIF89a"])
)
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_bytes_leave_the_process_alive(guard: Guard, kind: str, data: bytes, start: bytes) -> None:
    pid = guard.pid
    assert isinstance(guard.check(kind, start + data), Seen)
    assert pid is None or guard.pid == pid
