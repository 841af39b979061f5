"""The journal of a run: what a checkpoint holds, where a run goes on, what is refused."""

from __future__ import annotations

import json
import time
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from sensorium.core import SensoriumError
from sensorium.run.fit import Fit, Step
from sensorium.run.save import Journal, Past, every, free, record_of, same_run, state_of

from .test_fit import Toy, asking, changed, copied, trial, two_stages

MARKS = {"job": "a", "data": "b", "tokenizer": "c"}
CURVE = {"samples": [8.0], "values": [0.25]}


def begun(folder: Path, **more: Any) -> tuple[Toy, Fit, Journal, list[str]]:
    """A method, its fit of six steps, the journal of both, what was said."""
    folder.mkdir(exist_ok=True)
    method, said = Toy(dropout=0.5), list[str]()
    fit = Fit(method, more.get("stages", two_stages)(), trial(6))
    return method, fit, Journal(folder, fit, MARKS | more.get("marks", {}), said.append), said


def trained(folder: Path, steps: int, saves: tuple[int, ...], **more: Any) -> Toy:
    """Train for some steps and save after those that are named."""
    method, fit, journal, _ = begun(folder, **more)
    journal.resume()
    with journal.writing() as write:
        for step in islice(iter(fit), steps):
            write(step)
            if step.n in saves:
                journal.save(Past(CURVE, {"cpu_s": float(step.n)}))
    return method


@pytest.mark.parametrize("stages", [two_stages, asking])
@pytest.mark.parametrize("k", range(1, 7))
def test_a_run_goes_on_from_its_files_to_the_same_weights(tmp_path: Path, k: int, stages: Any) -> None:
    whole = trained(tmp_path / "whole", 6, (6,), stages=stages)
    trained(tmp_path / "run", k, (k,), stages=stages)
    method, fit, journal, said = begun(tmp_path / "run", stages=stages)
    past = journal.resume()
    assert past == Past(CURVE, {"cpu_s": float(k)})
    assert said == [f"{tmp_path / 'run'}: going on from step {k} of 6"]
    with journal.writing() as write:
        for step in fit:
            write(step)
    journal.save(Past())
    assert not changed(copied(whole), method)
    lines = [[json.loads(x) for x in (tmp_path / p / "steps.jsonl").read_text().splitlines()] for p in ("run", "whole")]
    for line in (*lines[0], *lines[1]):
        line.pop("seconds")
    assert lines[0] == lines[1]
    optim = [(tmp_path / p / "checkpoints" / "6" / "optim.safetensors").read_bytes() for p in ("run", "whole")]
    assert optim[0] == optim[1]


def test_what_a_checkpoint_holds(tmp_path: Path) -> None:
    method = trained(tmp_path / "run", 4, (4,), stages=asking)
    folder = tmp_path / "run" / "checkpoints" / "4"
    names = {"model.safetensors", "optim.safetensors", "asked_with.safetensors", "state.json", "manifest.json"}
    assert {p.name for p in folder.iterdir()} == names
    moments = load_file(folder / "optim.safetensors")
    of = ("step", "exp_avg", "exp_avg_sq")
    assert set(moments) == {f"{n}.{m}" for n, _ in method.named_parameters() for m in of}
    state = json.loads((folder / "state.json").read_text())
    assert {k: state[k] for k in ("stage", "step", "total", "samples")} == {
        "stage": 1, "step": 2, "total": 4, "samples": 32,
    }  # fmt: skip
    assert {k: state[k] for k in MARKS} == MARKS
    last = json.loads((tmp_path / "run" / "steps.jsonl").read_text().splitlines()[-1])
    assert (state["rows"], state["seconds"]) == (last["rows"], last["seconds"])
    assert state["log_bytes"] == (tmp_path / "run" / "steps.jsonl").stat().st_size
    assert set(load_file(folder / "asked_with.safetensors")) == set(method.state_dict())


def test_steps_after_the_checkpoint_are_cut_so_that_each_stands_once(tmp_path: Path) -> None:
    trained(tmp_path / "run", 5, (3,))
    log = tmp_path / "run" / "steps.jsonl"
    log.write_bytes(log.read_bytes() + b'{"n": 6, "torn')
    _, fit, journal, _ = begun(tmp_path / "run")
    journal.resume()
    assert [json.loads(line)["n"] for line in log.read_text().splitlines()] == [1, 2, 3]
    with journal.writing() as write:
        for step in fit:
            write(step)
    assert [json.loads(line)["n"] for line in log.read_text().splitlines()] == [1, 2, 3, 4, 5, 6]


def test_seconds_add_up(tmp_path: Path) -> None:
    trained(tmp_path / "run", 3, (3,))
    _, fit, journal, _ = begun(tmp_path / "run")
    journal.resume()
    before = fit.seconds
    assert before > 0
    for _ in range(200_000):
        pass  # what happens between two halves of a run is not of its steps
    assert next(iter(fit)).seconds > before


def test_without_a_checkpoint_a_run_begins(tmp_path: Path) -> None:
    trained(tmp_path / "run", 2, ())
    _, fit, journal, said = begun(tmp_path / "run")
    assert journal.resume() is None and fit.total == 0 and said == []
    assert (tmp_path / "run" / "steps.jsonl").read_bytes() == b""


