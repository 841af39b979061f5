"""A data set from a path: kinds and roles understood, bad rows set aside, pictures decoded once."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import xxhash
from PIL import Image

from sensorium.core import SensoriumError, nearest

from .cache import home, replacing, write_atomic
from .groups import union
from .limits import Limits, Refused
from .media.image import check, find, fit, load
from .roles import Roles, resolve
from .sources.folder import read
from .sources.table import Bad, Row, Table
from .words import clean, normal

VERSION = 1  # of decoding: part of every key of the cache
FEWEST = 20
LIMITS = Limits()

__all__ = ["Bad", "Column", "Dataset", "Limits"]


@dataclass(frozen=True)
class Column:
    """A key of the data: its kind, the columns it came from ("name_en+tags"), texts or pictures (bytes or a path)."""

    kind: str
    source: str
    values: Sequence[Any] = field(repr=False)


@dataclass
class _Kept:
    """Rows that passed, in order; per picture key its content hashes and near hashes."""

    rows: list[Row] = field(default_factory=list)
    values: dict[str, list[Any]] = field(default_factory=dict)
    near: dict[str, list[int]] = field(default_factory=dict)
    content: dict[str, list[int]] = field(default_factory=dict)


class Dataset:
    """Reads `path`: a metadata folder, split folders, or .jsonl, .csv or .parquet files.

    `roles` maps a key (image, text, text.fr, label) to a column or to "a+b+c", joined with ", "; what it leaves out
    is read from dataset.json, then from names and values. `notes` says what was understood; `quarantine` which rows
    were set aside and why.

    Raises:
        SensoriumError: nothing readable, unknown role or column, more than `max_bad` of the rows bad, under 20 rows.
    """

    def __init__(
        self, path: str | Path, roles: Mapping[str, str] | None = None, *, max_bad: float = 0.1, limits: Limits = LIMITS
    ) -> None:
        self.path = Path(path).expanduser()
        self.roles = dict(roles or {})
        self.max_bad = max_bad
        self.limits = limits
        self.roles = dict(roles or {})
        self.max_bad = max_bad
        table = read(self.path, limits)
        self.name: str = str(table.about.get("name") or self.path.resolve().stem)
        self.license: str = str(table.about.get("license") or "")
        if not table.rows:
            _enough(self.path, 0, table.bad)
        wanted = _merge(roles or {}, table.about.get("roles") or {})
        parts, notes = resolve(table.rows, table.columns, wanted, str(self.path))
        self.notes: list[str] = table.notes + notes
        self.quarantine: list[Bad] = table.bad
        kept = _check(self.path, table, parts, limits)
        self._judge(len(kept.rows), max_bad)
        self.columns = {key: Column(_kind(key), "+".join(parts[key]), kept.values[key]) for key in parts}
        self.ids = _unique([row.id for row in kept.rows])
        self.given = np.array([row.given for row in kept.rows], dtype="<U10")
        self._content = {k: np.array(v, dtype=np.uint64) for k, v in kept.content.items()}
        looks = [c for key in kept.near for c in (kept.content[key], [h or None for h in kept.near[key]])]
        texts = [[normal(t) or None for t in kept.values[key]] for key in ("text", "text.en") if key in parts]
        self.pictures = union(len(self), looks)
        self.groups = union(len(self), [*looks, *texts])

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def kinds(self) -> dict[str, str]:
        """Kind per key: image, text or label."""
        return {key: column.kind for key, column in self.columns.items()}

    @property
    def fingerprint(self) -> str:
        """16 hex digits over keys, contents and given splits."""
        digest = xxhash.xxh3_64()
        for key in sorted(self.columns):
            digest.update(key.encode() + b"\0" + self.content(key).tobytes())
        digest.update("\0".join(self.given.tolist()).encode())
        return digest.hexdigest()

    def texts(self, key: str) -> list[str]:
        """The texts or labels of a key, one per row; "" where an optional one is missing."""
        column = self._column(key)
        if column.kind == "image":
            raise SensoriumError(f"{key!r} is a picture; expected a text or label key")
        return list(column.values)

    def content(self, key: str) -> np.ndarray:
        """xxh3_64 of the raw content per row [N] uint64: file bytes of a picture, UTF-8 of a text."""
        self._column(key)
        return self._content[key]

    def image(self, key: str, i: int) -> Image.Image:
        """Row i as an upright RGB picture on white."""
        return self._load(key, i, 0)

    def pixels(self, key: str, size: int) -> np.ndarray:
        """All pictures u8 [N 3 size size], fitted inside with white around; decoded once, then memory-mapped.

        The array is copy-on-write: writing to it never reaches the stored file.
        """
        if not 1 <= size <= 4096:
            raise SensoriumError(f"picture size {size}; expected 1 to 4096 pixels")
        content = self.content(key)
        name = xxhash.xxh3_128_hexdigest(content.tobytes() + f"{VERSION}/{size}".encode())
        path = home() / "decoded" / f"{name}-{size}.npy"
        shape = (len(self), 3, size, size)
        if (stored := _stored(path, shape)) is not None:
            return stored
        with replacing(path) as tmp:
            out = np.lib.format.open_memmap(tmp, mode="w+", dtype=np.uint8, shape=shape)
            for i in range(len(self)):
                out[i] = fit(self._load(key, i, size), size)
            out.flush()
            digest = xxhash.xxh3_128_hexdigest(out.data)
            del out
        write_atomic(path.with_suffix(".xxh3"), digest.encode())
        if (stored := _stored(path, shape)) is None:
            raise SensoriumError(f"{path} changed while it was written; try again")
        return stored

    def write_quarantine(self, path: str | Path) -> None:
        """The rows set aside, one JSON object per line: source, key, reason."""
        lines = [json.dumps(asdict(bad), ensure_ascii=True) + "\n" for bad in self.quarantine]
        write_atomic(Path(path), "".join(lines).encode())

    def _column(self, key: str) -> Column:
        if key not in self.columns:
            raise SensoriumError(f"{self.name} has no {key!r}{nearest(key, self.columns)}")
        return self.columns[key]

    def _load(self, key: str, i: int, draft: int) -> Image.Image:
        column = self._column(key)
        if column.kind != "image":
            raise SensoriumError(f"{key!r} is a {column.kind}; expected a picture key")
        try:
            return load(_bytes(column.values[i], self.limits), self.limits, draft)
        except Refused as reason:
            raise SensoriumError(f"{self.ids[i]} has changed since it was checked: {reason}") from reason

    def _judge(self, good: int, max_bad: float) -> None:
        bad, rows = self.quarantine, good + len(self.quarantine)
        if len(bad) > max_bad * rows:
            first = f"{bad[0].source} {bad[0].key}".strip()
            raise SensoriumError(
                f"{len(bad)} of {rows} rows are bad (limit {100 * max_bad:g}%): first {first}: {bad[0].reason}"
            )
        _enough(self.path, good, bad)
        if bad:
            kinds = Counter(b.reason.rpartition(": ")[2] for b in bad).most_common(3)
            self.notes.append(f"{len(bad)} of {rows} rows set aside: {', '.join(f'{n} {why}' for why, n in kinds)}")


def _kind(key: str) -> str:
    return key.partition(".")[0].partition("/")[0]


def _merge(asked: Mapping[str, str], about: Mapping[str, str]) -> dict[str, str]:
    """The caller's roles; those of dataset.json for kinds that the caller did not name."""
    named = {_kind(key) for key in asked}
    return {**{key: spec for key, spec in about.items() if _kind(key) not in named}, **asked}


