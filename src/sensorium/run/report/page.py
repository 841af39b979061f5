"""A page that opens offline: one HTML file with style, scripts and charts inline; nothing is fetched."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .table import number
from .vega import Chart

if TYPE_CHECKING:
    from jinja2 import Environment

HERE = Path(__file__).parent
SCRIPTS = ("vega", "vega-lite", "vega-embed")


def render(template: str, charts: Sequence[Chart], **values: Any) -> bytes:
    """The template with its charts (`draw.js` draws them) and values, every text escaped."""
    found = environment().get_template(template)
    scripts = [_script(name) for name in SCRIPTS]
    return found.render(charts=charts, specs=specs(charts), scripts=scripts, **values).encode(errors="replace")


def environment(*folders: Path) -> Environment:
    """The templates of `folders`, then those of the reports; every text is escaped."""
    from jinja2 import Environment, FileSystemLoader

    loader = FileSystemLoader([*folders, HERE])
    found = Environment(loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True)
    found.filters["number"] = number
    return found


def specs(charts: Sequence[Chart]) -> str:
    """The specifications by name as JSON that may stand inside a script element."""
    return json.dumps({c.name: c.spec for c in charts}, allow_nan=False).replace("<", "\\u003c")


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
