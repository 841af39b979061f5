"""The whole way by the command line and from Python: race, kill, continue, search, embed, train, load."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

import sensorium as sm
from sensorium.run import race as racing

from .conftest import HOSTILE, TINY, Cli, call

STEPS = 3
FEW = STEPS * 16
"""Samples per run: the budget would pay for more on a fast machine and for less on a slow one."""
SHORT = f"import sensorium.run.race as r; r.MOST_SAMPLES = {FEW}; from sensorium.cli import main; main()"
ENTRANTS = {"clip", "ridge", "mine"}


@dataclass(frozen=True)
class Raced:
    """A race by the command line: where it lies, its words, what was there when it was killed."""

    out: Path
    words: list[str]
    killed: dict[Path, int]
    said: str

    @property
    def race(self) -> dict[str, Any]:
        return dict(json.loads((self.out / "race.json").read_text()))

    @property
    def table(self) -> dict[str, Any]:
        return dict(json.loads((self.out / "table.json").read_text()))


def arms(out: Path) -> dict[Path, int]:
    """scores.json of every finished arm and when it was written."""
    return {p: p.stat().st_mtime_ns for p in sorted(out.glob("arms/[!.]*/scores.json"))}


def stop(process: subprocess.Popen[str]) -> None:
    """SIGKILL the race and what it started, as a machine that goes down would."""
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


class Here:
    """Runs carried out in this process, one after the other: no worker has to be started."""

    def submit(self, do: Callable[..., Any], *given: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(do(*given))
        except Exception as problem:
            future.set_exception(problem)
        return future


@contextmanager
def pool(workers: int) -> Iterator[Here]:
    """In place of spawned workers."""
    yield Here()


def hasten(patch: pytest.MonkeyPatch) -> None:
    """Races in this process, with as few samples as SHORT."""
    patch.setattr(racing, "MOST_SAMPLES", FEW)
    patch.setattr(racing, "worker_pool", pool)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """As `hasten` says."""
    hasten(monkeypatch)


@pytest.fixture(scope="session")
def raced(folder: Path, papers: Path, tmp_path_factory: pytest.TempPathFactory) -> Raced:
    """clip, ridge and mine.py, killed once three arms exist, then carried on by the same command.

    The first time in a process of its own with spawned workers, the second time here."""
    out = tmp_path_factory.mktemp("race") / "race"
    words = ["race", str(folder), *TINY, "--papers", f"clip,ridge,{papers / 'mine.py'}", "--seeds", "2"]
    words += ["--budget", "30m", "--workers", "1", "--out", str(out)]
    run = [sys.executable, "-c", SHORT, *words]
    first = subprocess.Popen(run, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True)
    until = time.monotonic() + 120
    while len(arms(out)) < 3 and first.poll() is None and time.monotonic() < until:
        time.sleep(0.02)
    assert first.poll() is None, first.communicate()[0]
    stop(first)
    killed = arms(out)
    assert len(killed) >= 3
    assert not (out / "table.json").exists()
    said = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(said):
        hasten(patch)
        assert call(patch, *words) == 0
    return Raced(out, words, killed, said.getvalue())


def labels(table: dict[str, Any]) -> set[str]:
    return {e["label"] for e in table["entrants"]}


def test_a_killed_race_keeps_what_was_finished(raced: Raced) -> None:
    after = arms(raced.out)
    assert {p: after.get(p) for p in raced.killed} == raced.killed
    assert len(after) > len(raced.killed)
    assert "were finished before" in raced.said
    assert not list(raced.out.rglob("*.tmp"))


def test_what_a_race_leaves(raced: Raced) -> None:
    for name in ("race.json", "table.json", "report.html", "best/run.json", "retrievals.json", "settings.json"):
        assert (raced.out / name).is_file(), name
    assert raced.race["budget"]["samples"] == FEW
    assert raced.race["seeds"] == [0, 1]
    assert raced.race["data"]["rows"] == 120
    assert set(raced.race["towers"].values()) == {"scratch"}
    for part in ("clip", "ridge", "mine", "report.html", "best run"):
        assert part in raced.said
    page = (raced.out / "report.html").read_text(encoding="utf-8")
    assert all(name in page for name in ENTRANTS)
    assert HOSTILE not in page
    assert not re.search(r"""<(script|link|img)[^>]+(src|href)=["']?https?:""", page)


