"""Folders of files: folder names are classes, a .txt beside a file is its text, files of one stem are one row."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sensorium.core import SensoriumError
from sensorium.data.limits import Limits

from .table import SPLITS, Bad, Entry, Row

TEXT_LIMIT = 4 << 20
_KINDS = {
    "image": "png jpg jpeg mpo webp gif bmp tif tiff svg",
    "audio": "wav flac ogg oga opus mp3",
    "video": "mp4 m4v mov mkv webm avi ts",
    "document": "pdf",
    "page": "html htm xhtml",
}
COLUMNS = {ending: column for column, endings in _KINDS.items() for ending in endings.split()}
"""Ending -> column."""
SIDECARS = ("txt", "caption")


def media_files(path: Path) -> bool:
    """Whether a file that can be read as media lies anywhere below."""
    return any(_ending(p) in COLUMNS for p in path.rglob("*") if p.is_file())


def folders(path: Path) -> list[Path]:
    """`path` and every folder below that is not hidden, in order."""
    return [path, *sorted(p for p in path.rglob("*") if p.is_dir() and not _hidden(p, path))]


def sidecars(path: Path) -> list[Path]:
    """The text files beside the media."""
    return sorted(p for p in path.rglob("*") if _ending(p) in SIDECARS and p.is_file())


def read_files(path: Path, limits: Limits) -> Iterator[Entry]:
    """One row per stem below `path`, in the order of names. A first folder called train, test … is the given split."""
    for folder in folders(path):
        rows: dict[str, dict[str, Path]] = {}
        twice: list[Path] = []
        for file in sorted(p for p in folder.iterdir() if p.is_file() and not p.name.startswith(".")):
            column = "text" if _ending(file) in SIDECARS else COLUMNS.get(_ending(file), "")
            if column and column in rows.setdefault(file.stem, {}):
                twice.append(file)
            elif column:
                rows[file.stem][column] = file
        for file in twice:
            yield Bad(str(file.relative_to(path)), "", "a second file of this name and kind")
        for found in rows.values():
            if found.keys() - {"text"}:
                yield _row(found, folder, path)


def _row(found: dict[str, Path], folder: Path, path: Path) -> Row:
    parts = folder.relative_to(path).parts
    given = SPLITS.get(parts[0].lower(), "") if parts else ""
    label = "/".join(parts[1:] if given else parts)
    values: dict[str, Any] = {c: str(f.relative_to(path)) for c, f in found.items() if c != "text"}
    place = next(iter(values.values()))
    if label:
        values["label"] = label
    if "text" in found:
        values["text"] = _sidecar(found["text"])
    return Row(place, place, values, path, given)


def _sidecar(file: Path) -> str:
    try:
        with file.open("rb") as opened:
            data = opened.read(TEXT_LIMIT)
    except OSError as error:
        raise SensoriumError(f"cannot read {file}: {error.strerror or error}") from error
    return data.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "surrogateescape")


def _ending(path: Path) -> str:
    return path.suffix.lower().removeprefix(".")


def _hidden(path: Path, root: Path) -> bool:
    return any(part.startswith(".") for part in path.relative_to(root).parts)