def test_two_checkpoints_are_kept_and_none_is_written_twice(tmp_path: Path) -> None:
    trained(tmp_path / "run", 6, (1, 2, 4, 6))
    folder = tmp_path / "run" / "checkpoints"
    assert sorted(p.name for p in folder.iterdir()) == ["4", "6"]
    _, _, journal, _ = begun(tmp_path / "run")
    journal.resume()
    before = (folder / "6").stat().st_mtime_ns
    journal.save(Past())
    assert (folder / "6").stat().st_mtime_ns == before


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_never_saved(tmp_path: Path, value: float) -> None:
    trained(tmp_path / "run", 2, (2,))
    method, fit, journal, _ = begun(tmp_path / "run")
    journal.resume()
    next(iter(fit))
    with torch.no_grad():
        method.head.weight[0, 0] = value
    with pytest.raises(FloatingPointError, match=r"not finite after step 3 \(head\.weight\)"):
        journal.save(Past())
    assert [p.name for p in (tmp_path / "run" / "checkpoints").iterdir()] == ["2"]


@pytest.mark.parametrize("mark", MARKS)
def test_a_checkpoint_of_another_run_is_refused_by_what_differs(tmp_path: Path, mark: str) -> None:
    trained(tmp_path / "run", 2, (2,))
    _, _, journal, _ = begun(tmp_path / "run", marks={mark: "other"})
    with pytest.raises(SensoriumError, match=f"was written with another {mark}"):
        journal.resume()


def test_forgetting_leaves_what_others_put_there_and_every_checkpoint(tmp_path: Path) -> None:
    trained(tmp_path / "run", 2, ())
    for name in ("run.json", "rows.parquet", "mine.txt"):
        (tmp_path / "run" / name).write_text("{}")
    _, _, journal, _ = begun(tmp_path / "run")
    journal.forget()
    assert [p.name for p in (tmp_path / "run").iterdir()] == ["mine.txt"]
    trained(tmp_path / "other", 2, (2,))
    _, _, journal, _ = begun(tmp_path / "other")
    journal.forget()
    assert sorted(p.name for p in (tmp_path / "other").iterdir()) == ["checkpoints", "steps.jsonl"]


def test_a_full_disk_while_a_line_is_written_is_one_clear_line(tmp_path: Path) -> None:
    _, fit, journal, _ = begun(tmp_path / "run")
    (tmp_path / "run" / "steps.jsonl").symlink_to("/dev/full")
    if not Path("/dev/full").exists():
        pytest.skip("there is no device that is always full")
    with journal.writing() as write, pytest.raises(SensoriumError) as refused:
        write(next(iter(fit)))
    assert str(refused.value) == f"cannot write {tmp_path / 'run' / 'steps.jsonl'}: No space left on device"


# When, where, what


def test_a_checkpoint_is_due_each_time_so_much_cpu_time_has_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    monkeypatch.setattr(time, "process_time", lambda: clock[0])
    due, step = every(10.0), Step(1, 0, 8, {}, 0.1, 0.0, "")
    found = []
    for now in (101, 109.9, 110, 111, 119, 121, 131.5):
        clock[0] = now
        found.append(due(step))
    assert found == [False, False, True, False, False, True, True]


def test_what_a_folder_holds(tmp_path: Path) -> None:
    assert state_of(tmp_path / "nowhere") == state_of(tmp_path) == "nothing"
    for left in ("LOCK", ".run.json.12.ab.tmp"):
        (tmp_path / left).touch()
    assert state_of(tmp_path) == "nothing"
    (tmp_path / "run.json").write_text("{}")
    assert state_of(tmp_path) == "unfinished"
    (tmp_path / "scores.json").write_text("{}")
    assert state_of(tmp_path) == "finished"
    (tmp_path / "run.json").unlink()
    assert state_of(tmp_path) == "else"


@pytest.mark.parametrize(
    ("names", "resume", "line"),
    [
        (["holiday.png"], False, "is not empty and holds no run; give --out"),
        (["holiday.png"], True, "is not empty and holds no run; give --out"),
        (["run.json"], False, "holds an unfinished run; --resume goes on"),
        (["run.json", "scores.json"], False, "is not empty: it holds a finished run; give --out"),
        (["run.json"], True, ""),
        (["run.json", "scores.json"], True, ""),
        ([], False, ""),
        ([], True, ""),
    ],
)
def test_who_may_begin_or_go_on(tmp_path: Path, names: list[str], resume: bool, line: str) -> None:
    for name in names:
        (tmp_path / name).write_text("{}")
    if not line:
        free(tmp_path, resume)
        return
    with pytest.raises(SensoriumError) as refused:
        free(tmp_path, resume)
    assert str(refused.value).startswith(f"{tmp_path} {line}")


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"job": {"rate": 0.2, "seed": 1}}, "was started with rate 0.1, asked for 0.2"),
        ({"job": {"rate": 0.1, "seed": 2, "data": "there"}}, "was started with seed 1, asked for 2"),
        ({"data": "ffff"}, 'was started with data "aaaa", asked for "ffff"'),
        ({"job": {"rate": 0.1, "seed": 1, "data": "moved"}}, ""),
        ({"kinds": {"x": ("y",)}}, ""),
        ({"later": 3}, ""),
    ],
)
def test_the_first_difference_is_named_given_and_stored(tmp_path: Path, change: dict[str, Any], line: str) -> None:
    stored = {"job": {"rate": 0.1, "seed": 1, "data": "here"}, "data": "aaaa", "kinds": {"x": ["y"]}}
    if not line:
        same_run(tmp_path, stored, stored | change)
        return
    with pytest.raises(SensoriumError) as refused:
        same_run(tmp_path, stored, stored | change)
    assert line in str(refused.value) and "--out a new folder" in str(refused.value)


@pytest.mark.parametrize(
    ("content", "line"),
    [(None, "is not a run: it has no run.json"), ("{torn", "is not readable JSON"), ("[]", "is not the record")],
)
def test_a_record_that_is_none_is_one_clear_line(tmp_path: Path, content: str | None, line: str) -> None:
    if content is not None:
        (tmp_path / "run.json").write_text(content)
    with pytest.raises(SensoriumError, match=line):
        record_of(tmp_path)
