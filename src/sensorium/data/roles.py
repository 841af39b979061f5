"""Which column is the picture, which the text: given by the person, else read from names and values."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sensorium.core import SensoriumError, nearest

from .media.image import ENDINGS, looks_like_picture
from .sources.table import Row

TEXTS = ("text", "caption", "captions", "sentence", "description", "alt_text", "alt", "title", "name", "label")
LABELS = ("label", "category", "class", "coarse_label")
IMAGES = ("image", "img", "picture", "photo", "file_name", "image_path", "path")
_CODES = (
    "ar bg bn ca cs cy da de el en es et eu fa fi fr ga gl gu he hi hr hu hy is it ja ka kn ko lt lv mk ml mr ms mt nb "
    "nl nn no pa pl pt ro ru sk sl sq sr sv sw ta te th tr uk ur vi zh"
)
LANGUAGES = frozenset(_CODES.split())
HEADS = ("image", "text", "label")
_KEY = re.compile(r"(image|text|label)(\.[A-Za-z0-9_-]+)?(/[A-Za-z0-9_-]+)?")


@dataclass(frozen=True)
class Profile:
    """How many values of a column are there, are texts, look like pictures."""

    filled: int
    strings: int
    pictures: int

    @property
    def is_text(self) -> bool:
        """Mostly strings that name no picture."""
        return self.filled > 0 and 2 * self.strings >= self.filled and not self.is_picture

    @property
    def is_picture(self) -> bool:
        """Mostly pictures or names of picture files."""
        return self.filled > 0 and 2 * self.pictures >= self.filled


Roles = dict[str, tuple[str, ...]]


def profile(rows: Sequence[Row], column: str) -> Profile:
    """Counts over all rows."""
    values = [v for row in rows if not _missing(v := row.values.get(column))]
    strings = sum(isinstance(v, (str, list)) for v in values)
    return Profile(len(values), strings, sum(map(_is_picture, values)))


def resolve(
    rows: Sequence[Row], columns: Sequence[str], given: Mapping[str, str], name: str
) -> tuple[Roles, list[str]]:
    """Columns per key, in the order image, text, text variants, label; and what was understood, as sentences."""
    profiles = {c: profile(rows, c) for c in columns}
    roles = {key: _parse(key, spec, columns) for key, spec in given.items()}
    notes = [f"{key} <- {'+'.join(parts)} (given)" for key, parts in roles.items()]
    heads = {re.split(r"[./]", key)[0] for key in roles}
    if "image" not in heads:
        _add_image(roles, notes, profiles, len(rows))
    if "text" not in roles:
        _add_text(roles, notes, profiles, len(rows))
    if not any(key.startswith("text.") for key in given):
        _add_variants(roles, notes, profiles, len(rows))
    if "label" not in heads:
        _add_label(roles, notes, profiles, len(rows))
    if not any(key.startswith(("image", "text")) for key in roles):
        raise SensoriumError(
            f"{name} has no picture or text column; found {', '.join(columns[:12]) or 'none'}; "
            f"expected image, file_name, {', '.join(TEXTS[:4])} …, or name one with text=COLUMN"
        )
    return {key: roles[key] for key in sorted(roles, key=lambda k: (HEADS.index(_head(k)), k))}, notes


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
    if len(parts) > 1 and _head(key) == "image":
        raise SensoriumError(f"{key}={spec}: a picture comes from one column")
    return parts


def _missing(value: Any) -> bool:
    if isinstance(value, dict):
        return not any(value.values())
    if isinstance(value, str):
        return not value.strip()
    return value is None or value == [] or value == b"" or value != value


def _is_picture(value: Any) -> bool:
    if isinstance(value, dict):
        return "bytes" in value and _is_picture(value["bytes"] or value.get("path"))
    if isinstance(value, bytes):
        return looks_like_picture(value)
    return isinstance(value, str) and len(value) < 1024 and value.lower().endswith((*ENDINGS, ".svg"))


def _rank(column: str, order: Sequence[str]) -> int:
    return order.index(column) if column in order else len(order)


def _add_image(roles: Roles, notes: list[str], profiles: Mapping[str, Profile], n: int) -> None:
    found = [c for c, p in profiles.items() if p.is_picture or (p.filled and c in ("image", "file_name"))]
    if found:
        best = min(found, key=lambda c: _rank(c, IMAGES))
        roles["image"] = (best,)
        notes.append(f"image <- {best} ({profiles[best].filled} of {n} rows filled)")


def _add_text(roles: Roles, notes: list[str], profiles: Mapping[str, Profile], n: int) -> None:
    """The candidate filled most often; ties by the order of TEXTS, the plain name before name_en before name_fr."""
    taken = {c for parts in roles.values() for c in parts}
    named = [(*language(c), c) for c in profiles if profiles[c].is_text and c not in taken]
    order = sorted((TEXTS.index(stem), lang != "", lang != "en", c) for stem, lang, c in named if stem in TEXTS)
    found = [c for *_, c in order]
    if found:
        best = max(found, key=lambda c: profiles[c].filled)  # max keeps the first of equals
        roles["text"] = (best,)
        stem = language(best)[0]
        others = [f"{c} was filled in {profiles[c].filled}" for c in found if c != best and language(c)[0] != stem]
        notes.append(f"text <- {best} ({'; '.join([f'{profiles[best].filled} of {n} rows filled', *others[:3]])})")


def _add_variants(roles: Roles, notes: list[str], profiles: Mapping[str, Profile], n: int) -> None:
    if len(roles.get("text", ())) != 1:
        return
    stem = language(roles["text"][0])[0]
    for column, p in profiles.items():
        if language(column)[0] == stem and (lang := language(column)[1]) and p.is_text:
            roles[f"text.{lang}"] = (column,)
            notes.append(f"text.{lang} <- {column} ({p.filled} of {n} rows filled)")


def _add_label(roles: Roles, notes: list[str], profiles: Mapping[str, Profile], n: int) -> None:
    found = [c for c in LABELS if c in profiles and profiles[c].filled and not profiles[c].is_picture]
    if found:
        roles["label"] = (found[0],)
        notes.append(f"label <- {found[0]} ({profiles[found[0]].filled} of {n} rows filled)")
