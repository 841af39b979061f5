from __future__ import annotations

import json
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from torch import Tensor

from sensorium.core import Batch, Field, SensoriumError
from sensorium.data.dataset import Dataset
from sensorium.lab.starts import opened
from sensorium.papers.adapt import continual_pretraining as paper
from sensorium.papers.adapt.continual_pretraining import Continual, arithmetic, domains, ema, interpolation, unmerged
from sensorium.run.fit import Fit
from sensorium.run.plan import Job, Plan, plan
from sensorium.run.runs import execute
from sensorium.run.tasks import Question

from ..conftest import SCRATCH, squares

STEPS, BATCH = 8, 12
REAL = Path(__file__).parents[3] / "../shared/data/images"


@pytest.fixture(autouse=True, scope="module")
def small() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(paper, "POOL", 80)
        patch.setattr(paper, "ASKED", 40)
        yield


def planned(data: Dataset, seed: int = 0, steps: int = STEPS, rate: float = 1e-3, **config: Any) -> Plan:
    return plan(replace(job(seed, steps, **config), rate=rate), data)


def job(seed: int = 0, steps: int = STEPS, **config: Any) -> Job:
    return Job("continual-pretraining", "", SCRATCH, 1e-3, steps * BATCH, seed, config=config, batch=BATCH)


def method_of(p: Plan) -> Continual:
    assert isinstance(p.method, Continual)
    return p.method


def trained(p: Plan) -> Continual:
    list(Fit(p.method, p.stages, p.job.trial))
    return method_of(p)


def rows_of(batch: Batch) -> list[int]:
    row = batch["row"]
    assert isinstance(row, Field)
    return [int(r) for r in row.data]


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(v, b[k]) for k, v in a.items())


def state(value: float) -> dict[str, Tensor]:
    return {"w": torch.tensor([value])}


def test_merges_by_hand() -> None:
    start, before, tuned = state(0.0), state(2.0), state(6.0)
    found = {m: [s["w"].item() for s in m(start, before, tuned, 0.25)] for m in paper.MERGES.values()}
    assert found[unmerged] == [6, 6]
    assert found[ema] == [3, 3]  # 2 + (6 - 2) / 4
    assert found[interpolation] == [1.5, 6]  # 0 + (6 - 0) / 4, trained on from 6
    assert found[arithmetic] == [3.5, 0]  # 2 + (6 - 0) / 4, trained on from the start


def test_an_update_begins_where_the_start_is(data: Dataset) -> None:
    p = planned(data)
    batch = p.rows.batch(np.arange(5))
    shared = opened("pair-encoder").method
    method = method_of(p).eval()
    assert torch.equal(method.embed(batch, "image").x, shared.embed(batch, "image").x)  # type: ignore[operator]
    low = method_of(planned(data, rank=2)).eval()
    torch.testing.assert_close(low.embed(batch, "text").x, method.embed(batch, "text").x)


def test_each_update_shows_its_own_domains_those_of_before_and_pretraining_rows(data: Dataset) -> None:
    p = planned(data, steps=24, tasks=3)
    assert len(p.stages) == 3 and method_of(p).ends == (8, 16, 24)
    assert [s.budget.steps(s.batch) for s in p.stages] == [8, 8, 8]
    seen: list[set[int]] = []
    for task, stage in enumerate(p.stages):
        batches = [rows_of(stage.data.batch(k)) for k in range(20)]  # type: ignore[union-attr]
        counts = [sum(r < 0 for r in b) for b in batches]
        assert set(counts) == {6 if task == 0 else 4}
        new = {r for b in batches for r in b[: 6 if task == 0 else 4]}
        old = {r for b in batches for r in b[4:8] if r >= 0} if task else set()
        assert not new & set().union(*seen) and old <= set().union(*seen) and (task == 0 or old)
        seen.append(new)
    parts = domains(p.rows.select(p.split.train))
    for mine in seen:  # whole domains, none shared between updates
        assert all(set(index) <= mine or not set(index) & mine for index in parts.values())


def test_mixtures_leave_out_what_they_say(data: Dataset) -> None:
    for mixture, pool, old in (("new", 0, 0), ("buffer", 0, 6), ("pool", 6, 0), ("replay", 4, 4)):
        p = planned(data, tasks=2, mixture=mixture)
        first, second = (rows_of(s.data.batch(0)) for s in p.stages)  # type: ignore[union-attr]
        assert len(first) == len(second) == BATCH
        assert sum(r < 0 for r in second) == pool
        new = set(rows_of_all(p, 0))
        assert sum(r in new for r in second) == old


def rows_of_all(p: Plan, task: int) -> list[int]:
    """The rows of the data that an update is about, whatever is replayed beside them."""
    mixture = p.stages[task].data
    return mixture.streams[0].rows.index.tolist()  # type: ignore[union-attr, no-any-return]


