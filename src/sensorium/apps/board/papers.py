"""The papers: a list that is filtered, and one of them with its parts, arms, evidence and source."""

from __future__ import annotations

import ast
import keyword
import tokenize
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from io import StringIO
from math import isfinite
from pathlib import Path
from statistics import fmean

from starlette.requests import Request
from starlette.responses import Response

import sensorium
from sensorium import catalogue
from sensorium.catalogue import Row
from sensorium.core import Claim, SensoriumError, nearest
from sensorium.run.ledger import Row as Line
from sensorium.run.ledger import latest
from sensorium.run.load import label, paper
from sensorium.run.report.claim_charts import VERDICTS, statement_chart
from sensorium.run.report.claims import SCALE
from sensorium.run.report.vega import Chart
from sensorium.run.statements import Verdict

from .pages import Absent, render

PACKAGE = Path(sensorium.__file__).parent
UNMEASURED, PLANNED, BUILT = "not measured", "planned", "can be trained"
VERDICT_CHOICES = (*(word for word in VERDICTS if word != UNMEASURED), UNMEASURED, BUILT, PLANNED)
TIERS = ("deep", "lab")
"""Those that give a verdict, the deepest first."""


@dataclass(frozen=True)
class Asked:
    """What the list is filtered by; "" or nothing is no filter."""

    family: str
    kind: str
    needs: tuple[str, ...]
    verdict: str


def listed(request: Request) -> Response:
    """Papers by family, kind, what their data must have, and verdict."""
    rows = catalogue.rows()
    choices = {
        "family": sorted({row.family for row in rows}),
        "kind": sorted({row.kind for row in rows}),
        "needs": sorted({role_of(key) for row in rows for key in row.needs}),
        "verdict": VERDICT_CHOICES,
    }
    given = request.query_params
    asked = Asked(
        given.get("family", ""),
        given.get("kind", ""),
        tuple(need for need in given.getlist("needs") if need),
        given.get("verdict", ""),
    )
    for name, values in choices.items():
        for value in asked.needs if name == "needs" else (getattr(asked, name),):
            if value and value not in values:
                raise SensoriumError(f"unknown {name} {value!r}{nearest(value, values)}")
    found = sorted((row for row in rows if fits(row, asked)), key=lambda r: (not r.path, r.family, r.slug))
    built = sum(bool(row.path) for row in found)
    return render(request, "papers.html", rows=found, built=built, total=len(rows), asked=asked, choices=choices)


def fits(row: Row, asked: Asked) -> bool:
    """Whether a paper is among those asked for. `needs` are the roles that one's data has: a paper that takes another
    is left out, as is one whose needs are not known yet."""
    if (asked.family and row.family != asked.family) or (asked.kind and row.kind != asked.kind):
        return False
    if asked.needs and not (row.path and {role_of(key) for key in row.needs} <= set(asked.needs)):
        return False
    return not asked.verdict or asked.verdict in words_of(row)


def words_of(row: Row) -> set[str]:
    """The verdicts of a paper's claims, and how far it is built."""
    if not row.path:
        return {PLANNED}
    return {BUILT, *(row.verdicts.values() or ([] if row.kind == "baseline" else [UNMEASURED]))}


def role_of(key: str) -> str:
    """ "text.fr" and "text/negative" -> "text"."""
    return key.split("/")[0].split(".")[0]


def shown(request: Request) -> Response:
    """One paper: what it says, its parts, arms, evidence and source."""
    slug = request.path_params["slug"]
    row = {row.slug: row for row in catalogue.rows()}.get(slug)
    if row is None:
        near = catalogue.nearest_slug(slug)
        raise Absent(f"no paper {slug!r}" + (f"; did you mean {near!r}?" if near else "; /papers lists them"))
    source = (PACKAGE / row.path).read_text(encoding="utf-8") if row.path else ""
    claims = [_measured(row, i, *claim) for i, claim in enumerate(paper(row.slug).CLAIMS.items())] if source else []
    charts = [chart for claim in claims for _, chart in claim.statements if chart]
    return render(
        request,
        "paper.html",
        charts,
        row=row,
        claims=claims,
        lines=list(lines_of(source)),
        places=places_of(source),
        scale=SCALE,
    )


