"""The result of a race as a person reads it: a table in the terminal, one HTML file that opens offline."""

from __future__ import annotations

import json
from pathlib import Path
from stat import S_IMODE
from typing import Any

from sensorium.core import SensoriumError

from . import charts
from .page import render
from .table import VERDICT, columns, finite, print_result, rows, table_text

__all__ = ["of_race", "print_result", "table_text", "write"]


def _read(folder: Path, name: str) -> Any:
    try:
        return finite(json.loads((folder / name).read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise SensoriumError(f"{folder} holds no finished race: it has no {name}") from None
    except ValueError as problem:
        raise SensoriumError(f"{folder / name} is not readable as JSON ({problem}); run the race again") from None


def of_race(folder: Path) -> dict[str, Any]:
    """What `race.html` shows of a finished race: its three files, table and charts, by the template's names.

    Raises:
        SensoriumError: a folder without a finished race, a file that is not readable.
    """
    race, table = _read(folder, "race.json"), _read(folder, "table.json")
    return {
        "charts": charts.all_of(race, table),
        "race": race,
        "table": table,
        "columns": columns(race),
        "verdict_at": VERDICT,
        "rows": rows(race, table),
        "retrievals": _read(folder, "retrievals.json") if (folder / "retrievals.json").is_file() else [],
    }


def write(folder: Path) -> Path:
    """Write report.html from race.json, table.json and retrievals.json: everything inline, nothing fetched."""
    from sensorium.data.cache import write_atomic

    page = render("page.html", **of_race(folder))
    path = folder / "report.html"
    write_atomic(path, page)
    path.chmod(S_IMODE((folder / "race.json").stat().st_mode))  # as readable as the race itself
    return path
