"""The ledger: one JSON line per measured claim, appended and never changed.

Rows that ship with the library lie in `sensorium/ledger/<family>/<slug>.jsonl`, a user's own in $SENSORIUM_HOME/ledger.
"""

from __future__ import annotations

import fcntl
import json
import math
import os
import platform
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import MISSING, dataclass, fields, is_dataclass, replace
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from types import UnionType
from typing import Any, Literal, get_args, get_origin, get_type_hints

import torch

from sensorium.core import SensoriumError, Statement, nearest
from sensorium.data.cache import home, write_atomic

from .load import label, papers, resolve
from .statements import STATEMENTS, Verdict, Word, overall, record

FORMAT = 1
TIERS = ("smoke", "lab", "deep")
"""Of which "smoke" gives no verdict."""
SHIPPED = Path(__file__).parent.parent / "ledger"


@dataclass(frozen=True)
class Measured:
    """One arm: its key when it ran, the rate chosen (None: nothing is trained), scores and costs by seed."""

    key: str
    rate: float | None
    scores: Sequence[Mapping[str, float]]
    costs: Sequence[Mapping[str, float]]


@dataclass(frozen=True)
class Row:
    """One measurement of a paper's claim. `data` and `bases`: name -> content hash; `date` ISO 8601 with its zone;
    `machine` in words; `seconds` of CPU time in all; `note`: planted effects, scripted doubles, what was tried."""

    paper: str
    claim: str
    tier: str
    verdicts: Sequence[Verdict]
    arms: Mapping[str, Measured]
    samples: int
    seeds: Sequence[int]
    data: Mapping[str, str]
    bases: Mapping[str, str]
    versions: Mapping[str, str]
    machine: str
    date: str
    seconds: float
    note: str = ""
    format: int = FORMAT

    @property
    def verdict(self) -> Word:
        """Of the whole claim: the weakest of its statements'."""
        return overall(self.verdicts)


def append(row: Row, root: Path | None = None) -> Path:
    """Add a row to the ledger under `root` (a user's own by default); the file is whole at every moment.

    Raises:
        SensoriumError: a row that could not be read again, a ledger that does not parse, a folder that is not writable.
    """
    row = replace(row, paper=_canonical(row.paper))
    path = _path(row.paper, root or home() / "ledger")
    try:
        line = json.dumps(_plain(row), ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError) as problem:
        raise SensoriumError(f"the row of {row.paper} is not JSON-ready: {problem}") from None
    _row(line, f"the row of {row.paper}")
    with _locked(path.parent):
        before = path.read_bytes() if path.is_file() else b""
        _parsed(before, path)
        ended = b"" if before.endswith(b"\n") or not before else b"\n"
        write_atomic(path, before + ended + line.encode() + b"\n")
    return path


def rows(paper: str) -> list[Row]:
    """Every row of a paper, those shipped first, in the order of writing."""
    found: list[Row] = []
    for root in (SHIPPED, home() / "ledger"):
        path = _path(_canonical(paper), root)
        found += _parsed(path.read_bytes(), path) if path.is_file() else []
    return found


def latest(paper: str, claim: str, tier: str, foreign: Mapping[str, str] = {}) -> Row | None:
    """The newest row of a claim at a tier, begun from the laboratory's starts or from `foreign` checkpoints in their
    place ("base NAME"); None where it was not measured."""
    _tier(tier, "")
    there = [r for r in rows(paper) if (r.claim, r.tier, _given(r)) == (claim, tier, dict(foreign))]
    newest = max(range(len(there)), key=lambda i: (datetime.fromisoformat(there[i].date), i), default=None)
    return None if newest is None else there[newest]


def _given(row: Row) -> dict[str, str]:
    return {name: value for name, value in row.bases.items() if name.startswith("base ")}


def stale(row: Row, keys: Mapping[str, str], says: Sequence[Statement] | None = None) -> list[str]:
    """Why a row no longer speaks of today's arms (`keys` by name) and statements; empty where it does."""
    why = []
    for name, arm in row.arms.items():
        if keys.get(name) != arm.key:
            why.append(f"arm {name!r} {'has changed' if name in keys else 'is gone'}")
    why += [f"arm {name!r} is new" for name in keys if name not in row.arms]
    if says is not None and [record(s) for s in says] != [v.statement for v in row.verdicts]:
        why.append("what is claimed has changed")
    return why


def now() -> str:
    """A row's date: this second, UTC."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def machine() -> str:
    """This machine in words, without its name."""
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    return f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, {device}"


def _canonical(paper: str) -> str:
    """A slug, or the name of a user's file: where that lies is not for the ledger."""
    return Path(paper).name if paper.endswith(".py") else resolve(paper)


