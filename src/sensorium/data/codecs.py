"""One codec per kind: from a raw value of a row to what is stored, and from that to what a person or a model sees."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import xxhash
from PIL import Image

from .blobs import find
from .limits import Limits, Refused, Seen
from .media import audio, html, image, masks, molecule, pdf, series, spans, table, video
from .media.guard import Guard
from .roles import box_format, media_of
from .sources.table import Blob, Row
from .verdicts import Verdicts
from .words import clean

NOUNS = {"image": "picture", "audio": "sound", "video": "film"}
GROUPING = ("image", "audio", "video", "series", "pose", "graph")
"""Kinds whose equal contents make rows look alike."""


@dataclass(frozen=True)
class Cell:
    """A value that passed: a text, a JSON text or the place of bytes; its content hash, near hash and description; and
    bytes that can be read from no place again."""

    stored: str
    content: int
    near: int = 0
    about: str = ""
    data: bytes = field(default=b"", repr=False)


class Checker:
    """Checks the cells of one data set, one by one. `watch` is told every file that a row names; `flags` counts what a
    person should know of values that passed."""

    def __init__(self, root: Path, limits: Limits, verdicts: Verdicts, watch: Callable[[Path], None]) -> None:
        self.root, self.limits, self.verdicts, self.watch = root, limits, verdicts, watch
        self.flags: Counter[str] = Counter()
        self._guard: Guard | None = None
        self._file = lru_cache(maxsize=1 << 15)(self._whole_file)

    def cell(self, key: str, columns: tuple[str, ...], row: Row) -> Cell:
        """One key of one row; Refused says why it is bad."""
        kind = kind_of(key)
        if kind in NOUNS:
            return self._media(kind, row.values.get(columns[0]), row)
        if kind == "text":
            return self._text(key, columns, row)
        return _VALUES[kind](columns, row, self.limits)

    def close(self) -> None:
        """Ends the guarded decoder and writes the verdicts."""
        if self._guard is not None:
            self._guard.close()
        self.verdicts.save()

    def _media(self, kind: str, value: Any, row: Row) -> Cell:
        noun = NOUNS[kind]
        if value is None or (isinstance(value, str) and not value.strip()):
            raise Refused(f"no {noun}")
        if isinstance(value, Blob):
            return self._bytes(kind, value.data, value.at)
        if not isinstance(value, str):
            raise Refused(f"not a {noun} but a {type(value).__name__}")
        try:
            return self._file(kind, value, row.base)
        except Refused as error:
            raise Refused(f"{value[:200]}: {error}") from error

    def _whole_file(self, kind: str, value: str, base: Path) -> Cell:
        path = self._found(value, base)
        return self._bytes(kind, _read(path, self.limits), f"file:{path}")

    def _found(self, value: str, base: Path) -> Path:
        try:
            path = find(value, base, self.root)
        except Refused:
            self.watch(base / value)
            raise
        self.watch(path)
        return path

    def _bytes(self, kind: str, data: bytes, at: str) -> Cell:
        if len(data) > self.limits.bytes:
            raise Refused(f"{len(data):,} bytes, limit {self.limits.bytes:,}")
        content = xxhash.xxh3_64_intdigest(data)
        key = xxhash.xxh3_64_intdigest(kind.encode(), seed=content)
        seen = self.verdicts.get(key)
        if seen is None:
            seen = self._decode(kind, data)
            self.verdicts.put(key, seen)
        if seen.reason:
            raise Refused(seen.reason)
        self.flags.update(seen.notes)
        return Cell(at, content, seen.near, seen.about, b"" if at else data)

    def _decode(self, kind: str, data: bytes) -> Seen:
        """A full decode. What hostile bytes can crash, stall or bloat runs apart, under limits."""
        if kind == "image" and b"%PDF-" not in data[:1024]:
            return image.check(data, self.limits)
        if kind == "audio":
            return audio.check(data, self.limits)
        self._guard = self._guard or Guard(self.limits)
        return self._guard.check({"video": "video", "page": "html"}.get(kind, "pdf"), data)

    def _text(self, key: str, columns: tuple[str, ...], row: Row) -> Cell:
        parts = [clean(self._written(row.values.get(c), row), self.limits) for c in columns]
        text = ", ".join(part for part in parts if part)
        if key == "text" and not text:
            raise Refused("empty text")
        return Cell(text, xxhash.xxh3_64_intdigest(text.encode()))

    def _written(self, value: Any, row: Row) -> Any:
        """The text of a document or page, whether its bytes are here or in a file, or of lines with boxes; any other
        value as it is."""
        if isinstance(value, str) and value[-6:].lower().endswith((".pdf", ".html", ".htm")) and len(value) < 1024:
            path = row.base / value
            if path.is_file():
                path = self._found(value, row.base)
                value = Blob(_read(path, self.limits))
        if isinstance(value, list) and value and isinstance(value[0], dict):
            return "\n".join(str(line.get("text") or "") for line in value if isinstance(line, dict))
        if not isinstance(value, Blob):
            return value
        kind = media_of(value.data)
        if kind not in ("document", "page"):
            return value.data
        self._bytes(kind, value.data, "-")
        if kind == "page":
            return html.text(value.data, self.limits)
        return "\n\n".join(pdf.pages(value.data, self.limits)) or None


def _read(path: Path, limits: Limits) -> bytes:
    try:
        if (size := path.stat().st_size) > limits.bytes:
            raise Refused(f"{size:,} bytes, limit {limits.bytes:,}")
        return path.read_bytes()
    except OSError as error:
        raise Refused(f"cannot be read: {error.strerror or error}") from error


def kind_of(key: str) -> str:
    """text.fr -> text, image/crop -> image."""
    return key.partition(".")[0].partition("/")[0]


def _label(columns: tuple[str, ...], row: Row, limits: Limits) -> Cell:
    raw = [row.values.get(c) for c in columns]
    raw = [str(v) if isinstance(v, bool | int | float) and v == v else v for v in raw]
    text = ", ".join(t for v in raw if (t := clean(v, limits)))
    return Cell(text, xxhash.xxh3_64_intdigest(text.encode()))


def _json(value: Any, about: str) -> Cell:
    text = json.dumps(value, ensure_ascii=False)
    return Cell(text, xxhash.xxh3_64_intdigest(text.encode()), 0, about)


def _passed(seen: Seen) -> str:
    if seen.reason:
        raise Refused(seen.reason)
    return seen.about


def _series(columns: tuple[str, ...], row: Row, limits: Limits) -> Cell:
    value = row.values.get(columns[0])
    return _json(value, _passed(series.check(value, limits)))


def _pose(columns: tuple[str, ...], row: Row, limits: Limits) -> Cell:
    """Joints over time, stored as [T J D]; for one flat list, n_frames and n_joints beside it say how many."""
    value: Any = row.values.get(columns[0])
    frames, joints = (n if isinstance(n := row.values.get(name), int) else 0 for name in ("n_frames", "n_joints"))
    if isinstance(value, list) and value and isinstance(value[0], int | float) and frames > 0:
        if len(value) % (frames * max(1, joints)):
            raise Refused(f"{len(value)} numbers do not make {frames} frames of {joints} joints")
        wide = len(value) // frames
        value = [value[k * wide : (k + 1) * wide] for k in range(frames)]
    _passed(series.check_pose(value, limits, joints))
    pose = series.load_pose(value, limits, joints).joints
    return _json(pose.round(6).tolist(), f"{pose.shape[0]} frames, {pose.shape[1]} joints")


def _graph(columns: tuple[str, ...], row: Row, limits: Limits) -> Cell:
    text = clean(row.values.get(columns[0]), limits)
    about = _passed(molecule.check(text, limits))
    return Cell(text, xxhash.xxh3_64_intdigest(molecule.canonical(text, limits).encode()), 0, about)


def _table(columns: tuple[str, ...], row: Row, limits: Limits) -> Cell:
    record = {c: row.values.get(c) for c in columns}
    return _json(record, _passed(table.check(record, limits)))


def _boxes(columns: tuple[str, ...], row: Row, limits: Limits) -> Cell:
    value = row.values.get(columns[0])
    if value is None:
        raise Refused("no boxes")
    plain = value if isinstance(value, list) else [value]
    plain = [b.get("box", b.get("bbox")) if isinstance(b, dict) else b for b in plain]
    plain = [plain] if plain and isinstance(plain[0], int | float) else plain
    found = table.boxes(plain, box_format(columns[0]))
    return _json([[round(float(x), 4) for x in box] for box in found], f"{len(found)} box{'es' * (len(found) != 1)}")


def _masks(columns: tuple[str, ...], row: Row, limits: Limits) -> Cell:
    value = row.values.get(columns[0])
    if value is None:
        raise Refused("no masks")
    found = masks.load(value)
    if found and found[0].height * found[0].width > limits.pixels:
        raise Refused(f"masks of {found[0].width} x {found[0].height} pixels, limit {limits.pixels:,}")
    return _json(masks.stored(found), f"{len(found)} mask{'s' * (len(found) != 1)}")


def _spans(columns: tuple[str, ...], row: Row, limits: Limits) -> Cell:
    """Stretches of the text, which is the second column."""
    value, text = (row.values.get(c) for c in columns)
    if value is None:
        raise Refused("no spans")
    if not isinstance(text, str):
        raise Refused(f"spans of a text that is a {type(text).__name__}; expected a plain text")
    found = spans.load(value, text)
    return _json(found, f"{len(found)} span{'s' * (len(found) != 1)}")


def _value(columns: tuple[str, ...], row: Row, limits: Limits) -> Cell:
    raw = row.values.get(columns[0])
    try:
        number = float(str(raw))
    except ValueError:
        shown = "no number" if raw in (None, "") else f"not a number but {str(raw)[:40]!r}"
        raise Refused(shown) from None
    if not math.isfinite(number):
        raise Refused(f"the number is {number}")
    return Cell(repr(number), xxhash.xxh3_64_intdigest(repr(number).encode()))


_VALUES: dict[str, Callable[[tuple[str, ...], Row, Limits], Cell]] = {
    "label": _label,
    "group": _label,
    "series": _series,
    "pose": _pose,
    "graph": _graph,
    "table": _table,
    "boxes": _boxes,
    "mask": _masks,
    "spans": _spans,
    "value": _value,
}


def picture(data: bytes, limits: Limits, draft: int = 0) -> Image.Image:
    """A picture, or the first page of a PDF, as upright RGB on white."""
    if b"%PDF-" in data[:1024]:
        return pdf.page(data, 0, limits)
    return image.load(data, limits, draft)


def decoded(kind: str, stored: str | bytes, limits: Limits) -> Any:
    """What a stored value is: PIL picture, Audio, Clip, Series, Graph, float32 boxes [K 4], bool masks [K H W], float,
    dict, list, text."""
    if isinstance(stored, bytes):
        loaders: dict[str, Callable[[bytes], Any]] = {
            "image": lambda d: picture(d, limits),
            "audio": lambda d: audio.load(d, limits),
            "video": lambda d: video.load(d, limits, 8),
        }
        return loaders[kind](stored)
    if kind in ("text", "label"):
        return stored
    if kind == "graph":
        return molecule.load(stored, limits)
    if kind == "value":
        return float(stored)
    value = json.loads(stored)
    if kind == "boxes":
        return table.boxes(value, "xyxy")
    if kind == "mask":
        found = [masks.pixels(one) for one in masks.load(value)]
        return np.stack(found) if found else np.zeros((0, 0, 0), bool)
    if kind == "series":
        return series.load(value, limits)
    return series.load_pose(value, limits) if kind == "pose" else value
