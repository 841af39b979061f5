"""What full decodes said, by content: a second start of a data set, or of one with a row more, decodes nothing."""

from __future__ import annotations

from array import array
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pyarrow as pa

from sensorium.core import SensoriumError

from .cache import write_atomic
from .limits import Seen

RECENT = 1 << 16
"""Verdicts of this run that are kept at hand; older ones are decided again."""


class Verdicts:
    """Read from `file`, sorted and memory-mapped; new ones are gathered and written by `save`."""

    def __init__(self, file: Path, stamp: str) -> None:
        self._file, self._stamp = file, stamp
        self._recent: OrderedDict[int, Seen] = OrderedDict()
        self._keys, self._near = array("Q"), array("Q")
        self._words: list[tuple[str, str, str]] = []
        self._interned: dict[tuple[str, str, str], tuple[str, str, str]] = {}
        self._known = _read(file, stamp)
        self._sorted = self._known["key"].to_numpy() if self._known is not None else np.empty(0, np.uint64)

    def get(self, key: int) -> Seen | None:
        """What was said of this content, if anything."""
        if (seen := self._recent.get(key)) is not None:
            return seen
        at = int(np.searchsorted(self._sorted, np.uint64(key)))
        if self._known is None or at == len(self._sorted) or int(self._sorted[at]) != key:
            return None
        near, reason, about, notes = (self._known[c][at].as_py() for c in ("near", "reason", "about", "notes"))
        return self._remember(key, Seen(reason, near, about, tuple(notes.split("\n")) if notes else ()))

    def put(self, key: int, seen: Seen) -> None:
        """A new verdict."""
        words = (seen.reason, seen.about, "\n".join(seen.notes))
        self._keys.append(key)
        self._near.append(seen.near)
        self._words.append(self._interned.setdefault(words, words))
        self._remember(key, seen)

    def save(self) -> None:
        """Written only when something new was decoded; a home that cannot be written costs time, not the run."""
        if not self._keys:
            return
        reason, about, notes = zip(*self._words, strict=True)
        new = {"key": np.asarray(self._keys), "near": np.asarray(self._near)}
        table = pa.table({**new, "reason": list(reason), "about": list(about), "notes": list(notes)}, _SCHEMA)
        if self._known is not None:
            table = pa.concat_tables([self._known, table])
        _, first = np.unique(table["key"].to_numpy(), return_index=True)
        sink = pa.BufferOutputStream()
        found = table.take(first).combine_chunks().replace_schema_metadata({"stamp": self._stamp})
        with pa.ipc.new_file(sink, found.schema) as writer:
            writer.write_table(found)
        try:
            write_atomic(self._file, sink.getvalue().to_pybytes())
        except SensoriumError:
            return

    def _remember(self, key: int, seen: Seen) -> Seen:
        self._recent[key] = seen
        if len(self._recent) > RECENT:
            self._recent.popitem(last=False)
        return seen


_SCHEMA = pa.schema(
    [("key", pa.uint64()), ("near", pa.uint64()), *((name, pa.large_string()) for name in ("reason", "about", "notes"))]
)


def _read(file: Path, stamp: str) -> pa.Table | None:
    try:
        with pa.memory_map(str(file)) as source, pa.ipc.open_file(source) as reader:
            found = reader.read_all()
    except (OSError, pa.ArrowException):
        return None
    same = (found.schema.metadata or {}).get(b"stamp", b"").decode("utf-8", "replace") == stamp
    return found if same and found.schema.equals(_SCHEMA) and found.num_rows else None
