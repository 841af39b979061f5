"""The report: complete, escaped, offline, and its charts are valid Vega-Lite."""

from __future__ import annotations

import json
import math
import random
import re
import stat
from html.parser import HTMLParser
from itertools import combinations
from pathlib import Path
from typing import Any

import altair
import pytest

from sensorium.core import SensoriumError
from sensorium.run.report import charts, print_result, table_text, write
from sensorium.run.report.table import columns, names, rows

HOSTILE = "<script>alert(1)</script>"
PIXEL = "data:image/gif;base64,R0lGODlhAQABAAAAACwAAAAAAQABAAA="
SEEDS = 5


def _difference(mean: float, verdict: str, holm: bool = True, half: float = 0.02) -> dict[str, Any]:
    found = {"mean": mean, "low": mean - half, "high": mean + half, "p": 0.01, "verdict": verdict, "holm": holm}
    return found | {"item_low": mean - 0.75 * half, "item_high": mean + 0.75 * half}


def _entrant(label: str, score: float, **more: Any) -> dict[str, Any]:
    rng = random.Random(label)
    values = [score + rng.uniform(-0.02, 0.02) for _ in range(SEEDS)]
    curve = [[score * (1 - math.exp(-i / 3)) + rng.uniform(-0.02, 0.02) for i in range(1, 9)] for _ in range(SEEDS)]
    return {
        "paper": label,
        "label": label,
        "title": f"{label.upper()}: a title.",
        "mechanism": f"What {label} does.",
        "partial": None,
        "trained": True,
        "baseline": False,
        "rate": 0.003,
        "scores": {
            "r@1": {"mean": score, "sd": 0.01, "values": values},
            "r@10": {"mean": min(1.0, 2 * score), "sd": 0.01, "values": values},
            "median_rank": {"mean": 1 / score, "sd": 0.5, "values": values},
        },
        "cost": {"samples": 102400, "cpu_s": rng.uniform(3, 5), "parameters": 426497, "peak_mb": 700.5},
        "differences": {"r@1": _difference(score - 0.3, "undecided", holm=False), "r@10": _difference(0.2, "better")},
        "curve": {"samples": [12800 * i for i in range(1, 9)], "values": curve},
    } | more


def _entrants() -> list[dict[str, Any]]:
    """Eight: the baseline at two rates, one without training, one with missing or infinite numbers, two namesakes."""
    base = {"paper": "baseline/clip", "baseline": True}
    clip, other = _entrant("clip", 0.3, **base, reference=True), _entrant("clip", 0.21, **base, rate=0.001)
    del clip["differences"], other["differences"]
    empty = {"samples": [], "values": [[] for _ in range(SEEDS)]}
    still = {"samples": 0, "cpu_s": 0.1, "parameters": 0, "peak_mb": 700.0}
    ridge = _entrant("ridge", 0.2, trained=False, rate=None, curve=empty, cost=still)
    ridge["differences"] = {"r@1": _difference(-0.1, "worse", holm=False)}
    odd = _entrant("odd", 0.25, cost={"samples": 1, "cpu_s": math.inf, "parameters": None})
    odd["scores"]["r@1"] = {"mean": math.nan, "sd": None, "values": [math.nan]}
    odd["scores"].pop("r@10")
    odd["differences"] = {"r@1": _difference(math.inf, "undecided"), "r@10": _difference(0.01, "undecided")}
    odd["differences"]["r@10"] |= {"item_low": None, "item_high": None}
    odd["curve"] = {"samples": [12800, 25600], "values": [[0.1], [math.nan, 0.2], [], [0.1, 0.3], [0.1, math.inf]]}
    filip = _entrant("filip", 0.35, partial="a part")
    filip["differences"]["r@1"] = _difference(0.05, "better")
    mine, yours = (_entrant("mine", 0.29, paper=f"{who}/mine.py") for who in ("me", HOSTILE))
    return [filip, clip, mine, yours, _entrant("brivl", 0.28), odd, other, ridge]


