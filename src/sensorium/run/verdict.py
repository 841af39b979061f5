"""From finished runs to a table: differences with intervals, verdicts, one sentence."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from sensorium.core import derive
from sensorium.evals.statistics import cluster_bootstrap, holm, paired_t, race_verdict

from .evaluate import SHORT
from .load import label, paper
from .plan import Job, described
from .runs import Outcome

BASELINE = "baseline/clip"
LEVEL = 0.98
"""Of the t interval over seeds."""
FEWEST_SEEDS = 3
"""Below this nothing is called better or worse."""
UNSHOWN = ("r@5", "mrr", "r@1@quarter")
Key = tuple[str, float]
"""A paper and its rate."""


@dataclass(frozen=True)
class Final:
    """A finished run with its test scores."""

    job: Job
    outcome: Outcome
    folder: Path

    def items(self) -> dict[str, NDArray[Any]]:
        """Per test row: its group and its part of each metric."""
        table = pq.read_table(self.folder / "items.parquet")
        return {name: table[name].to_numpy() for name in table.column_names}


LANGUAGES = {
    "en": "English",
    "fr": "French",
    "fi": "Finnish",
    "de": "German",
    "cs": "Czech",
    "es": "Spanish",
    "it": "Italian",
    "nl": "Dutch",
    "sv": "Swedish",
}


def metrics(table: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The columns that some entrant has a score for, in reading order."""
    known = [
        (
            "r@1",
            "R@1",
            True,
            "share of queries whose right item comes first, both directions; equal texts or pictures count as right",
        ),
        (
            "fresh r@1",
            "R@1 fresh",
            True,
            "R@1 over the items without an equal name, a near copy or a close drawing in train",
        ),
        ("r@10", "R@10", True, "share of queries whose right item is among the first ten"),
        ("median_rank", "median", False, "half of the queries find their right item at this rank or before"),
        (f"r@10@{SHORT}", f"R@10 at {SHORT}", True, f"R@10 when vectors are cut to their first {SHORT} numbers"),
    ]
    known += [
        ("choice", "choice", True, "share of pictures that score their text above its negative; chance 0.5"),
        (
            "choice image",
            "choice of picture",
            True,
            "share of texts that score their picture above its edit",
        ),
    ]
    there = {m for e in table["entrants"] for m in e["scores"]}
    for metric in sorted(m for m in there if m.startswith("r@10 ")):
        code = metric.split(".")[-1]
        known.append((metric, f"R@10 {LANGUAGES.get(code, code)}", True, f"R@10 with {metric.split()[-1]} as the text"))
    return [
        {"name": n, "label": lab, "higher": h, "help": text, "primary": n == "r@1"}
        for n, lab, h, text in known
        if n in there
    ]


def _difference(ours: Sequence[Final], base: Sequence[Final], metric: str) -> dict[str, Any]:
    """Paired difference in a metric: t interval over seeds, cluster bootstrap over test items."""
    pairs = [(a.outcome.test[metric], b.outcome.test[metric]) for a, b in zip(ours, base, strict=True)]
    seeds = paired_t([a - b for a, b in pairs], LEVEL)
    found: dict[str, Any] = {
        "mean": seeds.mean,
        "low": seeds.low,
        "high": seeds.high,
        "p": seeds.p,
        "verdict": "undecided",
    }
    items = [(a.items(), b.items()) for a, b in zip(ours, base, strict=True)]
    # Two seeds that happen to differ by the same amount would make an interval of no width.
    if len(pairs) >= FEWEST_SEEDS and all(metric in a and metric in b for a, b in items):
        values = np.concatenate([a[metric] - b[metric] for a, b in items])
        clusters = np.concatenate([a["group"] for a, _ in items])
        real = ~np.isnan(values)
        over = cluster_bootstrap(values[real], clusters[real], seed=derive("items", metric) % 2**32)
        found |= {"item_low": over.low, "item_high": over.high, "verdict": race_verdict(seeds, over)}
    return found


