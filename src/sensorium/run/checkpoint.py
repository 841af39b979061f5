"""Weights on disk: whole or not at all, never pickle."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
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
    """Write a folder of files whole or not at all: temporary name, fsync, checksummed manifest, rename, fsync."""
    temporary, aside = (folder.with_name(f".{folder.name}.{what}") for what in (f"{os.getpid()}.tmp", "old"))
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    entries = {name: {"sha256": _sha(data), "bytes": len(data)} for name, data in files.items()}
    for name, data in {**files, "manifest.json": _manifest(entries)}.items():
        with open(temporary / name, "wb") as out:
            out.write(data)
            out.flush()
            os.fsync(out.fileno())
    _sync(temporary)
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


def verified(folder: Path) -> bool:
    """Whether the manifest is what was written and every file of it is there with its checksum."""
    try:
        written = (folder / "manifest.json").read_bytes()
        entries = json.loads(written)["files"]
        whole = written == _manifest(entries) and bool(entries)
        return whole and all(_sha((folder / name).read_bytes()) == entry["sha256"] for name, entry in entries.items())
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


def newest(run: Path) -> Path:
    """The newest checkpoint of a run, or of a race's best run, whose checksums hold."""
    folder = run / "best" if (run / "race.json").is_file() else run
    found = sorted((folder / "checkpoints").glob("[0-9]*"), key=lambda c: int(c.name), reverse=True)
    good = next((c for c in found if verified(c)), None)
    if good is None:
        raise SensoriumError(f"{run} has no checkpoint whose checksums hold")
    return good


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
