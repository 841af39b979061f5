"""The table of a race: the same cells for terminal and page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Json = Mapping[str, Any]
MISSING = "–"


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
    note: str = ""
    partial: str = ""
    """What the entrant lacks of its paper's idea; "" where it is whole."""


VERDICT = 2
"""Place of the verdict among the cells."""
COSTS = (
    Column("", "rate", "learning rate, chosen on validation"),
    Column("", "CPU-s", "CPU-seconds of one run, scoring not counted"),
    Column("", "params", "numbers that are trained"),
    Column("", "MB", "peak memory of the process, the data included"),
)


def finite(value: Any) -> Any:
    """The same JSON value with None for every number that is infinite or not a number."""
    if isinstance(value, float):
        return value if value - value == 0 else None
    if isinstance(value, Mapping):
        return {k: finite(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [finite(v) for v in value]
    return value


def number(value: float | None, spec: str = ".3f") -> str:
    """A number as `spec` says, or a dash where there is none."""
    return MISSING if value is None else format(value, spec)


def interval(low: float | None, high: float | None) -> str:
    """[+0.010, +0.030], or a dash where an end is missing."""
    return MISSING if low is None or high is None else f"[{low:+.3f}, {high:+.3f}]"


def primary(race: Json) -> Json:
    """The metric that the race is about; the first where none is marked."""
    found: Json = next((m for m in race["metrics"] if m.get("primary")), race["metrics"][0])
    return found


def _others(race: Json) -> list[Json]:
    return [m for m in race["metrics"] if m["name"] != primary(race)["name"]]


def columns(race: Json) -> list[Column]:
    """The primary metric, its difference and verdict, the other metrics, the costs."""
    first, *rest = (Column(m["name"], m["label"], m.get("help", "")) for m in (primary(race), *_others(race)))
    against = Column("", f"Δ {first.head}", "mean paired difference to the baseline's best rate, 98% t interval")
    verdict = Column("", "verdict", "better or worse only where seeds and test items both exclude zero")
    return [first, against, verdict, *rest, *COSTS]


def names(table: Json) -> list[str]:
    """One distinct name per entrant: its label, the baseline's with its rate, the whole path where two are alike."""
    short = [name_of(e) for e in table["entrants"]]
    count = Counter(short)
    paths = [str(e["paper"]) if count[s] > 1 else s for e, s in zip(table["entrants"], short, strict=True)]
    count = Counter(paths)
    return [f"{p} ({i + 1})" if count[p] > 1 else p for i, p in enumerate(paths)]


def name_of(entrant: Json) -> str:
    """Label of an entrant, the baseline with its rate."""
    rate = entrant.get("rate")
    return str(entrant["label"]) + (f" {rate:.2g}" if entrant.get("baseline") and rate else "")


def verdict_of(difference: Json) -> str:
    """better, worse or undecided; a star where Holm's correction does not hold it."""
    word = str(difference.get("verdict", "undecided"))
    return word if word == "undecided" or difference.get("holm") else f"{word}*"


def _mean(entrant: Json, metric: Json) -> float | None:
    score = entrant["scores"].get(metric["name"]) or {}
    mean: float | None = score.get("mean")
    return mean


def _score(entrant: Json, metric: Json) -> str:
    mean = _mean(entrant, metric)
    if metric["name"] == "median_rank":
        return number(mean, ".1f")
    sd = (entrant["scores"].get(metric["name"]) or {}).get("sd")
    spread = f" ± {sd:.3f}" if metric.get("primary") and mean is not None and sd is not None else ""
    return number(mean) + spread


def _cost(entrant: Json) -> tuple[str, ...]:
    cost = entrant.get("cost") or {}
    return (
        number(entrant.get("rate"), ".2g"),
        number(cost.get("cpu_s"), ".1f"),
        _thousands(cost.get("parameters")),
        number(cost.get("peak_mb"), ".0f"),
    )


def _thousands(count: float | None) -> str:
    if not count:
        return MISSING if count is None else "none"
    return f"{count / 1000:,.0f}k" if count >= 10_000 else f"{count:,.0f}"


def _best(values: list[float | None], higher: bool) -> float | None:
    there = [v for v in values if v is not None]
    return (max(there) if higher else min(there)) if there else None


def _line(race: Json, entrant: Json, name: str, top: Mapping[str, float | None]) -> Line:
    d = (entrant.get("differences") or {}).get(primary(race)["name"])
    verdict = "reference" if entrant.get("reference") else "baseline" if entrant.get("baseline") else MISSING
    if d and not entrant.get("reference"):
        verdict = verdict_of(d)
    against = MISSING
    if d and d.get("mean") is not None:
        against = f"{d['mean']:+.3f} {interval(d.get('low'), d.get('high'))}"
    metrics = [primary(race), *_others(race)]
    shown = [_score(entrant, m) for m in metrics]
    first, *others = ((mean := _mean(entrant, m)) is not None and mean == top[m["name"]] for m in metrics)
    return Line(
        name=name,
        cells=(shown[0], against, verdict, *shown[1:], *_cost(entrant)),
        best=(first, False, False, *others, *[False] * len(COSTS)),
        verdict=verdict,
        note="" if entrant["trained"] else "no training",
        partial=str(entrant.get("partial") or ""),
    )


def rows(race: Json, table: Json) -> list[Line]:
    """One line per entrant in the table's order, then chance."""
    metrics = [primary(race), *_others(race)]
    entrants = table["entrants"]
    top = {m["name"]: _best([_mean(e, m) for e in entrants], m.get("higher", True)) for m in metrics}
    lines = [_line(race, e, n, top) for e, n in zip(entrants, names(table), strict=True)]
    chance = race.get("chance") or {}
    first, *rest = (number(chance.get(m["name"])) for m in metrics)
    cells = (first, MISSING, "", *rest, *[MISSING] * len(COSTS))
    return [*lines, Line("chance", cells, (False,) * len(cells), "", "random order")]


def _rich(race: Json, table: Json) -> Any:
    from rich.table import Table
    from rich.text import Text

    shown = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 1, 0, 0))
    shown.add_column("entrant", no_wrap=True)
    for i, column in enumerate(columns(race)):
        # Interval and spread must not break; headings of the other columns may.
        shown.add_column(Text(column.head), justify="right", no_wrap=i <= VERDICT)
    colours = {"better": "green", "worse": "red"}
    for line in rows(race, table):
        cells = [Text(c, style="bold" if b else "") for c, b in zip(line.cells, line.best, strict=True)]
        cells[VERDICT].style = colours.get(line.verdict.rstrip("*"), "")
        shown.add_row(Text(line.name + (" †" if line.partial else "")), *cells)
    return shown


