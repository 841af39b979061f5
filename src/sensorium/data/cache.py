"""Where stored results live, and how a file is written: a crash leaves the old one or the new one, never half."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from secrets import token_hex

import numpy as np
import xxhash
from numpy.typing import DTypeLike

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


def mapped(path: Path, shape: tuple[int, ...], dtype: DTypeLike) -> np.ndarray | None:
    """A stored array, memory-mapped copy-on-write, if it is whole: shape, type and checksum; else None."""
    try:
        out: np.ndarray = np.load(path, mmap_mode="c", allow_pickle=False)
        wanted = path.with_suffix(".xxh3").read_text("ascii")
    except (OSError, ValueError, EOFError):
        return None
    good = out.shape == shape and out.dtype == dtype and xxhash.xxh3_128_hexdigest(out.data) == wanted
    return out if good else None


def store_mapped(
    path: Path, shape: tuple[int, ...], dtype: DTypeLike, fill: Callable[[np.ndarray], None]
) -> np.ndarray:
    """Fill an array on disk through `fill`, with its checksum beside it, and map it."""
    with replacing(path) as tmp:
        out = np.lib.format.open_memmap(tmp, mode="w+", dtype=dtype, shape=shape)
        fill(out)
        out.flush()
        digest = xxhash.xxh3_128_hexdigest(out.data)
        del out
    write_atomic(path.with_suffix(".xxh3"), digest.encode())
    if (stored := mapped(path, shape, dtype)) is None:
        raise SensoriumError(f"{path} changed while it was written; try again")
    return stored


def _fsync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
