"""A run's folder while it is trained: step lines and checkpoints that it can go on from, exactly."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save
from torch import Tensor

from sensorium.core import Method, SensoriumError

from .checkpoint import damage, found, load_weights, newest, prune, publish, tidy, to_json, weights
from .fit import Fit, Step
from .lock import NAME as LOCK

SAVE_EVERY = 60.0
"""CPU-seconds of training between two checkpoints."""
FILES = ("run.json", "env.json", "tokenizer.json", "paper.py", "rows.parquet", "quarantine.jsonl", "steps.jsonl")
"""What lies in the folder of a run that has no checkpoint yet."""


def every(seconds: float) -> Callable[[Step], bool]:
    """Whether a checkpoint is due after a step: each `seconds` of CPU time in which steps were made."""
    last = [time.process_time()]

    def due(step: Step) -> bool:
        if time.process_time() - last[0] < seconds:
            return False
        last[0] = time.process_time()
        return True

    return due


@dataclass
class Past:
    """What a run has gathered beside weights: validation scores along the way, and its cost."""

    curve: dict[str, list[float]] = field(default_factory=lambda: {"samples": [], "values": []})
    cost: dict[str, float] = field(default_factory=dict)


def state_of(folder: Path) -> str:
    """What a folder holds: "nothing", an "unfinished" or a "finished" run, or something "else"."""
    if (folder / "run.json").is_file():
        return "finished" if (folder / "scores.json").is_file() else "unfinished"
    names = [p.name for p in folder.iterdir()] if folder.is_dir() else []
    ours = [n for n in names if n == LOCK or (n.startswith(".") and n.endswith(".tmp"))]
    return "nothing" if len(ours) == len(names) else "else"


def free(folder: Path, resume: bool) -> None:
    """One line where a folder is not free for a run to begin in or, with `resume`, to go on in."""
    state = state_of(folder)
    if state == "else":
        raise SensoriumError(f"{folder} is not empty and holds no run; give --out a new folder")
    if state == "unfinished" and not resume:
        raise SensoriumError(f"{folder} holds an unfinished run; --resume goes on with it, or give --out a new folder")
    if state == "finished" and not resume:
        raise SensoriumError(f"{folder} is not empty: it holds a finished run; give --out a new folder")


def record_of(folder: Path) -> dict[str, Any]:
    """The stored record of a run."""
    path = folder / "run.json"
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise SensoriumError(f"{folder} is not a run: it has no run.json") from None
    except ValueError:
        raise SensoriumError(f"{path} is not readable JSON") from None
    if not isinstance(record, dict):
        raise SensoriumError(f"{path} is not the record of a run")
    return record


def same_run(folder: Path, stored: Mapping[str, Any], asked: Mapping[str, Any]) -> None:
    """Refuse to go on with a run under other settings: names the first difference, given and stored. The path of the
    data is free, since its content is compared."""
    for name, value in json.loads(json.dumps(asked)).items():
        there = stored.get(name, value)
        pairs = [(name, there, value)]
        if name == "job" and isinstance(there, dict):
            pairs = [(k, there.get(k), v) for k, v in value.items() if k != "data"]
        for what, old, new in pairs:
            if old != new:
                raise SensoriumError(
                    f"{folder} was started with {what} {_short(old)}, asked for {_short(new)}; "
                    f"give what it was started with, or --out a new folder"
                )


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:60]}…"


class Journal:
    """Writes `steps.jsonl` and `checkpoints/` of one run. `marks` (hashes of job, data, tokeniser) say whose a
    checkpoint is; `say` is told what is damaged and where a run goes on. The caller holds the folder."""

    def __init__(self, folder: Path, fit: Fit, marks: Mapping[str, str], say: Callable[[str], object]) -> None:
        self.folder, self.fit, self.marks, self.say = folder, fit, dict(marks), say
        self.saved = -1  # the step of the newest checkpoint
        tidy(folder)
        self._lines = folder / "steps.jsonl"

    def resume(self) -> Past | None:
        """Put weights, moments and position of the newest good checkpoint into the fit; None where there is none."""
        if not found(self.folder):
            self._cut(0)
            return None
        try:
            checkpoint = newest(self.folder, self.say)
        except SensoriumError as none:
            self.say(f"{none}; starting anew")
            self._cut(0)
            return None
        state = json.loads((checkpoint / "state.json").read_text(encoding="utf-8"))
        if other := [k for k, v in self.marks.items() if state[k] != v]:
            raise SensoriumError(f"{checkpoint} was written with another {other[0]}; it cannot be gone on from here")
        load_weights(self.fit.method, checkpoint / "model.safetensors")
        moments = _nested(load_file(checkpoint / "optim.safetensors"))
        asked = checkpoint / "asked_with.safetensors"
        self.fit.load_state_dict(
            {**state, "optimiser": moments, "asked_with": load_file(asked) if asked.is_file() else {}}
        )
        self.saved = self.fit.total
        self._cut(state["log_bytes"])
        self.say(f"{self.folder}: going on from step {self.fit.total:,} of {self.fit.steps:,}")
        return Past(state["curve"], state["cost"])

    def _cut(self, size: int) -> None:
        """Back to the steps of the checkpoint, so that each stands once."""
        with _writing(self._lines), open(self._lines, "ab") as log:
            if log.tell() > size:
                log.truncate(size)

    @contextmanager
    def writing(self) -> Iterator[Callable[[Step], None]]:
        """Open the step lines; gives what appends one."""
        with _writing(self._lines):
            log = os.open(self._lines, os.O_WRONLY | os.O_APPEND)

        def append(step: Step) -> None:
            line = json.dumps(asdict(step)).encode() + b"\n"
            with _writing(self._lines):
                if os.write(log, line) < len(line):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        try:
            yield append
        finally:
            os.close(log)

    def save(self, past: Past) -> None:
        """Publish a checkpoint of now and remove old ones; what is not finite is never saved."""
        fit = self.fit
        if self.saved == fit.total:
            return
        _finite(fit.method, fit.total)
        with _writing(self._lines), open(self._lines, "rb") as log:
            os.fsync(log.fileno())
            size = os.fstat(log.fileno()).st_size
        state = fit.state_dict()
        moments, asked = state.pop("optimiser"), state.pop("asked_with")
        files = {
            "model.safetensors": weights(fit.method),
            "optim.safetensors": _bytes({f"{n}.{k}": v for n, of in moments.items() for k, v in of.items()}),
            "state.json": to_json({**state, **self.marks, **vars(past), "log_bytes": size}),
        }
        if asked:
            files["asked_with.safetensors"] = _bytes(asked)
        checkpoint = self.folder / "checkpoints" / str(fit.total)
        publish(checkpoint, files)
        if why := damage(checkpoint):
            self.say(f"checkpoint {fit.total} is damaged as soon as it was written ({why}); older ones are kept")
        self.saved = fit.total
        with _writing(self.folder / "checkpoints"):
            prune(self.folder)

    def forget(self) -> None:
        """Remove what this run wrote, where there is no checkpoint to go on from."""
        if found(self.folder):
            return
        for name in FILES:
            (self.folder / name).unlink(missing_ok=True)
        shutil.rmtree(self.folder / "checkpoints", ignore_errors=True)


def digest(text: str) -> str:
    """16 hex digits of a text."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _bytes(tensors: Mapping[str, Tensor]) -> bytes:
    return save({k: v.detach().cpu().contiguous().clone() for k, v in tensors.items() if v.numel()})


def _nested(flat: Mapping[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    """Names "tower.weight.exp_avg" -> moments by parameter."""
    nested: dict[str, dict[str, Tensor]] = {}
    for key, value in flat.items():
        name, _, moment = key.rpartition(".")
        nested.setdefault(name, {})[moment] = value
    return nested


def _finite(method: Method, step: int) -> None:
    for name, parameter in method.named_parameters():
        if not torch.isfinite(parameter).all():
            raise FloatingPointError(f"weights are not finite after step {step} ({name})")


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as problem:
        raise SensoriumError(f"cannot write {path}: {problem.strerror or problem}") from problem
