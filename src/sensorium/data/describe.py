"""A data set in words: what its values are, how it would be split, why rows were set aside."""

from __future__ import annotations

import re
from collections import Counter

from sensorium.core import SensoriumError

from .codecs import NOUNS
from .dataset import Dataset
from .split import auto_mode, overlap, split

PLURALS = {
    "series": "series",
    "pose": "poses",
    "graph": "molecules",
    "table": "records",
    "boxes": "sets of boxes",
    "mask": "sets of masks",
    "spans": "sets of spans",
    "value": "numbers",
}
COMMONEST = 3
"""Values and descriptions that a summary names."""


def summary(data: Dataset, key: str) -> str:
    """What the values of a key are, over all rows."""
    kind = data.kinds[key]
    different = f"{len(set(data.content(key).tolist()))} different"
    if kind not in ("text", "label"):
        common = "; ".join(f"{n} × {what}" for what, n in Counter(data.abouts(key)).most_common(COMMONEST) if what)
        noun = NOUNS[kind] + "s" if kind in NOUNS else PLURALS[kind]
        return f"{len(data)} {noun}, {different}{'; ' if common else ''}{common}"
    texts = [t for t in data.texts(key) if t]
    if kind == "label":
        common = ", ".join(f"{inert(t)} {n}" for t, n in Counter(texts).most_common(COMMONEST))
        return f"{len(texts)} labels, {different}; {common}"
    lengths = sorted(map(len, texts))
    spread = f"{lengths[0]} to {lengths[-1]} characters, median {lengths[len(lengths) // 2]}" if lengths else ""
    return f"{len(texts)} texts, {different}; {spread}"


def splits(data: Dataset) -> list[str]:
    """How a race would split the rows, and whether the given splits overlap; each a sentence."""
    mode, why = auto_mode(data)
    try:
        parts = split(data, 0, mode)
        shared = overlap(data, split(data, 0, "given"))
    except SensoriumError as problem:
        return [f"cannot be split: {problem}"]
    sizes = f"{len(parts.train)} train, {len(parts.validation)} validation, {len(parts.test)} test"
    return [f"a race would use {mode} splits ({why}): {sizes}", *([shared] if shared else [])]


def reasons(data: Dataset) -> list[tuple[str, int]]:
    """Why rows were set aside and how many for each reason, the commonest first."""
    return Counter(f"{bad.key or 'row'}: {gist(bad.reason)}" for bad in data.quarantine).most_common()


def gist(reason: str) -> str:
    """A reason without the name and the numbers of the one value it was given for."""
    return re.sub(r"\b[0-9]+\b", "N", reason.rpartition(": ")[2])


def inert(text: str) -> str:
    """Control and direction characters as escapes, so that a line shows as it is."""
    return "".join(c if c.isprintable() or c == " " else c.encode("unicode_escape").decode() for c in text)