def _enough(path: Path, good: int, bad: Sequence[Bad]) -> None:
    if good < FEWEST:
        aside = f" ({len(bad)} set aside, first {bad[0].source}: {bad[0].reason})" if bad else ""
        raise SensoriumError(f"{path} has {good} usable row{'s' * (good != 1)}; at least {FEWEST} are needed{aside}")


def _unique(names: Sequence[str]) -> list[str]:
    seen: Counter[str] = Counter()
    out = []
    for name in names:
        seen[name] += 1
        out.append(name if seen[name] == 1 else f"{name}#{seen[name]}")
    return out


def _check(path: Path, table: Table, parts: Roles, limits: Limits) -> _Kept:
    """Every row through every key; the first bad key sets the row aside in `table.bad`."""
    verdicts = _Verdicts(path, limits)
    kept = _Kept(values={key: [] for key in parts}, content={key: [] for key in parts})
    kept.near = {key: [] for key in parts if _kind(key) == "image"}
    for row in table.rows:
        cells: dict[str, tuple[Any, int, int]] = {}
        key = ""
        try:
            for key, columns in parts.items():
                cells[key] = _cell(key, columns, row, table.root, verdicts, limits)
        except Refused as reason:
            table.bad.append(Bad(row.where, key, str(reason)))
            continue
        kept.rows.append(row)
        for key, (value, content, near) in cells.items():
            kept.values[key].append(value)
            kept.content[key].append(content)
            if key in kept.near:
                kept.near[key].append(near)
    verdicts.save()
    return kept