def test_the_table_compares_all_entrants(raced: Raced) -> None:
    assert labels(raced.table) == ENTRANTS
    for entrant in raced.table["entrants"]:
        scores = entrant["scores"]["r@1"]["values"]
        assert len(scores) == 2
        assert all(0 <= v <= 1 for v in scores)
        if not entrant["baseline"]:
            difference = entrant["differences"]["r@1"]
            assert difference["low"] <= difference["mean"] <= difference["high"]
    reference = next(e for e in raced.table["entrants"] if e.get("reference"))
    mine = next(e for e in raced.table["entrants"] if e["label"] == "mine")
    pairs = zip(mine["scores"]["r@1"]["values"], reference["scores"]["r@1"]["values"], strict=True)
    assert mine["differences"]["r@1"]["mean"] == pytest.approx(np.mean([a - b for a, b in pairs]))


def test_every_arm_is_one_run_at_equal_samples(raced: Raced) -> None:
    for path in arms(raced.out):
        record = json.loads((path.parent / "run.json").read_text())
        samples = json.loads(path.read_text())["cost"]["samples"]
        assert samples == (0 if record["paper"] == "baseline/ridge" else FEW)
        steps = (path.parent / "steps.jsonl").read_text().splitlines()
        assert len(steps) == samples // 16
    runs = len(arms(raced.out))
    grid = len(raced.race["rates"])
    assert runs == grid * (1 + 2) + (grid + 2) + 2  # clip at every rate on every seed, mine at its best, ridge


def test_the_stated_number_of_runs_is_enough(raced: Raced, folder: Path) -> None:
    settings = racing.Settings(str(folder), seeds=2, towers={"image": "scratch", "text": "scratch"}, batch=16)
    contest = racing.Race(settings, raced.out, print, lambda *_: None)
    costs = [racing.Entrant(n, n != "baseline/ridge") for n in ("baseline/clip", "baseline/ridge", "mine.py")]
    assert sum(contest.runs_of(e, 3) for e in costs) >= len(arms(raced.out))


def test_the_same_command_again_repeats_nothing(raced: Raced, quick: None, cli: Cli) -> None:
    before, table = arms(raced.out), raced.table
    said = cli(*raced.words)
    assert said.code == 0, said.err
    assert arms(raced.out) == before
    assert raced.table == table


def test_another_number_of_workers_is_the_same_race(raced: Raced, cli: Cli) -> None:
    words = [w if w != "1" else "3" for w in raced.words]
    assert cli(*words, "--dry-run").code == 0
    said = cli(*[w if w != "2" else "3" for w in raced.words])
    assert said.code == 2
    assert "holds a race with seeds 2, asked for 3" in said.err


def test_from_python(raced: Raced, folder: Path, papers: Path, quick: None, tmp_path: Path) -> None:
    """Also: the arms of a race that was never stopped score the same as those of the killed one."""
    said: list[str] = []
    photos = sm.Dataset(folder)
    board = sm.race(
        ["clip", str(papers / "mine.py")],
        photos,
        budget="30m",
        seeds=2,
        workers=1,
        towers="scratch",
        batch=16,
        out=tmp_path / "board",
        say=said.append,
    )
    assert labels(dict(board.table)) == {"clip", "mine"}
    assert "clip" in str(board) and "mine" in str(board)
    assert board.sentence == board.table["sentence"]
    assert said
    page = board.report(tmp_path / "report.html")
    assert page.read_text(encoding="utf-8").startswith("<!doctype html>")
    assert board.best.paper in ("baseline/clip", str(papers / "mine.py"))
    hits = sm.search(board.best, photos, "a red square left", top=3)
    assert len(hits) == 3
    same = 0
    for path in arms(board.path):
        twin = raced.out / "arms" / path.parent.name / "scores.json"
        if twin.is_file():
            same += 1
            ours, theirs = json.loads(path.read_text()), json.loads(twin.read_text())
            assert (ours["validation"], ours["test"]) == (theirs["validation"], theirs["test"])
    assert same >= 10


