"""Measured claims as pages that open offline: one claim with all its numbers, or every claim at a glance."""

from __future__ import annotations

import inspect
import math
import re
import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from sensorium.data.cache import write_atomic
from sensorium.run.claims import Reproduced, Standing
from sensorium.run.ledger import Measured, Row
from sensorium.run.load import label, paper, papers, resolve
from sensorium.run.statements import Verdict

from . import claim_charts as charts
from .claim_charts import VERDICTS
from .page import render
from .table import MISSING, number
from .vega import Chart

SCALE = "Measured here at laboratory scale; not the paper's number."


def claim_page(found: Reproduced, trivial: Sequence[Mapping[str, float]] = ()) -> str:
    """One claim: what it says, its verdict, every statement with its interval, seeds, curves, arms, how to repeat it.

    `trivial`: what the claim's trivial predictor scores, by seed.
    """
    row = found.row
    statements = [
        (v, charts.statement_chart(f"statement-{i}", v, charts.named(found))) for i, v in enumerate(row.verdicts)
    ]
    seeds = [
        chart
        for i, metric in enumerate(charts.metrics_of(found))
        if (chart := charts.seeds_chart(f"seeds-{i}", found, metric, _trivial(found, trivial, metric)))
    ]
    curves = list(charts.curve_charts(found))
    title, about, says = _docstring(row.paper)
    page = render(
        "claim.html",
        [*(chart for _, chart in statements if chart), *seeds, *curves],
        row=row,
        title=title or label(row.paper),
        about=about,
        says=says,
        scale=SCALE,
        marks=VERDICTS,
        statements=statements,
        seeds=seeds,
        curves=curves,
        metrics=_scored(found),
        arms=_arms(found),
        tried=_tried(found),
        command=_command(row),
    )
    return page.decode()


def write_claim(found: Reproduced, path: Path, trivial: Sequence[Mapping[str, float]] = ()) -> Path:
    """Write the page of a claim to `path`.

    Raises:
        SensoriumError: a path that cannot be written.
    """
    write_atomic(path, claim_page(found, trivial).encode())
    return path


def evidence_page(standings: Sequence[Standing]) -> str:
    """Every claim by family: how many hold and fail, forests of what was measured, each claim with its sentences."""
    entries = _entries(standings)
    families = [_family(name, [e for e in entries if e.family == name]) for name in _ordered(entries)]
    page = render(
        "evidence.html",
        [chart for family in families for chart in family.panels],
        scale=SCALE,
        marks=VERDICTS,
        words=_words(entries),
        entries=entries,
        families=families,
    )
    return page.decode()


def write(standings: Sequence[Standing], path: Path) -> Path:
    """Write the page of all claims to `path`.

    Raises:
        SensoriumError: a path that cannot be written.
    """
    write_atomic(path, evidence_page(standings).encode())
    return path


def _docstring(name: str) -> tuple[str, str, str]:
    """Title, text and claim of a paper's docstring; empty for a user's file, whose place a row does not hold."""
    if name.endswith(".py"):
        return "", "", ""
    title, _, rest = (inspect.getdoc(paper(name)) or "").partition("\n")
    about, _, says = re.sub(r"\s+", " ", rest).strip().partition(" Claim: ")
    return title.strip(), about, says


def _trivial(found: Reproduced, given: Sequence[Mapping[str, float]], metric: str) -> list[float]:
    """The trivial predictor's scores, where it was scored: as given, else as an arm of its own."""
    arm = found.row.arms.get(found.claim.beats)
    return [run[metric] for run in given or (arm.scores if arm else ()) if metric in run]


@dataclass(frozen=True)
class _Arm:
    name: str
    what: str
    rate: str
    samples: str
    scores: Sequence[tuple[str, str]]
    """Mean, and least to greatest, per metric."""
    costs: Sequence[str]
    key: str


def _arms(found: Reproduced) -> list[_Arm]:
    names, metrics = charts.named(found), _scored(found)
    values = {metric: charts.by_seed(found, metric) for metric in metrics}
    return [
        _Arm(
            name=names[arm],
            what=_build(found, arm),
            rate=number(measured.rate, ".2g") if measured.rate else "no training",
            samples=_cost(measured, "samples", ",.0f"),
            scores=[_spread(values[metric].get(arm, ())) for metric in metrics],
            costs=[_cost(measured, *cost) for cost in (("cpu_s", ",.1f"), ("parameters", ",.0f"), ("peak_mb", ",.0f"))],
            key=measured.key,
        )
        for arm, measured in found.row.arms.items()
    ]


def _scored(found: Reproduced) -> list[str]:
    """What the statements are about, without costs: these have columns of their own."""
    scored = {metric for m in found.row.arms.values() for run in m.scores for metric in run}
    return [metric for metric in charts.metrics_of(found) if metric in scored]


