"""Where bytes lie, as a text: a file, a cell of a Parquet file, a stretch of an archive."""

from __future__ import annotations

from pathlib import Path

from .limits import Refused
from .sources import parquet, tar


def fetch(at: str) -> bytes:
    """The bytes at a place ("file:PATH", "parquet:PATH#COLUMN#ROW", "tar:PATH#OFFSET#SIZE"), read anew."""
    scheme, _, rest = at.partition(":")
    try:
        if scheme == "file":
            return Path(rest).read_bytes()
        path, first, second = rest.rsplit("#", 2)
        if scheme == "parquet":
            return parquet.fetch(path, first, int(second))
        return tar.fetch(path, int(first), int(second))
    except OSError as error:
        raise Refused(f"cannot be read: {error.strerror or error}") from error


def find(value: str, base: Path, root: Path) -> Path:
    """A path in a row -> the file; Refused if it is a URL, missing, no file, or outside `root`."""
    if "://" in value[:12]:
        raise Refused("is a URL; nothing is fetched")
    try:
        path = (base / value).resolve()
        if not path.is_relative_to(root.resolve()):
            raise Refused("path outside the folder")
        if not path.exists():
            raise Refused("file is missing")
        if not path.is_file():
            raise Refused("is not a file")
    except (OSError, ValueError) as error:
        raise error if isinstance(error, Refused) else Refused("path is not valid") from error
    return path