def test_train_from_python(folder: Path, trained: Path, tmp_path: Path) -> None:
    """The two faces train one model: equal scores, equal weights, and loading changes neither."""
    photos = sm.Dataset(folder)
    model = sm.train("clip", photos, samples=64, batch=16, towers="scratch", out=tmp_path / "run", say=lambda _: None)
    assert model.path == tmp_path / "run"
    ours, theirs = (json.loads((p / "scores.json").read_text()) for p in (model.path, trained))
    assert ours["test"] == theirs["test"]
    again = sm.load(trained)
    for name, value in model.method.state_dict().items():
        assert torch.equal(value, again.method.state_dict()[name]), name


def test_train_from_python_never_clears_a_folder(folder: Path, tmp_path: Path) -> None:
    kept = tmp_path / "photos"
    shutil.copytree(folder, kept)
    before = sorted(p.name for p in kept.iterdir())
    with pytest.raises(Exception, match="not empty"):
        sm.train("clip", sm.Dataset(kept), samples=16, batch=16, towers="scratch", out=kept, say=lambda _: None)
    assert sorted(p.name for p in kept.iterdir()) == before


def test_reload_gives_equal_scores(folder: Path, trained: Path) -> None:
    """The stored weights, loaded, give the scores that training wrote down."""
    from sensorium.data.split import split
    from sensorium.evals.retrieval import relevance, score_retrieval

    photos = sm.Dataset(folder)
    model, test = sm.load(trained), split(photos, 0, "given").test
    image, text = (
        {k: v.rows(torch.tensor(test)) for k, v in model.column(photos, k).items()} for k in ("image", "text")
    )
    right = relevance([photos.texts("text")[i] for i in test], photos.content("image")[test])
    found = score_retrieval(model.rank(text, image), model.rank(image, text), right).scores
    stored = json.loads((trained / "scores.json").read_text())["test"]
    assert {k: v for k, v in stored.items() if k in found} == pytest.approx(found, abs=1e-6)
    assert {"r@1", "r@10"} <= found.keys()


def test_a_moved_run_still_loads(folder: Path, trained: Path, tmp_path: Path) -> None:
    moved = shutil.copytree(trained, tmp_path / "elsewhere")
    a, b = (sm.load(p) for p in (trained, moved))
    photos = sm.Dataset(folder)
    assert torch.equal(a.embed(a.column(photos, "text")).x, b.embed(b.column(photos, "text")).x)


def test_train_with_settings_and_a_start(folder: Path, trained: Path, cli: Cli, tmp_path: Path) -> None:
    narrow, further = tmp_path / "narrow", tmp_path / "further"
    common = (folder, *TINY, "--samples", 16, "--rate", "1e-9")
    said = cli("train", "clip", *common, "--set", "dim=24", "--set", "dropout=0", "--out", narrow)
    assert said.code == 0, said.err
    assert "test r@1" in said.out and "CPU-s" in said.out and f"run: {narrow}" in said.out
    record = json.loads((narrow / "run.json").read_text())
    assert {k: float(v) for k, v in record["job"]["config"].items()} == {"dim": 24, "dropout": 0}
    assert sm.load(narrow).method.spaces["image"].dim == 24
    assert cli("train", "clip", *common, "--from", trained, "--out", further).code == 0
    start, after = (sm.load(p).method.state_dict() for p in (trained, further))
    fresh = sm.load(narrow).method.state_dict()
    for name, value in after.items():
        assert torch.allclose(value, start[name], atol=1e-6), name
    changed = [n for n in start if fresh[n].shape == start[n].shape and not torch.allclose(fresh[n], start[n])]
    assert changed  # a run without --from starts elsewhere


