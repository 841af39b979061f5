"""`sensorium serve`, in a process of its own: what it prints, what it refuses, how it ends."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from sensorium.apps.server.listen import bound, url_of
from sensorium.cli import main
from sensorium.core import SensoriumError

from .conftest import Answer, ask

SLOW = """
import time
import sensorium.run.runs as runs
from sensorium.cli import main
embed = runs.Model.embed
def slow(self, batch):
    ((key, value),) = batch.items()
    time.sleep(1.5 * (key == "text" and len(value) == 1))
    return embed(self, batch)
runs.Model.embed = slow
main()
"""
"""The command line, but that one text alone takes a second and a half."""


LONG = """
import time
from sensorium.apps.server import generating
from sensorium.cli import main
step = generating.Answers.step
def slow(self):
    time.sleep(0.1)
    return step(self)
generating.Answers.step = slow
main()
"""
"""The command line, but that every token takes a tenth of a second."""


@contextmanager
def serving(
    *words: Any, program: str = "from sensorium.cli import main; main()"
) -> Iterator[tuple[subprocess.Popen[str], str, str]]:
    """A server on a free port: its process, its URL, the line it printed."""
    command = [sys.executable, "-c", program, "serve", *map(str, words), "--port", "0", "--no-board"]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    try:
        assert process.stdout is not None and process.stderr is not None
        line = process.stdout.readline()
        assert line.startswith("http://"), line + process.stderr.read()
        yield process, line.split()[0], line.strip()
    finally:
        process.kill()
        process.communicate()


def test_it_says_where_and_what_and_drains_before_it_ends(runs: dict[str, Path]) -> None:
    with serving(runs["clip"], runs["filip"], program=SLOW) as (process, url, line):
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+ serves runs: clip, filip; data: squares", line)
        found: list[Answer] = []
        body = {"model": "clip", "input": "a red square"}
        flying = threading.Thread(target=lambda: found.append(ask(url, "POST", "/v1/embeddings", body)))
        flying.start()
        time.sleep(0.5)
        process.send_signal(signal.SIGTERM)
        time.sleep(0.4)
        assert flying.is_alive() and process.poll() is None
        with pytest.raises(OSError):  # nothing new is taken
            socket.create_connection(tuple(urlsplit(url).netloc.split(":")), timeout=2).close()
        flying.join(10)
        out, err = process.communicate(timeout=20)
    assert [a.status for a in found] == [200] and len(found[0].json["data"][0]["embedding"]) == 256
    assert process.returncode == 143
    assert err == "sensorium: stopped; what was asked before is answered\n" and out == ""


@pytest.mark.slow
def test_a_stream_that_has_begun_is_ended_before_the_server_is(writers: dict[str, Path]) -> None:
    with serving(writers["echo"], program=LONG) as (process, url, _):
        found: list[Answer] = []
        message = {"role": "user", "content": "is " * 15}
        body = {"model": "echo", "messages": [message], "stream": True}
        flying = threading.Thread(target=lambda: found.append(ask(url, "POST", "/v1/chat/completions", body)))
        flying.start()
        time.sleep(0.7)
        process.send_signal(signal.SIGTERM)
        time.sleep(0.6)
        assert flying.is_alive() and process.poll() is None
        flying.join(10)
        _, err = process.communicate(timeout=20)
    assert found[0].status == 200 and found[0].body.endswith(b"data: [DONE]\n\n") and found[0].body.count(b" is") == 14
    assert process.returncode == 143 and err == "sensorium: stopped; what was asked before is answered\n"


def refused(patch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], *words: Any) -> str:
    """The one line that a start is refused with."""
    patch.setattr(sys, "argv", ["sensorium", "serve", *map(str, words)])
    with pytest.raises(SystemExit) as stop:
        main()
    out, err = capfd.readouterr()
    assert stop.value.code == 2 and out == "" and err.count("\n") == 1, err
    return err


def test_a_start_that_cannot_be_is_one_line(
    runs: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    clip = runs["clip"]
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        for words, says in (
            ((clip, "--host", "0.0.0.0"), "--host 0.0.0.0 lets others in, and no key is set; give --keys FILE or"),
            ((), "nothing to serve: name a run or a race"),
            ((tmp_path / "none",), "is not a run: there is no such folder"),
            ((clip, "--keys", tmp_path / "none"), "is not read: No such file or directory"),
            ((clip, "--allow-fetch", "http://a.org"), "--allow-fetch 'http://a.org' is not a host"),
            ((clip, "--data", tmp_path / "none"), str(tmp_path / "none")),
            ((clip, "--port", 70_000), "--port 70000; expected 0 to 65535"),
            (
                (clip, "--port", port),
                f"cannot listen on 127.0.0.1:{port}: the port is taken; --port 0 takes a free one",
            ),
        ):
            assert says in refused(monkeypatch, capfd, *words), words


def test_addresses_that_are_none_are_one_line() -> None:
    with pytest.raises(SensoriumError, match=r"cannot listen on nowhere.invalid:0: no such host 'nowhere.invalid'"):
        bound("nowhere.invalid", 0)
    with bound("127.0.0.1", 0) as listening:
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+", url_of(listening))


@pytest.mark.slow
def test_beyond_loopback_with_a_key_and_ended_by_ctrl_c(runs: dict[str, Path], tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.write_text("k" * 20)
    with serving(runs["clip"], "--host", "0.0.0.0", "--keys", keys) as (process, url, line):
        here = url.replace("0.0.0.0", "127.0.0.1")
        assert ask(here, "GET", "/v1/models").status == 401
        assert ask(here, "GET", "/v1/models", None, {"Authorization": "Bearer " + "k" * 20}).status == 200
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=20)
    assert process.returncode == 130 and "Traceback" not in err
    assert "k" * 20 not in line + err
