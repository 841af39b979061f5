"""The report: complete, escaped, offline, and its charts are valid Vega-Lite."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import altair
import pytest

from sensorium.core import SensoriumError
from sensorium.run.report import charts, table_text, write
from sensorium.run.report.table import rows

HOSTILE = "<script>alert(1)</script>"
PIXEL = "data:image/png;base64,iVBORw0KGgo="


def _difference(mean: float, verdict: str, holm: bool = True) -> dict[str, Any]:
    low, high = mean - 0.02, mean + 0.02
    return {
        "mean": mean,
        "low": low,
        "high": high,
        "p": 0.01,
        "item_low": low,
        "item_high": high,
        "verdict": verdict,
        "holm": holm,
    }


def _entrant(label: str, score: float, **more: Any) -> dict[str, Any]:
    values = [score, score + 0.01, score - 0.01]
    return {
        "paper": label,
        "label": label,
        "title": label,
        "mechanism": "m",
        "partial": None,
        "trained": True,
        "baseline": False,
        "rate": 0.003,
        "scores": {
            "r@1": {"mean": score, "sd": 0.01, "values": values},
            "r@10@16": {"mean": None, "sd": None, "values": []},
        },
        "cost": {"samples": 1000, "cpu_s": 2.0, "parameters": 4000, "peak_mb": 500},
        "differences": {"r@1": _difference(0.05, "better"), "r@10@16": _difference(0.2, "better", holm=False)},
        "curve": {"samples": [10, 20], "values": [[0.1, 0.2], [0.1, 0.3], [0.1, 0.25]]},
    } | more


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    metrics = [
        {"name": "r@1", "label": "R@1", "higher": True, "primary": True, "help": "first"},
        {"name": "r@10@16", "label": "R@10 at 16", "higher": True, "primary": False, "help": "cut"},
    ]
    data = {
        "path": "d",
        "name": HOSTILE,
        "rows": 100,
        "test_rows": 20,
        "roles": {"image": "image", "text": "caption"},
        "notes": [],
        "quarantined": [{"source": f"a.jsonl:{i}", "key": "text", "reason": HOSTILE} for i in range(25)],
        "split": "redrawn",
        "overlap": None,
    }
    race = {
        "format": 1,
        "task": "retrieval",
        "metrics": metrics,
        "baseline": "baseline/clip",
        "rates": [0.001, 0.003],
        "data": data,
        "budget": {"asked": "5m", "cpu_s": 300.0, "samples": 1000, "batch": 10, "note": ""},
        "towers": {"image": "scratch"},
        "left_out": [{"paper": "kelip", "reason": "needs a further text"}],
        "seeds": [0, 1, 2],
        "command": "sensorium race d",
        "env": {"python": "3.11"},
        "features_cpu_s": 1.0,
        "used_cpu_s": 200.0,
        "chance": {"r@1": 0.05},
    }
    base = _entrant("clip", 0.3, baseline=True, reference=True)
    del base["differences"]
    still = _entrant("ridge", 0.2, trained=False, rate=None, curve={"samples": [], "values": [[], [], []]})
    still["differences"] = {"r@1": _difference(-0.1, "worse", holm=False)}
    unknown = _entrant("odd", 0.25)
    unknown["differences"]["r@1"] = {"mean": None, "low": None, "high": None, "p": None, "verdict": "undecided"}
    table = {
        "sentence": f"filip wins {HOSTILE}",
        "notes": ["filip is better"],
        "best": "filip",
        "rival": "filip",
        "entrants": [_entrant("filip", 0.35, partial="a part"), base, unknown, still],
    }
    hit = {"id": HOSTILE, "thumb": PIXEL, "score": 0.4, "right": True}
    found = [{"query": HOSTILE, "truth": hit, "best": [hit], "baseline": [hit | {"right": False}]}]
    for name, value in (("race", race), ("table", table), ("retrievals", found)):
        (tmp_path / f"{name}.json").write_text(json.dumps(value))
    return tmp_path


class _Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.scripts, self.links, self.words = 0, [], ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.scripts += tag == "script"
        self.links += [v for k, v in attrs if k in ("src", "href") and v]

    def handle_data(self, data: str) -> None:
        self.words += data if len(data) < 5000 else ""


def test_the_page_is_whole_escaped_and_offline(folder: Path) -> None:
    page = write(folder).read_text(encoding="utf-8")
    parsed = _Page()
    parsed.feed(page)
    assert parsed.scripts == 5  # the specs, three vendored scripts, the starter: no hostile one
    assert all(link.startswith("data:") for link in parsed.links)
    for word in (
        "filip",
        "clip",
        "ridge",
        "odd",
        "missing: a part",
        "needs a further text",
        "25 rows were set aside",
        HOSTILE,
    ):
        assert word in parsed.words, word
    assert parsed.words.count("a.jsonl:") == 20


def test_vendored_scripts_stand_unchanged_in_the_page(folder: Path) -> None:
    page = write(folder).read_text(encoding="utf-8")
    for script in Path(charts.__file__).parent.glob("assets/*.min.js"):
        assert script.read_text(encoding="utf-8") in page, script.name


def test_charts_are_valid_vega_lite(folder: Path) -> None:
    race, table = (json.loads((folder / f"{n}.json").read_text()) for n in ("race", "table"))
    specs = charts.all_of(race, table)
    assert set(specs) == {"forest", "measures", "curves", "cost"}
    for spec in specs.values():
        altair.Chart.from_dict(spec, validate=True)
    assert [v["entrant"] for v in specs["forest"]["data"]["values"]] == ["filip", "ridge"]  # no number, no interval
    assert {v["entrant"] for v in specs["curves"]["data"]["values"]} == {"filip", "clip 0.003", "odd"}


def test_a_table_without_a_decided_difference_has_no_second_forest(folder: Path) -> None:
    race, table = (json.loads((folder / f"{n}.json").read_text()) for n in ("race", "table"))
    for e in table["entrants"]:
        for d in e.get("differences", {}).values():
            d["verdict"] = "undecided"
    assert "measures" not in charts.all_of(race, table)


def test_the_table_marks_best_reference_and_what_holm_drops(folder: Path) -> None:
    race, table = (json.loads((folder / f"{n}.json").read_text()) for n in ("race", "table"))
    lines = {line.name: line for line in rows(race, table)}
    assert lines["filip"].verdict == "better" and lines["filip"].best[0]
    assert lines["clip 0.003"].verdict == "reference" and not lines["clip 0.003"].best[0]
    assert lines["ridge"].verdict == "worse*"
    assert lines["ridge"].cells[1] == "-0.100 [-0.120, -0.080]"
    assert lines["chance"].cells[0] == "0.050"
    text = table_text(race, table)
    assert re.search(r"filip\s+0\.350 ± 0\.010\s+\+0\.050 \[\+0\.030, \+0\.070\]\s+better", text)


def test_a_folder_without_a_finished_race_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(SensoriumError, match=r"holds no finished race: it has no race\.json"):
        write(tmp_path)