def test_orderings_change_what_comes_first(data: Dataset) -> None:
    plans = {o: planned(data, steps=16, tasks=8, ordering=o, mixture="new") for o in ("easy", "hard", "common", "rare")}
    first, last = ({o: rows_of_all(p, task) for o, p in plans.items()} for task in (0, 7))
    assert first["easy"] == last["hard"] != last["easy"] == first["hard"]
    assert len(first["common"]) == len(last["rare"]) > len(last["common"]) == len(first["rare"])


@pytest.mark.parametrize("merge", ["interpolation", "arithmetic", "ema"])
def test_what_is_merged_at_a_share_of_nothing_is_the_start(data: Dataset, merge: str) -> None:
    p = planned(data, tasks=2, merge=merge, share=0.0)
    method = trained(p)
    assert same(method.model.state_dict(), method.start.state_dict())
    half = trained(planned(data, tasks=2, merge=merge))
    assert not same(half.model.state_dict(), half.start.state_dict())
    assert same(half.model.state_dict(), half.before.state_dict())  # what is used after the last update


def test_a_moving_average_is_the_average_of_updates_made_by_hand(data: Dataset) -> None:
    p = planned(data, tasks=2)
    method = method_of(p)
    start, tuned = deepcopy(method.model.state_dict()), {}
    for step in Fit(p.method, p.stages, p.job.trial):
        if step.n == method.ends[0]:
            merged = deepcopy(method.model.state_dict())
        tuned = method.before.state_dict()
    plain = trained(planned(data, tasks=2, merge="none", steps=STEPS))
    assert not same(plain.model.state_dict(), tuned)
    unmerged_first = planned(data, tasks=2, merge="none")
    for step in Fit(unmerged_first.method, unmerged_first.stages, unmerged_first.job.trial):
        if step.n == method.ends[0]:
            break
    for name, value in method_of(unmerged_first).model.state_dict().items():
        torch.testing.assert_close(merged[name], (start[name] + value) / 2)


def test_a_stream_that_was_stopped_goes_on_to_the_same_weights(data: Dataset) -> None:
    whole = trained(planned(data, tasks=3)).state_dict()
    p = planned(data, tasks=3)
    fit = Fit(p.method, p.stages, p.job.trial)
    for step in fit:
        if step.n == 4:  # within the second update
            break
    kept, place = deepcopy(p.method.state_dict()), deepcopy(fit.state_dict())
    again = planned(data, tasks=3)
    again.method.load_state_dict(kept)
    more = Fit(again.method, again.stages, again.job.trial)
    more.load_state_dict(place)
    assert len(list(more)) == STEPS - 4
    assert same(again.method.state_dict(), whole)


def test_dearer_methods_get_fewer_steps(data: Dataset) -> None:
    steps = {
        name: method_of(planned(data, steps=60, tasks=1, mixture="new", **config)).ends[-1]
        for name, config in {"plain": {}, "distil": {"regulariser": "distil"}, "low": {"rank": 1}}.items()
    }
    assert steps["plain"] == 60 and steps["distil"] < 55
    assert steps["low"] != 60


@pytest.mark.parametrize("regulariser", ["l2", "ewc", "distil"])
def test_a_regulariser_holds_weights_near_the_start(data: Dataset, regulariser: str) -> None:
    def moved(weight: float) -> float:
        p = planned(data, tasks=1, merge="none", regulariser=regulariser, weight=weight)
        terms = p.method.eval().losses(p.stages[0].data.batch(0), p.job.trial.rng)  # type: ignore[union-attr]
        assert sorted(terms) == ["contrast", regulariser]
        assert float(terms[regulariser].detach()) == pytest.approx(0, abs=1e-6)  # nothing has moved yet
        method = trained(p)
        image = p.rows.batch(np.arange(30))
        a, b = (m.embed(image, "image").x for m in (method.model.eval(), method.start.eval()))
        return float((a - b).detach().norm())

    assert moved(1e3) < 0.9 * moved(0.0)


def test_low_rank_updates_move_nothing_else(data: Dataset) -> None:
    p = planned(data, tasks=2, rank=2, merge="none", mixture="new")
    method = trained(p)
    start, now = method.start.state_dict(), paper.folded(method.model)
    changed = {name for name in start if not torch.equal(start[name], now[name])}
    assert changed and all(name.endswith(".weight") for name in changed)
    assert not any("norm" in n or "before" in n or "between" in n for n in changed)


