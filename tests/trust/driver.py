"""A process that forks others: each trains, races or starts as asked, and has happen to it what it was asked for.

Reads one JSON object per line and answers with one: {"code": how the child ended}. Forking spares children the import
of torch; this process never runs a backward pass itself, as its children could not then.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

PHASES = ("begin", "step", "save", "prune", "evaluate", "finish", "timing", "run", "table")
OPERATIONS = ("open", "os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.truncate")
STEPS, BATCH, SAVE_EVERY = 40, 8, 5
MOST = 3 * BATCH
"""Samples of a run in a race."""


class Watch:
    """Counts what happens in each phase. At one of these events it kills the process, cuts its power (what no fsync has
    put on disk goes too), sends it a signal, or lets the operation fail with an error number."""

    def __init__(self, asked: dict[str, Any]) -> None:
        self.folder, self.log = Path(asked["out"]), Path(asked["log"])
        self.at = tuple(asked["at"]) if asked.get("at") else None
        self.how, self.number = asked.get("how", "kill"), asked.get("number", 0)
        self.phase, self.counts = "", dict.fromkeys(PHASES, 0)
        there = [p.stat() for p in self.folder.rglob("*") if p.is_file()]
        self.synced = {(about.st_dev, about.st_ino): about.st_size for about in there}  # size that is on disk
        self.renames: list[tuple[str, str]] = []  # not yet on disk
        self.fsync = os.fsync

    def event(self, phase: str, descriptor: int | None = None, path: str | None = None) -> None:
        """One more event of a phase."""
        if not phase:
            return
        self.counts[phase] += 1
        if self.at != (phase, self.counts[phase]):
            return
        if self.how == "signal":
            self.note("signal", time.time())
            os.kill(os.getpid(), self.number)
        elif self.how == "fail":
            raise OSError(self.number, os.strerror(self.number), path)
        else:
            if descriptor is not None and self.counts[phase] % 2:  # half of a file had been written
                with contextlib.suppress(OSError):
                    os.ftruncate(descriptor, os.fstat(descriptor).st_size // 2)
            if self.how == "power":
                self.cut_power()
            os.kill(os.getpid(), signal.SIGKILL)

    def during(self, owner: Any, name: str, phase: str, ends: bool = False) -> None:
        """Everything that `owner.name` does happens in a phase; its beginning and end are events, too, with `ends`."""
        real = getattr(owner, name)

        def call(*given: Any, **named: Any) -> Any:
            before, self.phase = self.phase, phase
            if ends:
                self.event(phase)
            try:
                done = real(*given, **named)
            finally:
                self.phase = before
            if ends:
                self.event(phase)
            return done

        setattr(owner, name, call)

    def note(self, what: str, value: Any) -> None:
        """A line of the log."""
        with open(self.log, "a") as out:
            out.write(json.dumps([what, value]) + "\n")

    def audit(self, name: str, given: tuple[Any, ...]) -> None:
        """Every operation on a file of the run is an event of the phase it happens in."""
        if name not in OPERATIONS or not given:
            return
        path = str(given[0])  # what is removed as part of a tree has a name relative to its folder
        if path.startswith(str(self.folder)) or (name != "open" and not os.path.isabs(path)):
            self.event(self.phase, path=path)
        if name == "os.rename" and str(given[1]).startswith(str(self.folder)):
            self.renames.append((str(given[0]), str(given[1])))

    def on_fsync(self, descriptor: int) -> None:
        """What an fsync puts on disk: a file's size, a folder's names."""
        self.event(self.phase, descriptor)
        self.fsync(descriptor)
        about = os.fstat(descriptor)
        self.synced[about.st_dev, about.st_ino] = about.st_size
        here = os.path.realpath(f"/proc/self/fd/{descriptor}")
        self.renames = [(a, b) for a, b in self.renames if os.path.dirname(b) != here]

    def cut_power(self) -> None:
        """Names and contents that were never synced are lost."""
        self.phase = ""
        for old, new in reversed(self.renames.copy()):
            if os.path.exists(new) and not os.path.exists(old):
                os.rename(new, old)
        for path in [p for p in self.folder.rglob("*") if p.is_file()]:
            about = path.stat()
            os.truncate(path, min(about.st_size, self.synced.get((about.st_dev, about.st_ino), 0)))


def watched(asked: dict[str, Any]) -> Watch:
    """The library with events in it, a checkpoint every few steps, and the defect that was asked for."""
    import torch

    from sensorium import api
    from sensorium.run import race, runs, save

    watch = Watch(asked)
    watch.during(runs, "_journal", "begin")
    watch.during(torch.nn.utils, "clip_grad_norm_", "step", ends=True)
    watch.during(torch.optim.AdamW, "step", "step", ends=True)
    watch.during(save.Journal, "save", "save")
    watch.during(save, "prune", "prune")
    watch.during(runs, "scored", "evaluate", ends=True)
    watch.during(runs, "_finish", "finish")
    watch.during(race, "timed", "timing", ends=True)
    watch.during(race, "execute", "run", ends=True)
    watch.during(race.Race, "write", "table")
    saved, resumed = save.Journal.save, save.Journal.resume

    def acknowledged(self: Any, past: Any) -> None:
        saved(self, past)
        watch.note("saved", self.fit.total)

    def restored(self: Any) -> Any:
        past = resumed(self)
        watch.note("resumed", self.fit.total)
        return past

    save.Journal.save, save.Journal.resume = acknowledged, restored  # type: ignore[method-assign]
    watch.during(save.Journal, "resume", "begin")
    api.every = runs.every = lambda seconds: lambda step: step.n % SAVE_EVERY == 0  # type: ignore[assignment]
    os.fsync = watch.on_fsync
    sys.addaudithook(watch.audit)
    if asked.get("defect"):
        importlib.import_module("defects").plant(asked["defect"])
    return watch


def train(asked: dict[str, Any]) -> None:
    """`sensorium.train` of the tiny paper."""
    import sensorium as sm

    watch = watched(asked)
    sm.train(
        asked["paper"],
        DATA[asked["data"]],
        samples=asked.get("samples", STEPS * BATCH),
        batch=BATCH,
        rate=0.01,
        towers="scratch",
        out=asked["out"],
        resume=asked.get("resume", False),
    )
    watch.note("counts", watch.counts)


def command(asked: dict[str, Any]) -> None:
    """The command line."""
    from sensorium.cli import main

    watched(asked)
    sys.argv = ["sensorium", *asked["words"]]
    main()


class Here:
    """Runs of a race in this process, one after the other."""

    def submit(self, do: Callable[..., Any], *given: Any) -> Future[Any]:
        """As an executor would."""
        future: Future[Any] = Future()
        future.set_result(do(*given))
        return future


@contextlib.contextmanager
def pool(workers: int) -> Iterator[Here]:
    """In place of spawned workers."""
    yield Here()


def race(asked: dict[str, Any]) -> None:
    """`sensorium.race` of clip and the tiny paper; its runs have checkpoints, short as they are."""
    import sensorium as sm
    from sensorium.run import race, runs

    watch = watched(asked)
    runs.every = lambda seconds: lambda step: True  # type: ignore[assignment]
    race.worker_pool, race.MOST_SAMPLES = pool, MOST  # type: ignore[assignment]
    race._data = lambda path, roles, max_bad: DATA[asked["data"]]  # type: ignore[assignment]
    sm.race(
        ["clip", asked["paper"]],
        DATA[asked["data"]],
        budget="60m",
        seeds=2,
        batch=BATCH,
        towers="scratch",
        split="redrawn",
        out=asked["out"],
    )
    watch.note("counts", watch.counts)


def starts(asked: dict[str, Any]) -> None:
    """Many processes that want one folder at the same moment; the log has a line for each."""
    from sensorium.core import SensoriumError
    from sensorium.run import lock

    watch = Watch(asked)
    if asked.get("defect"):
        importlib.import_module("defects").plant(asked["defect"])
    gate, release = os.pipe(), os.pipe()
    children = []
    for _ in range(asked["many"]):
        if pid := os.fork():
            children.append(pid)
            continue
        os.close(gate[1])
        os.close(release[1])
        os.read(gate[0], 1)  # until all are there
        start = time.monotonic()
        try:
            with lock.held(watch.folder, "a start"):
                watch.note("won", os.getpid())
                os.read(release[0], 1)
        except SensoriumError as refused:
            watch.note("lost", [time.monotonic() - start, str(refused)])
        os._exit(0)
    os.close(gate[1])
    until = time.monotonic() + 60
    while time.monotonic() < until:
        if watch.log.is_file() and watch.log.read_text().count("\n") == asked["many"]:
            break
        time.sleep(0.02)
    os.close(release[1])
    for pid in children:
        os.waitpid(pid, 0)


def churn(asked: dict[str, Any]) -> None:
    """Checkpoints that come and go, from the step after the last one."""
    from sensorium.run import checkpoint, save

    watch = Watch(asked)
    sys.addaudithook(watch.audit)
    os.fsync = watch.on_fsync
    if asked.get("defect"):
        importlib.import_module("defects").plant(asked["defect"])
    watch.phase = "save"
    checkpoint.tidy(watch.folder)
    for step in range(asked["first"], asked["first"] + 4):
        content = {"model.safetensors": bytes([step % 251]) * 1000, "state.json": b"{}\n"}
        save.publish(watch.folder / "checkpoints" / str(step), content)
        watch.phase, phase = "", watch.phase
        watch.note("saved", step)
        watch.phase = phase
        save.prune(watch.folder)


DATA: dict[str, Any] = {}
TASKS: dict[str, Callable[[dict[str, Any]], None]] = {
    "train": train, "command": command, "race": race, "starts": starts, "churn": churn,
}  # fmt: skip


def child(asked: dict[str, Any]) -> int:
    """Carry out what was asked in a forked process; its exit code."""
    said = os.open(asked["said"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(said, 1)
    os.dup2(said, 2)
    try:
        TASKS[asked["do"]](asked)
    except SystemExit as stop:
        return int(stop.code or 0)
    except BaseException:
        traceback.print_exc()
        return 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
    return 0


def main() -> None:
    """Answer until the input ends."""
    import torch

    import sensorium as sm

    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
    torch.set_num_threads(1)
    for name in ("sensorium.api", "torch._dynamo", "pandas"):  # what a run imports late: once here, not in every child
        importlib.import_module(name)
    for line in sys.stdin:
        asked = json.loads(line)
        if (path := asked["data"]) not in DATA:
            DATA[path] = sm.Dataset(path)
        if not (pid := os.fork()):
            os._exit(child(asked))
        status = os.waitpid(pid, 0)[1]
        print(json.dumps({"code": os.waitstatus_to_exitcode(status)}), flush=True)


if __name__ == "__main__":
    main()
