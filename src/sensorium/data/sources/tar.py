"""Tar shards, read as streams: members that share a name up to its first dot are one row (the WebDataset convention).

Nothing is ever extracted, links and devices are never followed, and pickles are never opened.
"""

from __future__ import annotations

import json
import re
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from sensorium.core import SensoriumError
from sensorium.data.limits import Limits

from .files import COLUMNS, TEXT_LIMIT
from .jsonl import strict
from .table import Bad, Blob, Entry, Row

ENDINGS = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
TEXTS = {"txt": "text", "text": "text", "caption": "text", "cls": "label", "label": "label"}
PICKLES = ("pkl", "pickle", "pyd", "pt", "pth", "ckpt", "npy", "npz", "joblib")
CUT = "the archive is cut or broken here"
BROKEN = (tarfile.TarError, EOFError, OSError, ValueError)  # ValueError: zlib and lzma on hostile streams


@dataclass
class _Group:
    """The members of one key, as they come."""

    key: str
    values: dict[str, Any] = field(default_factory=dict)
    reason: str = ""


def read_tar(path: Path, where: str, given: str, limits: Limits) -> Iterator[Entry]:
    """One row per key. A member that is refused sets its row aside; where the stream breaks, what came before is used
    and the tail is set aside."""
    plain = path.suffix == ".tar"
    seen: set[str] = set()
    group: _Group | None = None
    try:
        with tarfile.open(path, "r|*") as archive:
            for key, column, value, reason in _members(archive, path, plain, limits):
                if group is None or key != group.key:
                    if group is not None:
                        yield _entry(group, where, path, given, seen)
                    group = _Group(key)
                if column in group.values and not reason:
                    reason = f"two members named {column!r}"
                group.reason = group.reason or reason
                group.values |= value if column == "json" and isinstance(value, dict) else {column: value}
    except BROKEN as error:
        first = (str(error).splitlines() or [type(error).__name__])[0][:100]
        if group is None and not seen:
            raise SensoriumError(f"{path} is not readable as tar: {first}") from error
        # No header follows, so nobody knows whether the row at hand is whole.
        yield Bad(f"{where}:{group.key if group else ''}", "", f"{CUT}: {first}")
        return
    if group is not None:
        yield _entry(group, where, path, given, seen)


def _members(archive: tarfile.TarFile, path: Path, plain: bool, limits: Limits) -> Iterator[tuple[str, str, Any, str]]:
    """Key, column, value and why the member is refused ("" where it is not)."""
    total = 0
    for member in archive:
        if member.isdir():
            continue
        name = PurePosixPath(member.name)
        stem, _, ending = name.name.partition(".")
        key, ending = str(name.parent / stem), ending.lower()
        total += member.size
        if total > limits.table:
            raise SensoriumError(f"{path} unpacks to more than {limits.table:,} bytes")
        if reason := _refused(member, name, ending, limits):
            yield key, ending, None, f"{member.name}: {reason}"
            continue
        try:
            file = archive.extractfile(member)
            data = file.read() if file is not None else b""
        except BROKEN as error:
            yield key, ending, None, f"{member.name}: {CUT}: {str(error)[:100]}"
            return
        if len(data) < member.size:
            yield key, ending, None, f"{member.name}: {CUT} after {len(data)} of {member.size} bytes"
            return
        at = f"tar:{path.absolute()}#{member.offset_data}#{member.size}" if plain else ""
        yield key, *_value(ending, data, at, member.name)


def _refused(member: tarfile.TarInfo, name: PurePosixPath, ending: str, limits: Limits) -> str:
    if name.is_absolute() or ".." in name.parts:
        return "path outside the archive"
    if not member.isreg():
        return "a link or a device, not a file"
    if ending.rpartition(".")[2] in PICKLES:
        return f".{ending} may hold code; it is not read"
    if member.size > limits.bytes:
        return f"{member.size:,} bytes, limit {limits.bytes:,}"
    return ""


def _value(ending: str, data: bytes, at: str, name: str) -> tuple[str, Any, str]:
    """Column, value and why it is refused."""
    last = ending.rpartition(".")[2]
    if last in COLUMNS:
        return COLUMNS[last], Blob(data, at, name), ""
    if last == "json":
        try:
            return "json", strict(data.decode("utf-8-sig")), ""
        except (UnicodeDecodeError, ValueError, json.JSONDecodeError) as error:
            return "json", None, f"{name}: {error}"
    column = TEXTS.get(last, re.sub(r"\W", "_", ending) or "member")
    if len(data) > TEXT_LIMIT:
        return column, None, f"{name}: {len(data):,} bytes of text, limit {TEXT_LIMIT:,}"
    return column, data.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "surrogateescape"), ""


def _entry(group: _Group, where: str, path: Path, given: str, seen: set[str]) -> Entry:
    place = f"{where}:{group.key}"
    reason = group.reason or ("a second row with this key" if group.key in seen else "")
    seen.add(group.key)
    return Bad(place, "", reason) if reason else Row(place, group.key, group.values, path.parent, given)


def fetch(path: str, offset: int, size: int) -> bytes:
    """The bytes of one member of an archive that is not compressed."""
    with open(path, "rb") as file:
        file.seek(offset)
        return file.read(size)
