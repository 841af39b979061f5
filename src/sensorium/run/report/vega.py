"""What the charts of every page share.

Lines and words of a chart are drawn in `currentColor`, so that one chart serves a light page, a dark page and paper;
the other colours have a contrast of at least 3 to 1 on white and on near-black.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

SCHEMA = "https://vega.github.io/schema/vega-lite/v6.json"
INK = "currentColor"
PALETTE = [
    *("#4c78d0", "#d9730d", "#2da44e", "#d6336c", "#8b63d9", "#0f9aa8"),
    *("#a0722a", "#85858f", "#b84fc0", "#7a8f00", "#e5534b", "#3d8fd1"),
]
DASHES = [[1, 0], [7, 3], [3, 3], [9, 3, 3, 3], [14, 4]]
CONFIG = {
    "font": "system-ui, sans-serif",
    "axis": {
        **{"labelColor": INK, "titleColor": INK, "domainColor": INK, "tickColor": INK, "gridColor": INK},
        **{"gridOpacity": 0.14, "labelFontSize": 12, "titleFontSize": 13, "titleFontWeight": "normal"},
    },
    "legend": {"labelColor": INK, "titleColor": INK, "labelFontSize": 12, "labelLimit": 260},
    "text": {"color": INK},
    "rule": {"color": INK},
    "view": {"stroke": None},
}


@dataclass(frozen=True)
class Chart:
    """A chart, what it says in words, and its numbers for a reader who does not see it."""

    name: str
    title: str
    caption: str
    spec: dict[str, Any]
    heads: Sequence[str]
    rows: Sequence[Sequence[str]]

    @property
    def measure(self) -> bool:
        """Whether it shows another metric than the primary one."""
        return self.name.startswith("measure-")


def figure(height: int | dict[str, int], **more: Any) -> dict[str, Any]:
    """A Vega-Lite specification as wide as its place on the page."""
    return {
        "$schema": SCHEMA,
        "width": "container",
        "height": height,
        "background": "transparent",
        "autosize": {"type": "fit-x", "contains": "padding"},
        "config": CONFIG,
        **more,
    }
