"""A data set from a path: kinds and roles understood, bad rows set aside, everything decoded once."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import xxhash
from PIL import Image

from sensorium.core import SensoriumError, nearest

from .blobs import fetch
from .cache import home, mapped, store_mapped, write_atomic
from .codecs import GROUPING, NOUNS, Checker, decoded, kind_of, picture
from .groups import union
from .limits import Limits, Refused
from .media.image import fit
from .roles import Profiles, resolve
from .sources.folder import Given, open_source
from .sources.hf import exported
from .sources.table import Bad, Source
from .store import SPLITS, VERSION, Stored, Strings, Writer, reopen
from .verdicts import Verdicts
from .words import normal

FEWEST = 20
SAME = ("text", "text.en", "group")
"""Keys whose equal values make rows belong together."""
LIMITS = Limits()
Progress = Callable[[str, int, int], None]

__all__ = ["Bad", "Column", "Dataset", "Limits"]


@dataclass(frozen=True)
class Column:
    """A key of the data: its kind and the columns it came from ("name_en+tags")."""

    kind: str
    source: str


class Dataset:
    """Reads `path`: a metadata folder, split folders, .jsonl, .csv, .parquet or .tar files, folders of media files; or
    a Hugging Face data set in memory, which is written to a folder first.

    `roles` maps a key (image, text, text.fr, audio, label, group …) to a column or to "a+b+c", joined with ", "; what
    it leaves out is read from dataset.json, then from names and values. `notes` says what was understood; `quarantine`
    which rows were set aside and why. Rows stay on disk: a million of them cost some hundred bytes each.

    Raises:
        SensoriumError: nothing readable, unknown role or column, more than `max_bad` of the rows bad, under 20 rows.
    """

    def __init__(
        self,
        path: str | Path | Any,
        roles: Mapping[str, str] | None = None,
        *,
        max_bad: float = 0.1,
        limits: Limits = LIMITS,
        say: Progress | None = None,
    ) -> None:
        if not 0 <= max_bad <= 1:
            raise SensoriumError(f"max_bad {max_bad:g}; expected a share of the rows from 0 to 1")
        self.path = Path(path).expanduser() if isinstance(path, str | Path) else exported(path)
        self.roles = dict(roles or {})
        self.max_bad = max_bad
        self.limits = limits
        self._stored = self._open(say)
        meta = self._stored.meta
        self.name: str = meta["name"]
        self.license: str = meta["license"]
        self.notes: list[str] = list(meta["notes"])
        self.quarantine: list[Bad] = self._stored.quarantine
        self.columns = {key: Column(kind_of(key), source) for key, source in meta["columns"].items()}
        self._judge()
        self.given: np.ndarray = np.array(SPLITS)[self._stored.numbers("given")]

    def __len__(self) -> int:
        return len(self._stored)

    @property
    def kinds(self) -> dict[str, str]:
        """Kind per key: image, text, label, audio, video, series, pose, graph, table, boxes, mask or value."""
        return {key: column.kind for key, column in self.columns.items() if column.kind != "group"}

    @cached_property
    def ids(self) -> Strings:
        """The name of each row; a name that came before gets #2, #3 …"""
        names = self._stored.strings("id")
        hashes = np.fromiter((_hash(name) for name in names), np.uint64, len(names))
        order = np.argsort(hashes, kind="stable")
        renamed, again = {}, 1
        for before, row in pairwise(order):
            again = again + 1 if hashes[before] == hashes[row] else 1
            if again > 1:
                renamed[int(row)] = f"{names[int(row)]}#{again}"
        return self._stored.strings("id", renamed)

    @cached_property
    def pictures(self) -> np.ndarray:
        """Group id per row [N] int64: rows of equal media or near-equal pictures are one."""
        return union(len(self), self._looks())

    @cached_property
    def groups(self) -> np.ndarray:
        """Group id per row [N] int64: rows of equal media, near-equal pictures or equal text are one. Where a group
        column is named (group=patient), equal values of it and equal media are one, and nothing else is."""
        if "group" in self.columns:
            exact = [self._stored.numbers(f"{key}#content") for key in self.kinds if kind_of(key) in GROUPING]
            return union(len(self), [self._stored.numbers("group#same"), *exact])
        texts = [self._stored.numbers(f"{key}#same") for key in ("text", "text.en") if key in self.columns]
        return union(len(self), [*self._looks(), *texts])

    @cached_property
    def fingerprint(self) -> str:
        """16 hex digits over keys, contents and given splits."""
        digest = xxhash.xxh3_64()
        for key in sorted(self.columns):
            digest.update(key.encode() + b"\0" + self.content(key).tobytes())
        digest.update("\0".join(self.given.tolist()).encode())
        return digest.hexdigest()

    def lacks(self, why: str) -> str:
        """`why` something is not there, with what was noted of columns that were left out for that kind."""
        kinds = [note for note in self.notes if note.endswith("left out") and f"needs {note.partition(':')[0]}" in why]
        return "; ".join([why, *kinds])

    def texts(self, key: str) -> Strings:
        """The texts or labels of a key, one per row, read as they are asked for; "" where an optional one is missing.

        Values of a structured kind (series, boxes, a table's record …) are JSON.
        """
        column = self._column(key)
        if column.kind in NOUNS:
            raise SensoriumError(f"{key!r} is a {NOUNS[column.kind]}; expected a text or label key")
        return self._stored.strings(key)

    def content(self, key: str) -> np.ndarray:
        """xxh3_64 of the raw content per row [N] uint64: file bytes of media, UTF-8 of a text."""
        self._column(key)
        return self._stored.numbers(f"{key}#content")

    def about(self, key: str, i: int) -> str:
        """Row i of a key in a few words: "112x112", "5.0 s, 44100 Hz, mono", "22 atoms, 23 bonds"; "" for a text."""
        return self.abouts(key)[i]

    def abouts(self, key: str) -> Strings:
        """`about` of every row."""
        self._column(key)
        return self._stored.strings(f"{key}#about")

    def value(self, key: str, i: int) -> Any:
        """Row i, decoded: PIL picture, Audio, Clip, Series, Graph, float32 boxes [K 4], bool masks [K H W], float,
        dict or text."""
        column = self._column(key)
        stored: str | bytes = self._stored.strings(key)[i]
        return decoded(column.kind, self._bytes(key, i) if column.kind in NOUNS else stored, self.limits)

    def image(self, key: str, i: int) -> Image.Image:
        """Row i as an upright RGB picture on white."""
        return self._picture(key, i, 0)

    def largest(self, key: str) -> int:
        """The longest side of a key's pictures in pixels; 0 where it has none."""
        self._column(key)
        return int(self._stored.meta["largest"].get(key, 0))

    def distinct(self, key: str) -> tuple[np.ndarray, np.ndarray]:
        """Rows [U] where a content of the key comes first, in order; and per row [N] which of these it equals."""
        _, first, back = np.unique(self.content(key), return_index=True, return_inverse=True)
        order = np.argsort(first)
        rank = np.empty(len(order), np.int64)
        rank[order] = np.arange(len(order))
        return first[order], rank[back.reshape(-1)]

    def pixels(self, key: str, size: int) -> np.ndarray:
        """All distinct pictures u8 [U 3 size size], fitted inside with white around; decoded once, then memory-mapped.

        The array is copy-on-write: writing to it never reaches the stored file.
        """
        if not 1 <= size <= 4096:
            raise SensoriumError(f"picture size {size}; expected 1 to 4096 pixels")
        rows, _ = self.distinct(key)
        content = self.content(key)[rows]
        name = xxhash.xxh3_128_hexdigest(content.tobytes() + f"{VERSION}/{size}".encode())
        path = home() / "decoded" / f"{name}-{size}.npy"
        shape = (len(rows), 3, size, size)

        def fill(out: np.ndarray) -> None:
            for k, row in enumerate(rows.tolist()):
                out[k] = fit(self._picture(key, row, size), size)

        stored = mapped(path, shape, np.uint8)
        return stored if stored is not None else store_mapped(path, shape, np.uint8, fill)

    def write_quarantine(self, path: str | Path) -> None:
        """The rows set aside, one JSON object per line: source, key, reason."""
        lines = [json.dumps(asdict(bad), ensure_ascii=True) + "\n" for bad in self.quarantine]
        write_atomic(Path(path), "".join(lines).encode())

    def _column(self, key: str) -> Column:
        if key not in self.columns:
            raise SensoriumError(f"{self.name} has no {key!r}{nearest(key, self.columns)}")
        return self.columns[key]

    def _picture(self, key: str, i: int, draft: int) -> Image.Image:
        column = self._column(key)
        if column.kind != "image":
            raise SensoriumError(f"{key!r} is a {column.kind}; expected a picture key")
        try:
            return picture(self._bytes(key, i), self.limits, draft)
        except Refused as reason:
            raise SensoriumError(f"{self.ids[i]} has changed since it was checked: {reason}") from reason

    def _bytes(self, key: str, i: int) -> bytes:
        try:
            return fetch(self._stored.strings(key)[i])
        except Refused as reason:
            raise SensoriumError(f"{self.ids[i]} has changed since it was checked: {reason}") from reason

    def _looks(self) -> list[np.ndarray]:
        keys = [key for key, column in self.columns.items() if column.kind in GROUPING]
        return [self._stored.numbers(f"{key}#{what}") for key in keys for what in ("content", "near")]

    def _open(self, say: Progress | None) -> Stored:
        """What is stored of this path and these roles, or the path read anew."""
        asked = f"{self.path.resolve()}\0{sorted(self.roles.items())}\0{self.limits}\0{VERSION}"
        name = xxhash.xxh3_64_hexdigest(asked.encode())
        return reopen(name) or _build(self.path, self.roles, self.limits, self.max_bad, name, say)

    def _judge(self) -> None:
        bad, rows = self.quarantine, len(self) + len(self.quarantine)
        if len(bad) > self.max_bad * rows:
            raise _too_many(bad[0], len(bad), rows, self.max_bad)
        if len(self) < FEWEST:
            aside = f" ({len(bad)} set aside, first {bad[0].source}: {bad[0].reason})" if bad else ""
            raise SensoriumError(
                f"{self.path} has {len(self)} usable row{'s' * (len(self) != 1)}; at least {FEWEST} are needed{aside}"
            )
        if bad:
            kinds = Counter(b.reason.rpartition(": ")[2] for b in bad).most_common(3)
            self.notes.append(f"{len(bad)} of {rows} rows set aside: {', '.join(f'{n} {why}' for why, n in kinds)}")


