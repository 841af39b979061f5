"""Judging: the baseline's best rate on each measure is the rival, both intervals must agree, Holm is over all."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sensorium.run.plan import Job
from sensorium.run.runs import Outcome
from sensorium.run.verdict import Final, judge

SEEDS = 5
ROWS = 200


def _finals(folder: Path, paper: str, rate: float, hit: float, seed0: int, other: float = 0.5) -> list[Final]:
    """Runs whose rows hit with chance `hit`, and a second measure that is `other` for every row."""
    found = []
    for seed in range(SEEDS):
        job = Job(paper, "d", {}, rate, 100 if rate else 0, seed)
        hits = (np.random.default_rng(seed0 + seed).random(ROWS) < hit).astype(float)
        place = folder / f"{paper.replace('/', '-')}-{rate}-{seed}"
        place.mkdir(parents=True)
        items = {"row": np.arange(ROWS), "group": np.arange(ROWS), "r@1": hits, "r@10": np.full(ROWS, other)}
        pq.write_table(pa.table(items), place / "items.parquet")
        scores = {"r@1": float(hits.mean()), "r@10": other, "median_rank": 2.0}
        cost = {"samples": 100.0, "cpu_s": 1.0 + rate, "parameters": 10.0, "peak_mb": 1.0}
        found.append(Final(job, Outcome({"r@1": hit}, scores, {"samples": [], "values": []}, cost), place))
    return found


def _table(folder: Path, ours: float, other: float = 0.5) -> dict:  # type: ignore[type-arg]
    return judge(
        {
            ("baseline/clip", 0.001): _finals(folder, "baseline/clip", 0.001, 0.2, 0),
            ("baseline/clip", 0.003): _finals(folder, "baseline/clip", 0.003, 0.4, 100, other=0.4),
            ("filip", 0.003): _finals(folder, "filip", 0.003, ours, 200, other),
        }
    )


def test_a_clear_win_is_better_and_named_in_the_sentence(tmp_path: Path) -> None:
    table = _table(tmp_path, 0.9)
    filip = next(e for e in table["entrants"] if e["label"] == "filip")
    assert filip["differences"]["r@1"]["verdict"] == "better" and filip["differences"]["r@1"]["holm"]
    assert table["best"] == "filip" and table["entrants"][0]["label"] == "filip"
    assert table["sentence"].startswith("On R@1 filip is better on R@1: +0.")


def test_the_rival_is_the_best_rate_on_each_measure(tmp_path: Path) -> None:
    table = _table(tmp_path, 0.4, other=0.5)
    filip = next(e for e in table["entrants"] if e["label"] == "filip")
    reference = next(e for e in table["entrants"] if e.get("reference"))
    assert reference["rate"] == 0.003
    ours = filip["scores"]["r@1"]["mean"] - reference["scores"]["r@1"]["mean"]
    assert filip["differences"]["r@1"]["mean"] == pytest.approx(ours)
    assert filip["differences"]["r@10"]["mean"] == pytest.approx(0.0)  # against 0.5 of rate 0.001, not 0.4 of the other


def test_beating_only_the_worse_rate_is_no_win(tmp_path: Path) -> None:
    table = _table(tmp_path, 0.4)
    filip = next(e for e in table["entrants"] if e["label"] == "filip")
    assert filip["differences"]["r@1"]["verdict"] == "undecided"
    assert table["sentence"].startswith("Nothing beats clip at its best rate on R@1 here")


def test_a_clear_loss_is_worse_and_never_a_win(tmp_path: Path) -> None:
    table = _table(tmp_path, 0.05)
    filip = next(e for e in table["entrants"] if e["label"] == "filip")
    assert filip["differences"]["r@1"]["verdict"] == "worse"
    assert "Nothing beats clip" in table["sentence"] and table["best"] == "baseline/clip" and table["rival"] == "filip"


def test_null_entrants_are_rarely_called_different(tmp_path: Path) -> None:
    decided = 0
    for i in range(40):
        folder = tmp_path / str(i)
        table = judge(
            {
                ("baseline/clip", 0.003): _finals(folder, "baseline/clip", 0.003, 0.4, 1000 * i),
                ("filip", 0.003): _finals(folder, "filip", 0.003, 0.4, 1000 * i + 500),
            }
        )
        filip = next(e for e in table["entrants"] if e["label"] == "filip")
        decided += filip["differences"]["r@1"]["verdict"] != "undecided"
    assert decided <= 3


def test_two_seeds_decide_nothing(tmp_path: Path) -> None:
    finals = {
        ("baseline/clip", 0.003): _finals(tmp_path, "baseline/clip", 0.003, 0.2, 0)[:2],
        ("filip", 0.003): _finals(tmp_path, "filip", 0.003, 0.9, 200)[:2],
    }
    filip = next(e for e in judge(finals)["entrants"] if e["label"] == "filip")
    assert filip["differences"]["r@1"]["verdict"] == "undecided"