def _race() -> dict[str, Any]:
    metrics = [
        {"name": "r@10", "label": "R@10", "higher": True, "primary": False, "help": "among the first ten"},
        {"name": "r@1", "label": "R@1", "higher": True, "primary": True, "help": "comes first"},
        {"name": "median_rank", "label": "median rank", "higher": False, "primary": False, "help": "half by then"},
    ]
    return {
        "format": 1,
        "task": "retrieval",
        "metrics": metrics,
        "baseline": "baseline/clip",
        "rates": [0.001, 0.003],
        "data": {
            "path": "photos",
            "name": HOSTILE,
            "rows": 3436,
            "test_rows": 300,
            "roles": {"image": "image", "text": HOSTILE},
            "notes": ["image <- image (given)"],
            "quarantined": [{"source": f"a.jsonl:{i}", "key": "text", "reason": HOSTILE} for i in range(25)],
            "split": "redrawn per seed",
            "overlap": "12 of 300 test rows share a picture",
        },
        "budget": {"asked": "5m", "cpu_s": 300.0, "samples": 102400, "batch": 256, "note": ""},
        "towers": {"image": "efficientnet-lite0", "text": "minilm"},
        "left_out": [{"paper": "kelip", "reason": "needs a further text"}, {"paper": "audioclip", "reason": HOSTILE}],
        "seeds": list(range(SEEDS)),
        "command": "sensorium race photos --budget 5m",
        "env": {"python": "3.11", "platform": HOSTILE},
        "features_cpu_s": 31.0,
        "used_cpu_s": math.nan,
        "chance": {"r@1": 0.003, "r@10": 0.033},
    }


def _retrievals() -> list[dict[str, Any]]:
    hit = {"id": HOSTILE, "thumb": PIXEL, "score": 0.4, "right": True}
    abroad = hit | {"thumb": "https://example.org/spy.png", "right": False, "score": math.inf}
    return [{"query": HOSTILE, "truth": hit, "best": [hit, abroad], "baseline": [abroad]}] * 3


@pytest.fixture
def race() -> dict[str, Any]:
    return _race()


@pytest.fixture
def table() -> dict[str, Any]:
    notes = ["filip is better on R@1: +0.050 [+0.030, +0.070]"]
    return {"sentence": f"filip wins {HOSTILE}", "notes": notes, "best": "filip", "entrants": _entrants()}


@pytest.fixture
def folder(tmp_path: Path, race: dict[str, Any], table: dict[str, Any]) -> Path:
    for name, value in (("race", race), ("table", table), ("retrievals", _retrievals())):
        (tmp_path / f"{name}.json").write_text(json.dumps(value))
    return tmp_path


class _Page(HTMLParser):
    VOID = ("meta", "img", "br", "link", "input", "hr")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.scripts: list[str] = []
        self.links: list[str] = []
        self.ids: list[str] = []
        self.open: list[str] = []
        self.words = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "script":
            self.scripts.append("")
        if tag not in self.VOID:
            self.open.append(tag)
        self.links += [v for k, v in attrs if k in ("src", "href", "srcset", "action", "data", "poster") and v]
        self.ids += [v for k, v in attrs if k == "id" and v]
        assert not [k for k, _ in attrs if k.startswith("on")], attrs

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, (tag, self.getpos())

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "script":
            self.scripts[-1] += data
        elif "style" not in self.open:
            self.words += data