def _build(found: Reproduced, name: str) -> str:
    """What an arm is: whose build, with what settings, on what data."""
    arm = found.claim.arms.get(name)
    if arm is None:
        return ""
    settings = [f"{key} = {value}" for key, value in arm.config.items()]
    return ", ".join([arm.paper or "this paper", *settings, *([f"on {arm.data}"] if arm.data else [])])


def _spread(column: Sequence[float]) -> tuple[str, str]:
    there = [v for v in column if math.isfinite(v)]
    if not there:
        return MISSING, ""
    lost = f", {len(column) - len(there)} without" if len(there) < len(column) else ""
    return charts.short(fmean(there)), f"{charts.short(min(there))} to {charts.short(max(there))}{lost}"


def _cost(measured: Measured, name: str, spec: str) -> str:
    there = [cost[name] for cost in measured.costs if math.isfinite(cost.get(name, math.nan))]
    return number(fmean(there) if there else None, spec)


def _tried(found: Reproduced) -> list[str]:
    """What was tried before the verdict, in words."""
    row, claim = found.row, found.claim
    tried = []
    if row.tier != "smoke":
        rates = ", ".join(f"{rate:.2g}" for rate in claim.rates)
        tried.append(f"Every arm that trains had the learning rates {rates}; the best on validation was taken.")
        more = sorted({m.rate for m in row.arms.values() if m.rate and m.rate not in claim.rates})
        if more:
            tried.append(
                f"An optimum at the edge extended the grid for all arms: {', '.join(f'{r:.2g}' for r in more)}."
            )
    if len(row.seeds) > claim.seeds > 1:
        tried.append(f"Undecided with {claim.seeds} paired seeds, it was run once more with {len(row.seeds)}.")
    return [*tried, *([row.note] if row.note else [])]


def _command(row: Row) -> str:
    return f"sensorium reproduce {shlex.quote(row.paper)} --claim {shlex.quote(row.claim)} --tier {row.tier}"


@dataclass(frozen=True)
class _Entry:
    """A claim on the page of all: where it stands there, its verdict, the paper's other claims."""

    id: str
    family: str
    standing: Standing
    others: Sequence[tuple[str, str]]
    """Id and name of each."""

    @property
    def word(self) -> str:
        return self.standing.row.verdict if self.standing.row else "not measured"

    @property
    def verdicts(self) -> Sequence[Verdict]:
        return self.standing.row.verdicts if self.standing.row else ()


def _entries(standings: Sequence[Standing]) -> list[_Entry]:
    of: dict[str, list[tuple[str, str]]] = {}
    for i, s in enumerate(standings):
        of.setdefault(s.paper, []).append((f"claim-{i}", s.claim))
    return [
        _Entry(f"claim-{i}", _family_of(s.paper), s, [o for o in of[s.paper] if o[0] != f"claim-{i}"])
        for i, s in enumerate(standings)
    ]


def _family_of(name: str) -> str:
    return "files" if name.endswith(".py") else papers()[resolve(name)].split(".")[2]


def _ordered(entries: Sequence[_Entry]) -> list[str]:
    """Families by name, a user's own files last."""
    return sorted({e.family for e in entries}, key=lambda f: (f == "files", f))


@dataclass(frozen=True)
class _Count:
    word: str
    entries: Sequence[_Entry]

    @property
    def stale(self) -> int:
        return sum(bool(e.standing.stale) for e in self.entries)


def _words(entries: Sequence[_Entry]) -> list[_Count]:
    """Every verdict with its claims; "not tested" only where there is one."""
    counts = [_Count(word, [e for e in entries if e.word == word]) for word in VERDICTS]
    return [c for c in counts if c.entries or c.word != "not tested"]


@dataclass(frozen=True)
class _Family:
    name: str
    entries: Sequence[_Entry]
    counts: Mapping[str, int]
    panels: Sequence[Chart]


def _family(name: str, entries: Sequence[_Entry]) -> _Family:
    measured = [one for e in entries for one in _labelled(e)]
    count = Counter(text for text, _, _ in measured)
    seen: Counter[str] = Counter()
    distinct = []
    for text, link, v in measured:
        seen[text] += 1
        distinct.append((f"{text} ({seen[text]})" if count[text] > 1 else text, link, v))
    return _Family(name, entries, Counter(e.word for e in entries), list(charts.panels(f"family-{name}", distinct)))


def _labelled(entry: _Entry) -> list[tuple[str, str, Verdict]]:
    """Label, link and verdict of each statement; the metric tells two of one kind apart."""
    kinds = Counter(str(v.statement["says"]) for v in entry.verdicts)
    stale = " (stale)" if entry.standing.stale else ""
    found = []
    for v in entry.verdicts:
        what = str(v.statement.get("metric") or v.statement.get("cost"))
        more = f" · {what}" if kinds[str(v.statement["says"])] > 1 else ""
        found.append((f"{label(entry.standing.paper)} · {entry.standing.claim}{more}{stale}", f"#{entry.id}", v))
    return found
