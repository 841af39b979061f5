"""`sensorium index` and `sensorium search INDEX`: from a run and a folder to hits, files, a page; what is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from .conftest import HOSTILE, TINY, Cli, Said, call, shapes
from .test_bad_input import refused

pytest.importorskip("lancedb")


@pytest.fixture(scope="session")
def index(folder: Path, trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of the coloured shapes; tests only read it."""
    out = tmp_path_factory.mktemp("indexes") / "shapes"
    with pytest.MonkeyPatch.context() as patch:
        assert call(patch, "index", trained, folder, "-o", out) == 0
    return out


@pytest.fixture(scope="session")
def filip(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of another paper."""
    out = tmp_path_factory.mktemp("runs") / "filip"
    with pytest.MonkeyPatch.context() as patch:
        assert call(patch, "train", "filip", folder, *TINY, "--samples", "32", "--out", out) == 0
    return out


def hits(said: Said) -> list[dict[str, Any]]:
    assert said.code == 0, said.err
    return list(json.loads(said.out)["hits"])


def test_an_index_answers_as_the_data_does(index: Path, folder: Path, trained: Path, cli: Cli) -> None:
    picture = ("--image", folder / "5.png")
    for words in (("a red square left",), picture, ("a red square left", *picture)):
        own = hits(cli("search", trained, folder, *words, "--top", 5, "--json"))
        got = hits(cli("search", index, *words, "--top", 5, "--json"))
        for key in ("id", "text", "seen"):
            assert [h[key] for h in got] == [h[key] for h in own]
        assert [h["score"] for h in got] == pytest.approx([h["score"] for h in own], abs=1e-4)
        assert [h["path"] for h in got] == [str((folder / h["id"]).resolve()) for h in got]


def test_the_table_names_the_files(index: Path, folder: Path, cli: Cli) -> None:
    said = cli("search", index, "a red square left", "--image", folder / "5.png", "--top", 3)
    lines = said.out.strip().splitlines()
    assert said.code == 0 and len(lines) == 4
    assert lines[0] == f"a red square left + {folder / '5.png'}"
    assert all(line.split()[-1] == str((folder / line.split()[-2]).resolve()) for line in lines[1:])


def test_filter_hybrid_language_and_a_second_run(index: Path, folder: Path, filip: Path, cli: Cli) -> None:
    red = hits(cli("search", index, "square", "--where", "caption like '%red%'", "--top", 120, "--json"))
    assert 0 < len(red) < 120 and all("red" in h["text"] and h["values"]["caption"] == h["text"] for h in red)
    hybrid = hits(cli("search", index, "purple", "--hybrid", "--top", 3, "--json"))
    assert all("purple" in h["text"] for h in hybrid)
    assert len(hits(cli("search", index, "carré rouge", "--language", "fr", "--json"))) == 10
    again = hits(cli("search", index, "a red square", "--rerank", filip, "--top", 100, "--json"))
    own = {h["id"]: h["score"] for h in hits(cli("search", filip, folder, "a red square", "--top", 120, "--json"))}
    assert [h["score"] for h in again] == pytest.approx([own[h["id"]] for h in again], abs=2e-4)
    assert [h["score"] for h in again] == sorted((h["score"] for h in again), reverse=True)


def test_language_of_a_data_set(folder: Path, trained: Path, cli: Cli) -> None:
    assert len(hits(cli("search", trained, folder, "carré rouge", "--language", "fr", "--json"))) == 10
    refused(cli("search", trained, folder, "Quadrat", "--language", "de"), "text.de", "it has fr")


def test_a_page_with_the_pictures(index: Path, cli: Cli, tmp_path: Path) -> None:
    page = tmp_path / "found.html"
    assert cli("search", index, "<b>red</b>", "--top", 120, "--html", page).code == 0
    text = page.read_text(encoding="utf-8")
    assert text.count('<img src="data:image/jpeg;base64,') == 120
    assert HOSTILE not in text and "&lt;script&gt;" in text and "<b>red" not in text


def test_an_index_grows_and_shrinks(trained: Path, cli: Cli, tmp_path: Path) -> None:
    folder, out = shapes(tmp_path / "data", rows=40), tmp_path / "index"
    words = ("index", trained, folder, "-o", out)
    said = cli(*words)
    assert said.code == 0 and "40 rows added" in said.out and f"{out}: 40 rows by clip, exact search" in said.out
    assert "0 rows added (0 had changed), 40 unchanged, 0 gone" in cli(*words).out
    lines = (folder / "metadata.jsonl").read_text(encoding="utf-8").splitlines()
    lines[1] = lines[1].replace('caption": "a', 'caption": "not a')
    (folder / "metadata.jsonl").write_text("\n".join(lines[:-2]), encoding="utf-8")
    assert "1 row added (1 had changed), 37 unchanged, 2 gone and kept (--sync removes them)" in cli(*words).out
    assert "0 rows added (0 had changed), 38 unchanged, 2 gone and removed" in cli(*words, "--sync").out
    said = cli("index", "-o", out, "--delete", "1.png,2.png", "--delete", "3.png")
    assert "3 rows removed" in said.out and "35 rows by clip" in said.out
    assert "3 rows added (0 had changed), 35 unchanged, 0 gone" in cli(*words).out


def test_a_race_is_indexed_by_its_best_run(folder: Path, trained: Path, cli: Cli, tmp_path: Path) -> None:
    race = tmp_path / "race"
    shutil.copytree(trained, race / "best")
    (race / "race.json").write_text("{}")
    assert cli("index", race, folder, "-o", tmp_path / "index").code == 0
    assert len(hits(cli("search", tmp_path / "index", "red", "--json"))) == 10


def test_a_run_that_has_moved_is_named_again(
    folder: Path, trained: Path, filip: Path, cli: Cli, tmp_path: Path
) -> None:
    run, out = shutil.copytree(trained, tmp_path / "run"), tmp_path / "index"
    assert cli("index", run, folder, "-o", out).code == 0
    moved = run.rename(tmp_path / "moved")
    refused(cli("search", out, "red"), str(out), "was written by clip", str(run), "is not a run")
    assert len(hits(cli("search", out, "red", "--by", moved, "--json"))) == 10
    refused(cli("search", out, "red", "--by", filip), str(run), "clip", str(filip), "filip", "weights")


# Words ({index}, {run}, {data}, {other} and {out}, which is not there, are filled in) and what the one line contains.
TABLE: dict[str, tuple[str, tuple[str, ...]]] = {
    "no run": ("index --out {out}", ("no run", "RUN COLLECTION --out INDEX")),
    "no collection": ("index {run} --out {out}", ("no collection", "RUN COLLECTION --out INDEX")),
    "no index named": ("index {run} {data}", ("--out",)),
    "run missing": ("index {data} {data} --out {out}", ("is not a run",)),
    "data missing": ("index {run} {out} --out {out}", ("no file or folder",)),
    "out holds a run": ("index {run} {data} --out {run}", ("is not an index", "new folder")),
    "another run": ("index {other} {data} --out {index}", ("clip", "filip", "cannot read its vectors")),
    "delete and add": ("index {run} {data} --out {index} --delete 1.png", ("--delete", "nothing else")),
    "delete from nothing": ("index --out {out} --delete 1.png", ("is not an index",)),
    "delete no row": ("index --out {index} --delete 1.pgn", ("no row '1.pgn'", "did you mean '1.png'")),
    "no words": ("search {index}", ("nothing to search with", "--image")),
    "no data": ("search {run}", ("nothing to search in", "data set")),
    "two texts": ("search {index} red square", ("another text", "is an index")),
    "map of an index": ("search {index} red --map text=caption", ("--map", "is an index")),
    "filter of data": ("search {run} {data} red --where id=1", ("--where", "is not an index", "--out INDEX")),
    "words of data": ("search {run} {data} red --hybrid", ("--hybrid", "is not an index")),
    "rerank of data": ("search {run} {data} red --rerank {run}", ("--rerank", "is not an index")),
    "bad filter": ("search {index} red --where captoin=1", ("no column 'captoin'", "did you mean 'caption'")),
    "hybrid without words": ("search {index} --image {data}/1.png --hybrid", ("hybrid", "words")),
    "no language": ("search {index} red --language de", ("text.de", "it has fr")),
    "no picture": ("search {index} --image {out}.png", ("No such file",)),
    "no second run": ("search {index} red --rerank {data}", ("is not a run",)),
    "top of zero": ("search {index} red --top 0", ("--top 0", "at least 1")),
}


@pytest.mark.parametrize("words, parts", TABLE.values(), ids=TABLE.keys())
def test_one_line(
    words: str, parts: tuple[str, ...], index: Path, trained: Path, filip: Path, folder: Path, cli: Cli, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    places = {"index": index, "run": trained, "other": filip, "data": folder, "out": out}
    before = {p: p.stat().st_mtime_ns for p in index.rglob("*") if p.is_file()}
    refused(cli(*(word.format(**places) for word in words.split())), *parts)
    assert {p: p.stat().st_mtime_ns for p in index.rglob("*") if p.is_file()} == before
    assert not out.exists()
