"""Which column is the picture, which the text, which the sound: given, else read from names and values."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any, Literal

from sensorium.core import SensoriumError, nearest

from .media.audio import looks_like_audio
from .media.image import looks_like_picture
from .media.video import looks_like_video
from .sources.files import COLUMNS
from .sources.table import Blob, Row

_TEXTS = "text caption captions sentence transcript description alt_text alt title name reference ref latex good label"
TEXTS = tuple(_TEXTS.split())
NEGATIVES = ("negative", "negative_caption", "negative_text", "hard_negative", "bad")
LONGS = ("long_caption", "long_text", "detailed_caption", "long_description")
LABELS = ("label", "category", "class", "coarse_label", "finding")
VALUES = ("value", "target", "score", "rating", "price", "y")
NO_VALUES = frozenset(
    ["duration", "width", "height", "fps", "lat", "lon", "latitude", "longitude", "time", "timestamp", "x", "y", "z"]
)
BOXES = ("boxes", "bboxes", "bbox", "box", "lines", "objects", "regions", "lungs")
SPANS = ("spans", "phrase_spans", "tokens_positive")
MASKS = ("mask", "masks", "segmentation", "segmentations", "rle")
POSES = ("pose", "poses", "joints", "skeleton", "keypoints", "motion")
GRAPHS = ("smiles", "molecule", "mol")
MEDIA = {
    "image": ("image", "img", "picture", "photo", "file_name", "image_path", "path"),
    "video": ("video", "clip", "film", "file_name", "video_path", "path"),
    "audio": ("audio", "sound", "wav", "speech", "file_name", "audio_path", "path"),
}
_CODES = (
    "ar bg bn ca cs cy da de el en es et eu fa fi fr ga gl gu he hi hr hu hy is it ja ka kn ko lt lv mk ml mr ms mt nb "
    "nl nn no pa pl pt ro ru sk sl sq sr sv sw ta te th tr uk ur vi zh"
)
LANGUAGES = frozenset(_CODES.split())
_HEADS = "image video audio series pose graph table boxes mask spans text label value group"
HEADS = tuple(_HEADS.split())
ONE_COLUMN = ("image", "video", "audio", "series", "pose", "graph", "boxes", "mask", "spans", "value", "group")
_KEY = re.compile(rf"({'|'.join(HEADS)})(\.[A-Za-z0-9_-]+)?(/[A-Za-z0-9_-]+)?")
_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?")
LOOKED = 100
"""Files per column whose presence is checked."""


def look(value: Any) -> str:
    """What one value seems to be; "" where it is missing."""
    if value is None or value == "" or value == [] or value == {} or value != value:
        return ""
    if isinstance(value, Blob):
        return media_of(value.data)
    if isinstance(value, str):
        if not value.strip():
            return ""
        ending = value[-8:].lower().rpartition(".")[2] if len(value) < 1024 and "." in value[-8:] else ""
        return COLUMNS.get(ending) or ("digits" if _NUMBER.fullmatch(value.strip()) else "text")
    if isinstance(value, bool):
        return "flag"
    if isinstance(value, int | float):
        return "number" if isinstance(value, float) else "integer"
    return _look_list(value) if isinstance(value, list) else type(value).__name__


def _look_list(value: list[Any]) -> str:
    first = value[0]
    if isinstance(first, str):
        return "text"
    if isinstance(first, dict):
        if {"size", "counts"} <= first.keys():
            return "masks"
        words = "lines" if isinstance(first.get("text"), str) else "boxes"
        return words if first.keys() & {"box", "bbox"} else "list"
    if isinstance(first, list):
        numbers = [v for v in value[:8] if isinstance(v, list) and all(isinstance(x, int | float) for x in v[:8])]
        if len(numbers) < len(value[:8]):
            return "series" if first and isinstance(first[0], list) else "list"
        return "boxes" if all(len(v) == 4 for v in numbers) else "series"
    numeric = all(isinstance(x, int | float) for x in value[:8])
    return ("boxes" if len(value) == 4 else "series") if numeric else "list"


def media_of(data: bytes) -> str:
    """Kind of the format that the first bytes are of, or "bytes"."""
    start = data[:1024]
    if looks_like_picture(start):
        return "image"
    if b"%PDF-" in start:
        return "document"
    if looks_like_audio(start):
        return "audio"
    if looks_like_video(start):
        return "video"
    head = start.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    return "page" if head.startswith((b"<!doctype html", b"<html")) else "bytes"


@dataclass
class Profile:
    """What the values of a column are: how many are there, how many of which kind, how long texts are, how many files
    that they name were looked for and how many are there, how many texts hold a space."""

    filled: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    length: int = 0
    spaced: int = 0
    looked: int = 0
    there: int = 0

    def see(self, value: Any, row: Row) -> None:
        """One more value."""
        kind = look(value)
        if not kind:
            return
        self.filled += 1
        self.kinds[kind] += 1
        if kind == "text" and isinstance(value, str):
            self.length += len(value)
            self.spaced += " " in value
        elif isinstance(value, str) and kind != "digits" and self.looked < LOOKED:
            self.looked += 1
            with suppress(OSError, ValueError):
                self.there += (row.base / value).is_file()

    def mostly(self, *kinds: str) -> bool:
        """Whether at least half of the values are of these kinds."""
        return self.filled > 0 and 2 * sum(self.kinds[k] for k in kinds) >= self.filled

    @property
    def is_text(self) -> bool:
        """Mostly strings that name no file."""
        return self.mostly("text", "digits")


Roles = dict[str, tuple[str, ...]]


class Profiles(dict[str, Profile]):
    """Profiles by column, in order of first appearance; `rows` counts the rows."""

    rows: int = 0

    def see(self, row: Row) -> None:
        """One row of the first pass."""
        self.rows += 1
        for column, value in row.values.items():
            if column not in self:
                self[column] = Profile()
            self[column].see(value, row)


def resolve(profiles: Profiles, given: Mapping[str, str], name: str) -> tuple[Roles, list[str]]:
    """Columns per key, in the order of HEADS; and what was understood, as sentences."""
    roles = {key: _parse(key, spec, list(profiles)) for key, spec in given.items()}
    found = _Inference(profiles, roles, [f"{key} <- {'+'.join(parts)} (given)" for key, parts in roles.items()])
    found.media()
    found.structured()
    if "text" not in roles:
        found.text()
    if not any(key.startswith("text.") for key in given):
        found.variants()
    if "label" not in found.heads:
        found.one("label", [c for c in LABELS if c in profiles and not found.names_media(c)])
    found.numbers()
    found.spans()
    if not roles.keys() - {"group"}:
        raise SensoriumError(
            f"{name} has no picture or text column; found {', '.join(list(profiles)[:12]) or 'none'}; "
            f"expected image, file_name, {', '.join(TEXTS[:4])} …, or name one with text=COLUMN"
        )
    return {key: roles[key] for key in sorted(roles, key=lambda k: (HEADS.index(_head(k)), k))}, found.notes


class _Inference:
    """Fills `roles` where nothing was given, and says why."""

    def __init__(self, profiles: Profiles, roles: Roles, notes: list[str]) -> None:
        self.profiles, self.roles, self.notes = profiles, roles, notes

    @property
    def heads(self) -> set[str]:
        return {_head(key) for key in self.roles}

    @property
    def taken(self) -> set[str]:
        return {c for parts in self.roles.values() for c in parts}

    def names_media(self, column: str) -> bool:
        return self.profiles[column].mostly(*MEDIA, "document", "page")

    def one(self, key: str, columns: Sequence[str], why: str = "") -> None:
        """The first of `columns` that has a value becomes `key`."""
        found = next((c for c in columns if c in self.profiles and self.profiles[c].filled), None)
        if found is not None:
            self.roles[key] = (found,)
            filled = f"{self.profiles[found].filled} of {self.profiles.rows} rows filled"
            self.notes.append(f"{key} <- {found} ({filled}{f'; {why}' if why else ''})")

    def media(self) -> None:
        """Pictures, films and sounds; a PDF is its first page."""
        for kind, order in MEDIA.items():
            if kind in self.heads:
                continue
            found = [c for c, p in self.profiles.items() if p.mostly(kind) and not self._absent(c, kind)]
            if kind == "image":
                found += [c for c in ("image", "file_name") if c in self.profiles and self._unclear(c)]
            self.one(kind, sorted(found, key=lambda c: _rank(c, order)))
        if "image" not in self.heads:
            self.one("image", [c for c, p in self.profiles.items() if p.mostly("document")], "first page")

    def _unclear(self, column: str) -> bool:
        """A column whose name promises pictures and whose values are neither media nor plain numbers."""
        return not self.names_media(column) and not self.profiles[column].mostly("series", "boxes")

    def _absent(self, column: str, kind: str) -> bool:
        """Names of files of which none is there; in a metadata file that is an error of each row instead."""
        p = self.profiles[column]
        if column == "file_name" or p.there or (p.looked < p.filled and p.looked < LOOKED):
            return False
        self.notes.append(f"{kind}: {column!r} names files, but none of the first {p.looked} is there; left out")
        return True

    def structured(self) -> None:
        """Series, poses, molecules, boxes, masks."""
        of = self.profiles.items()
        if not {"series", "pose"} & self.heads:
            self.one("pose", [c for c, p in of if c in POSES and p.mostly("series", "boxes")])
            self.one("series", [c for c, p in of if c not in (*POSES, *BOXES, *SPANS) and p.mostly("series")])
        if "graph" not in self.heads and (found := [c for c, p in of if c.lower() in GRAPHS and p.is_text]):
            if find_spec("rdkit"):
                self.one("graph", found)
            else:
                self.notes.append(f"{found[0]} looks like molecules; pip install 'sensorium[molecules]' reads them")
        if "boxes" not in self.heads:
            found = [c for c in BOXES if c in self.profiles and self.profiles[c].mostly("boxes", "lines")]
            self.one("boxes", found, box_format(found[0]) if found else "")
        if "mask" not in self.heads:
            self.one("mask", [c for c in MASKS if c in self.profiles and self.profiles[c].mostly("masks")])

    def text(self) -> None:
        """The candidate filled most often; ties by the order of TEXTS, the plain name before name_en before name_fr."""
        named = [(*language(c), c) for c, p in self.profiles.items() if p.is_text and c not in self.taken]
        order = sorted((TEXTS.index(stem), lang != "", lang != "en", c) for stem, lang, c in named if stem in TEXTS)
        if found := [c for *_, c in order]:
            best = max(found, key=lambda c: self.profiles[c].filled)  # max keeps the first of equals
            stem = language(best)[0]
            others = [c for c in found if c != best and language(c)[0] != stem][:3]
            self.one("text", [best], "; ".join(f"{c} was filled in {self.profiles[c].filled}" for c in others))
        elif codes := sorted((c != "en", c) for _, _, c in named if c in LANGUAGES):
            self.one("text", [codes[0][1]])
        elif written := [c for c, p in self.profiles.items() if p.mostly("document", "page")]:
            self.one("text", written, "the text of its pages")
        elif lines := [c for c, p in self.profiles.items() if p.mostly("lines")]:
            self.one("text", lines, "its words with boxes")
        elif longest := [c for _, _, c in named if 2 * self.profiles[c].spaced >= self.profiles[c].filled]:
            best = max(longest, key=lambda c: self.profiles[c].length / self.profiles[c].filled)
            self.one("text", [best], "no column has a usual name; these texts are the longest")

    def variants(self) -> None:
        """Further languages, negatives and long texts beside the text."""
        if len(self.roles.get("text", ())) != 1:
            return
        text = self.roles["text"][0]
        for column, p in self.profiles.items():
            lang = column if text in LANGUAGES and column in LANGUAGES and column != text else ""
            if not text_of(text, column) and not lang:
                continue
            if p.is_text and (lang or language(column)[1]):
                self.one(f"text.{lang or language(column)[1]}", [column])
        for key, names in (("text/negative", NEGATIVES), ("text.long", LONGS)):
            if key not in self.roles:
                self.one(key, [c for c in names if c in self.profiles and self.profiles[c].is_text])

    def spans(self) -> None:
        """What the boxes are called in the text: stretches of characters, beside the text that they count."""
        if "spans" not in self.heads and "boxes" in self.heads:
            self.one("spans", [c for c in SPANS if c in self.profiles and self.profiles[c].mostly("series")])
        if "spans" not in self.roles:
            return
        if len(self.roles.get("text", ())) != 1:
            raise SensoriumError("spans count the characters of a text; expected text=COLUMN, of one column")
        self.roles["spans"] += self.roles["text"]

    def numbers(self) -> None:
        """A value to predict, and a table where there is nothing else."""
        numeric = [
            c for c, p in self.profiles.items() if p.mostly("number", "integer", "digits") and c not in self.taken
        ]
        floats = [c for c in numeric if self.profiles[c].kinds["number"] or self.profiles[c].kinds["digits"]]
        if "value" not in self.heads:
            named = [c for c in VALUES if c in numeric]
            alone = [c for c in floats if c.lower() not in NO_VALUES]
            if named:
                self.one("value", named)
            elif len(alone) == 1 and not self.heads & set(MEDIA):
                self.one("value", alone, "the only number that is no measure of another column")
        if not self.heads - {"label", "value", "group"} and "table" not in self.heads:
            columns = [c for c in numeric if c not in self.taken and not c.lower().endswith("id")]
            columns += [c for c, p in self.profiles.items() if p.mostly("flag")]
            if columns:
                self.roles["table"] = tuple(columns)
                self.notes.append(f"table <- {'+'.join(columns)}")


def text_of(text: str, column: str) -> bool:
    """Whether a column is the text in some language: name and name_fr, name_en and name_fr, name_fr and name."""
    return language(column)[0] == language(text)[0]


def box_format(column: str) -> Literal["xywh", "xyxy"]:
    """COCO's `bbox` is x y width height; every other name is read as two corners."""
    return "xywh" if column in ("bbox", "bboxes") else "xyxy"


def language(column: str) -> tuple[str, str]:
    """name_fr -> ("name", "fr"); a column without a language ending -> (column, "")."""
    stem, _, ending = column.rpartition("_")
    return (stem, ending) if stem and ending in LANGUAGES else (column, "")


def _head(key: str) -> str:
    return re.split(r"[./]", key)[0]


def _parse(key: str, spec: str, columns: Sequence[str]) -> tuple[str, ...]:
    if not _KEY.fullmatch(key):
        raise SensoriumError(f"role {key!r} is unknown{nearest(_head(key), HEADS)}")
    parts = (spec,) if spec in columns else tuple(part.strip() for part in spec.split("+"))
    for part in parts:
        if part not in columns:
            raise SensoriumError(f"{key}={spec}: no column {part!r}{nearest(part, columns)}")
    if len(parts) > 1 and _head(key) in ONE_COLUMN:
        what = "a picture" if _head(key) == "image" else f"{_head(key)!r}"
        raise SensoriumError(f"{key}={spec}: {what} comes from one column")
    return parts


def _rank(column: str, order: Sequence[str]) -> int:
    return order.index(column) if column in order else len(order)