def _path(paper: str, root: Path) -> Path:
    """<family>/<slug>.jsonl of a canonical slug, files/<name>.jsonl of a user's file."""
    family = "files" if paper.endswith(".py") else papers()[paper].split(".")[2]
    return root / family / f"{label(paper)}.jsonl"


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """One writer at a time in a folder, by a lock that the kernel drops when its holder dies."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(folder, os.O_RDONLY)
    except OSError as problem:
        raise SensoriumError(f"cannot write to {folder}: {problem.strerror or problem}") from None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _plain(value: Any) -> Any:
    """Data as JSON: a field that is no finite number is left out and read as its default, a score becomes null."""
    if is_dataclass(value):
        named = {f.name: getattr(value, f.name) for f in fields(value)}
        return {k: _plain(v) for k, v in named.items() if not _unsound(v)}
    if isinstance(value, Mapping):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    return None if _unsound(value) else value


def _unsound(value: Any) -> bool:
    return isinstance(value, float) and not math.isfinite(value)


def _parsed(text: bytes, path: Path) -> list[Row]:
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        row = _row(line, f"{path}, line {number}")
        if label(row.paper) != path.stem:
            raise SensoriumError(f"{path}, line {number}: field 'paper' is {row.paper!r}; expected {path.stem!r}")
        found.append(row)
    return found


def _row(line: bytes | str, where: str) -> Row:
    """A line -> a row, strictly: every field there, none unknown, each of its type."""
    try:
        value = json.loads(line, parse_constant=_no_number)
    except ValueError as problem:
        raise SensoriumError(f"{where} is no JSON: {problem}") from None
    if isinstance(value, dict) and value.get("format") != FORMAT:
        raise SensoriumError(f"{where}: format {value.get('format')!r}; this version reads {FORMAT}")
    row: Row = _read(Row, value, where, "")
    _sound(row, where)
    return row


def _sound(row: Row, where: str) -> None:
    """What types do not say: known names, a date with its zone, one entry per seed."""
    _tier(row.tier, f"{where}: ")
    for says in (v.statement.get("says", "") for v in row.verdicts):
        if says not in STATEMENTS:
            raise SensoriumError(f"{where}: unknown statement {says!r}{nearest(str(says), STATEMENTS)}")
    if row.tier == "smoke" and any(v.verdict != "not tested" for v in row.verdicts):
        raise SensoriumError(f"{where}: tier smoke gives no verdict; expected 'not tested'")
    try:
        dated = datetime.fromisoformat(row.date).tzinfo is not None
    except ValueError:
        dated = False
    if not dated:
        raise SensoriumError(f"{where}: field 'date' is {row.date!r}; expected one like 2026-01-31T12:00:00+00:00")
    for name, arm in row.arms.items():
        for what in ("scores", "costs"):
            if len(getattr(arm, what)) != len(row.seeds):
                given = f"field 'arms.{name}.{what}' has {len(getattr(arm, what))} entries"
                raise SensoriumError(f"{where}: {given}; expected {len(row.seeds)}, one per seed")


def _no_number(text: str) -> float:
    raise ValueError(f"{text} is no number in JSON")


def _tier(tier: str, where: str) -> None:
    if tier not in TIERS:
        raise SensoriumError(f"{where}unknown tier {tier!r}{nearest(tier, TIERS)}")


@cache
def _kinds(kind: type) -> dict[str, Any]:
    return get_type_hints(kind)


def _read(kind: Any, value: Any, where: str, field: str) -> Any:
    """A JSON value as `kind`, or one line that names the place, the field, what is there and what was expected."""
    optional = get_origin(kind) is UnionType
    if kind is Any or (optional and value is None):
        return value
    kind = get_args(kind)[0] if optional else kind
    origin, inner = get_origin(kind), get_args(kind)
    if origin is Literal and value in inner:
        return value
    if kind is float and value is None:
        return math.nan
    if kind is float and type(value) is int:
        return float(value)
    if kind in (str, bool, int, float) and type(value) is kind:
        return value
    if origin is Sequence and isinstance(value, list):
        return [_read(inner[0], v, where, f"{field}[{i}]") for i, v in enumerate(value)]
    if origin is Mapping and isinstance(value, dict):
        return {k: _read(inner[1], v, where, f"{field}.{k}") for k, v in value.items()}
    if is_dataclass(kind) and isinstance(value, dict):
        return _record(kind, value, where, f"{field}." if field else "")
    shown = json.dumps(value, ensure_ascii=False)
    what = f"field {field!r}" if field else "the line"
    raise SensoriumError(f"{where}: {what} is {shown[:60]}; expected {_expected(kind)}{' or null' if optional else ''}")


def _record(kind: Any, value: dict[str, Any], where: str, prefix: str) -> Any:
    names = [f.name for f in fields(kind)]
    for name in value:
        if name not in names:
            raise SensoriumError(f"{where}: unknown field {prefix + name!r}{nearest(name, names)}")
    for f in fields(kind):
        if f.name not in value and f.default is MISSING:
            raise SensoriumError(f"{where}: field {prefix + f.name!r} is missing")
    hints = _kinds(kind)
    return kind(**{name: _read(hints[name], v, where, prefix + name) for name, v in value.items()})


def _expected(kind: Any) -> str:
    if get_origin(kind) is Literal:
        return "one of " + ", ".join(get_args(kind))
    if get_origin(kind) is Sequence:
        return "a list"
    names = {str: "a text", bool: "true or false", int: "a whole number", float: "a number"}
    return names.get(kind, "an object")
