"""What a race decides before its first run: who takes part, how many runs, what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sensorium.core import SensoriumError
from sensorium.run.race import BASELINE, Entrant, Race, Settings

SCRATCH = {"image": "scratch", "text": "scratch"}


def _folder(path: Path, captions: list[str]) -> Path:
    path.mkdir()
    rng = np.random.default_rng(0)
    rows = []
    for i, caption in enumerate(captions):
        Image.fromarray(rng.integers(0, 255, (16, 16, 3), dtype=np.uint8)).save(path / f"{i}.png")
        rows.append(json.dumps({"file_name": f"{i}.png", "caption": caption}))
    (path / "metadata.jsonl").write_text("\n".join(rows) + "\n")
    return path


def _race(tmp_path: Path, captions: list[str], papers: tuple[str, ...], **more: object) -> tuple[Race, list[str]]:
    said: list[str] = []
    data = _folder(tmp_path / "data", captions)
    settings = Settings(str(data), papers=papers, towers=SCRATCH, seeds=2, batch=16, **more)  # type: ignore[arg-type]
    out = tmp_path / "out"
    out.mkdir()
    return Race(settings, out, said.append, lambda *_: None), said


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SENSORIUM_HOME", str(tmp_path / "home"))


UNLIKE = [f"picture{i} of{i} thing{i}" for i in range(60)]
ALIKE = [f"a {c} {s} {n}" for n in range(5) for c in ("red", "green", "blue") for s in ("cup", "hat", "box", "key")]


def test_an_entrant_without_negatives_stays_out_and_says_why(tmp_path: Path) -> None:
    race, said = _race(tmp_path, UNLIKE, ("clip", "concept-negatives"))
    race.warm()
    assert race.names == [BASELINE]
    assert race.left_out == [
        {"paper": "concept-negatives", "reason": "no caption here has a word that could be swapped for a negative one"}
    ]
    assert any("concept-negatives is out" in line for line in said)


def test_an_entrant_with_negatives_stays_in(tmp_path: Path) -> None:
    race, _ = _race(tmp_path, ALIKE, ("clip", "concept-negatives"))
    race.warm()
    assert race.names == [BASELINE, "concept-negatives"] and race.left_out == []


def test_what_the_data_lacks_keeps_an_entrant_out(tmp_path: Path) -> None:
    race, _ = _race(tmp_path, ALIKE, ("clip", "kelip"))
    assert race.names == [BASELINE]
    assert race.left_out[0]["paper"] == "kelip" and "further variant" in race.left_out[0]["reason"]


def test_samples_fill_the_budget_and_no_more(tmp_path: Path) -> None:
    race, _ = _race(tmp_path, ALIKE, ("clip", "filip"), budget="1000s")
    entrants = [Entrant(BASELINE, True, 0.01, 0.5), Entrant("filip", True, 0.04, 1.0)]
    steps = race.afford(entrants) / 16
    spent = sum(race.runs_of(e, 3) * (e.fixed_s + steps * e.step_s) for e in entrants)
    assert 880 < spent <= 900


def test_a_budget_too_small_names_one_that_is_enough(tmp_path: Path) -> None:
    race, _ = _race(tmp_path, ALIKE, ("clip",), budget="10s")
    entrants = [Entrant(BASELINE, True, 0.5, 1.0)]
    with pytest.raises(SensoriumError, match=r"budget 10s is too small .* would do here is (\d+)s") as refused:
        race.afford(entrants)
    enough = int(str(refused.value).split("would do here is ")[1].split("s;")[0])
    race.seconds = enough
    assert race.afford(entrants) >= 40 * 16


def test_a_folder_that_holds_something_else_is_refused(tmp_path: Path) -> None:
    race, _ = _race(tmp_path, ALIKE, ("clip",))
    (race.out / "holiday.txt").write_text("mine")
    with pytest.raises(SensoriumError, match="is not empty and holds no race"):
        race.claim(race.out)


def test_what_cannot_rank_or_has_no_towers_here_stays_out_unless_it_was_named(tmp_path: Path) -> None:
    race, said = _race(_made(tmp_path / "all"), ALIKE, ())
    race.warm()
    out = {entry["paper"]: entry["reason"] for entry in race.left_out}
    assert "it has no `rank`" in out["baseline/prefix-lm"] and "needs a frozen pair" in out["labclip"]
    assert "filip" in race.names and not {"labclip", "baseline/prefix-lm"} & set(race.names)
    assert any(line.startswith("labclip is out: needs a frozen pair") for line in said)
    for name, why in (("labclip", "labclip: needs a frozen pair"), ("prefix-lm", "prefix-lm: it has no `rank`")):
        named, _ = _race(_made(tmp_path / name), ALIKE, (name,))
        with pytest.raises(SensoriumError, match=why):
            named.warm()


def _made(path: Path) -> Path:
    path.mkdir()
    return path
