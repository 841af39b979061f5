"""The table of a race: the same cells for terminal and page."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Json = Mapping[str, Any]


@dataclass(frozen=True)
class Column:
    """A column: the metric it shows ("" for others), its heading and what it means."""

    metric: str
    head: str
    help: str


@dataclass(frozen=True)
class Line:
    """One entrant: its cells in column order, which are best, and how it is marked."""

    name: str
    cells: tuple[str, ...]
    best: tuple[bool, ...]
    verdict: str
    note: str


COSTS = (
    Column("", "CPU-s", "CPU-seconds of one run, scoring not counted"),
    Column("", "parameters", "numbers that are trained"),
    Column("", "MB", "peak memory of the process, the data included"),
)


def _primary(race: Json) -> str:
    return str(next(m["name"] for m in race["metrics"] if m.get("primary")))


def columns(race: Json) -> list[Column]:
    """The primary metric (which comes first), its difference and verdict, the other metrics, the costs."""
    metrics = [Column(m["name"], m["label"], m.get("help", "")) for m in race["metrics"]]
    label = next(m["label"] for m in race["metrics"] if m.get("primary"))
    against = Column("", f"Δ {label}", "mean paired difference to the baseline's best rate, 98% t interval over seeds")
    verdict = Column("", "verdict", "better or worse only where seeds and test items both exclude zero")
    return [metrics[0], against, verdict, *metrics[1:], *COSTS]


def signed(value: float | None) -> str:
    """+0.012, or a dash where there is no number."""
    return "–" if value is None else f"{value:+.3f}"


def _score(metric: Json, score: Json | None) -> str:
    if score is None or score.get("mean") is None:
        return "–"
    if metric["name"] == "median_rank":
        return f"{score['mean']:.1f}"
    return f"{score['mean']:.3f} ± {score['sd']:.3f}" if metric.get("primary") else f"{score['mean']:.3f}"


def name_of(entrant: Json) -> str:
    """Label of an entrant, the baseline with its rate."""
    rate = entrant.get("rate")
    return str(entrant["label"]) + (f" {rate:.2g}" if entrant.get("baseline") and rate else "")


def rows(race: Json, table: Json) -> list[Line]:
    """One line per entrant in the table's order, then chance."""
    metrics, primary = race["metrics"], _primary(race)
    means = {m["name"]: [e["scores"].get(m["name"], {}).get("mean") for e in table["entrants"]] for m in metrics}
    top = {m["name"]: _best(means[m["name"]], m.get("higher", True)) for m in metrics}
    lines = []
    for e in table["entrants"]:
        scores = [e["scores"].get(m["name"]) for m in metrics]
        d = e.get("differences", {}).get(primary)
        verdict = _verdict(e, d)
        against = f"{signed(d['mean'])} [{signed(d['low'])}, {signed(d['high'])}]" if d else "–"
        cost = e["cost"]
        shown = [_score(m, s) for m, s in zip(metrics, scores, strict=True)]
        cells = (
            shown[0],
            against,
            verdict,
            *shown[1:],
            f"{cost['cpu_s']:.1f}",
            f"{cost['parameters'] / 1000:,.0f}k" if cost["parameters"] else "none",
            f"{cost['peak_mb']:.0f}",
        )
        first, *others = (bool(s) and s["mean"] == top[m["name"]] for m, s in zip(metrics, scores, strict=True))
        best = (first, False, False, *others, False, False, False)
        note = "no training" if not e["trained"] else f"rate {e['rate']:.2g}"
        if e.get("partial"):
            note += f"; partial, missing: {e['partial']}"
        lines.append(Line(name_of(e), cells, best, verdict, note))
    chance = race.get("chance", {})
    start, *rest = (f"{chance[m['name']]:.3f}" if m["name"] in chance else "–" for m in metrics)
    blank = (start, "–", "–", *rest, "–", "–", "–")
    lines.append(Line("chance", blank, (False,) * len(blank), "", "random order"))
    return lines


def _best(values: list[float | None], higher: bool) -> float | None:
    there = [v for v in values if v is not None]
    return (max(there) if higher else min(there)) if there else None


def _verdict(entrant: Json, difference: Json | None) -> str:
    if entrant.get("reference"):
        return "reference"
    if difference is None:
        return "baseline" if entrant.get("baseline") else "–"
    word = str(difference["verdict"])
    return word if word == "undecided" or difference.get("holm") else f"{word}*"


def _rich(race: Json, table: Json) -> Any:
    from rich.table import Table
    from rich.text import Text

    heads, lines = columns(race), rows(race, table)
    shown = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 1, 0, 0))
    shown.add_column("entrant", no_wrap=True)
    for i, column in enumerate(heads):
        # Interval and spread must not break; headings of the other columns may.
        shown.add_column(column.head, justify="right", no_wrap=i < 3)
    colours = {"better": "green", "worse": "red"}
    for line in lines:
        cells = [Text(c, style="bold" if b else "") for c, b in zip(line.cells, line.best, strict=True)]
        cells[2] = Text(line.verdict, style=colours.get(line.verdict.rstrip("*"), ""))
        shown.add_row(Text(line.name), *cells)
    return shown


def table_text(race: Json, table: Json, width: int = 160) -> str:
    """The table as plain text."""
    import io

    from rich.console import Console

    out = io.StringIO()
    console = Console(file=out, width=width, color_system=None)
    console.print(_rich(race, table))
    return out.getvalue()


def print_result(race: Json, table: Json) -> None:
    """Table, notes and the closing sentence on standard output."""
    from rich.console import Console
    from rich.text import Text

    live = Console()
    console = live if live.is_terminal and live.width >= 150 else Console(width=max(160, live.width))
    data, budget = race["data"], race["budget"]
    console.print()
    names = ", ".join(f"{role} {name}" for role, name in race["towers"].items())
    console.print(Text(f"{data['name']}: {data['test_rows']} test rows, {len(race['seeds'])} seeds, {names}"))
    console.print(Text(f"{budget['samples']:,} samples per run; {data['split']}"))
    console.print()
    console.print(_rich(race, table))
    if any(line.verdict.endswith("*") for line in rows(race, table)):
        console.print(Text("* does not survive Holm's correction over all comparisons of this race"))
    console.print(
        Text(
            f"used {race['used_cpu_s']:.0f} of {budget['cpu_s']:.0f} CPU-s; "
            f"frozen features apart: {race['features_cpu_s']:.0f} CPU-s"
        )
    )
    for note in table["notes"]:
        console.print(Text(f"  {note}"), soft_wrap=True)
    console.print()
    console.print(Text(table["sentence"], style="bold"), soft_wrap=True)
