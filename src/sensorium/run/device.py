"""Device, threads and cost: set here and nowhere else."""

from __future__ import annotations

import platform
import resource
import time
from importlib.metadata import PackageNotFoundError, version

import torch


def settle(threads: int = 1) -> torch.device:
    """Fix the thread count (one unless asked) and pick cuda, mps or cpu, in that order."""
    torch.set_num_threads(threads)
    if torch.cuda.is_available():
        return torch.device("cuda")
    if torch.backends.mps.is_available():
        return torch.device("mps")
    return torch.device("cpu")


class Meter:
    """CPU-seconds of this process since the meter was made."""

    def __init__(self) -> None:
        self._start = time.process_time()

    @property
    def seconds(self) -> float:
        """User and system time so far."""
        return time.process_time() - self._start


def peak_mb() -> float:
    """Largest resident size of this process so far, in MB (macOS counts bytes, Linux KiB)."""
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
