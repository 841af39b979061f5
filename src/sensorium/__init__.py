"""Sensorium: published ideas of multimodal learning as interchangeable parts.

    import sensorium as sm
    photos = sm.Dataset("photos/")
    board = sm.race(["clip", "filip", "mine.py"], photos, budget="5m", seeds=5)
    board.report("report.html")
    sm.search(board.best, photos, "a red kite")

Names are loaded when they are first used, so that importing the package costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from sensorium.api import Board, race, search, train
    from sensorium.data.dataset import Dataset
    from sensorium.run.runs import Model, load

_WHERE = {
    "Board": "sensorium.api",
    "Dataset": "sensorium.data.dataset",
    "Model": "sensorium.run.runs",
    "load": "sensorium.run.runs",
    "race": "sensorium.api",
    "search": "sensorium.api",
    "train": "sensorium.api",
}
__all__ = ["Board", "Dataset", "Model", "load", "race", "search", "train"]


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module 'sensorium' has no attribute {name!r}")
    return getattr(import_module(_WHERE[name]), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
