"""`sensorium race` and `sensorium demo`."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from shutil import which
from typing import Annotated

from cyclopts import Parameter

STARTER = Path(__file__).parent.parent / "starter"
ENTRANTS = "ridge,asif,brivl,concept-negatives,jina-clip-v2,kelip,fusemix"
QUERIES = ("something to eat", "an animal that lives in the sea", "instrument de musique")


def race(
    data: str,
    *,
    task: str = "retrieval",
    budget: str = "5m",
    seeds: int = 5,
    papers: str = "",
    workers: int = 2,
    towers: str = "auto",
    base: Annotated[tuple[str, ...], Parameter(negative=())] = (),
    map: Annotated[tuple[str, ...], Parameter(negative=())] = (),
    split: str = "auto",
    out: Path = Path("race"),
    max_bad: float = 0.1,
    batch: int = 256,
    dry_run: bool = False,
) -> None:
    """Race papers on your data at equal budget, with intervals.

    Parameters
    ----------
    data
        A folder, JSONL or Parquet file.
    task
        What is scored: retrieval.
    budget
        CPU time of the whole race, tuning and seeds in: 90s, 5m, 2h.
    seeds
        Paired seeds per entrant.
    papers
        Slugs and .py files joined by commas; all that fit where empty.
    workers
        Runs at a time, one thread each.
    towers
        auto, scratch, or names and checkpoint folders joined by commas; role=name for one role.
    base
        name=checkpoint in the place of a shared start, for the entrants that take it.
    map
        role=column, such as text=caption; columns may be joined with +.
    split
        auto, given or redrawn.
    out
        Folder of the race; the same command continues a stopped one.
    max_bad
        Share of bad rows above which the race stops.
    batch
        Rows per step, equal for all.
    dry_run
        Say what would race and what it would cost, then stop.
    """
    from sensorium.cli.options import pairs, writable
    from sensorium.cli.progress import Bar
    from sensorium.core import SensoriumError
    from sensorium.lab.bases import choose
    from sensorium.run.race import Race, Settings

    roles = pairs(map, "--map")
    words = [
        "sensorium",
        "race",
        data,
        "--budget",
        budget,
        "--seeds",
        str(seeds),
        *(["--papers", papers] if papers else []),
        "--towers",
        towers,
        *(w for b in base for w in ("--base", b)),
        *(w for m in map for w in ("--map", m)),
    ]
    if split not in ("auto", "given", "redrawn"):
        raise SensoriumError(f"--split {split!r}; expected auto, given or redrawn")
    if workers < 1 or batch < 2:
        raise SensoriumError(f"--workers {workers} and --batch {batch}: at least 1 worker and 2 rows per step")
    settings = Settings(
        data,
        task,
        budget,
        seeds,
        tuple(p for p in papers.split(",") if p),
        workers,
        choose(towers),
        roles or None,
        split,
        batch,
        max_bad,
        shlex.join(words),
        pairs(base, "--base"),
    )
    bar = Bar()
    contest = Race(settings, out, bar.say, bar)
    if dry_run:
        contest.announce()
        contest.warm()
        entrants = contest.timed()
        runs = sum(contest.runs_of(e, 3) for e in entrants)
        samples = contest.afford(entrants)
        bar.say(f"{len(entrants)} entrants, up to {runs} runs, {samples:,} samples each within {budget} of CPU time")
        return
    contest.claim(writable(out))
    contest.run()
    finish(out)


def finish(out: Path) -> None:
    """Print the table and write the report of a finished race."""
    from sensorium.run.report import print_result, write

    race, table = (json.loads((out / f"{n}.json").read_text()) for n in ("race", "table"))
    print_result(race, table)
    print(f"\nreport:   {write(out)}")
    print(f'best run: {out / "best"}   (sensorium search {out / "best"} {race["data"]["path"]} "...")')


def demo(*, budget: str = "8m", seeds: int = 5, out: Path = Path("demo-race"), workers: int = 2) -> None:
    """Race on the bundled pictograms, then search them: a first look in minutes.

    Parameters
    ----------
    budget
        CPU time of the race.
    seeds
        Paired seeds per entrant.
    out
        Folder of the race; the same command continues a stopped one.
    workers
        Runs at a time.
    """
    from sensorium.cli.search import search

    print(
        "3,436 real pictograms with names in English, French and Finnish (Mulberry Symbols, CC BY-SA 2.0 UK).\n"
        "Each entrant trains a small head on the same frozen public features; splits are redrawn for every seed.\n"
    )
    print(
        "filip is left out: late interaction costs some twenty times a pooled head here (add it with sensorium race).\n"
    )
    starter = STARTER.relative_to(Path.cwd()) if STARTER.is_relative_to(Path.cwd()) else STARTER
    race(str(starter), papers=ENTRANTS, budget=budget, seeds=seeds, out=out, workers=workers)
    print("\nThe best run searches all pictograms. Most of these it saw in training: they are marked, and flatter it.")
    for query in QUERIES:
        search(str(out / "best"), str(starter), query, top=5)
    print(
        "\nTopics work; colours, numbers and emotions mostly do not: a nearly linear map over pooled features cannot\n"
        "tell which thing is red. French works where its words look like English ones: the text tower reads English."
    )
    print(f"\nOpen {(out / 'report.html').resolve()}")
    print(f"or look around in a browser: {_typed()} serve {out}")


def _typed() -> str:
    """This command as it can be typed here."""
    own = Path(sys.argv[0])
    if which("sensorium"):
        return "sensorium"
    return str(own.relative_to(Path.cwd()) if own.is_relative_to(Path.cwd()) else own)
