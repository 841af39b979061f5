"""Start-up: help, listing and refusals import neither torch nor numpy nor pyarrow."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

import sensorium

WATCH = """
import json, sys
from sensorium.cli import main
try:
    main()
except SystemExit as stop:
    code = int(stop.code or 0)
else:
    code = 0
names = sorted({name.partition(".")[0] for name in sys.modules})
print("\\n" + json.dumps({"code": code, "modules": names}))
"""
HEAVY = {"torch", "numpy", "pyarrow", "scipy", "PIL", "transformers", "safetensors", "jinja2"}


def run(*words: str) -> tuple[int, str, set[str]]:
    """Exit code, everything printed, top-level modules that were imported."""
    done = subprocess.run([sys.executable, "-c", WATCH, *words], capture_output=True, text=True, timeout=60)
    out, _, last = done.stdout.rstrip().rpartition("\n")
    found = json.loads(last)
    return found["code"], out + done.stderr, set(found["modules"])


@pytest.mark.parametrize(
    "words, code, part",
    [
        ("--help", 0, "race"),
        ("--version", 0, sensorium.__version__),
        ("papers", 0, "can be trained today"),
        ("papers --family align --needs image,text --built", 0, "filip"),
        ("show filip", 0, "late interaction"),
        ("frobnicate", 2, "frobnicate"),
        ("show filp", 2, "filip"),
        ("papers --family nonsense", 2, "align"),
    ],
)
def test_light(words: str, code: int, part: str) -> None:
    found, said, modules = run(*words.split())
    assert found == code, said
    assert part in said.lower()
    assert not HEAVY & modules
    assert "Traceback" not in said


def test_the_watch_sees_what_is_imported() -> None:
    """A command that reads data does import them: otherwise the test above could not fail."""
    code, _, modules = run("data", "show", "/nowhere/at/all")
    assert code == 2
    assert {"torch", "numpy", "pyarrow"} <= modules


def test_help_of_every_command() -> None:
    from sensorium.cli import COMMANDS

    _, said, _ = run("--help")
    for name in COMMANDS:
        assert name in said


def test_the_package_alone_is_light() -> None:
    code = "import sys, sensorium; dir(sensorium); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert not HEAVY & {name.partition(".")[0] for name in done.stdout.split()}


def test_a_reader_that_has_seen_enough_is_no_error() -> None:
    words = f"{sys.executable} -c 'from sensorium.cli import main; main()' papers | head -n 1"
    done = subprocess.run(["bash", "-c", words], capture_output=True, text=True, timeout=60)
    assert done.stdout.count("\n") == 1 and not done.stderr
