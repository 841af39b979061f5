"""The result of a race as a person reads it: a table in the terminal, one HTML file that opens offline."""

from __future__ import annotations

import json
from pathlib import Path
from stat import S_IMODE
from typing import Any

from sensorium.core import SensoriumError

from . import charts
from .table import VERDICT, columns, finite, number, print_result, rows, table_text

HERE = Path(__file__).parent
SCRIPTS = ("vega", "vega-lite", "vega-embed")

__all__ = ["print_result", "table_text", "write"]


def _read(folder: Path, name: str) -> Any:
    try:
        return finite(json.loads((folder / name).read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise SensoriumError(f"{folder} holds no finished race: it has no {name}") from None
    except ValueError as problem:
        raise SensoriumError(f"{folder / name} is not readable as JSON ({problem}); run the race again") from None


def _script(name: str) -> str:
    """A vendored script after its licences, that may stand inside a script element. Only a closing tag could end it:
    `</` by itself also stands in regular expressions, where a backslash would change the meaning."""
    source, *licences = (
        (HERE / "assets" / f"{name}.{end}").read_text(encoding="utf-8") for end in ("min.js", "LICENSE", "THIRD-PARTY")
    )
    licence = "\n".join(licences)
    whole = f"/*! {name}\n{licence}*/\n{source}"
    if "</script" in whole.lower() or "*/" in licence:
        raise ValueError(f"{name} would end its script element or its comment")
    return whole


def write(folder: Path) -> Path:
    """Write report.html from race.json, table.json and retrievals.json: everything inline, nothing fetched."""
    from jinja2 import Environment, FileSystemLoader

    from sensorium.data.cache import write_atomic

    race, table = _read(folder, "race.json"), _read(folder, "table.json")
    found = _read(folder, "retrievals.json") if (folder / "retrievals.json").is_file() else []
    shown = charts.all_of(race, table)
    environment = Environment(loader=FileSystemLoader(HERE), autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters["number"] = number
    page = environment.get_template("page.html").render(
        race=race,
        table=table,
        columns=columns(race),
        verdict_at=VERDICT,
        rows=rows(race, table),
        retrievals=found,
        charts=shown,
        specs=json.dumps({c.name: c.spec for c in shown}, allow_nan=False).replace("<", "\\u003c"),
        scripts=[_script(name) for name in SCRIPTS],
    )
    path = folder / "report.html"
    write_atomic(path, page.encode(errors="replace"))
    path.chmod(S_IMODE((folder / "race.json").stat().st_mode))  # as readable as the race itself
    return path
