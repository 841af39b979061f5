"""Checkpoints that were damaged after they were written: found, said, and not used."""

from __future__ import annotations

import json
import shutil
import warnings
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import sensorium as sm
from sensorium.core import derive
from sensorium.run.checkpoint import newest, verified

from .conftest import PAPER, Server, Whole, hashes
from .defects import plant

LAST, BEFORE = "40", "35"


def damaged(run: Path, number: int) -> str:
    """Cut short or flip a bit of some file of the newest checkpoint, put the rest back; its name."""
    files = sorted(p for p in (run / "checkpoints" / LAST).iterdir())
    path = files[number % len(files)]
    whole = path.read_bytes()
    at = derive("torn", number) % len(whole)
    if derive("kind", number) % 2:
        path.write_bytes(whole[:at])
    else:
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1 << derive("bit", number) % 8]) + whole[at + 1 :])
    return path.name


def unseen(whole: Whole, copy: Path, total: int) -> list[tuple[int, str]]:
    """Of `total` damages those that are not found, or whose file is not named, or where another than the one before is
    used."""
    missed = []
    for number in range(total):
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(whole.path, copy)
        name, said = damaged(copy, number), list[str]()
        used = newest(copy, said.append).name
        if used != BEFORE or len(said) != 1 or f"checkpoint {LAST} is damaged ({name}" not in said[0]:
            missed.append((number, name))
    return missed


def test_every_damage_is_found_and_said(whole: Whole, tmp_path: Path) -> None:
    assert {p.name for p in (whole.path / "checkpoints").iterdir()} == {LAST, BEFORE}
    assert unseen(whole, tmp_path / "run", 40) == []


@pytest.mark.trust
def test_two_hundred_damages_are_found_and_said(whole: Whole, tmp_path: Path) -> None:
    assert unseen(whole, tmp_path / "run", 200) == []


def test_damage_without_checksums_would_pass(whole: Whole, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from sensorium.run import checkpoint

    monkeypatch.setattr(checkpoint, "damage", checkpoint.damage)  # put back afterwards
    plant("unchecked")
    assert len(unseen(whole, tmp_path / "run", 40)) > 20


@pytest.mark.parametrize("number", range(4))
def test_a_run_is_used_from_the_checkpoint_before_and_says_so(whole: Whole, tmp_path: Path, number: int) -> None:
    run = shutil.copytree(whole.path, tmp_path / "run")
    damaged(run, number)
    with pytest.warns(UserWarning, match=rf"checkpoint {LAST} is damaged .*; going on from {BEFORE}"):
        model = sm.load(run, trust_code=True)
    stored = load_file(run / "checkpoints" / BEFORE / "model.safetensors")
    assert all(torch.equal(v, stored[k]) for k, v in model.method.state_dict().items())


@pytest.mark.parametrize("number", range(5))
def test_a_run_goes_on_from_the_checkpoint_before(server: Server, whole: Whole, tmp_path: Path, number: int) -> None:
    run = shutil.copytree(whole.path, tmp_path / "run")
    (run / "scores.json").unlink()
    name = damaged(run, number)
    ended = server(run, resume=True)
    assert ended.code == 0, ended.said
    assert f"checkpoint {LAST} is damaged ({name}" in ended.said and ended.noted("resumed") == [int(BEFORE)]
    assert hashes(run) == whole.hashes


def test_a_run_without_any_good_checkpoint_starts_anew_and_says_so(
    server: Server, whole: Whole, tmp_path: Path
) -> None:
    run = shutil.copytree(whole.path, tmp_path / "run")
    (run / "scores.json").unlink()
    for step in (LAST, BEFORE):
        (run / "checkpoints" / step / "model.safetensors").write_bytes(b"")
    ended = server(run, resume=True)
    assert ended.code == 0 and ended.noted("resumed") == [0]
    assert "no checkpoint whose checksums hold" in ended.said and "starting anew" in ended.said
    assert hashes(run) == whole.hashes


def test_a_checkpoint_of_another_run_is_refused(server: Server, whole: Whole, tmp_path: Path) -> None:
    other, run = tmp_path / "other", tmp_path / "run"
    assert server(other, samples=80, at=("finish", 1)).code == -9
    assert server(run, at=("step", 1)).code == -9
    shutil.copytree(other / "checkpoints", run / "checkpoints")
    ended = server(run, resume=True)
    assert ended.code == 1 and "was written with another job" in ended.said


def test_an_unfinished_run_loads_and_says_that_it_is_unfinished(server: Server, whole: Whole, tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert server(run, at=("step", 70)).code == -9
    assert not (run / "scores.json").exists()
    with pytest.warns(UserWarning, match="run is unfinished; this is its checkpoint 15"):
        model = sm.load(run)
    assert model.embed(model.read("text", ["a red square left"])).x.shape == (1, 1, 16)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        sm.load(whole.path)


@pytest.mark.parametrize("number", range(20))
def test_checksums_hold_after_copy_rename_and_move(whole: Whole, tmp_path: Path, number: int) -> None:
    run = shutil.copytree(whole.path, tmp_path / "copy")
    run = run.rename(tmp_path / f"renamed {number}")
    run = Path(shutil.move(run, tmp_path / "some" / "where" / "else" / str(number)))
    assert all(verified(c) for c in (run / "checkpoints").iterdir())
    assert newest(run).name == LAST
    record = json.loads((run / "run.json").read_text())
    assert record["paper"] == str(PAPER)
    if not number:
        a, b = (sm.load(p).method.state_dict() for p in (run, whole.path))
        assert all(torch.equal(a[k], b[k]) for k in b)
