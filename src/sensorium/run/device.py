"""Device, threads and cost: set here and nowhere else."""

from __future__ import annotations

import contextlib
import platform
import resource
import time
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from sensorium.core import SensoriumError


def settle(threads: int = 1) -> torch.device:
    """Fix the thread count (one unless asked) and pick cuda, mps or cpu, in that order."""
    torch.set_num_threads(threads)
    if torch.cuda.is_available():
        return torch.device("cuda")
    if torch.backends.mps.is_available():
        return torch.device("mps")
    return torch.device("cpu")


class Meter:
    """CPU-seconds and peak memory of this process since the meter was made."""

    def __init__(self) -> None:
        self._start = time.process_time()
        # Linux can forget the peak so far, which a worker's earlier runs have set; elsewhere it is the process's own.
        with contextlib.suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")

    @property
    def seconds(self) -> float:
        """User and system time so far."""
        return time.process_time() - self._start

    @property
    def peak_mb(self) -> float:
        """Largest resident size so far, in MB."""
        with contextlib.suppress(OSError, StopIteration):
            lines = Path("/proc/self/status").read_text().splitlines()
            return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 1024
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak / (1 << 20 if platform.system() == "Darwin" else 1 << 10)


def environment() -> dict[str, str]:
    """What a reader needs to repeat a run: versions and machine."""
    found = {
        "python": platform.python_version(),
        "platform": platform.platform(terse=True),
        "machine": platform.machine(),
        "threads": str(torch.get_num_threads()),
    }
    for package in ("sensorium", "torch", "numpy", "tokenizers", "transformers"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


@contextlib.contextmanager
def enough_memory(batch: int) -> Iterator[None]:
    """One clear line where memory, the machine's or the accelerator's, runs out."""
    try:
        yield
    except (MemoryError, RuntimeError) as problem:
        # On the CPU torch has no error of its own for it.
        if not isinstance(problem, MemoryError | torch.OutOfMemoryError) and "can't allocate memory" not in str(
            problem
        ):
            raise
        first = str(problem).partition("\n")[0]
        raise SensoriumError(f"out of memory at batch {batch}; a smaller one needs less ({first})") from problem