def test_the_page_is_whole_escaped_and_offline(folder: Path, race: dict[str, Any], table: dict[str, Any]) -> None:
    path = write(folder)
    assert path == folder / "report.html"
    page = path.read_text(encoding="utf-8")
    parsed = _Page(page)
    assert parsed.open == [] and len(set(parsed.ids)) == len(parsed.ids)
    assert len(parsed.scripts) == 5  # the specs, three vendored scripts, the starter: no hostile one
    assert HOSTILE not in page
    assert parsed.links and all(link == PIXEL for link in parsed.links)
    assert not re.search(r"(src|href|action|data)\s*=\s*[\"']?\s*(https?:)?//|url\(|@import", page.split("<script")[0])
    words = re.sub(r"\s+", " ", parsed.words)
    for word in (
        *(HOSTILE, "photos", "3,436 rows", "12 of 300 test rows", "redrawn per seed", "efficientnet-lite0", "0, 1, 2"),
        *("102,400 samples", "filip is partial; it lacks a part", "needs a further text", "audioclip", "no training"),
        *("25 rows were set aside; the first 20", "sensorium race photos --budget 5m", "random order", "Holm", "98%"),
        *("filip is better on R@1", "✓ 0.40", "no picture", "image <- image (given)", *names(table)),
    ):
        assert word in words, word
    assert parsed.words.count("a.jsonl:") == 20
    assert "Infinity" not in parsed.scripts[0] and "nan" not in words.split()


def test_best_is_bold_and_verdicts_are_words_with_a_colour(folder: Path) -> None:
    page = write(folder).read_text(encoding="utf-8")
    assert "<strong>0.350 ± 0.010</strong>" in page
    assert '<td class="better">better</td>' in page and '<td class="worse">worse*</td>' in page
    assert '<td class="undecided">undecided</td>' in page and '<td class="reference">reference</td>' in page


def test_the_page_forbids_itself_to_fetch(folder: Path) -> None:
    page = write(folder).read_text(encoding="utf-8")
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]+)"', page)
    assert policy and "default-src 'none'" in policy[1] and "http" not in policy[1] and "unsafe-eval" not in policy[1]


def test_vendored_scripts_stand_unchanged_in_the_page_with_their_licences(folder: Path) -> None:
    page = write(folder).read_text(encoding="utf-8")
    assets = sorted((Path(charts.__file__).parent / "assets").iterdir())
    assert len(assets) == 9
    for asset in assets:
        assert asset.read_text(encoding="utf-8") in page, asset.name


def test_the_report_is_as_readable_as_the_race(folder: Path) -> None:
    (folder / "race.json").chmod(0o640)
    assert stat.S_IMODE(write(folder).stat().st_mode) == 0o640
    assert [p.name for p in folder.iterdir() if p.name.endswith(".tmp")] == []


def test_a_race_without_retrievals_or_differences_still_reports(folder: Path, table: dict[str, Any]) -> None:
    (folder / "retrievals.json").unlink()
    few = [{k: v for k, v in e.items() if k not in ("differences", "curve")} for e in table["entrants"][1:2]]
    (folder / "table.json").write_text(json.dumps(table | {"entrants": few, "notes": []}))
    page = _Page(write(folder).read_text(encoding="utf-8"))
    assert "What is found" not in page.words and "chart-forest" not in page.ids and "chart-cost" in page.ids


def _charts(folder: Path) -> dict[str, charts.Chart]:
    from sensorium.run.report import _read

    return {c.name: c for c in charts.all_of(_read(folder, "race.json"), _read(folder, "table.json"))}


def test_charts_are_valid_vega_lite_with_their_numbers_beside_them(folder: Path) -> None:
    found = _charts(folder)
    assert list(found) == ["forest", "measure-0", "curves", "cost"]
    for chart in found.values():
        altair.Chart.from_dict(chart.spec, validate=True)
        assert chart.rows and all(len(row) == len(chart.heads) for row in chart.rows)
    shown = [v["entrant"] for v in found["forest"].spec["data"]["values"]]
    assert shown == ["filip", "me/mine.py", f"{HOSTILE}/mine.py", "brivl", "ridge"]  # no number, no interval
    assert found["forest"].rows[-1] == ("ridge", "-0.100", "[-0.120, -0.080]", "[-0.115, -0.085]", "worse*")