@dataclass(frozen=True)
class Arm:
    """An arm as it was measured: what it is called, builds and is given, and its mean scores by metric."""

    name: str
    what: str
    rate: float | None
    scores: Sequence[float | None]


@dataclass(frozen=True)
class Measured:
    """A claim with its arms and, where it was measured, the newest row of the deepest tier."""

    name: str
    claim: Claim
    row: Line | None
    metrics: Sequence[str]
    arms: Sequence[Arm]
    statements: Sequence[tuple[Verdict, Chart | None]]


def _measured(row: Row, place: int, name: str, claim: Claim) -> Measured:
    line = next((found for tier in TIERS if (found := latest(row.slug, name, tier))), None)
    says = [v.statement for v in line.verdicts] if line else []
    metrics = list(dict.fromkeys(str(s["metric"]) for s in says if s.get("metric")))
    called = {arm: _called(row.slug, arm, claim) for arm in claim.arms}
    charted = [
        (v, statement_chart(f"claim-{place}-{i}", v, called)) for i, v in enumerate(line.verdicts if line else ())
    ]
    arms = [_arm(arm, called[arm], claim, line, metrics) for arm in claim.arms]
    return Measured(name, claim, line, metrics, arms, charted)


def _called(slug: str, arm: str, claim: Claim) -> str:
    """An arm in words: the paper's name for ours, another paper's for the baseline, the arm's own for the rest."""
    other = claim.arms[arm].paper
    return label(slug) if arm == "ours" else label(other) if other and arm == "baseline" else arm


def _arm(arm: str, called: str, claim: Claim, line: Line | None, metrics: Sequence[str]) -> Arm:
    given = claim.arms[arm]
    settings = [f"{key} = {value}" for key, value in given.config.items()]
    what = ", ".join([given.paper or "this paper", *settings, *([f"on {given.data}"] if given.data else [])])
    measured = line.arms.get(arm) if line else None
    scores = [_mean([run.get(m) for run in measured.scores]) if measured else None for m in metrics]
    return Arm(called, what, measured.rate if measured else None, scores)


def _mean(values: Sequence[float | None]) -> float | None:
    there = [v for v in values if v is not None and isfinite(v)]
    return fmean(there) if there else None


def places_of(source: str) -> Mapping[str, int]:
    """Names that a file defines, and methods as Class.name -> their line."""
    found: dict[str, int] = {}
    for node in ast.parse(source).body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            found[node.name] = node.lineno
        if isinstance(node, ast.ClassDef):
            found |= {f"{node.name}.{n.name}": n.lineno for n in node.body if isinstance(n, ast.FunctionDef)}
    return found


@cache
def lines_of(source: str) -> Sequence[Sequence[tuple[str, str]]]:
    """Python as lines of (kind, text): kind "comment", "string", "keyword", "number" or ""."""
    lines: list[list[tuple[str, str]]] = [[] for _ in source.splitlines()]
    for kind, text, row in _pieces(source):
        for k, part in enumerate(text.split("\n")):
            if part:
                lines[row + k].append((kind, part))
    return lines


def _pieces(source: str) -> Iterator[tuple[str, str, int]]:
    """Every piece of the text in order, with the line it begins in; what stands between tokens has no kind."""
    starts = [0, *(i + 1 for i, character in enumerate(source) if character == "\n")]
    at = 0
    for token in tokenize.generate_tokens(StringIO(source).readline):
        first = starts[token.start[0] - 1] + token.start[1]
        last = first + len(token.string)
        if not token.string or source[first:last] != token.string or first < at:
            continue
        yield "", source[at:first], source.count("\n", 0, at)
        yield _kind(token), token.string, token.start[0] - 1
        at = last
    yield "", source[at:], source.count("\n", 0, at)


def _kind(token: tokenize.TokenInfo) -> str:
    if token.type == tokenize.NAME and keyword.iskeyword(token.string):
        return "keyword"
    return {tokenize.COMMENT: "comment", tokenize.STRING: "string", tokenize.NUMBER: "number"}.get(token.type, "")


PAGES = {"/papers": listed, "/papers/{slug:path}": shown}