def marks(race: Json, table: Json) -> list[str]:
    """What the star and the dagger of the table mean, where they stand in it."""
    lines = rows(race, table)
    star = ["* does not survive Holm's correction over all comparisons of this race"]
    partial = [f"† partial: {line.name} lacks {line.partial}" for line in lines if line.partial]
    return star * any(line.verdict.endswith("*") for line in lines) + partial


def table_text(race: Json, table: Json, width: int = 160) -> str:
    """The table as plain text."""
    import io

    from rich.console import Console

    out = io.StringIO()
    console = Console(file=out, width=width, color_system=None)
    console.print(_rich(finite(race), finite(table)))
    return out.getvalue()


def print_result(race: Json, table: Json) -> None:
    """Table, notes and the closing sentence on standard output."""
    from rich.console import Console
    from rich.text import Text

    race, table = finite(race), finite(table)
    live = Console()
    console = live if live.is_terminal and live.width >= 150 else Console(width=max(160, live.width))
    data, budget = race["data"], race["budget"]
    console.print()
    towers = ", ".join(f"{role} {name}" for role, name in race["towers"].items())
    console.print(Text(f"{data['name']}: {data['test_rows']} test rows, {len(race['seeds'])} seeds, {towers}"))
    console.print(Text(f"{number(budget['samples'], ',')} samples per run; {data['split']}"))
    console.print()
    console.print(_rich(race, table))
    for mark in marks(race, table):
        console.print(Text(mark), soft_wrap=True)
    used, given = number(race.get("used_cpu_s"), ".0f"), number(budget.get("cpu_s"), ".0f")
    apart = number(race.get("features_cpu_s"), ".0f")
    console.print(Text(f"used {used} of {given} CPU-s; frozen features apart: {apart} CPU-s"))
    for note in table.get("notes", []):
        console.print(Text(f"  {note}"), soft_wrap=True)
    console.print()
    console.print(Text(table["sentence"], style="bold"), soft_wrap=True)
