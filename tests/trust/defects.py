"""Seeded defects: each is a mistake that some check of this folder has to catch."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np


def in_place() -> None:
    """Files are written where they belong at once, and nobody looks at checksums."""
    from sensorium.run import checkpoint, save

    def publish(folder: Path, files: dict[str, bytes]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        for name, data in files.items():
            (folder / name).write_bytes(data)

    save.publish = publish
    checkpoint.damage = save.damage = lambda folder: ""


def no_optimiser() -> None:
    """Moments start anew."""
    from sensorium.run import save

    save._nested = lambda flat: {}


def redrawn() -> None:
    """A run that goes on draws another order."""
    from sensorium.data.stream import Epochs
    from sensorium.run import save

    resume = save.Journal.resume

    def other(self: Any) -> Any:
        past = resume(self)
        if self.fit.total:
            Epochs._order = lambda self, epoch: np.arange(len(self.rows))  # type: ignore[method-assign]
        return past

    save.Journal.resume = other  # type: ignore[method-assign]


def later_weights() -> None:
    """A stream that was asked for is asked for again with the weights of now."""
    from sensorium.run.fit import Fit

    load = Fit.load_state_dict
    Fit.load_state_dict = lambda self, state: load(self, {**state, "asked_with": {}})  # type: ignore[method-assign]


def pruned_first() -> None:
    """Old checkpoints go before the new one is there."""
    from sensorium.run import save

    publish = save.publish

    def after(folder: Path, files: dict[str, bytes]) -> None:
        shutil.rmtree(folder.parent, ignore_errors=True)
        publish(folder, files)

    save.publish = after


def unsynced() -> None:
    """fsync does nothing."""
    os.fsync = lambda descriptor: None


def unchecked() -> None:
    """Whether a checkpoint is whole is seen by its names alone."""
    from sensorium.run import checkpoint

    checkpoint.damage = lambda folder: "" if (folder / "manifest.json").is_file() else "no manifest"


def looked_first() -> None:
    """A lock that is looked for and then made, in two steps."""
    from sensorium.core import SensoriumError
    from sensorium.run import lock

    @contextmanager
    def held(folder: Path, command: str) -> Iterator[None]:
        folder.mkdir(parents=True, exist_ok=True)
        if (folder / lock.NAME).exists():
            raise SensoriumError("in use")
        time.sleep(0.01)
        (folder / lock.NAME).write_text(command)
        yield

    lock.held = held


def at_once() -> None:
    """Nobody waits for the end of a step."""
    from sensorium.run import runs

    @contextmanager
    def deferred() -> Iterator[Callable[[], int]]:
        yield lambda: 0

    runs.deferred = deferred


def forgetful() -> None:
    """A race that does not see what is finished."""
    from sensorium.run import race

    run_all = race.Race.run_all

    def again(self: Any, runs: Any) -> None:
        for run in runs:
            shutil.rmtree(self.arm(run.job), ignore_errors=True)
        run_all(self, runs)

    race.Race.run_all = again  # type: ignore[method-assign]


def silent_disk() -> None:
    """A write that fails passes for one that went well."""
    from sensorium.run import save

    publish = save.publish

    def swallowing(folder: Path, files: dict[str, bytes]) -> None:
        with suppress(Exception):
            publish(folder, files)

    save.publish = swallowing


DEFECTS: dict[str, Callable[[], None]] = {
    f.__name__: f
    for f in (
        in_place,
        no_optimiser,
        redrawn,
        later_weights,
        pruned_first,
        unsynced,
        unchecked,
        looked_first,
        at_once,
        forgetful,
        silent_disk,
    )
}


def plant(name: str) -> None:
    """Put one in."""
    DEFECTS[name]()