def test_scores_tell_what_was_learnt_and_what_was_kept(data: Dataset) -> None:
    p = planned(data, steps=40, rate=3e-3, tasks=1, mixture="new", merge="none")
    asked = Question(p, data, p.split.train, torch.device("cpu"))
    before = paper.streamed(asked).scores
    for score in ("accumulation", "retention", "geometric"):
        assert before[score] == before[f"start {score}"]
    assert before["retention"] > 0.7  # the start finds nearly every scene among 40
    trained(p)
    after = paper.streamed(asked).scores
    assert after["accumulation"] > before["accumulation"] and after["retention"] < before["retention"]
    assert after["geometric"] == pytest.approx((after["accumulation"] * after["retention"]) ** 0.5)
    assert after["start retention"] == before["start retention"]


def test_a_folder_without_labels_and_with_large_pictures_is_one_update(tmp_path: Path) -> None:
    bare = Dataset(squares(tmp_path / "bare", picture=lambda k, row: row.pop("label") and None))
    big = Dataset(squares(tmp_path / "big", picture=large))
    assert "label" not in bare.kinds
    assert len(planned(bare).stages) == 1
    outcome = execute(replace(job(), measures=paper.MEASURES), big, tmp_path / "run")
    assert {"r@1", "accumulation", "retention", "geometric"} <= outcome.test.keys()
    p = planned(big)
    batch = p.rows.batch(np.arange(4))
    image = method_of(p).shrunk(batch)["image"]
    assert isinstance(image, Field) and image.data.shape == (4, 3, 32, 32)
    assert batch["image"].data.shape[-1] == 64  # type: ignore[union-attr]


def real(folder: Path, each: int = 40) -> Path:
    """Symbols, flags, groceries and figures as one data set, whose labels say which set a row is of."""
    found: list[dict[str, Any]] = []
    for name, column in (("symbols", "name_en"), ("flags", "name_en")):
        for row in pq.read_table(REAL / name / "train.parquet").slice(0, each).to_pylist():
            found.append({"image": row["image"], "text": row[column], "label": name})
    for name, column in (("grocery", "description"), ("figures", "caption")):
        train = REAL / name / "train"
        for line in (train / "metadata.jsonl").read_text().splitlines()[:each]:
            row = json.loads(line)
            picture = {"bytes": (train / row["file_name"]).read_bytes(), "path": row["file_name"]}
            found.append({"image": picture, "text": row[column] or "a figure", "label": name})
    folder.mkdir()
    pq.write_table(pa.Table.from_pylist(found), folder / "train.parquet")
    return folder


@pytest.mark.slow
@pytest.mark.skipif(not (REAL / "flags").is_dir(), reason="needs ../shared/data/images beside the repository")
def test_real_sets_are_a_stream(tmp_path: Path) -> None:
    data = Dataset(real(tmp_path / "real"))
    p = planned(data, steps=40, rate=3e-3)
    assert len(p.stages) == 4 and set(domains(p.rows)) == {"symbols", "flags", "grocery", "figures"}
    asked = Question(p, data, p.split.train, torch.device("cpu"))
    before = paper.streamed(asked).scores
    trained(p)
    after = paper.streamed(asked).scores
    assert after["accumulation"] > before["accumulation"] and after["retention"] > before["retention"] / 2


def large(k: int, row: dict[str, Any]) -> Any:
    from ..conftest import COLOURS, PLACES, picture

    words = row["text"].split()
    return picture(k, COLOURS[words[1]][1], PLACES[words[3]][1]).resize((80, 80))


def test_the_table_says_who_is_on_the_front() -> None:
    def scores(a: float, r: float) -> dict[str, float]:
        return {"accumulation": a, "retention": r, "geometric": (a * r) ** 0.5}

    lines = paper.table({"plain": scores(0.6, 0.2), "both": scores(0.5, 0.8), "less": scores(0.4, 0.5)}).splitlines()
    assert lines[2:] == [
        "| both | 0.500 | 0.800 | 0.632 | yes |",
        "| less | 0.400 | 0.500 | 0.447 | no |",
        "| plain | 0.600 | 0.200 | 0.346 | yes |",
    ]


@pytest.mark.parametrize("setting", ["merge", "regulariser", "mixture", "ordering", "schedule"])
def test_an_unknown_name_is_told_the_nearest(data: Dataset, setting: str) -> None:
    known = {"merge": "ema", "regulariser": "ewc", "mixture": "replay", "ordering": "random", "schedule": "falling"}
    with pytest.raises(SensoriumError, match=rf"{setting} '{known[setting]}x'.*'?{known[setting]}'?"):
        planned(data, **{setting: known[setting] + "x"})


def test_settings_that_make_no_sense_are_refused(data: Dataset) -> None:
    with pytest.raises(SensoriumError, match="tasks 0; expected at least 1"):
        planned(data, tasks=0)
    with pytest.raises(SensoriumError, match="whole weights, not low-rank deltas"):
        planned(data, rank=2, regulariser="l2")
