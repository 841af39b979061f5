"""Where stored results live, and how a file is written: a crash leaves the old one or the new one, never half."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from secrets import token_hex

from sensorium.core import SensoriumError


def home() -> Path:
    """$SENSORIUM_HOME, else ~/.cache/sensorium. Not created here."""
    given = os.environ.get("SENSORIUM_HOME", "")
    return Path(given).expanduser() if given else Path.home() / ".cache" / "sensorium"


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path in the same folder to write to; on leaving: fsync, rename over `path`, fsync the folder.

    An OSError becomes one SensoriumError that names the path; the temporary file never stays.
    """
    tmp: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        tmp = path.with_name(f".{path.name[:80]}.{os.getpid()}.{token_hex(4)}.tmp")
        tmp.touch(exist_ok=False)  # not mkstemp: results are for others to read, as far as the umask lets them
        yield tmp
        _fsync(tmp)
        os.replace(tmp, path)
        _fsync(path.parent)
    except OSError as error:
        raise SensoriumError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        if tmp is not None:
            with suppress(OSError):
                tmp.unlink(missing_ok=True)


def write_atomic(path: Path, data: bytes) -> None:
    """`data` to `path`, whole or not at all."""
    with replacing(path) as tmp:
        tmp.write_bytes(data)


def _fsync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