def _cell(
    key: str, columns: tuple[str, ...], row: Row, root: Path, verdicts: _Verdicts, limits: Limits
) -> tuple[Any, int, int]:
    """(value, content hash, near hash) of one key of one row."""
    kind = _kind(key)
    if kind == "image":
        return _picture(row.values.get(columns[0]), row, root, verdicts, limits)
    raw = [row.values.get(c) for c in columns]
    if kind == "label":
        raw = [str(v) if isinstance(v, (bool, int, float)) and v == v else v for v in raw]
    text = ", ".join(t for v in raw if (t := clean(v, limits)))
    if key == "text" and not text:
        raise Refused("empty text")
    return text, xxhash.xxh3_64_intdigest(text.encode()), 0


def _picture(value: Any, row: Row, root: Path, verdicts: _Verdicts, limits: Limits) -> tuple[bytes | Path, int, int]:
    name = ""
    if isinstance(value, dict):
        value = value["bytes"] if value.get("bytes") is not None else value.get("path")
    if isinstance(value, str) and value.strip():
        name = f"{value[:200]}: "
    try:
        if value is None or (isinstance(value, str) and not value.strip()):
            raise Refused("no picture")
        if not isinstance(value, (str, bytes)):
            raise Refused(f"not a picture but a {type(value).__name__}")
        source = find(value, row.base, root) if isinstance(value, str) else value
        data = _bytes(source, limits)
        reason, near = verdicts(data)
        if reason:
            raise Refused(reason)
    except Refused as error:
        raise Refused(f"{name}{error}") from error
    return source, xxhash.xxh3_64_intdigest(data), near


def _bytes(source: bytes | Path, limits: Limits) -> bytes:
    try:
        size = source.stat().st_size if isinstance(source, Path) else len(source)
        if size > limits.bytes:
            raise Refused(f"{size:,} bytes, limit {limits.bytes:,}")
        return source.read_bytes() if isinstance(source, Path) else source
    except OSError as error:
        raise Refused(f"cannot be read: {error.strerror or error}") from error


class _Verdicts:
    """What a full decode said, by content: a second start of the same data set decodes nothing."""

    def __init__(self, path: Path, limits: Limits) -> None:
        self._limits = limits
        self._key = f"{VERSION}/{limits.pixels}/{limits.frames}"
        where = xxhash.xxh3_64_hexdigest(str(path.resolve()).encode())
        self._file = home() / "decoded" / f"checked-{where}.json"
        self._known = self._read()
        self._seen: dict[str, tuple[str, int]] = {}

    def __call__(self, data: bytes) -> tuple[str, int]:
        """Bytes -> ("" or why they are refused, near hash)."""
        key = xxhash.xxh3_128_hexdigest(data)
        if key not in self._seen:
            self._seen[key] = self._known[key] if key in self._known else check(data, self._limits)
        return self._seen[key]

    def save(self) -> None:
        """Written only when something new was decoded; a home that cannot be written costs time, not the run."""
        if self._seen.keys() <= self._known.keys():
            return
        body = {"format": self._key, "seen": {k: [why, f"{near:016x}"] for k, (why, near) in self._seen.items()}}
        try:
            write_atomic(self._file, json.dumps(body).encode())
        except SensoriumError:
            return

    def _read(self) -> dict[str, tuple[str, int]]:
        try:
            body = json.loads(self._file.read_bytes())
            if body["format"] != self._key:
                return {}
            return {k: (str(why), int(near, 16)) for k, (why, near) in body["seen"].items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return {}


def _stored(path: Path, shape: tuple[int, ...]) -> np.ndarray | None:
    """The stored array if it is whole: shape, type and checksum; else None, and it is written anew."""
    try:
        out: np.ndarray = np.load(path, mmap_mode="c", allow_pickle=False)
        wanted = path.with_suffix(".xxh3").read_text("ascii")
    except (OSError, ValueError, EOFError):
        return None
    good = out.shape == shape and out.dtype == np.uint8 and xxhash.xxh3_128_hexdigest(out.data) == wanted
    return out if good else None
