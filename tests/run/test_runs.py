"""One run from its first moment to its end: what lies in its folder when, how it goes on, what is refused."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import sensorium as sm
from sensorium import api
from sensorium.core import SensoriumError
from sensorium.data.dataset import Dataset
from sensorium.run import runs
from sensorium.run.fit import Step
from sensorium.run.lock import held
from sensorium.run.plan import Job
from sensorium.run.runs import Timing, execute, load, timed
from sensorium.run.stop import Stopped

from ..papers.conftest import SCRATCH

TINY = str(Path(__file__).parents[1] / "trust" / "tiny.py")
STEPS, BATCH = 12, 8
STATIC = {"run.json", "env.json", "tokenizer.json", "paper.py", "rows.parquet", "quarantine.jsonl"}
Watch = Callable[[Step, int], None]


def job(**more: Any) -> Job:
    return replace(Job(TINY, "", SCRATCH, 0.01, STEPS * BATCH, 0, batch=BATCH), **more)


def names(folder: Path) -> set[str]:
    return {p.name for p in folder.iterdir()}


def state(folder: Path) -> dict[str, torch.Tensor]:
    return load(folder, trust_code=True).method.state_dict()


def interrupting(at: int, number: int = signal.SIGTERM) -> Watch:
    """A signal to this process after a step."""

    def watch(step: Step, total: int) -> None:
        if step.n == at:
            os.kill(os.getpid(), number)

    return watch


def stopped(folder: Path, data: Dataset, at: int = 5, **more: Any) -> Stopped:
    """A run that was stopped after a step, saved."""
    with pytest.raises(Stopped) as stop:
        execute(job(), data, folder, watch=interrupting(at), tell=lambda _: None, **more)
    return stop.value


@pytest.fixture(scope="module")
def whole(data: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nobody stopped."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    execute(job(), data, folder)
    return folder


# The folder


def test_a_finished_run_holds_everything(whole: Path) -> None:
    assert names(whole) == STATIC | {"steps.jsonl", "checkpoints", "items.parquet", "scores.json"}
    assert names(whole / "checkpoints") == {str(STEPS)}
    record = json.loads((whole / "run.json").read_text())
    assert record["format"] == 1 and record["budget"] == "" and record["numerics"] == runs.NUMERICS


def test_a_run_is_there_from_its_first_step(data: Dataset, tmp_path: Path) -> None:
    folder, seen = tmp_path / "run", list[set[str]]()

    def watch(step: Step, total: int) -> None:
        seen.append(names(folder))
        assert len((folder / "steps.jsonl").read_text().splitlines()) == step.n

    execute(job(), data, folder, watch=watch, due=lambda step: step.n == 4)
    assert seen[2] == STATIC | {"steps.jsonl"}
    assert seen[4] == STATIC | {"steps.jsonl", "checkpoints"}


def test_a_run_that_is_not_kept_leaves_scores_and_no_weights(data: Dataset, tmp_path: Path) -> None:
    execute(job(), data, tmp_path / "run", keep=False, due=lambda step: True)
    there = names(tmp_path / "run")
    assert "scores.json" in there and not there & {"checkpoints", "rows.parquet"}


def test_saving_changes_no_number(data: Dataset, whole: Path, tmp_path: Path) -> None:
    execute(job(), data, tmp_path / "run", due=lambda step: True)
    theirs = state(whole)
    assert all(torch.equal(v, theirs[k]) for k, v in state(tmp_path / "run").items())


# Stopping and going on


@pytest.mark.parametrize("at", [1, 6, 11, 12])
def test_a_stopped_run_goes_on_as_if_nobody_had_stopped_it(data: Dataset, whole: Path, tmp_path: Path, at: int) -> None:
    folder, told = tmp_path / "run", list[str]()
    assert str(stopped(folder, data, at)) == f"stopped after step {at} of {STEPS}"
    assert names(folder / "checkpoints") == {str(at)} and "scores.json" not in names(folder)
    outcome = execute(job(), data, folder, tell=told.append)
    assert told == [f"{folder}: going on from step {at} of {STEPS}"]
    assert names(folder) == names(whole)
    theirs = state(whole)
    assert all(torch.equal(v, theirs[k]) for k, v in state(folder).items())
    stored = json.loads((whole / "scores.json").read_text())
    assert (outcome.validation, outcome.test, outcome.curve) == (stored["validation"], stored["test"], stored["curve"])
    assert [json.loads(x)["n"] for x in (folder / "steps.jsonl").read_text().splitlines()] == list(range(1, STEPS + 1))


def test_a_run_that_would_not_be_kept_is_saved_when_it_is_stopped(data: Dataset, whole: Path, tmp_path: Path) -> None:
    stopped(tmp_path / "run", data, keep=False)
    outcome = execute(job(), data, tmp_path / "run", keep=False, tell=lambda _: None)
    assert outcome.validation == json.loads((whole / "scores.json").read_text())["validation"]


def test_cost_adds_up_and_counts_setting_up_once(data: Dataset, tmp_path: Path) -> None:
    stopped(tmp_path / "run", data)
    first = json.loads((tmp_path / "run" / "checkpoints" / "5" / "state.json").read_text())["cost"]
    cost = execute(job(), data, tmp_path / "run", tell=lambda _: None).cost
    assert cost["setup_s"] == first["setup_s"]
    assert cost["samples"] == STEPS * BATCH
    assert cost["cpu_s"] > first["cpu_s"] >= first["setup_s"]
    assert cost["total_cpu_s"] > first["total_cpu_s"] and cost["total_cpu_s"] > cost["cpu_s"]
    assert cost["peak_mb"] >= first["peak_mb"]


def test_cost_of_a_run_that_had_only_to_be_scored(data: Dataset, whole: Path, tmp_path: Path) -> None:
    stopped(tmp_path / "run", data, STEPS)
    first = json.loads((tmp_path / "run" / "checkpoints" / str(STEPS) / "state.json").read_text())["cost"]
    cost = execute(job(), data, tmp_path / "run", tell=lambda _: None).cost
    assert cost["cpu_s"] == pytest.approx(first["cpu_s"], abs=0.05)
    stored = json.loads((whole / "scores.json").read_text())["cost"]
    assert cost["parameters"] == stored["parameters"] == 3 * 64 * 16 + 16 + 1


def test_a_finished_run_is_not_carried_out_again(data: Dataset, whole: Path) -> None:
    before = (whole / "scores.json").stat().st_mtime_ns
    with pytest.raises(SensoriumError, match="holds a finished run"):
        execute(job(), data, whole)
    assert (whole / "scores.json").stat().st_mtime_ns == before


def test_other_data_and_another_source_are_refused(
    data: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped(tmp_path / "run", data)
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    for name, value in (("data", "0" * 16), ("source", "1" * 16), ("numerics", 0)):
        (tmp_path / "run" / "run.json").write_text(json.dumps(record | {name: value}))
        with pytest.raises(SensoriumError, match=f"was started with {name} "):
            execute(job(), data, tmp_path / "run")


def test_other_versions_are_said(data: Dataset, tmp_path: Path) -> None:
    stopped(tmp_path / "run", data)
    env = json.loads((tmp_path / "run" / "env.json").read_text())
    (tmp_path / "run" / "env.json").write_text(json.dumps(env | {"torch": "1.0", "threads": "7"}))
    told: list[str] = []
    execute(job(), data, tmp_path / "run", tell=told.append)
    assert told[0].startswith(f"{tmp_path / 'run'} was begun under torch 1.0; numbers may differ") and len(told) == 2


def test_data_that_was_moved_is_the_same_data(data: Dataset, whole: Path, tmp_path: Path) -> None:
    with pytest.raises(Stopped):
        execute(job(data="here"), data, tmp_path / "run", watch=interrupting(5))
    outcome = execute(job(data="there"), data, tmp_path / "run", tell=lambda _: None)
    assert outcome.test == json.loads((whole / "scores.json").read_text())["test"]


def test_what_diverges_leaves_nothing_without_a_checkpoint_and_the_checkpoint_with_one(
    data: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(at: int) -> Any:
        def watch(step: Step, total: int) -> None:
            if step.n == at:
                raise FloatingPointError(f"loss is not finite at step {at}")

        return watch

    with pytest.raises(FloatingPointError):
        execute(job(), data, tmp_path / "run", watch=broken(3))
    assert names(tmp_path / "run") == set()
    with pytest.raises(FloatingPointError):
        execute(job(), data, tmp_path / "run", watch=broken(6), due=lambda step: step.n == 4)
    assert names(tmp_path / "run" / "checkpoints") == {"4"}


def test_an_unfinished_run_is_loaded_and_says_so(data: Dataset, tmp_path: Path) -> None:
    stopped(tmp_path / "run", data)
    with pytest.warns(UserWarning, match="run is unfinished; this is its checkpoint 5"):
        assert load(tmp_path / "run").method.training is False
    shutil.rmtree(tmp_path / "run" / "checkpoints")
    with pytest.raises(SensoriumError, match="has no checkpoint"):
        load(tmp_path / "run")


def test_an_interrupt_before_the_first_step_keeps_nothing(
    data: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*given: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(api, "timed", interrupted)
    with pytest.raises(Stopped, match="stopped before the first step; nothing is kept") as stop:
        train(data, tmp_path / "run", samples=0)
    assert stop.value.number == signal.SIGINT and list(tmp_path.iterdir()) == []


def test_timing_keeps_nothing_and_stops_in_order(data: Dataset, tmp_path: Path) -> None:
    assert timed(job(), data).step_s > 0
    with pytest.raises(Stopped):
        execute(job(), data, watch=interrupting(2))


# `sensorium.train`


def train(data: Dataset, out: Path, **more: Any) -> Any:
    settings = {"samples": STEPS * BATCH, "batch": BATCH, "rate": 0.01, "towers": "scratch", "say": lambda _: None}
    return sm.train(TINY, data, out=out, **(settings | more))


def progress_stopping(at: int, number: int = signal.SIGINT) -> Callable[[str, int, int], None]:
    def progress(what: str, done: int, total: int) -> None:
        if what == "train" and done == at:
            os.kill(os.getpid(), number)

    return progress


def test_train_stops_says_how_to_go_on_and_goes_on(data: Dataset, whole: Path, tmp_path: Path) -> None:
    out, said = tmp_path / "run", list[str]()
    with pytest.raises(KeyboardInterrupt) as stop:
        train(data, out, progress=progress_stopping(5))
    assert str(stop.value) == (
        f"stopped after step 5 of {STEPS}; {out} holds what was done, the same command with --resume goes on"
    )
    with pytest.raises(SensoriumError, match="holds an unfinished run; --resume goes on"):
        train(data, out)
    model = train(data, out, resume=True, say=said.append)
    assert f"{out}: going on from step 5 of {STEPS}" in said
    theirs = state(whole)
    assert all(torch.equal(v, theirs[k]) for k, v in model.method.state_dict().items())
    again = train(data, out, resume=True, say=said.append)
    assert said[-1] == f"{out} is finished; nothing is left to do" and again.path == out
    with pytest.raises(SensoriumError, match="is not empty: it holds a finished run"):
        train(data, out)
    with pytest.raises(SensoriumError, match=r"was started with rate 0\.01, asked for 0\.02"):
        train(data, out, resume=True, rate=0.02)


def test_resume_of_nothing_begins_and_says_so(data: Dataset, tmp_path: Path) -> None:
    said: list[str] = []
    train(data, tmp_path / "run", resume=True, say=said.append)
    assert said[0] == f"{tmp_path / 'run'} holds no run yet; it is begun"
    assert not (tmp_path / "run" / "LOCK").exists()


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"rate": 0.03}, "rate 0.01, asked for 0.03"),
        ({"seed": 4}, "seed 0, asked for 4"),
        ({"samples": 800}, f"samples {STEPS * BATCH}, asked for 800"),
        ({"batch": 4}, "batch 8, asked for 4"),
        ({"config": {"dim": 8}}, r'config \{\}, asked for \{"dim": 8\}'),
        ({"split": "redrawn"}, 'split "given", asked for "redrawn"'),
        ({"samples": 0, "budget": "2m"}, "started with 96 samples, asked for budget 2m"),
    ],
)
def test_going_on_under_other_settings_names_the_first_that_differs(
    data: Dataset, tmp_path: Path, change: dict[str, Any], line: str
) -> None:
    with pytest.raises(KeyboardInterrupt):
        train(data, tmp_path / "run", progress=progress_stopping(2))
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(SensoriumError, match=line):
        train(data, tmp_path / "run", resume=True, **change)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_budget_becomes_samples_once(data: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(api, "timed", lambda *given: Timing(0.5, 1.0, 9.0))
    with pytest.raises(KeyboardInterrupt):
        train(data, tmp_path / "run", samples=0, budget="30s", say=said.append, progress=progress_stopping(3))
    assert said == ["budget 30s of CPU time = 320 samples"]  # (30 - 9 - 1) / 0.5 steps of 8
    monkeypatch.setattr(api, "timed", lambda *given: pytest.fail("it was timed again"))
    with pytest.raises(SensoriumError, match="was started with 30s, asked for budget 31s"):
        train(data, tmp_path / "run", samples=0, budget="31s", resume=True)
    train(data, tmp_path / "run", samples=0, budget="30s", resume=True)
    assert json.loads((tmp_path / "run" / "scores.json").read_text())["cost"]["samples"] == 320


def test_a_second_start_is_refused_with_the_name_of_the_first(data: Dataset, tmp_path: Path) -> None:
    with held(tmp_path / "run", "sensorium train clip photos"):
        for resume in (False, True):
            with pytest.raises(
                SensoriumError, match=rf"in use by process {os.getpid()} .*\(sensorium train clip photos\)"
            ):
                train(data, tmp_path / "run", resume=resume)


def test_the_folder_is_held_while_it_trains(data: Dataset, tmp_path: Path) -> None:
    def progress(what: str, done: int, total: int) -> None:
        if what == "train" and done == 3:
            with pytest.raises(SensoriumError, match=rf"in use by process {os.getpid()} .*\(sensorium train tiny "):
                train(data, tmp_path / "run", resume=True)
            seen.append(done)

    seen: list[int] = []
    train(data, tmp_path / "run", progress=progress)
    assert seen == [3]


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"seed": -1}, "seed -1; expected 0 or"),
        ({"samples": -5}, "samples -5"),
        ({"batch": 1}, "batch 1"),
        ({"rate": -1.0}, "rate -1"),
        ({"save_every": "often"}, "'often' does not parse"),
    ],
)
def test_a_number_out_of_range_is_one_clear_line(
    data: Dataset, tmp_path: Path, change: dict[str, Any], line: str
) -> None:
    with pytest.raises(SensoriumError, match=line):
        train(data, tmp_path / "run", **change)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("where", ["timed", "execute"])
def test_what_diverges_is_one_clear_line_and_leaves_nothing(
    data: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    def diverging(*given: Any, **named: Any) -> Any:
        raise FloatingPointError("loss is not finite at step 3")

    monkeypatch.setattr(api, where, diverging)
    with pytest.raises(SensoriumError, match="tiny diverged: loss is not finite at step 3; a smaller rate may help"):
        train(data, tmp_path / "run", samples=0, budget="60m")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "problem",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nmore"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:1] DefaultCPUAllocator: can't allocate memory: you tried"),
    ],
)
def test_too_little_memory_is_one_clear_line_and_the_checkpoint_stays(
    data: Dataset, whole: Path, tmp_path: Path, problem: Exception
) -> None:
    def progress(what: str, done: int, total: int) -> None:
        if what == "train" and done == 7:
            raise problem

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(api, "every", lambda seconds: lambda step: step.n == 5)
        with pytest.raises(SensoriumError, match="out of memory at batch 8; a smaller one needs less") as refused:
            train(data, tmp_path / "run", progress=progress)
    assert "\n" not in str(refused.value)
    train(data, tmp_path / "run", resume=True)
    theirs = state(whole)
    assert all(torch.equal(v, theirs[k]) for k, v in state(tmp_path / "run").items())


def test_another_runtime_error_is_not_taken_for_that(data: Dataset, tmp_path: Path) -> None:
    def progress(what: str, done: int, total: int) -> None:
        raise RuntimeError("shapes do not match")

    with pytest.raises(RuntimeError, match="shapes do not match"):
        train(data, tmp_path / "run", progress=progress)
