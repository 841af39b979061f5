"""What a decoder may use, and why a value is refused."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """Upper bounds of one value: pixels of a frame; bytes of a file; frames of a picture or clip; characters of a text;
    bytes that a table or archive may unpack to; seconds of sound or film; pages of a document; depth of nesting; wall
    seconds that a guarded decoder may take, and the bytes that it may hold."""

    pixels: int = 64_000_000
    bytes: int = 256 << 20
    frames: int = 256
    text: int = 1_000_000
    table: int = 8 << 30
    seconds: float = 3600.0
    pages: int = 1000
    depth: int = 256
    patience: float = 20.0
    memory: int = 2 << 30


class Refused(ValueError):
    """Why a value is not read."""


@dataclass(frozen=True)
class Seen:
    """What a full check of one value found: why it is refused ("" where it is not), the near hash of a picture (0 where
    there is none), what it is in a few words ("112x112", "5.0 s, 44100 Hz, mono"), and what a person should know of it
    ("silent", "embedded files ignored")."""

    reason: str = ""
    near: int = 0
    about: str = ""
    notes: tuple[str, ...] = ()
