"""An index answers as the run itself does, through adds, changes, deletes, kills and filters; refusals name what is."""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from torch.nn import Linear

from sensorium.apps.index import Collection, Found, build, open_index
from sensorium.apps.index.collection import WANTED
from sensorium.apps.index.near import candidates, exact, stored
from sensorium.apps.index.query import fused
from sensorium.apps.search import find
from sensorium.core import SensoriumError, Tokens
from sensorium.data.dataset import Dataset
from sensorium.run.lock import held
from sensorium.run.plan import Job
from sensorium.run.runs import Model, execute, load

from ..papers.conftest import ROWS, SCRATCH, data, home, squares

pytest.importorskip("lancedb")

__all__ = ["data", "home"]


def trained(paper: str, data: Dataset, folder: Path, **more: Any) -> Model:
    execute(replace(Job(paper, str(data.path), SCRATCH, 0.003, 64, 0, batch=16), **more), data, folder)
    return load(folder)


@pytest.fixture(scope="module")
def clip(data: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Model:
    """One vector per picture."""
    return trained("baseline/clip", data, tmp_path_factory.mktemp("runs") / "clip")


@pytest.fixture(scope="module")
def filip(data: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Model:
    """A vector for each patch."""
    return trained("align/filip", data, tmp_path_factory.mktemp("runs") / "filip")


@pytest.fixture(scope="module")
def index(clip: Model, data: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Collection:
    """Of all squares; tests only read it."""
    return build(clip, data, tmp_path_factory.mktemp("indexes") / "squares")


def pairs(found: list[Found]) -> list[tuple[str, float]]:
    return [(hit.id, hit.score) for hit in found]


def alike(found: list[Found], wanted: list[Any]) -> None:
    """The same rows in the same order, but for rows whose scores are equal to rounding."""
    assert len(found) == len(wanted)
    score = {hit.id: hit.score for hit in wanted}
    for mine, own in zip(found, wanted, strict=True):
        assert mine.score == pytest.approx(own.score, abs=2e-4)
        assert mine.id == own.id or score[mine.id] == pytest.approx(own.score, abs=2e-4)


def refused(ask: Callable[[], object], *parts: str) -> str:
    with pytest.raises(SensoriumError) as problem:
        ask()
    line = str(problem.value)
    assert "\n" not in line
    for part in parts:
        assert part in line, f"{part!r} is not in {line!r}"
    return line


# Searching


@pytest.mark.parametrize("name", ["clip", "filip"])
def test_an_index_finds_what_the_run_finds_in_the_data(
    name: str, data: Dataset, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    model: Model = request.getfixturevalue(name)
    made = build(model, data, tmp_path / "index")
    picture = data.path / "7.png"
    assert made.rows == ROWS and made.missing == 0 and made.record.near is None
    for text, image in (("a red square left", None), (None, picture), ("a blue square top", picture)):
        own = find(model, data, text, image, ROWS)
        got = made.search(model, text=text, image=Image.open(image).convert("RGB") if image else None, top=ROWS)
        alike(got, own)
        assert len({hit.score for hit in got}) > ROWS // 2
        assert {h.id: (h.text, h.seen) for h in got} == {h.id: (h.text, h.seen) for h in own}


def test_many_vectors_are_scored_as_the_run_ranks(filip: Model, data: Dataset, tmp_path: Path) -> None:
    made = build(filip, data, tmp_path / "index")
    assert made.writer["many"] and made.writer["similarity"] == "late"
    texts = data.texts("text")[:8]
    own = filip.rank(filip.read("text", texts), filip.column(data, "image"))
    for text, scores in zip(texts, own, strict=True):
        got = made.search(filip, text=text, top=5)
        best = scores.topk(5)
        assert [hit.score for hit in got] == pytest.approx(best.values.tolist(), abs=1e-5)
        assert {hit.id for hit in got} == {data.ids[k] for k in best.indices.tolist()}


def test_a_hit_has_its_file_its_columns_and_its_picture(index: Collection, clip: Model, data: Dataset) -> None:
    (hit,) = index.search(clip, image=data.image("image", 7), top=1)
    assert hit.id == "7.png" and hit.path == str((data.path / "7.png").resolve())
    labels = {"text": data.texts("text")[7], "label": data.texts("label")[7], "text_fr": data.texts("text.fr")[7]}
    assert dict(hit.values) == {k: v or None for k, v in labels.items()}
    thumb = index.thumb("7.png")
    assert thumb is not None
    picture = np.asarray(Image.open(io.BytesIO(thumb)).convert("RGB"), float)
    assert np.abs(picture - np.asarray(data.image("image", 7), float)).mean() < 12
    small = index.thumb("7.png", 16)
    assert small is not None and Image.open(io.BytesIO(small)).size == (16, 16)
    assert index.thumb("nothing") is None
    assert index.picture_file(hit) == data.path.resolve() / "7.png"


def test_a_picture_in_an_archive_is_shown_by_its_thumbnail(clip: Model, data: Dataset, tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = {"image": [{"bytes": (data.path / f"{k}.png").read_bytes(), "path": f"{k}.png"} for k in range(30)]}
    pq.write_table(pa.table(rows | {"text": data.texts("text")[:30]}), tmp_path / "rows.parquet")
    made = build(clip, Dataset(tmp_path / "rows.parquet"), tmp_path / "index")
    (hit,) = made.search(clip, image=data.image("image", 7), top=1)
    file = made.picture_file(hit)
    assert hit.path == "" and file is not None
    assert file.is_relative_to(made.path) and file.read_bytes() == made.thumb(hit.id)


def test_words_in_another_language_are_read_as_its_text(index: Collection, clip: Model, data: Dataset) -> None:
    alike(index.search(clip, text="un carré rouge", language="fr"), find(clip, data, "un carré rouge", language="fr"))
    refused(lambda: index.search(clip, text="ein Quadrat", language="de"), "text.de", "it has fr")
    refused(lambda: index.search(clip, image=data.image("image", 0), language="fr"), "language 'fr'")


def test_a_filter_keeps_the_best_of_what_passes(index: Collection, clip: Model, data: Dataset) -> None:
    own = pairs(index.search(clip, text="a red square left", top=ROWS))
    label = dict(zip(data.ids, data.texts("label"), strict=True))
    french = dict(zip(data.ids, data.texts("text.fr"), strict=True))
    for where, passes in {
        "label = 'red'": lambda id: label[id] == "red",
        "LABEL in ('red', 'blue') and id <> '3.png'": lambda id: label[id] in ("red", "blue") and id != "3.png",
        "text_fr is null": lambda id: not french[id],
        "text like '%left'": lambda id: dict(zip(data.ids, data.texts("text"), strict=True))[id].endswith("left"),
    }.items():
        wanted = [hit for hit in own if passes(hit[0])]
        assert 0 < len(wanted) < ROWS
        assert pairs(index.search(clip, text="a red square left", where=where, top=ROWS)) == wanted
    assert index.search(clip, text="red", where="label = 'nothing'") == []


@pytest.mark.parametrize(
    "where, parts",
    {
        "lable = 'red'": ("no column 'lable'", "did you mean 'label'", "id, text (text)"),
        'label = "red"': ("no column 'red'", "label (text)"),
        "label = 'red' and": ("does not parse", "found the end", "label (text)"),
        "label": ("boolean", "label (text)"),
        "label > 3": ("does not parse", "label (text)"),
        "colour(label) = 'red'": ("colour", "label (text)"),
    }.items(),
)
def test_a_bad_filter_is_one_line_with_the_columns(
    where: str, parts: tuple[str, ...], index: Collection, clip: Model
) -> None:
    line = refused(lambda: index.search(clip, text="red", where=where), repr(where), *parts)
    assert ".rs" not in line and "__" not in line and "cargo" not in line


HOSTILE = [
    f"{head}{body}{tail}"
    for head in ("", "'", "''", '"', "\\'")
    for body in ("1.png", " OR 1=1", "; DROP TABLE rows", "') OR ('1'='1", "%")
    for tail in ("", " --")
]  # fmt: skip


def test_hostile_ids_and_values_are_literals(index: Collection, clip: Model) -> None:
    assert len(set(HOSTILE)) == 50
    for text in HOSTILE:
        if text != "1.png":
            refused(lambda text=text: index.delete([text]), "has no row")
            assert index.thumb(text) is None
        value = text.replace("'", "''")
        assert index.search(clip, text="red", where=f"label = '{value}'") == []
    assert index.rows == ROWS


def test_rows_with_quotes_in_their_names_can_be_deleted(clip: Model, tmp_path: Path) -> None:
    folder = squares(tmp_path / "odd", 30)
    lines = (folder / "metadata.jsonl").read_text().splitlines()
    names = ["it's.png", 'a "b".png', "1,2.png", "x' OR '1'='1.png"]
    for k, name in enumerate(names):
        (folder / f"{k}.png").rename(folder / name)
        lines[k] = json.dumps(json.loads(lines[k]) | {"file_name": name})
    (folder / "metadata.jsonl").write_text("\n".join(lines))
    made = build(clip, Dataset(folder), tmp_path / "index")
    assert all(made.has(name) for name in names)
    assert made.delete([*names, names[0]]) == 4
    assert made.rows == 26 and not any(made.has(name) for name in names)


def test_numbers_and_fields_of_records_are_filtered_by_their_type(clip: Model, tmp_path: Path) -> None:
    folder = squares(
        tmp_path / "priced",
        30,
        price=lambda k, row: k / 2,
        size=lambda k, row: k,
        new=lambda k, row: k % 3 == 0,
        id=lambda k, row: f"shelf {k % 4}",
        patient=lambda k, row: f"p{k // 2}",
    )
    roles = {"image": "file_name", "text": "text", "table": "price+size+new+id", "group": "patient"}
    made = build(clip, Dataset(folder, roles), tmp_path / "index")
    for where, wanted in {
        "price > 2.6 and price < 4": {6, 7},
        "size >= 28": {28, 29},
        "new and size < 5": {0, 3},
        "id_table = 'shelf 1' and size < 9": {1, 5},
        "patient = 'p7'": {14, 15},
    }.items():
        found = made.search(clip, text="red", where=where, top=30)
        assert {hit.id for hit in found} == {f"{k}.png" for k in wanted}, where


def test_fusion_adds_reciprocal_ranks() -> None:
    order, scores = fused([[1, 2, 3], [3, 9]])
    assert order == [3, 1, 2, 9]
    assert scores == pytest.approx([1 / 63 + 1 / 61, 1 / 61, 1 / 62, 1 / 62])


def test_hybrid_search_fuses_the_vectors_with_the_words(index: Collection, clip: Model, data: Dataset) -> None:
    dense = [hit.id for hit in index.search(clip, text="purple corner", top=ROWS)]
    got = index.search(clip, text="purple corner", hybrid=True, top=ROWS)
    texts = dict(zip(data.ids, data.texts("text"), strict=True))
    hits = {id: sum(word in text.split() for word in ("purple", "corner")) for id, text in texts.items()}
    extra = {hit.id: hit.score - 1 / (61 + dense.index(hit.id)) for hit in got}
    assert {id for id, more in extra.items() if more > 1e-4} == {id for id, n in hits.items() if n}
    ranks = sorted((id for id, n in hits.items() if n), key=lambda id: -extra[id])
    assert [round(1 / extra[id]) for id in ranks] == pytest.approx(range(61, 61 + len(ranks)), abs=1)
    assert {hits[id] for id in ranks[: sum(n == 2 for n in hits.values())]} == {2}
    only = index.search(clip, text="purple corner", hybrid=True, where="label = 'purple'", top=ROWS)
    assert {hit.id for hit in only} == {id for id, t in texts.items() if "purple" in t}
    refused(lambda: index.search(clip, image=data.image("image", 0), hybrid=True), "hybrid", "words")


def test_a_second_run_orders_what_the_first_found(index: Collection, clip: Model, filip: Model, data: Dataset) -> None:
    picture = data.path / "9.png"
    got = index.search(clip, text="a red square", image=Image.open(picture).convert("RGB"), rerank=filip, top=20)
    alike(got, find(filip, data, "a red square", picture, 20))
    own = pairs(index.search(clip, text="a red square", image=Image.open(picture).convert("RGB"), top=20))
    assert [hit.id for hit in got] != [id for id, _ in own]


def test_reranking_needs_the_pictures_as_they_were(clip: Model, filip: Model, tmp_path: Path) -> None:
    folder = squares(tmp_path / "squares", 24)
    made = build(clip, Dataset(folder), tmp_path / "index")
    shutil.copy(folder / "4.png", folder / "5.png")
    refused(lambda: made.search(clip, text="red", rerank=filip), "5.png has changed", "index that again")
    shutil.rmtree(folder)
    gone = open_index(made.path)
    refused(lambda: gone.search(clip, text="red", rerank=filip), "pictures themselves", str(folder))
    assert len(gone.search(clip, text="red")) == 10


def test_bad_questions(index: Collection, clip: Model) -> None:
    refused(lambda: index.search(clip), "nothing to search with")
    refused(lambda: index.search(clip, text=""), "nothing to search with")
    refused(lambda: index.search(clip, text="red", top=0), "--top 0", "at least 1")


# Growing and shrinking


def test_the_same_data_again_changes_nothing(clip: Model, data: Dataset, tmp_path: Path) -> None:
    made = build(clip, data, tmp_path / "index")
    version, own = made.version, pairs(made.search(clip, text="red"))
    again = open_index(made.path)
    done = again.add(clip, data)
    assert (done.added, done.kept, done.gone) == (0, ROWS, 0)
    assert again.version == version and pairs(again.search(clip, text="red")) == own


def changed(folder: Path) -> None:
    """Row 3 gets another caption, row 4 another picture, row 5 goes, and a row is new."""
    lines = [json.loads(line) for line in (folder / "metadata.jsonl").read_text().splitlines()]
    lines[3]["text"] = "something else"
    Image.new("RGB", (32, 32), (200, 10, 10)).save(folder / "4.png")
    Image.new("RGB", (32, 32), (10, 200, 10)).save(folder / "new.png")
    lines.append(lines[0] | {"file_name": "new.png", "text": "a green field"})
    del lines[5]
    (folder / "metadata.jsonl").write_text("\n".join(map(json.dumps, lines)))


def test_what_has_changed_is_replaced_and_what_is_gone_stays_until_synced(clip: Model, tmp_path: Path) -> None:
    folder = squares(tmp_path / "squares", 30)
    made = build(clip, Dataset(folder), tmp_path / "index")
    watching = open_index(made.path)
    before = watching.version
    changed(folder)
    done = made.add(clip, Dataset(folder))
    assert (done.added, done.replaced, done.kept, done.gone) == (3, 2, 27, 1)
    assert made.has("5.png") and made.rows == 31
    done = made.add(clip, Dataset(folder), sync=True)
    assert (done.added, done.kept, done.gone) == (0, 30, 1)
    assert not made.has("5.png") and made.rows == 30
    fresh = build(clip, Dataset(folder), tmp_path / "fresh")
    wanted = {h.id: h for h in fresh.search(clip, text="red", top=30)}
    for index in (made, watching):
        got = {h.id: h for h in index.search(clip, text="red", top=30)}
        assert got.keys() == wanted.keys()
        assert all(got[id].score == pytest.approx(h.score, abs=1e-5) for id, h in wanted.items())
        assert {id: (h.text, h.values) for id, h in got.items()} == {id: (h.text, h.values) for id, h in wanted.items()}
    assert made.thumb("4.png") == fresh.thumb("4.png")
    assert watching.version > before
    (hit,) = made.search(clip, text="field", hybrid=True, where="text like '%field%'")
    assert hit.id == "new.png"


def test_deleted_rows_are_gone_until_they_are_added_again(clip: Model, data: Dataset, tmp_path: Path) -> None:
    made = build(clip, data, tmp_path / "index")
    assert made.delete(["3.png", "4.png"]) == 2
    assert made.rows == ROWS - 2
    assert not {"3.png", "4.png"} & {hit.id for hit in made.search(clip, text="red", top=ROWS)}
    assert not {"3.png", "4.png"} & {hit.id for hit in made.search(clip, text="red", hybrid=True, top=ROWS)}
    refused(lambda: made.delete(["6.png", "7.pgn"]), "has no row '7.pgn'", "did you mean '7.png'")
    assert made.has("6.png") and made.rows == ROWS - 2
    done = made.add(clip, data)
    assert (done.added, done.kept) == (2, ROWS - 2)
    alike(made.search(clip, text="red", top=ROWS), find(clip, data, "red", top=ROWS))


def test_two_data_sets_may_share_names(clip: Model, tmp_path: Path) -> None:
    one, two = (squares(tmp_path / name, 24) for name in ("one", "two"))
    Image.new("RGB", (32, 32), (200, 10, 10)).save(two / "4.png")
    made = build(clip, Dataset(one), tmp_path / "index")
    assert made.add(clip, Dataset(two)).added == 24
    assert made.rows == 48 and made.has("4.png") and made.has("two/4.png")
    (hit,) = made.search(clip, image=Image.new("RGB", (32, 32), (200, 10, 10)), top=1)
    assert hit.id == "two/4.png" and hit.path == str((two / "4.png").resolve())
    done = made.add(clip, Dataset(one), sync=True)
    assert (done.added, done.kept, done.gone, made.rows) == (0, 24, 0, 48)


def test_data_that_has_moved_is_the_same_data(clip: Model, tmp_path: Path) -> None:
    folder = squares(tmp_path / "squares", 24)
    made = build(clip, Dataset(folder), tmp_path / "index")
    moved = folder.rename(
        tmp_path / "elsewhere" if (tmp_path / "elsewhere").mkdir() else tmp_path / "elsewhere/squares"
    )
    done = made.add(clip, Dataset(moved))
    assert (done.added, done.kept, made.rows) == (0, 24, 24)


def test_a_column_that_the_index_lacks_is_named(clip: Model, tmp_path: Path) -> None:
    made = build(clip, Dataset(squares(tmp_path / "plain", 24)), tmp_path / "index")
    more = squares(tmp_path / "more", 24, place=lambda k, row: f"place {k % 3}")
    other = Dataset(more, {"image": "file_name", "text": "text", "label": "label", "group": "place"})
    refused(lambda: made.add(clip, other), "column 'place'", "label")
    assert made.rows == 24 and made.missing == 0


# Who may write and read


def test_another_run_and_changed_weights_are_refused_naming_both(
    index: Collection, clip: Model, filip: Model, data: Dataset, tmp_path: Path
) -> None:
    names = (str(clip.path.resolve()), str(filip.path), "clip", "filip", clip_weights := index.writer["weights"])
    refused(lambda: index.search(filip, text="red"), *names)
    refused(lambda: index.add(filip, data), *names)
    other = trained("baseline/clip", data, tmp_path / "other", seed=1)
    refused(lambda: index.search(other, text="red"), str(clip.path.resolve()), str(other.path), clip_weights)
    run = tmp_path / "run"
    made = build(trained("baseline/clip", data, run), data, tmp_path / "index")
    shutil.rmtree(run)
    again = trained("baseline/clip", data, run, seed=2)
    refused(lambda: made.search(again, text="red"), str(run), made.writer["weights"], "now", "new folder")
    refused(made.model, str(run), made.writer["weights"])
    shutil.rmtree(run)
    refused(open_index(made.path).model, "was written by clip", str(run))


def test_the_run_is_found_again_and_a_copy_of_it_will_do(
    index: Collection, clip: Model, data: Dataset, tmp_path: Path
) -> None:
    own = pairs(index.search(clip, text="red"))
    opened = open_index(index.path)
    assert pairs(opened.search(opened.model(), text="red")) == own
    copy = load(shutil.copytree(clip.path, tmp_path / "copy"))
    assert pairs(opened.search(copy, text="red")) == own


def test_vectors_that_are_no_vectors_are_refused(
    clip: Model, data: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    embed = Model.embed
    for bad in (0.0, float("nan"), float("inf")):

        def spoiled(self: Model, batch: Any, bad: float = bad) -> Tokens:
            tokens = embed(self, batch)
            if len(tokens) == ROWS:
                tokens.x[11] = bad
            return tokens

        with monkeypatch.context() as patch:
            patch.setattr(Model, "embed", spoiled)
            refused(lambda bad=bad: build(clip, data, tmp_path / str(bad)), "zero or not-a-number", "'11.png'")


def test_a_run_that_its_vectors_do_not_stand_for_is_refused(
    clip: Model, data: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = clip.method.rank
    monkeypatch.setattr(clip.method, "rank", lambda q, i: own(q, i).square(), raising=False)
    refused(lambda: build(clip, data, tmp_path / "index"), "stored vectors do not give")
    assert not (tmp_path / "index").exists()


def test_a_run_that_cannot_rank_is_refused(clip: Model, index: Collection, data: Dataset, tmp_path: Path) -> None:
    mute: Any = Linear(1, 1)
    mute.spaces = clip.method.spaces
    blind = replace(clip, method=mute)
    refused(lambda: build(blind, data, tmp_path / "index"), str(clip.path), "cannot rank")
    refused(lambda: find(blind, data, "red"), str(clip.path), "cannot rank")
    refused(lambda: index.search(clip, text="red", rerank=blind), str(clip.path), "cannot rank")


def test_the_writer_says_whether_its_vectors_have_length_one(
    clip: Model, index: Collection, data: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert index.writer["normalised"] is True
    embed, rank = Model.embed, Model.rank
    monkeypatch.setattr(Model, "embed", lambda self, batch: Tokens(2 * (t := embed(self, batch)).x, t.mask))
    monkeypatch.setattr(Model, "rank", lambda self, q, i: 4 * rank(self, q, i))
    made = build(clip, data, tmp_path / "index")
    assert made.writer["normalised"] is False
    alike(made.search(clip, text="red", top=ROWS), find(clip, data, "red", top=ROWS))


def test_one_process_writes_at_a_time(index: Collection, clip: Model, data: Dataset) -> None:
    with held(index.path, "another command"):
        refused(lambda: index.add(clip, data), "in use by process", "another command")
        refused(lambda: index.delete(["1.png"]), "in use by process")
        assert len(index.search(clip, text="red")) == 10
    assert index.has("1.png")


def test_places_that_hold_no_index(index: Collection, clip: Model, data: Dataset, tmp_path: Path) -> None:
    refused(lambda: open_index(tmp_path / "nowhere"), "nowhere is not an index", "collection.json")
    refused(lambda: build(clip, data, index.path), "is an index already")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").write_text("mine")
    refused(lambda: build(clip, data, tmp_path / "full"), "not empty")
    refused(lambda: build(clip, data, tmp_path / "full" / "notes.txt"), "is a file")
    refused(lambda: open_index(tmp_path / "full" / "notes.txt"), "is a file")
    torn = shutil.copytree(index.path, tmp_path / "torn")
    (torn / "collection.json").write_text('{"format": 9}')
    refused(lambda: open_index(torn), "format 9", "reads indexes of format 1")
    (torn / "collection.json").write_text("{")
    refused(lambda: open_index(torn), "cannot be read")
    broken = shutil.copytree(index.path, tmp_path / "broken")
    for manifest in (broken / "rows.lance" / "_versions").glob("*.manifest"):
        os.truncate(manifest, 0)
    refused(lambda: open_index(broken), "broken is damaged")


def test_a_missing_extra_is_one_line(
    clip: Model, data: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "lancedb", None)
    refused(lambda: build(clip, data, tmp_path / "index"), "pip install 'sensorium[search]'")


def test_every_file_of_a_write_is_flushed_before_the_write_ends(
    clip: Model, data: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, flushed = build(clip, data, tmp_path / "index"), set[tuple[int, int]]()
    fsync = os.fsync

    def noted(handle: int) -> None:
        fsync(handle)
        flushed.add((os.fstat(handle).st_ino, os.fstat(handle).st_mtime_ns))

    def lying() -> set[tuple[int, int]]:
        return {(p.stat().st_ino, p.stat().st_mtime_ns) for p in (made.path / "rows.lance").rglob("*")}

    monkeypatch.setattr(os, "fsync", noted)
    before = lying()
    made.delete(["1.png"])
    assert len(lying() - before) > 3 and lying() - before <= flushed
    before = lying()
    made.add(clip, data)
    assert len(lying() - before) > 3 and lying() - before <= flushed


# Killed


KILLED = """
import os, signal, sys
from sensorium.apps.index import build, collection, is_index, open_index
from sensorium.data.dataset import Dataset
from sensorium.run.runs import load

run, data, path, size, at = sys.argv[1:]
collection.BLOCK = int(size)

def progress(what, done, total):
    if what == "writing rows":
        print(done, flush=True)
        if done >= int(at):
            os.kill(os.getpid(), signal.SIGKILL)

model, rows = load(run), Dataset(data)
print("ready", flush=True)
open_index(path).add(model, rows, progress) if is_index(path) else build(model, rows, path, progress)
"""


def adding(model: Model, data: Dataset, path: Path, size: int, at: int) -> subprocess.Popen[str]:
    """A process that adds in blocks of `size` and kills itself when `at` rows are written; prints each count."""
    words = [sys.executable, "-W", "ignore", "-c", KILLED, *map(str, (model.path, data.path, path, size, at))]
    return subprocess.Popen(words, stdout=subprocess.PIPE, text=True)


def test_a_killed_add_leaves_an_index_that_opens_and_says_what_is_missing(
    clip: Model, data: Dataset, tmp_path: Path
) -> None:
    path = tmp_path / "index"
    with adding(clip, data, path, 8, 16) as process:
        assert process.wait() == -signal.SIGKILL
    with pytest.warns(UserWarning, match=f"lacks {ROWS - 16} rows"):
        made = open_index(path)
    assert made.rows == 16 and made.missing == ROWS - 16
    assert {hit.id for hit in made.search(clip, text="red", top=ROWS)} == set(data.ids[:16])
    added = made.add(clip, data)
    assert (added.added, added.kept) == (ROWS - 16, 16)
    assert made.missing == 0 and not (path / WANTED).exists()
    alike(made.search(clip, text="red", top=ROWS), find(clip, data, "red", top=ROWS))
    assert made.search(clip, text="red", hybrid=True)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.* lacks .* rows")
def test_rows_that_were_acknowledged_outlive_kills_at_any_moment(clip: Model, data: Dataset, tmp_path: Path) -> None:
    path, moments, halfway = tmp_path / "index", np.random.default_rng(0), 0
    for _ in range(6):
        before = open_index(path).rows if path.exists() else 0
        with adding(clip, data, path, 1, 10**9) as process:
            assert process.stdout is not None and process.stdout.readline() == "ready\n"
            told = process.stdout.readline()
            time.sleep(moments.uniform(0, 0.15))
            process.kill()
            told += process.stdout.read()
        made = open_index(path)
        names = [hit.id for hit in made.search(clip, text="red", top=2 * ROWS)]
        assert len(names) == len(set(names)) == made.rows >= before + len(told.split())
        assert made.missing == ROWS - made.rows
        halfway += made.missing > 0
    assert halfway >= 3
    made.add(clip, data)
    alike(made.search(clip, text="red", top=ROWS), find(clip, data, "red", top=ROWS))


# Large


@pytest.fixture(scope="module")
def crowd(home: Path, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """A thousand small pictures of four by four colours."""
    folder = tmp_path_factory.mktemp("crowd")
    colours = np.random.default_rng(0).integers(0, 256, (1000, 4, 4, 3), dtype=np.uint8)
    lines = []
    for k, colour in enumerate(colours):
        Image.fromarray(colour).resize((8, 8), Image.Resampling.NEAREST).save(folder / f"{k}.png")
        lines.append(json.dumps({"file_name": f"{k}.png", "text": f"colours number {k}", "label": str(k % 50)}))
    (folder / "metadata.jsonl").write_text("\n".join(lines))
    return Dataset(folder)


@pytest.fixture(scope="module")
def large(crowd: Dataset, tmp_path_factory: pytest.TempPathFactory) -> tuple[Model, Collection]:
    """A run and its index, of just as many vectors as need an approximate one."""
    folder = tmp_path_factory.mktemp("large")
    model = trained("baseline/ridge", crowd, folder / "run")
    return model, build(model, crowd, folder / "index", exact_below=1000)


def test_a_large_collection_is_searched_approximately_with_its_recall(
    large: tuple[Model, Collection], crowd: Dataset
) -> None:
    _, made = large
    near, asked = made.record.near, stored(made.path)
    assert near is not None and near["queries"] == len(asked) == 100
    assert 1 <= near["probes"] < near["partitions"]
    items, numbers = made._table.vectors().tokens.x[:, 0], made._table.vectors().order
    right = [set(numbers[(items @ q.x[0, 0]).topk(10).indices.numpy()].tolist()) for q in asked]
    assert [set(found) for found in exact(made._table, asked, "cosine")] == right
    found = [set(candidates(made._table, [q], "cosine", "", 10, near["probes"])[0][:10]) for q in asked]
    recall = sum(len(a & b) for a, b in zip(found, right, strict=True)) / 1000
    assert near["recall@10"] == pytest.approx(recall) and recall >= 0.95
    fewer = [set(candidates(made._table, [q], "cosine", "", 10, 1)[0][:10]) for q in asked]
    assert sum(len(a & b) for a, b in zip(fewer, right, strict=True)) / 1000 < recall


def test_approximate_answers_have_exact_scores_and_narrow_filters_exact_answers(
    large: tuple[Model, Collection], crowd: Dataset
) -> None:
    model, made = large
    for text, image in (("colours number 7", None), ("colours", crowd.path / "3.png")):
        own = find(model, crowd, text, image, 1000)
        score = {hit.id: hit.score for hit in own}
        got = made.search(model, text=text, image=Image.open(image) if image else None)
        assert all(hit.score == pytest.approx(score[hit.id], abs=1e-4) for hit in got)
        assert len({hit.id for hit in got} & {hit.id for hit in own[:10]}) >= 5
    narrow = made.search(model, text="colours", where="label = '7'", top=100)
    alike(narrow, [hit for hit in find(model, crowd, "colours", top=1000) if int(hit.id[:-4]) % 50 == 7])


@pytest.mark.slow
def test_a_collection_that_shrinks_is_searched_exactly_again(
    large: tuple[Model, Collection], crowd: Dataset, tmp_path: Path
) -> None:
    model, made = large
    small = open_index(shutil.copytree(made.path, tmp_path / "small"))
    assert small.delete([f"{k}.png" for k in range(3)]) == 3
    assert small.record.near is None
    wanted = [hit for hit in find(model, crowd, "colours", top=8) if int(hit.id[:-4]) > 2]
    alike(small.search(model, text="colours", top=5), wanted[:5])
    assert small.add(model, crowd).added == 3
    assert small.record.near is not None and small.record.near["rows"] == 1000


def test_many_vectors_in_a_large_collection(filip: Model, data: Dataset, tmp_path: Path) -> None:
    made = build(filip, data, tmp_path / "index", exact_below=ROWS + 1)
    assert made.record.near is not None, "vectors are counted, not rows"
    scores = {hit.id: hit.score for hit in find(filip, data, "a red square left", top=ROWS)}
    got = made.search(filip, text="a red square left")
    assert len(got) == 10
    assert all(hit.score == pytest.approx(scores[hit.id], abs=1e-4) for hit in got)
