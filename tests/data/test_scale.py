"""Many rows: memory stays flat, and a second start reads nothing but what changed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).with_name("scale.py")
PER_ROW = 400
"""Bytes of its own memory that a row may cost while training: a million rows, 400 MB. Ten times less was measured for
a million; the rest is what a small difference between two processes needs."""


def run(*words: str, home: Path) -> dict[str, Any]:
    env = os.environ | {"SENSORIUM_HOME": str(home), "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, str(SCRIPT), *words], env=env, capture_output=True, text=True, check=True)
    return dict(json.loads(done.stdout)) if done.stdout else {}


def grown(tmp_path: Path, few: int, many: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """The cost of few and of many rows, both at their second start."""
    for n in (few, many):
        run("make", str(tmp_path / str(n)), str(n), home=tmp_path / "home")
    time.sleep(2.1)  # files younger than that are read again
    first = [run("train", str(tmp_path / str(n)), home=tmp_path / "home") for n in (few, many)]
    small, large = (run("train", str(tmp_path / str(n)), home=tmp_path / "home") for n in (few, many))
    assert (small["rows"], large["rows"]) == (few, many)
    assert first[1]["open_cpu_s"] > 2 * large["open_cpu_s"]
    return small, large


def test_memory_is_flat_and_a_second_start_is_short(tmp_path: Path) -> None:
    small, large = grown(tmp_path, 5_000, 60_000)
    assert (large["training_mb"] - small["training_mb"]) * 2**20 < PER_ROW * 55_000
    assert large["first_step_cpu_s"] < 5


@pytest.mark.trust
@pytest.mark.timeout(1800)
def test_a_million_rows(tmp_path: Path) -> None:
    small, large = grown(tmp_path, 5_000, 1_000_000)
    assert (large["training_mb"] - small["training_mb"]) * 2**20 < PER_ROW / 2 * 995_000
    assert large["first_step_cpu_s"] < 5
