"""Checkpoints from the Hugging Face hub: the only download in the library, and only when asked for."""

from __future__ import annotations

import importlib.util
import json
import shutil
from datetime import UTC, datetime
from fnmatch import fnmatch
from pathlib import Path
from secrets import token_hex

from sensorium.core import SensoriumError

from . import folders
from .folders import INDEX, PICKLE, SAFE, SETTINGS

RECORD = "sensorium.json"
"""Beside a checkpoint that was got: from where, which commit, when, and the hash of what was got."""
PARTS = "model-*-of-*.safetensors"


def get(name: str) -> Path:
    """Download the settings and weights of owner/name, to be opened from then on without a network.

    Raises:
        SensoriumError: no hub, no such checkpoint, or one without weights that can be read.
    """
    if importlib.util.find_spec("huggingface_hub") is None:
        raise SensoriumError("downloading needs huggingface_hub; get it with: pip install 'sensorium[pretrained]'")
    from huggingface_hub import HfApi, constants, snapshot_download

    if constants.HF_HUB_OFFLINE:
        raise SensoriumError(f"{name} is not downloaded: HF_HUB_OFFLINE is set")
    out = folders.got(name)
    scratch = out.with_name(f".{out.name}.{token_hex(4)}")
    scratch.mkdir(parents=True)
    try:
        info = HfApi().model_info(name)
        files = wanted([s.rfilename for s in info.siblings or []], name)
        snapshot_download(name, revision=info.sha, local_dir=scratch, allow_patterns=files)
        said = {"name": name, "commit": info.sha, "date": f"{datetime.now(UTC):%Y-%m-%d}"}
        said["sha"] = folders.digest(scratch)
        (scratch / RECORD).write_text(json.dumps(said, indent=1) + "\n", encoding="utf-8")
        shutil.rmtree(scratch / ".cache", ignore_errors=True)
        shutil.rmtree(out, ignore_errors=True)
        scratch.rename(out)
    except SensoriumError:
        raise
    except Exception as problem:  # the hub and what lies between fail in many ways
        line = (str(problem).strip() or type(problem).__name__).splitlines()[0][:200]
        raise SensoriumError(f"{name} cannot be downloaded here: {line}") from None
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return out


def wanted(files: list[str], name: str) -> list[str]:
    """Of the files of a checkpoint those that are read: settings, and weights in one form, never two.

    Raises:
        SensoriumError: no weights in a form that is read.
    """
    settings = [f for f in files if f in SETTINGS]
    if SAFE in files:
        return [*settings, SAFE]
    if INDEX in files:
        return [*settings, INDEX, *(f for f in files if fnmatch(f, PARTS))]
    if PICKLE in files:
        return [*settings, PICKLE]
    raise SensoriumError(f"{name} has no weights in a form that is read: {SAFE}, {INDEX} or {PICKLE}")


def fetched() -> dict[str, Path]:
    """The checkpoints that were got: owner/name -> folder."""
    root = folders.got("")
    return {str(folders.read(p)["name"]): p.parent for p in sorted(root.glob(f"*--*/{RECORD}"))}


def where(name: str) -> tuple[Path, str]:
    """The folder of a checkpoint that was got, and its hash, which must be the one it had then.

    Raises:
        SensoriumError: it was not got, or has changed since.
    """
    folder = folders.got(name)
    if not folder.is_dir():
        raise SensoriumError(f"{name} is not here; get it with: sensorium weights get {name}")
    sha = folders.digest(folder)
    if (folder / RECORD).is_file() and (was := folders.read(folder / RECORD).get("sha")) != sha:
        raise SensoriumError(f"{name} has changed: its hash is {sha}, it came with {was}; get it again")
    return folder, sha