def test_curves_are_mean_and_spread_of_the_seeds_that_have_a_number(folder: Path) -> None:
    values = _charts(folder)["curves"].spec["data"]["values"]
    odd = [v for v in values if v["entrant"] == "odd"]
    assert [v["samples"] for v in odd] == [12800, 25600]
    assert odd[1]["mean"] == pytest.approx(0.25) and odd[1]["high"] - odd[1]["mean"] == pytest.approx(0.1 / 2**0.5)
    assert {v["entrant"] for v in values} == {"filip", "clip 0.003", "me/mine.py", f"{HOSTILE}/mine.py", "brivl", "odd"}


def test_labels_cover_neither_points_nor_each_other() -> None:
    points = [(100.0 + 5 * i, 100.0 + 3 * (i % 2)) for i in range(6)]
    words = ["concept-negatives", "clip 0.01", "jina-clip-v2", "brivl", "filip", "fusemix"]
    places = charts.place_labels(points, words, 700)
    boxes = [charts._box(at, place, word) for at, place, word in zip(points, places, words, strict=True)]
    assert not any(charts._overlap(a, b) for a, b in combinations(boxes, 2))
    assert not any(charts._overlap(box, (x - 7, y - 7, x + 7, y + 7)) for box in boxes for x, y in points)


def test_a_table_without_a_decided_difference_has_no_second_forest(race: dict[str, Any], table: dict[str, Any]) -> None:
    for e in table["entrants"]:
        for d in e.get("differences", {}).values():
            d["verdict"] = "undecided"
    assert not [c for c in charts.all_of(race, table) if c.measure]


def test_the_table_marks_best_reference_and_what_holm_drops(race: dict[str, Any], table: dict[str, Any]) -> None:
    race["used_cpu_s"] = 287.0
    lines = {line.name: line for line in rows(race, table)}
    heads = [c.head for c in columns(race)]
    assert heads == ["R@1", "Δ R@1", "verdict", "R@10", "median rank", "rate", "CPU-s", "params", "MB"]
    assert all(len(line.cells) == len(line.best) == len(heads) for line in lines.values())
    assert lines["filip"].verdict == "better" and lines["filip"].partial == "a part"
    assert lines["clip 0.003"].verdict == "reference" and not lines["clip 0.003"].best[0]
    assert lines["clip 0.001"].verdict == "baseline"
    assert lines["ridge"].verdict == "worse*" and lines["ridge"].cells[7] == "none"
    assert lines["ridge"].cells[1] == "-0.100 [-0.120, -0.080]"
    assert lines["filip"].best == (True, False, False, True, True, *[False] * 4)  # the lowest median rank is best
    assert lines["chance"].cells[0] == "0.003" and lines["chance"].cells[3] == "0.033"


def test_missing_and_infinite_numbers_are_dashes(folder: Path) -> None:
    from sensorium.run.report import _read

    race, table = _read(folder, "race.json"), _read(folder, "table.json")
    odd = next(line for line in rows(race, table) if line.name == "odd")
    assert odd.cells == ("–", "–", "undecided", "–", "4.0", "0.003", "–", "–", "–")


def test_the_terminal_shows_the_same_table(
    race: dict[str, Any], table: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    table["entrants"][3] |= {"paper": "[bold]x", "label": "[bold]x"}  # not markup
    text = table_text(race, table)
    assert re.search(r"filip †\s+0\.350 ± 0\.010\s+\+0\.050 \[\+0\.030, \+0\.070\]\s+better", text)
    assert "[bold]x" in text and "nan" not in text and "inf" not in text
    print_result(race, table)
    shown = capsys.readouterr().out
    assert "† partial: filip lacks a part" in shown and "* does not survive Holm" in shown
    assert "used – of 300 CPU-s" in shown and shown.rstrip().endswith(f"filip wins {HOSTILE}")


def test_a_folder_without_a_finished_race_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(SensoriumError, match=r"holds no finished race: it has no race\.json"):
        write(tmp_path)


def test_a_broken_file_is_one_line(folder: Path) -> None:
    (folder / "table.json").write_text('{"sentence":')
    with pytest.raises(SensoriumError, match=r"table\.json is not readable as JSON"):
        write(folder)
