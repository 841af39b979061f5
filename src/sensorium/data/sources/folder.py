"""Finds out what lies at a path: a metadata folder, split folders, tables, shards, or plain files of media."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from sensorium.core import SensoriumError, nearest
from sensorium.data.limits import Limits

from .files import folders, media_files, read_files, sidecars
from .jsonl import read_csv, read_jsonl, strict
from .parquet import read_parquet, schema
from .table import SPLITS, Bad, Entry, Row, Source
from .tar import ENDINGS, read_tar

Reader = Callable[[Path, str, str, Limits], Iterator[Entry]]
READERS: dict[str, Reader] = {
    ".jsonl": read_jsonl,
    ".csv": read_csv,
    ".parquet": read_parquet,
    **dict.fromkeys(ENDINGS, read_tar),
}
METADATA = ("metadata.jsonl", "metadata.csv")
EXPECTED = (
    "metadata.jsonl or metadata.csv with a file_name column, folders train/ and test/ of these, "
    "train.parquet and test.parquet, shards (.tar), folders of pictures, sounds, films or documents, "
    "or a .jsonl, .csv, .parquet or .tar file"
)
_SPLIT = "|".join(SPLITS)
_NAME = re.compile(rf"(?:(?P<before>.+?)[-_.])?(?P<split>{_SPLIT})(?:[-_.].*)?")
_SHARD = re.compile(r"(?P<stem>.*?)[-_.]?\d+(?:[-_]of[-_]\d+)?")


def open_source(path: Path, limits: Limits) -> Source:
    """What lies at `path`, opened but not yet read; SensoriumError names what was found and what was expected."""
    if path.is_dir():
        return _folder(path, limits)
    if path.is_file():
        if not _ending(path):
            raise SensoriumError(f"{path} is a {path.suffix or 'file without an ending'}; expected {EXPECTED}")
        return _source(path.parent, [(path, path.name, "")], limits)
    if files := _prefixed(path):
        return _source(path.parent, files, limits)
    siblings = [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else []
    raise SensoriumError(f"no file or folder {path}{nearest(path.name, siblings)}")


def data_sets(path: Path) -> list[Path]:
    """The data sets at or below a path: itself, those that its file names tell apart, or those of its folders."""
    if not path.is_dir() or _metadata(path) or _split_folders(path):
        return [path]
    if files := _tables(path):
        names = list(dict.fromkeys(_set_name(p) for p in files))
        return [path] if len(names) == 1 else [_named(path, name, files) for name in names]
    below = [p for p in sorted(path.iterdir()) if p.is_dir() and not p.name.startswith(".")]
    inside = [p for p in path.rglob("*") if p.is_dir() and (_metadata(p) or _split_folders(p) or _tables(p))]
    return [found for p in below for found in data_sets(p)] if inside else [path]


def _named(path: Path, name: str, files: list[Path]) -> Path:
    """The file itself where a set is one file, else the path that its split files have as a prefix."""
    mine = [p for p in files if _set_name(p) == name]
    return mine[0] if len(mine) == 1 else path / name


def _ending(path: Path) -> str:
    name = path.name.lower()
    return next((e for e in sorted(READERS, key=len, reverse=True) if name.endswith(e)), "")


def _stem(path: Path) -> str:
    return path.name[: len(path.name) - len(_ending(path))]


def _split_of(path: Path) -> str:
    match = _NAME.fullmatch(_stem(path).lower())
    return SPLITS[match["split"]] if match else ""


def _set_name(path: Path) -> str:
    """What a table's name says beside its split and its number as a shard: "gunpoint" of gunpoint_train.jsonl."""
    stem = _stem(path)
    if match := _NAME.fullmatch(stem.lower()):
        return stem[: len(match["before"] or "")]
    shard = _SHARD.fullmatch(stem)
    return shard["stem"] if shard else stem


def _prefixed(path: Path) -> list[tuple[Path, str, str]]:
    """folder/gunpoint, which is no file -> gunpoint_train.jsonl and gunpoint_test.jsonl beside it."""
    if not path.parent.is_dir():
        return []
    files = [p for p in sorted(path.parent.iterdir()) if p.is_file() and _ending(p) and _set_name(p) == path.name]
    return [(p, p.name, _split_of(p)) for p in files]


def _source(root: Path, files: list[tuple[Path, str, str]], limits: Limits) -> Source:
    """Tables and shards of one data set, each with its name for messages and its given split."""
    _same_schema([p for p, _, _ in files if _ending(p) == ".parquet"])
    reads = [partial(READERS[_ending(p)], p, where, given, limits) for p, where, given in files]
    return Source(root, [p for p, _, _ in files], [], reads)