def _too_many(first: Bad, bad: int, rows: int, limit: float) -> SensoriumError:
    where = f"{first.source} {first.key}".strip()
    return SensoriumError(f"{bad} of {rows} rows are bad (limit {100 * limit:g}%): first {where}: {first.reason}")


def _build(
    path: Path, roles: Mapping[str, str], limits: Limits, max_bad: float, name: str, say: Progress | None
) -> Stored:
    """Two passes: what the columns are, then every row through every key."""
    source = open_source(path, limits)
    profiles, given, unread = Profiles(), Given(), 0
    for entry in source:
        if isinstance(entry, Bad):
            unread += 1
        else:
            profiles.see(entry)
            given.see(entry)
    notes = source.notes + given.settle(source.about)
    parts: dict[str, tuple[str, ...]] = {}
    if profiles.rows:
        parts, found = resolve(profiles, _merge(roles, source.about.get("roles") or {}), str(path))
        notes += found
    total = profiles.rows + unread
    writer = Writer(name, list(parts))
    stamp = xxhash.xxh3_64_hexdigest(f"{VERSION}/{limits}".encode())
    where = xxhash.xxh3_64_hexdigest(str(path.resolve()).encode())
    checker = Checker(source.root, limits, Verdicts(home() / "decoded" / f"checked-{where}.arrow", stamp), writer.watch)
    for folder in source.folders:
        writer.watch(folder)
    try:
        largest = _fill(writer, checker, source, given, parts, (total, max_bad), say)
        notes += [f"{flag}: {n} row{'s' * (n != 1)}" for flag, n in sorted(checker.flags.items())]
        about = {
            "name": str(source.about.get("name") or path.resolve().stem),
            "license": str(source.about.get("license") or ""),
            "notes": notes,
            "largest": largest,
            "columns": {key: "+".join(columns) for key, columns in parts.items()},
        }
        return writer.finish(about, source)
    except BaseException:
        writer.abandon()
        raise
    finally:
        checker.close()


