"""The result of a race as a person reads it: a table in the terminal, one HTML file that opens offline."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sensorium.core import SensoriumError

from . import charts
from .table import columns, print_result, rows, table_text

HERE = Path(__file__).parent
SCRIPTS = ("vega", "vega-lite", "vega-embed")

__all__ = ["print_result", "table_text", "write"]


def _read(folder: Path, name: str) -> Any:
    try:
        return json.loads((folder / name).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise SensoriumError(f"{folder} holds no finished race: it has no {name}") from None


def _script(name: str) -> str:
    """A vendored script that may stand inside a script element. Only a closing tag could end it: `</` by itself also
    stands in regular expressions, where a backslash would change the meaning."""
    source = (HERE / "assets" / f"{name}.min.js").read_text(encoding="utf-8")
    if "</script" in source.lower():
        raise ValueError(f"{name}.min.js holds a closing script tag")
    return source


def write(folder: Path) -> Path:
    """Write report.html from race.json, table.json and retrievals.json: everything inline, nothing fetched."""
    from jinja2 import Environment, FileSystemLoader

    from sensorium.data.cache import write_atomic

    race, table = _read(folder, "race.json"), _read(folder, "table.json")
    found = _read(folder, "retrievals.json") if (folder / "retrievals.json").is_file() else []
    specs: Mapping[str, Any] = charts.all_of(race, table)
    environment = Environment(loader=FileSystemLoader(HERE), autoescape=True, trim_blocks=True, lstrip_blocks=True)
    page = environment.get_template("page.html").render(
        race=race,
        table=table,
        columns=columns(race),
        rows=rows(race, table),
        retrievals=found,
        charts=charts.TITLES,
        present=[name for name in charts.TITLES if name in specs],
        specs=json.dumps(specs, allow_nan=False).replace("<", "\\u003c"),
        scripts=[_script(name) for name in SCRIPTS],
    )
    path = folder / "report.html"
    write_atomic(path, page.encode())
    return path
