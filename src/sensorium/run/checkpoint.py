"""Weights on disk: whole or not at all, never pickle."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save
from torch import nn

from sensorium.core import Method, SensoriumError
from sensorium.data.cache import write_atomic


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _manifest(files: dict[str, Any]) -> bytes:
    """Names, sizes and checksums, and the checksum of these: a flipped bit in the manifest is found too."""
    body = json.dumps(files, sort_keys=True)
    return json.dumps({"files": files, "sha256": _sha(body.encode())}, sort_keys=True, indent=1).encode()


def publish(folder: Path, files: dict[str, bytes]) -> None:
    """Write a folder of files whole or not at all: temporary name, fsync, checksummed manifest, rename, fsync.

    Raises: SensoriumError that names the path and the bytes it needs; the temporary folder goes.
    """
    temporary = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")
    entries = {name: {"sha256": _sha(data), "bytes": len(data)} for name, data in files.items()}
    files = {**files, "manifest.json": _manifest(entries)}
    try:
        _write(temporary, files)
        _swap(temporary, folder)
    except OSError as problem:
        shutil.rmtree(temporary, ignore_errors=True)
        size = sum(len(data) for data in files.values())
        raise SensoriumError(
            f"cannot write {folder}, which needs {size:,} bytes: {problem.strerror or problem}"
        ) from problem


def _write(folder: Path, files: dict[str, bytes]) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for name, data in files.items():
        with open(folder / name, "wb") as out:
            out.write(data)
            out.flush()
            os.fsync(out.fileno())
    _sync(folder)


def _swap(temporary: Path, folder: Path) -> None:
    """`temporary` in the place of `folder`. Killed between the two renames, the old one is found under `_aside`."""
    aside = _aside(folder)
    if folder.exists():
        shutil.rmtree(aside, ignore_errors=True)
        folder.rename(aside)
    try:
        os.replace(temporary, folder)
    except BaseException:
        if aside.exists():
            aside.rename(folder)
        raise
    shutil.rmtree(aside, ignore_errors=True)
    _sync(folder.parent)


def _aside(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.old")


def damage(folder: Path) -> str:
    """What is wrong with a published folder: "" where the manifest is what was written and every file of it is there
    with its checksum."""
    try:
        written = (folder / "manifest.json").read_bytes()
    except OSError as problem:
        return f"manifest.json: {problem.strerror or problem}"
    try:
        entries = json.loads(written)["files"]
        if written != _manifest(entries) or not entries:
            return "manifest.json does not match its checksum"
        for name, entry in entries.items():
            if _sha((folder / name).read_bytes()) != entry["sha256"]:
                return f"{name} does not match its checksum"
    except OSError as problem:
        return f"{Path(problem.filename or name).name}: {problem.strerror or problem}"
    except (ValueError, KeyError, TypeError, AttributeError):
        return "manifest.json does not match its checksum"
    return ""


def verified(folder: Path) -> bool:
    """Whether nothing is wrong with a published folder."""
    return not damage(folder)


def found(run: Path) -> list[Path]:
    """The checkpoints of a run, newest first. One that was being replaced when its process died is found where it was
    put aside."""
    folder = run / "checkpoints"
    aside = {_step(c): c for c in folder.glob(".*.old")}
    names = {_step(c): c for c in folder.glob("[!.]*")}
    return [c for step, c in sorted({**aside, **names}.items(), reverse=True) if step >= 0]


def newest(run: Path, say: Callable[[str], object] = warnings.warn) -> Path:
    """The newest checkpoint of a run, or of a race's best run, whose checksums hold; `say` is told of damaged ones."""
    folder = run / "best" if (run / "race.json").is_file() else run
    torn: list[tuple[int, str]] = []
    for checkpoint in found(folder):
        if not (why := damage(checkpoint)):
            for older, reason in torn:
                say(f"checkpoint {older} is damaged ({reason}); going on from {_step(checkpoint)}")
            return checkpoint
        torn.append((_step(checkpoint), why))
    listed = ": " + "; ".join(f"{step}: {why}" for step, why in torn) if torn else ""
    raise SensoriumError(f"{run} has no checkpoint whose checksums hold{listed}")


def _step(checkpoint: Path) -> int:
    """The step of a checkpoint, also where it was put aside; -1 for anything else."""
    name = checkpoint.name.removeprefix(".").removesuffix(".old")
    return int(name) if name.isdecimal() else -1


def prune(run: Path, keep: int = 2) -> None:
    """Remove all checkpoints but the newest `keep` good ones. Where the newest is damaged nothing is removed."""
    checkpoints = found(run)
    if not checkpoints or not verified(checkpoints[0]):
        return
    good = [c for c in checkpoints[1:] if verified(c)][: keep - 1]
    for checkpoint in set(checkpoints[1:]) - set(good):
        shutil.rmtree(checkpoint)


def tidy(run: Path) -> None:
    """Clear what a killed process left: temporary files go, a checkpoint that was put aside comes back or goes."""
    for left in [*run.glob(".*.tmp"), *(run / "checkpoints").glob(".*.tmp")]:
        if left.is_dir():
            shutil.rmtree(left)
        else:
            left.unlink()
    for aside in (run / "checkpoints").glob(".*.old"):
        folder = aside.with_name(str(_step(aside)))
        if folder.exists() or damage(aside):
            shutil.rmtree(aside)
        else:
            aside.rename(folder)


def weights(module: nn.Module) -> bytes:
    """Parameters and buffers as safetensors."""
    return save({k: v.detach().cpu().contiguous().clone() for k, v in module.state_dict().items() if v.numel()})


def load_weights(module: Method, path: Path) -> None:
    """Strict: every name must fit. A buffer that is empty after `build` takes the stored shape."""
    try:
        stored = load_file(path)
    except Exception as problem:
        raise SensoriumError(f"{path} is not a readable safetensors file ({problem})") from None
    for name, buffer in list(module.named_buffers()):
        if buffer.numel() == 0 and name in stored:
            owner, _, leaf = name.rpartition(".")
            setattr(module.get_submodule(owner), leaf, torch.empty_like(stored[name]))
    missing = [k for k, v in module.state_dict().items() if v.numel() and k not in stored]
    if extra := sorted(set(stored) - set(module.state_dict())) or missing:
        raise SensoriumError(f"{path} does not fit this method: {extra[0]!r} is missing or unknown")
    for name, value in module.state_dict().items():
        if name in stored and value.shape != stored[name].shape:
            raise SensoriumError(
                f"{path} does not fit this method: {name!r} is {list(stored[name].shape)}, expected {list(value.shape)}"
            )
    module.load_state_dict(stored, strict=False)


def to_json(value: Any) -> bytes:
    """JSON with a final newline; not-a-number is written as null, as JSON has none."""
    return (json.dumps(_finite(value), indent=1, ensure_ascii=False) + "\n").encode()


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if value - value == 0 else None
    if isinstance(value, dict):
        return {k: _finite(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(v) for v in value]
    return value


def write_json(path: Path, value: Any) -> None:
    """One file, whole or not at all."""
    write_atomic(path, to_json(value))