def _side(about: str) -> int:
    """The longer side of "112x80"; 0 where that is no size of a picture."""
    sides = about.split("x")
    return max(map(int, sides)) if len(sides) == 2 and all(s.isdigit() for s in sides) else 0


def _fill(
    writer: Writer,
    checker: Checker,
    source: Source,
    given: Given,
    parts: Mapping[str, tuple[str, ...]],
    allowed: tuple[int, float],
    say: Progress | None,
) -> dict[str, int]:
    """Every row through every key; the first bad key sets the row aside. Stops where more rows are bad than may be.
    Returns the longest side of the pictures of each key."""
    largest: dict[str, int] = {}
    total, max_bad = allowed
    bad, first = 0, None
    for done, entry in enumerate(source, start=1):
        if say is not None and (done % 256 == 0 or done == total):
            say("checking rows", done, total)
        key, aside = "", entry if isinstance(entry, Bad) else None
        if not isinstance(entry, Bad):
            try:
                cells = {}
                for key, columns in parts.items():
                    cells[key] = checker.cell(key, columns, entry)
                same: dict[str, int] = {k: _hash(normal(cells[k].stored)) for k in SAME if k in cells}
                writer.row(entry.id, given.of(entry), cells, same)
                for key, cell in cells.items():
                    largest[key] = max(largest.get(key, 0), _side(cell.about))
            except Refused as reason:
                aside = Bad(entry.where, key, str(reason))
        if aside is not None:
            writer.bad(aside)
            bad, first = bad + 1, first or aside
    if first is not None and bad > max_bad * total:
        raise _too_many(first, bad, total, max_bad)
    return largest


def _hash(text: str) -> int:
    """Of a text that is there; 0 for none."""
    return xxhash.xxh3_64_intdigest(text.encode()) if text else 0


def _merge(asked: Mapping[str, str], about: Mapping[str, str]) -> dict[str, str]:
    """The caller's roles; those of dataset.json for kinds that the caller did not name."""
    named = {kind_of(key) for key in asked}
    return {**{key: spec for key, spec in about.items() if kind_of(key) not in named}, **asked}
