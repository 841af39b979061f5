"""A server that forks runs, the small data set they train on, and one run that nobody stopped."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from ..papers.conftest import squares

HERE = Path(__file__).parent
PAPER = HERE / "tiny.py"


@dataclass(frozen=True)
class Ended:
    """How a forked run ended: its exit code (minus a signal's number), what it printed, what its log notes."""

    code: int
    said: str
    log: list[tuple[str, Any]]

    def noted(self, what: str) -> list[Any]:
        return [value for name, value in self.log if name == what]


class Server:
    """The driver in a process of its own."""

    def __init__(self, home: Path, data: Path) -> None:
        self.data, self.asked = data, 0
        self.scratch = home / "answers"
        self.scratch.mkdir(parents=True)
        more = {"SENSORIUM_HOME": str(home), "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
        self.process = subprocess.Popen(
            [sys.executable, str(HERE / "driver.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | more,
        )

    def __call__(self, out: Path, do: str = "train", **more: Any) -> Ended:
        """Fork a run into the folder `out` and wait for its end."""
        assert self.process.stdin is not None and self.process.stdout is not None
        self.asked += 1
        said, log = (self.scratch / f"{self.asked}.{kind}" for kind in ("txt", "jsonl"))
        asked = {"do": do, "paper": str(PAPER), "data": str(self.data), "out": str(out), **more}
        self.process.stdin.write(json.dumps(asked | {"said": str(said), "log": str(log)}) + "\n")
        self.process.stdin.flush()
        code = json.loads(self.process.stdout.readline())["code"]
        lines = [json.loads(line) for line in log.read_text().splitlines()] if log.is_file() else []
        return Ended(code, said.read_text(), [(a, b) for a, b in lines])

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(30)


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One for all tests of this folder."""
    root = tmp_path_factory.mktemp("trust")
    started = Server(root / "home", squares(root / "data"))
    yield started
    started.close()


def hashes(run: Path) -> dict[str, str]:
    """SHA-256 of a finished run's weights and moments, the digest of its ordered ids, its scores, its step lines."""
    (last,) = [max(run.glob("checkpoints/[0-9]*"), key=lambda p: int(p.name))]
    steps = [json.loads(line) for line in (run / "steps.jsonl").read_text().splitlines()]
    scores = json.loads((run / "scores.json").read_text())
    told = {
        "steps": [{k: v for k, v in s.items() if k != "seconds"} for s in steps],
        "scores": [scores["validation"], scores["test"], scores["curve"]],
    }
    return {
        "weights": hashlib.sha256((last / "model.safetensors").read_bytes()).hexdigest(),
        "optimiser": hashlib.sha256((last / "optim.safetensors").read_bytes()).hexdigest(),
        "rows": json.loads((last / "state.json").read_text())["rows"],
        **{k: hashlib.sha256(json.dumps(v).encode()).hexdigest() for k, v in told.items()},
    }


@dataclass(frozen=True)
class Whole:
    """A run that nobody stopped: its hashes and how many events each phase has."""

    path: Path
    hashes: dict[str, str]
    counts: dict[str, int]


@pytest.fixture(scope="session")
def whole(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Whole:
    """What every other run is compared with."""
    path = tmp_path_factory.mktemp("whole") / "run"
    ended = server(path)
    assert ended.code == 0, ended.said
    return Whole(path, hashes(path), ended.noted("counts")[0])
