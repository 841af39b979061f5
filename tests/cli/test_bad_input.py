"""Bad input: exit code 2, one line on standard error that helps, no traceback, nothing half-written."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from .conftest import TINY, Cli, call, shapes

SMALL = (*TINY, "--samples", "32")


def lines(path: Path, rows: list[dict[str, Any]]) -> Path:
    """A JSONL file."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture(scope="session")
def places(folder: Path, papers: Path, trained: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Everything that the table names in braces."""
    root = tmp_path_factory.mktemp("places")
    found = {"data": folder, "papers": papers, "run": trained, "root": root, "nowhere": root / "nowhere"}
    found["file"] = root / "file.txt"
    found["file"].write_text("not a picture")
    found["bare"] = root / "bare"
    found["bare"].mkdir()
    (found["bare"] / "notes.txt").write_text("nothing here")
    found["numbers"] = lines(root / "numbers.jsonl", [{"a": {"x": k}, "b": None} for k in range(30)])
    found["empty"] = lines(root / "empty.jsonl", [])
    found["words"] = lines(root / "words.jsonl", [{"text": f"thing number {k}"} for k in range(30)])
    found["gone"] = lines(root / "gone.jsonl", [{"image": f"{k}.png", "text": f"thing {k}"} for k in range(30)])
    found["one"] = shapes(root / "one", rows=1)
    for name, record in (("newer", {"format": 99}), ("bag", []), ("bare-record", {"format": 1})):
        (root / name).mkdir()
        (root / name / "run.json").write_text(json.dumps(record))
        found[name] = root / name
    found["torn"] = shutil.copytree(trained, root / "torn")
    os.truncate(next(found["torn"].glob("checkpoints/*/model.safetensors")), 100)
    found["extra"] = shutil.copytree(trained, root / "extra")
    record = json.loads((trained / "run.json").read_text())
    (found["extra"] / "run.json").write_text(json.dumps(record | {"job": record["job"] | {"later": 1}}))
    found["blind"] = root / "blind"
    with pytest.MonkeyPatch.context() as patch:
        assert call(patch, "train", papers / "blind.py", folder, *SMALL, "--out", found["blind"]) == 0
    return found


# Words of a command ({names} are of `places`, {out} is a folder that does not exist) and what its one line contains.
TABLE: dict[str, tuple[str, tuple[str, ...]]] = {
    # the command itself
    "no such command": ("serch", ("serch", "search")),
    "no such option": ("papers --famly align", ("--famly", "--family")),
    "argument missing": ("show", ("slug",)),
    "not a number": ("search {run} {data} red --top many", ("--top", "many")),
    # data
    "path missing": ("data show {nowhere}", ("no file or folder", "nowhere")),
    "path missing, near": ("data show {root}/emty.jsonl", ("did you mean 'empty.jsonl'",)),
    "train, path missing": ("train clip {nowhere} --out {out}", ("no file or folder", "nowhere")),
    "race, path missing": ("race {nowhere} --out {out}", ("no file or folder", "nowhere")),
    "search, path missing": ("search {run} {nowhere} red", ("no file or folder", "nowhere")),
    "folder without data": ("data show {bare}", ("1 .txt", "metadata.jsonl")),
    "file of another kind": ("race {file} --out {out}", (".txt", ".parquet")),
    "no usable column": ("data show {numbers}", ("no picture or text column", "a, b", "text=COLUMN")),
    "empty JSONL": ("data show {empty}", ("0 usable rows", "at least 20")),
    "one row": ("data show {one}", ("1 usable row;", "at least 20")),
    "one row, train": ("train clip {one} --out {out}", ("1 usable row;",)),
    "all rows bad": ("race {gone} --out {out}", ("needs image", "none of the first 30 is there")),
    "all rows bad, show": ("data show {gone} --map image=image", ("0 usable rows", "30 set aside", "gone.jsonl:1")),
    "no pictures": ("race {words} --out {out}", ("needs image", "the data has text")),
    "no pictures, train": ("train clip {words} --out {out} --samples 32", ("needs image", "the data has text")),
    "map, unknown role": ("data show {data} --map txt=caption", ("role 'txt'", "did you mean 'text'")),
    "map, unknown column": ("data show {data} --map text=captoin", ("no column 'captoin'", "did you mean 'caption'")),
    "map, no sign": ("data show {data} --map caption", ("--map 'caption'", "name=value")),
    "map, no value": ("race {data} --map text= --out {out}", ("--map 'text='", "name=value")),
    # papers and their settings
    "no such paper": ("train filp {data} --out {out}", ("unknown paper 'filp'", "did you mean 'filip'")),
    "no such paper, race": ("race {data} --papers clip,filp --out {out}", ("unknown paper 'filp'", "'filip'")),
    "no such paper, show": ("show filp", ("unknown paper 'filp'", "did you mean 'filip'")),
    "nothing like it": ("show zzzzzzzz", ("unknown paper 'zzzzzzzz'", "sensorium papers")),
    "no such family": ("papers --family nonsense", ("unknown family 'nonsense'", "align")),
    "no such kind": ("papers --kind metod", ("unknown kind 'metod'", "did you mean 'method'")),
    "no such file": ("train {papers}/other.py {data} --out {out}", ("no such file", "other.py")),
    "names missing": ("train {papers}/lacks.py {data} --out {out}", ("lacks NEEDS, CLAIMS", "Config, NEEDS, PARTS")),
    "names missing, race": ("race {data} --papers {papers}/lacks.py --out {out}", ("lacks NEEDS, CLAIMS",)),
    "does not import": ("train {papers}/broken.py {data} --out {out}", ("does not import", "line 1")),
    "no such setting": ("train clip {data} --out {out} --set dimm=3", ("'dimm'", "did you mean 'dim'")),
    "setting of no type": ("train clip {data} --out {out} --set dim=wide", ("dim='wide'", "int")),
    "setting without sign": ("train clip {data} --out {out} --set dim", ("--set 'dim'", "name=value")),
    # dials
    "no such task": ("race {data} --task retreival --out {out}", ("'retreival'", "did you mean 'retrieval'")),
    "no race of it": ("race {data} --task classify --out {out}", ("'classify'", "retrieval")),
    "budget in words": ("race {data} --budget 5_minutes_please --out {out}", ("5_minutes_please", "90s, 5m or 2h")),
    "budget below zero": ("race {data} --budget=-3m --out {out}", ("'-3m'", "90s, 5m or 2h")),
    "budget of zero": ("race {data} --budget 0s --out {out}", ("'0s'", "90s, 5m or 2h")),
    "budget in words, train": ("train clip {data} TINY --budget soon --out {out}", ("'soon'", "90s, 5m or 2h")),
    "budget too small": ("race {data} TINY --papers clip --budget 1s --seeds 2 --out {out}", ("smallest", "0s")),
    "budget too small, train": ("train clip {data} TINY --budget 0.01s --out {out}", ("smallest", "s")),
    "too few seeds": ("race {data} --seeds 1 --out {out}", ("--seeds 1", "at least 2")),
    "no worker": ("race {data} --workers 0 --out {out}", ("--workers 0", "at least 1")),
    "no batch": ("train clip {data} --batch 0 --samples 32 --towers scratch --out {out}", ("batch 0",)),
    "no rate": ("train clip {data} SMALL --rate -1 --out {out}", ("rate -1",)),
    "rate is no number": ("train clip {data} SMALL --rate nan --out {out}", ("rate nan",)),
    "no samples": ("train clip {data} TINY --samples=-5 --out {out}", ("samples -5",)),
    "diverges": ("train clip {data} TINY --samples 160 --rate 1e9 --out {out}", ("not finite", "diverged")),
    "no such split": ("race {data} --split nonsense --out {out}", ("--split 'nonsense'", "auto, given or redrawn")),
    "no such split, train": ("train clip {data} SMALL --split nonsense --out {out}", ("'nonsense'", "redrawn")),
    "no such tower": ("train clip {data} --towers minilmm --out {out}", ("'minilmm'", "did you mean 'minilm'")),
    "no such tower, race": ("race {data} --towers scratch,bert --out {out}", ("unknown tower 'bert'", "minilm")),
    # runs
    "nothing to search with": ("search {run} {data}", ("nothing to search with", "--image")),
    "top of zero": ("search {run} {data} red --top 0", ("--top 0", "at least 1")),
    "words without text": ("search {blind} {data} red", ("blind", "does not embed text", "it embeds image")),
    "no such picture": ("search {run} {data} --image {nowhere}.png", ("nowhere.png", "No such file")),
    "no picture": ("search {run} {data} --image {file}", ("file.txt", "not a picture")),
    "picture is a folder": ("search {run} {data} --image {bare}", ("bare", "directory")),
    "no run": ("search {data} {data} red", ("is not a run", "run.json")),
    "run missing": ("search {nowhere} {data} red", ("nowhere", "is not a run")),
    "newer run": ("search {newer} {data} red", ("format 99", "reads format 1")),
    "record of no run": ("search {bag} {data} red", ("bag", "run.json")),
    "record without names": ("search {bare-record} {data} red", ("bare-record", "run.json")),
    "record with more": ("search {extra} {data} red", ("extra", "run.json")),
    "torn weights": ("search {torn} {data} red", ("torn", "checksums")),
    "start is no run": ("train clip {data} SMALL --from {nowhere} --out {out}", ("nowhere", "checkpoint")),
    "start does not fit": ("train filip {data} SMALL --from {run} --out {out}", ("does not fit", "heads.")),
    "embed of nothing": ("embed {run} {data} --of label --out {out}", ("does not embed label",)),
    # output
    "out holds a run": ("train clip {data} SMALL --out {run}", ("is not empty", "--out")),
    "out holds no race": ("race {data} --out {run}", ("holds no race", "--out")),
    "out under a file": ("train clip {data} SMALL --out {file}/run", ("cannot write", "file.txt")),
    "out is a file": ("train clip {data} SMALL --out {file}", ("file.txt",)),
    "race out under a file": ("race {data} --out {file}/race", ("cannot write", "file.txt")),
    "embed out under a file": ("embed {run} {data} --out {file}/x.safetensors", ("cannot write", "file.txt")),
    "page under a file": ("search {run} {data} red --html {file}/x.html", ("file.txt",)),
}


def inside(path: Path) -> dict[str, int]:
    """Every file below a folder and when it was changed."""
    return {str(p): p.stat().st_mtime_ns for p in path.rglob("*") if p.is_file()}


def refused(said: Any, *parts: str) -> None:
    """The one line of bad input."""
    assert said.code == 2, said
    assert len(said.err.splitlines()) == 1, said.err
    assert said.err.startswith("sensorium: ")
    assert "Traceback" not in said.out + said.err
    for part in parts:
        assert part.lower() in said.err.lower(), f"{part!r} is not in {said.err!r}"


@pytest.mark.parametrize("words, parts", TABLE.values(), ids=TABLE.keys())
def test_one_line(words: str, parts: tuple[str, ...], places: dict[str, Path], cli: Cli, tmp_path: Path) -> None:
    every: list[str] = []
    for word in words.split():
        every += {"TINY": TINY, "SMALL": SMALL}.get(word, (word.format(**places, out=tmp_path / "out"),))
    before = inside(tmp_path) | inside(places["root"]) | inside(places["run"])
    refused(cli(*every), *parts)
    assert inside(tmp_path) | inside(places["root"]) | inside(places["run"]) == before


def test_too_small_a_budget_does_not_block_the_folder(folder: Path, cli: Cli, tmp_path: Path) -> None:
    words = ("race", folder, *TINY, "--papers", "ridge", "--seeds", 2, "--out", tmp_path / "out", "--budget")
    refused(cli(*words, "1s"), "smallest that would do")
    refused(cli(*words, "2s"), "smallest that would do")


def test_a_folder_of_another_race(folder: Path, cli: Cli, tmp_path: Path) -> None:
    from sensorium.run.race import Settings

    out = tmp_path / "out"
    out.mkdir()
    there = vars(Settings(str(folder), budget="7m", towers={"image": "scratch", "text": "scratch"}, batch=16))
    (out / "settings.json").write_text(json.dumps(there))
    before = inside(out)
    said = cli("race", folder, *TINY, "--budget", "9m", "--out", out)
    refused(said, "holds a race with budget '7m'", "asked for '9m'", "--out")
    assert inside(out) == before


def test_a_race_of_what_cannot_rank_words(folder: Path, papers: Path, cli: Cli, tmp_path: Path) -> None:
    words = ("--papers", papers / "blind.py", "--seeds", 2, "--budget", "1s", "--out", tmp_path / "out")
    refused(cli("race", folder, *TINY, *words), "blind.py", "cannot race", "text")
    assert inside(tmp_path) == {}


def test_weights_that_are_missing(folder: Path, cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from sensorium.lab import bases, pretrained

    monkeypatch.setattr(pretrained.Weights, "path", lambda self: None)
    for name in pretrained.ALL:
        said = cli("train", "clip", folder, "--towers", name, "--out", tmp_path / "out")
        refused(said, name, "not installed", "pip install")
    assert bases.choose("auto") == {"image": "scratch", "text": "scratch"}
    assert inside(tmp_path) == {}


def test_a_run_of_a_changed_file(folder: Path, papers: Path, cli: Cli, tmp_path: Path) -> None:
    mine, out = tmp_path / "mine.py", tmp_path / "run"
    shutil.copy(papers / "mine.py", mine)
    assert cli("train", mine, folder, *SMALL, "--out", out).code == 0
    mine.write_text(mine.read_text() + "\nraise SystemExit('this must not run')\n")
    refused(cli("search", out, folder, "red"), "missing or changed", "--trust-code")
    assert cli("search", out, folder, "red", "--trust-code").code == 0
    mine.unlink()
    refused(cli("embed", out, folder, "--out", tmp_path / "x"), "missing or changed", "--trust-code")


def test_a_path_with_a_line_break(cli: Cli, tmp_path: Path) -> None:
    refused(cli("data", "show", tmp_path / "two\nlines"), "no file or folder")


def sensorium(*words: Any) -> subprocess.CompletedProcess[str]:
    """The command line in a process of its own."""
    run = [sys.executable, "-c", "from sensorium.cli import main; main()", *map(str, words)]
    return subprocess.run(run, capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize("name", ["no such command", "no such paper, show", "path missing"])
def test_one_line_in_a_process_of_its_own(name: str, places: dict[str, Path]) -> None:
    words, parts = TABLE[name]
    done = sensorium(*words.format(**places).split())
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert done.stdout == ""
    for part in parts:
        assert part in done.stderr


def test_a_reader_that_leaves_early() -> None:
    """`sensorium papers | head -1` ends without a traceback."""
    run = [sys.executable, "-u", "-c", "from sensorium.cli import main; main()", "papers"]
    with subprocess.Popen(run, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        said = process.stderr.read()
    assert "Traceback" not in said
    assert len(said.splitlines()) <= 1