def test_train_within_a_budget(folder: Path, cli: Cli, tmp_path: Path) -> None:
    said = cli("train", "ridge", folder, *TINY, "--budget", "60s", "--out", tmp_path / "run")
    assert said.code == 0, said.err
    assert (tmp_path / "run" / "scores.json").is_file()


def test_dry_run_says_and_leaves_nothing(folder: Path, cli: Cli, tmp_path: Path) -> None:
    out = tmp_path / "race"
    words = ("--papers", "ridge", "--budget", "30m", "--seeds", 2, "--out", out, "--dry-run")
    said = cli("race", folder, *TINY, *words)
    assert said.code == 0, said.err
    assert re.search(r"2 entrants, up to \d+ runs, [\d,]+ samples each within 30m", said.out)
    assert not out.exists()


def found(cli: Cli, *words: Any) -> list[dict[str, Any]]:
    said = cli("search", *words, "--json")
    assert said.code == 0, said.err
    answer = json.loads(said.out)
    assert set(answer) == {"query", "hits"}
    return list(answer["hits"])


def test_search_in_words_by_picture_and_both(folder: Path, trained: Path, cli: Cli) -> None:
    words = found(cli, trained, folder, "a red square left", "--top", 120)
    picture = found(cli, trained, folder, "--image", folder / "5.png", "--top", 120)
    both = found(cli, trained, folder, "a red square left", "--image", folder / "5.png", "--top", 120)
    for hits in (words, picture, both):
        assert [h["score"] for h in hits] == sorted((h["score"] for h in hits), reverse=True)
        assert {h["id"] for h in hits} == {f"{k}.png" for k in range(120)}
        assert {h["seen"] for h in hits} == {"train", "validation", "test"}
    assert picture[0]["id"] == "5.png"
    assert picture[0]["score"] == pytest.approx(1, abs=1e-3)
    by_id = [{h["id"]: h["score"] for h in hits} for hits in (words, picture, both)]
    for name in by_id[2]:
        assert by_id[2][name] == pytest.approx(by_id[0][name] + by_id[1][name], abs=3e-4)
    said = cli("search", trained, folder, "a red square left", "--top", 4)
    lines = said.out.strip().splitlines()
    assert lines[0] == "a red square left"
    assert len(lines) == 5
    assert words[0]["id"] in lines[1]


def test_search_what_the_run_has_never_had(trained: Path, cli: Cli, tmp_path: Path) -> None:
    from .conftest import COLOURS, picture

    other = tmp_path / "other"
    other.mkdir()
    rows = []
    for k in range(20):
        picture(1000 + k, COLOURS["red"][1], "circle", k, 5).save(other / f"n{k}.png")
        rows.append(json.dumps({"file_name": f"n{k}.png", "caption": f"new {k}"}))
    (other / "metadata.jsonl").write_text("\n".join(rows))
    assert {h["seen"] for h in found(cli, trained, other, "red")} == {""}
    assert "new to the run" in cli("search", trained, other, "red").out


def test_search_a_race_searches_its_best(raced: Raced, folder: Path, cli: Cli) -> None:
    assert found(cli, raced.out, folder, "red") == found(cli, raced.out / "best", folder, "red")


def test_search_page(folder: Path, trained: Path, cli: Cli, tmp_path: Path) -> None:
    page = tmp_path / "found.html"
    query = "<b>red</b> & 'quoted'"
    assert cli("search", trained, folder, query, "--top", 120, "--html", page).code == 0
    text = page.read_text(encoding="utf-8")
    assert text.count('<img src="data:image/png;base64,') == 120
    assert HOSTILE not in text and "&lt;script&gt;" in text
    assert "<b>red" not in text and "&lt;b&gt;red" in text
    assert "http" not in text