def judge(finals: Mapping[Key, Sequence[Final]]) -> dict[str, Any]:
    """The table: means, differences to the baseline at its best rate on each metric, Holm over all, a sentence."""
    outcomes = {key: [f.outcome for f in runs] for key, runs in finals.items()}

    def mean(key: Key, metric: str) -> float:
        return float(np.mean([o.test.get(metric, math.nan) for o in outcomes[key]]))

    base_keys = [k for k in finals if k[0] == BASELINE]
    reference = max(base_keys, key=lambda k: mean(k, "r@1"))
    rows = [
        _row(key, outcomes[key]) | {"reference": key == reference, "run": finals[key][0].folder.name} for key in finals
    ]
    tests: list[dict[str, Any]] = []
    for key, row in zip(finals, rows, strict=True):
        if key[0] == BASELINE:
            continue
        row["differences"] = {}
        for metric in row["scores"]:
            rivals = [k for k in base_keys if not math.isnan(mean(k, metric))]
            if not rivals or metric in UNSHOWN:
                continue
            best = max(rivals, key=lambda k, m=metric: -mean(k, m) if m == "median_rank" else mean(k, m))  # type: ignore[misc]
            found = _difference(finals[key], finals[best], metric)
            row["differences"][metric] = found
            if "item_low" in found:
                tests.append(found)
    for found, kept in zip(tests, holm([t["p"] for t in tests]), strict=True):
        found["holm"] = kept
    order = sorted(rows, key=lambda r: (-r["scores"]["r@1"]["mean"], r["label"]))
    by_validation = sorted(finals, key=lambda k: -float(np.mean([o.validation["r@1"] for o in outcomes[k]])))
    best_key = by_validation[0]
    rival = next((k for k in by_validation if k[0] != BASELINE), best_key)
    table = {
        "entrants": order,
        "best": best_key[0],
        "best_job": described(finals[best_key][0].job),
        "rival": rival[0],
        "rival_job": described(finals[rival][0].job),
        "reference_job": described(finals[reference][0].job),
        "notes": [],
    }
    table["sentence"], table["notes"] = sentence(table)
    return table


def _row(key: Key, outcomes: Sequence[Outcome]) -> dict[str, Any]:
    name, rate = key
    module = paper(name)
    lines = [line.strip() for line in (module.__doc__ or label(name)).strip().splitlines()]
    names = [m for m in outcomes[0].test if m not in UNSHOWN]
    values = {m: [o.test[m] for o in outcomes] for m in names}
    cost = {k: float(np.mean([o.cost[k] for o in outcomes])) for k in ("samples", "cpu_s", "parameters", "peak_mb")}
    samples = outcomes[0].curve["samples"]
    return {
        "paper": name,
        "label": label(name),
        "title": lines[0],
        "mechanism": " ".join(lines[1:4]).strip(),
        "partial": getattr(module, "PARTIAL", None),
        "trained": rate > 0,
        "baseline": name == BASELINE,
        "rate": rate or None,
        "scores": {
            m: {"mean": float(np.mean(v)), "sd": float(np.std(v, ddof=1)), "values": v} for m, v in values.items()
        },
        "cost": cost,
        "curve": {"samples": samples, "values": [o.curve["values"] for o in outcomes]},
    }


def _named(metric: str) -> str:
    return {
        "r@1": "R@1",
        "r@10": "R@10",
        "fresh r@1": "R@1 without look-alikes",
        f"r@10@{SHORT}": f"R@10 cut to {SHORT} numbers",
        "choice": "the choice between a text and its negative",
        "choice image": "the choice between a picture and its edit",
    }.get(metric, f"R@10 in {LANGUAGES.get(metric.split('.')[-1], metric.split('.')[-1])}")


def sentence(table: Mapping[str, Any]) -> tuple[str, list[str]]:
    """Which helps here, by how much, at what cost; says so when nothing does. Then one note per decided comparison."""
    reference = next(e for e in table["entrants"] if e.get("reference"))
    cost = max(reference["cost"]["cpu_s"], 1e-9)
    wins, notes = [], []
    for e in table["entrants"]:
        for metric, d in e.get("differences", {}).items():
            if d["verdict"] == "undecided":
                continue
            held = "" if d.get("holm") else "; not held after Holm's correction"
            by = f"{d['mean']:+.3f} [{d['low']:+.3f}, {d['high']:+.3f}]"
            times = f"{e['cost']['cpu_s'] / cost:.1f}x the CPU time"
            text = f"{e['label']} is {d['verdict']} on {_named(metric)}: {by}, {times}{held}"
            notes.append(text)
            if d["verdict"] == "better" and d.get("holm") and metric == "r@1":
                wins.append((d["mean"], text))
    if wins:
        return f"On R@1 {max(wins)[1]}.", notes
    moved = [n for n in notes if " better on " in n and "not held" not in n and "on R@1:" not in n]
    score = reference["scores"]["r@1"]["mean"]
    start = f"Nothing beats {reference['label']} at its best rate on R@1 here (R@1 {score:.3f})"
    return start + (f"; elsewhere {'; '.join(moved)}." if moved else "."), notes
