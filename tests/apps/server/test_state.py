"""What is served under which name."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from sensorium.apps.server.state import served
from sensorium.core import SensoriumError


def test_runs_have_the_names_of_their_folders_made_unique(runs: dict[str, Path], tmp_path: Path) -> None:
    shutil.copytree(runs["clip"], tmp_path / "clip")
    there = served([runs["clip"], tmp_path / "clip", runs["filip"]])
    assert list(there.models) == ["clip", "clip-2", "filip"]
    assert there.paths["clip-2"] == tmp_path / "clip"


def test_runs_of_one_data_set_share_it(runs: dict[str, Path]) -> None:
    there = served([runs["clip"], runs["filip"]])
    assert list(there.data) == ["squares"]
    assert there.trained_on == {"clip": "squares", "filip": "squares"}


def test_a_race_serves_its_best_run_and_is_shown(runs: dict[str, Path], tmp_path: Path) -> None:
    race = tmp_path / "contest"
    shutil.copytree(runs["clip"], race / "best")
    (race / "race.json").write_text("{}")
    there = served([race])
    assert list(there.models) == ["contest"]
    assert there.races == {"contest": race} and there.paths == {"contest": race / "best"}


def test_data_that_is_gone_is_told_and_the_run_is_served(runs: dict[str, Path], tmp_path: Path) -> None:
    run = shutil.copytree(runs["clip"], tmp_path / "clip")
    record = json.loads((run / "run.json").read_text())
    record["job"]["data"] = str(tmp_path / "gone")
    (run / "run.json").write_text(json.dumps(record))
    said: list[str] = []
    there = served([run], say=said.append)
    assert list(there.models) == ["clip"] and there.data == {} == there.trained_on
    assert len(said) == 1 and said[0].startswith("clip is served without the data it was trained on: ")


def test_data_that_is_named_is_served_alone(runs: dict[str, Path], folder: Path, tmp_path: Path) -> None:
    other = shutil.copytree(folder, tmp_path / "other")
    there = served([runs["clip"]], [other])
    assert list(there.data) == ["other"]
    assert there.trained_on == {"clip": "other"}  # the same content elsewhere


@pytest.mark.parametrize(
    ("paths", "says"),
    [
        ([], "nothing to serve: name a run or a race"),
        (["none"], "none is not a run: there is no such folder"),
        (["."], "is not a run: it has no run.json"),
    ],
)
def test_what_is_no_run_is_one_line(
    paths: list[str], says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SensoriumError, match=says):
        served([Path(p) for p in paths])
