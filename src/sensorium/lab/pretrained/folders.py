"""A checkpoint folder in Hugging Face form: where it lies, what it holds, the hash of all that is read from it."""

from __future__ import annotations

import hashlib
import json
import re
from functools import cache
from pathlib import Path
from typing import Any

from sensorium.core import SensoriumError
from sensorium.data.cache import home

AT = "@"
"""Between a folder or a name and the hash of its content, in the record of a run."""
CONFIG, INDEX, SAFE, PICKLE = "config.json", "model.safetensors.index.json", "model.safetensors", "pytorch_model.bin"
SETTINGS = (
    CONFIG,
    "preprocessor_config.json",
    "processor_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
    "sentencepiece.bpe.model",
    "spiece.model",
    "modules.json",
    "sentence_bert_config.json",
    "1_Pooling/config.json",
)
"""Files beside the weights that decide what a tower gives."""
_HUB = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


def is_hub_name(name: str) -> bool:
    """Whether a name is of the form owner/name."""
    return _HUB.fullmatch(name) is not None


def got(name: str) -> Path:
    """Where `sensorium weights get owner/name` puts a checkpoint."""
    return home() / "weights" / name.replace("/", "--")


def located(name: str) -> Path | None:
    """The folder of a path, or of a name owner/name that was got before; None where neither is there."""
    if (folder := Path(name).expanduser()).is_dir():
        return folder.resolve()
    return got(name) if is_hub_name(name) and got(name).is_dir() else None


def recorded(name: str) -> str:
    """A folder that is there as the record of a run names it: its whole path, or owner/name, and its hash."""
    folder = located(name)
    assert folder is not None
    return f"{name if folder == got(name) else folder}{AT}{digest(folder)}"


def chosen(name: str) -> tuple[Path, str]:
    """A recorded name -> its folder and hash.

    Raises:
        SensoriumError: a folder that is gone, or whose content is another.
    """
    source, _, sha = name.rpartition(AT)
    folder = located(source)
    if folder is None:
        again = f"get it with: sensorium weights get {source}" if is_hub_name(source) else "put it back there"
        raise SensoriumError(f"tower {source} is gone; this run began from its weights {sha}: {again}")
    if (found := digest(folder)) != sha:
        raise SensoriumError(f"tower {source} has changed: its hash is {found}, this run began from {sha}")
    return folder, sha


def read(path: Path) -> dict[str, Any]:
    """The settings in a JSON file.

    Raises:
        SensoriumError: a file that is not there or holds something else.
    """
    found = _json(path)
    if not isinstance(found, dict):
        raise SensoriumError(f"{path} does not hold settings by name")
    return found


def listed(path: Path) -> list[dict[str, Any]]:
    """The list of settings in a JSON file; errors as `read`."""
    found = _json(path)
    if not isinstance(found, list) or not all(isinstance(x, dict) for x in found):
        raise SensoriumError(f"{path} does not hold a list of settings")
    return found


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise SensoriumError(f"{path.parent} is no checkpoint that can be read: it has no {path.name}") from None
    except (OSError, ValueError) as problem:
        raise SensoriumError(f"{path} does not parse: {problem}") from None


def model_type(folder: Path) -> str:
    """What kind of model a folder says it is; errors as `read`."""
    return str(read(folder / CONFIG).get("model_type", ""))


def weights(folder: Path) -> list[Path]:
    """The weight files: safetensors, whole or in parts, else one pickle.

    Raises:
        SensoriumError: none of these, or parts that are not all there.
    """
    if (folder / SAFE).is_file():
        return [folder / SAFE]
    if (folder / INDEX).is_file():
        names = read(folder / INDEX).get("weight_map", {}).values()
        parts = [folder / Path(name).name for name in sorted(set(names))]
        if lost := [p.name for p in parts if not p.is_file()]:
            raise SensoriumError(f"{folder} lacks {lost[0]}, which its {INDEX} names")
        return parts
    if (folder / PICKLE).is_file():
        return [folder / PICKLE]
    raise SensoriumError(f"{folder} has no weights: expected {SAFE}, {INDEX} or {PICKLE}")


def digest(folder: Path) -> str:
    """SHA-256, 16 hex digits, of the weights and of every setting that is read beside them."""
    files = [folder / name for name in SETTINGS if (folder / name).is_file()] + weights(folder)
    return _digest(tuple((str(f), str(f.relative_to(folder)), f.stat().st_size, f.stat().st_mtime_ns) for f in files))


@cache
def _digest(files: tuple[tuple[str, str, int, int], ...]) -> str:
    """Hashed once per process for as long as sizes and times stay."""
    found = hashlib.sha256()
    for path, name, _, _ in files:
        with open(path, "rb") as file:
            found.update(f"{name}\0{hashlib.file_digest(file, 'sha256').hexdigest()}\n".encode())
    return found.hexdigest()[:16]