def _folder(path: Path, limits: Limits) -> Source:
    about = _about(path)
    if meta := _metadata(path):
        found = _metas(path, [(meta, meta.name, "")], limits)
    elif splits := _split_folders(path):
        metas = [(m, f"{p.name}/{m.name}", SPLITS[p.name.lower()]) for p in splits if (m := _metadata(p))]
        found = _metas(path, metas, limits)
    elif tables := _tables(path):
        if len(names := list(dict.fromkeys(_set_name(p) for p in tables))) > 1:
            first = _named(path, names[0], tables)
            raise SensoriumError(f"{path} holds {len(names)} data sets: {', '.join(names)}; name one, such as {first}")
        found = _source(path, [(p, str(p.relative_to(path)), _split_of(p)) for p in tables], limits)
    elif media_files(path):
        found = Source(path, sidecars(path), folders(path), [partial(read_files, path, limits)])
    else:
        raise SensoriumError(f"{path} holds {_inventory(path)}; expected {EXPECTED}")
    found.about = about
    found.files += [path / "dataset.json"]  # also where it is not there: it may come
    return found


def _split_folders(path: Path) -> list[Path]:
    return [p for p in sorted(path.iterdir()) if p.is_dir() and p.name.lower() in SPLITS and _metadata(p)]


def _tables(path: Path) -> list[Path]:
    """Tables and shards in the folder, or in data/ inside it; those that name a split, where some do."""
    for place in (path, path / "data"):
        files = sorted(p for p in place.iterdir() if p.is_file() and _ending(p)) if place.is_dir() else []
        if files:
            return [p for p in files if _split_of(p)] or files
    return []


def _metas(path: Path, metas: list[tuple[Path, str, str]], limits: Limits) -> Source:
    reads = [partial(_with_file_names, meta, where, given, limits) for meta, where, given in metas]
    return Source(path, [meta for meta, _, _ in metas], [], reads)


def _inventory(path: Path) -> str:
    entries = sorted(path.iterdir())
    folders = [f"{p.name}/" for p in entries if p.is_dir()]
    endings = Counter(p.suffix.lower() or p.name for p in entries if p.is_file())
    parts = folders[:5] + [f"{n} {ending}" for ending, n in endings.most_common(5)]
    return ", ".join(parts) or "nothing"


def _metadata(path: Path) -> Path | None:
    return next((path / name for name in METADATA if (path / name).is_file()), None)


def _with_file_names(meta: Path, where: str, given: str, limits: Limits) -> Iterator[Entry]:
    """Rows named by their file. Where none of the first rows has a file_name, this is no metadata file."""
    prefix, known = where.removesuffix(meta.name), False
    for entry in READERS[meta.suffix](meta, where, given, limits):
        if isinstance(entry, Bad):
            yield entry
            continue
        if not known and "file_name" not in entry.values:
            raise SensoriumError(f"{meta} has no column 'file_name'{nearest('file_name', list(entry.values))}")
        known = True
        name = entry.values.get("file_name")
        id = f"{prefix}{name}" if isinstance(name, str) and name else entry.id
        yield Row(entry.where, id, entry.values, entry.base, entry.given)


def _about(path: Path) -> dict[str, object]:
    file = path / "dataset.json"
    if not file.is_file():
        return {}
    try:
        about = strict(file.read_text("utf-8-sig"))
    except (ValueError, OSError) as error:
        raise SensoriumError(f"{file}: {error}") from error
    for name in ("roles", "splits"):
        value = about.get(name, {})
        if not isinstance(value, dict) or not all(isinstance(v, str) for v in value.values()):
            raise SensoriumError(f"{file}: {name!r} is {type(value).__name__}; expected an object of strings")
    return about


def _same_schema(files: list[Path]) -> None:
    """Columns that two shards share must have one type."""
    seen: dict[str, tuple[str, Path]] = {}
    for file in files:
        for name, kind in schema(file).items():
            if kind == "null":
                continue
            before, first = seen.setdefault(name, (kind, file))
            if before != kind:
                raise SensoriumError(f"column {name!r} is {before} in {first} but {kind} in {file}")


class Given:
    """The given split of each row, settled once all entries were seen: by files and folders, else by a column "split";
    `validation` beside `train` without a test split is the test split."""

    def __init__(self) -> None:
        self._files: set[str] = set()
        self._column: set[str] = set()
        self._missing = False
        self._names: dict[str, str] = {}
        self._by_column = False

    def see(self, row: Row) -> None:
        """One row of the first pass."""
        self._files.add(row.given)
        value = row.values.get("split")
        if isinstance(value, str) and value.lower() in SPLITS:
            self._column.add(SPLITS[value.lower()])
        else:
            self._missing = True

    def settle(self, about: dict[str, object]) -> list[str]:
        """What was decided, as sentences."""
        notes = []
        self._by_column = self._files <= {""} and bool(self._column) and not self._missing
        if self._by_column:
            notes.append("given splits <- column split")
        names = self._column if self._by_column else self._files
        wanted = {SPLITS.get(k, k): v for k, v in dict(about.get("splits") or {}).items()}  # type: ignore[call-overload]
        if unknown := sorted(set(wanted.values()) - {"train", "validation", "test"}):
            raise SensoriumError(f"dataset.json: split {unknown[0]!r} is unknown; expected train, validation or test")
        if not wanted and {"train", "validation"} <= names and "test" not in names:
            wanted = {"validation": "test"}
            notes.append("no test split is given: the given validation split is the test split")
        self._names = wanted
        return notes

    def of(self, row: Row) -> str:
        """train, validation, test or ""."""
        found = SPLITS[row.values["split"].lower()] if self._by_column else row.given
        return self._names.get(found, found)
