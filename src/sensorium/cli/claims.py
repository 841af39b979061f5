"""`sensorium reproduce`, `sensorium evidence`."""

from __future__ import annotations

import math
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

if TYPE_CHECKING:
    from sensorium.run.ledger import Row


def reproduce(
    paper: str = "",
    *,
    claim: str = "",
    tier: Literal["smoke", "lab", "deep"] = "lab",
    family: str = "",
    all: bool = False,
    stale: bool = False,
    hours: float | None = None,
    workers: int = 2,
    base: Annotated[tuple[str, ...], Parameter(negative=())] = (),
    dry_run: bool = False,
    out: Path | None = None,
) -> None:
    """Measure what a paper claims: arms at equal samples, paired seeds, an interval and a verdict.

    The same command continues a stopped one: finished runs are kept and shared between papers.

    Parameters
    ----------
    paper
        A slug (sensorium papers lists them) or a .py file.
    claim
        One claim by name; all of the paper's where empty.
    tier
        smoke runs 20 steps and judges nothing; lab is the claim's own budget; deep is four times that.
    family
        Every paper of a family instead of one.
    all
        Every paper.
    stale
        Only what was never measured at this tier, or has changed since; claims whose arms serve the most others first.
    hours
        Begin no further run after so many hours; the same command continues.
    workers
        Runs at a time, one thread each.
    base
        name=checkpoint in the place of a shared start, in every arm that takes it; the row names it.
    dry_run
        Say what would run, then stop.
    out
        Folder of the pages, one per claim; $SENSORIUM_HOME/claims/pages where empty.
    """
    from sensorium.cli.options import pairs, writable
    from sensorium.cli.progress import Bar
    from sensorium.core import SensoriumError
    from sensorium.data.cache import home
    from sensorium.run.claims import Reproduction, TimeUp, by_use, claims_of
    from sensorium.run.load import label
    from sensorium.run.report.claims import write_claim

    if hours is not None and not hours > 0:
        raise SensoriumError(f"--hours {hours:g}; expected more than 0")
    given = pairs(base, "--base")
    bar, until = Bar(), math.inf if hours is None else time.monotonic() + 3600 * hours
    wanted = []
    for name in chosen(paper, family, all):
        try:
            known = claims_of(name)
        except SensoriumError:
            if paper:
                raise
            continue
        for each in [claim] if claim else list(known):
            wanted.append(
                Reproduction(name, each, tier, workers=workers, say=bar.say, progress=bar, until=until, bases=given)
            )
    if stale:
        wanted = by_use([one for one in wanted if one.stale()])
        bar.say(f"{len(wanted)} {'claim is' if len(wanted) == 1 else 'claims are'} stale or not measured")
    for n, one in enumerate(wanted):
        bar.say(one.described())
        if dry_run:
            continue
        folder = writable(out or home() / "claims" / "pages")
        try:
            done = one.run()
        except TimeUp:
            left = f"{len(wanted) - n} of {len(wanted)} claims"
            bar.say(f"{hours:g} hours are over, {left} are left; the same command continues")
            return
        bar.say(report(done.row))
        page = folder / f"{label(one.paper)}-{re.sub('[^a-z0-9]+', '-', one.name.lower())}-{tier}.html"
        bar.say(f"  page: {write_claim(done, page, done.trivial)}")


def chosen(paper: str, family: str, all: bool) -> list[str]:
    """The papers that were asked for, in one of three ways."""
    from sensorium.core import SensoriumError, nearest
    from sensorium.run.load import papers

    if sum(map(bool, (paper, family, all))) != 1:
        raise SensoriumError("reproduce one of: a paper, --family NAME, --all")
    if paper:
        return [paper]
    families = {module.split(".")[2] for module in papers().values()} - {"baseline"}
    if family and family not in families:
        raise SensoriumError(f"unknown family {family!r}{nearest(family, families)}")
    return [n for n, module in papers().items() if (module.split(".")[2] == family if family else "/" not in n)]


def report(row: Row) -> str:
    """A measured claim in lines: arms with means, then each statement's sentence."""
    lines = [f"{row.paper}, {row.claim}: {row.verdict} ({row.tier}, {len(row.seeds)} seeds, {row.samples:,} samples)"]
    metrics = list(dict.fromkeys(str(v.statement.get("metric", "")) for v in row.verdicts))
    for name, arm in row.arms.items():
        shown = []
        for metric in filter(None, metrics):
            values = [s[metric] for s in arm.scores if metric in s]
            if values:
                mean = sum(values) / len(values)
                shown.append(f"{metric} {mean:.3f} ({min(values):.3f} to {max(values):.3f})")
        rate = f"rate {arm.rate:.2g}" if arm.rate else "no training"
        seconds = sum(c.get("cpu_s", 0.0) for c in arm.costs) / max(1, len(arm.costs))
        lines.append(f"  {name:<12} {rate:<12} {'; '.join(shown)}  {seconds:.1f} CPU-s a run")
    lines += [f"  {v.sentence}" for v in row.verdicts]
    return "\n".join(lines)


def evidence(*, family: str = "", out: Path | None = None) -> None:
    """Show what was measured of every claim, and what was not.

    Parameters
    ----------
    family
        One family only.
    out
        Write a page with forest plots of every measured claim.
    """
    from sensorium.run.claims import standing

    found = standing(family)
    for entry in sorted(found, key=lambda e: e.row is None):
        row = entry.row
        if row is None:
            print(f"{entry.paper}, {entry.claim}: not measured")
            continue
        mark = f"; stale: {entry.stale[0]}" if entry.stale else ""
        print(f"{row.paper}, {row.claim}: {row.verdict} ({row.tier}, {len(row.seeds)} seeds, {row.date[:10]}{mark})")
        for verdict in row.verdicts:
            print(f"  {verdict.sentence}")
    if out is not None:
        from sensorium.run.report.claims import write

        print(f"page: {write(found, out)}")