@pytest.mark.parametrize("of", ["image", "text", "text.fr"])
def test_embed(of: str, folder: Path, trained: Path, cli: Cli, tmp_path: Path) -> None:
    out = tmp_path / "x.safetensors"
    said = cli("embed", trained, folder, "--of", of, "--out", out)
    assert said.code == 0, said.err
    stored = load_file(out)
    assert stored["x"].shape == (120, 1, 256)
    assert stored["mask"].shape == (120, 1) and stored["mask"].all()
    assert torch.allclose(stored["x"].norm(dim=-1), torch.ones(120, 1), atol=1e-4)
    assert f"{of} of 120 rows" in said.out
    model, photos = sm.load(trained), sm.Dataset(folder)
    assert torch.allclose(model.embed(model.column(photos, of)).x, stored["x"], atol=1e-5)


def test_embed_many_vectors(folder: Path, cli: Cli, tmp_path: Path) -> None:
    """Late interaction: a caption has as many vectors as real tokens."""
    assert cli("train", "filip", folder, *TINY, "--samples", 16, "--out", tmp_path / "run").code == 0
    assert cli("embed", tmp_path / "run", folder, "--of", "text", "--out", tmp_path / "x").code == 0
    stored = load_file(tmp_path / "x")
    assert stored["x"].shape[:2] == stored["mask"].shape
    assert stored["x"].shape[1] > 1
    assert not stored["mask"].all() and stored["mask"].any(1).all()


def test_data_show(folder: Path, cli: Cli) -> None:
    said = cli("data", "show", folder, "--rows", 1)
    assert said.code == 0
    for part in ("120 rows", "image <- file_name", "text <- caption", "text.fr <- caption_fr", "image: 32x32"):
        assert part in said.out
    assert "0 set aside" in said.out
    said = cli("data", "show", folder, "--map", "text=caption_fr")
    assert "text <- caption_fr (given)" in said.out


def test_data_show_says_what_was_set_aside(folder: Path, cli: Cli, tmp_path: Path) -> None:
    bad = shutil.copytree(folder, tmp_path / "bad")
    (bad / "3.png").write_bytes(b"")
    Image.new("RGB", (8, 8)).save(bad / "4.png")
    (bad / "9.png").write_text("text")
    said = cli("data", "show", bad)
    assert said.code == 0
    assert "118 rows" in said.out and "2 set aside" in said.out
    assert "metadata.jsonl:4" in said.out and "metadata.jsonl:10" in said.out


def test_a_bad_row_ends_in_the_quarantine_of_the_run(folder: Path, cli: Cli, tmp_path: Path) -> None:
    bad = shutil.copytree(folder, tmp_path / "bad")
    (bad / "3.png").write_bytes(b"")
    assert cli("train", "ridge", bad, *TINY, "--samples", 16, "--out", tmp_path / "run").code == 0
    rows = [json.loads(r) for r in (tmp_path / "run" / "quarantine.jsonl").read_text().splitlines()]
    assert [(r["source"], r["key"]) for r in rows] == [("metadata.jsonl:4", "image")]
    assert rows[0]["reason"]


def test_doctor(cli: Cli) -> None:
    said = cli("doctor")
    assert said.code == 0
    for part in ("python", "torch", "caches in", "efficientnet-lite0", "minilm"):
        assert part in said.out


def test_an_interrupt_says_how_to_go_on(
    folder: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(racing.Race, "warm", interrupted)
    said = cli("race", folder, *TINY, "--seeds", 2, "--out", tmp_path / "race")
    assert said.code == 130
    assert said.err == "sensorium: stopped; finished runs are kept, the same command continues\n"
