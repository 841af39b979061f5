"""Search without a script: in words, with a picture, with both; and why something was found."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import dataclass
from html import unescape
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import torch
from PIL import Image

from sensorium.apps.board import pictures
from sensorium.apps.board.why import explain, pieces
from sensorium.apps.search import find
from sensorium.apps.server.state import served
from sensorium.core import Ids
from sensorium.data.dataset import Dataset
from sensorium.run.runs import Model, load

from .conftest import Site, ask, form, listening, picture
from .test_pages import Page


@dataclass(frozen=True)
class Shown:
    """A result as a page shows it."""

    id: str
    score: float
    seen: str
    why: str


def results(text: str) -> list[Shown]:
    found = []
    for part in text.split('<ol class="hits">')[1].split("</ol>")[0].split("<li>")[1:]:
        words = Page(part).words
        name = re.search(r"\S+\.png", words)
        seen = re.search(r"seen in training|a validation row|a test row|new to the run", words)
        link = re.search(r'href="(/why[^"]+)"', part)
        assert name and link
        score = float(re.findall(r"<b>(-?[0-9.]+)</b>", part)[0])
        found.append(Shown(name[0], score, seen[0] if seen else "", unescape(link[1])))
    return found


def looked(site: Site, fields: dict[str, str], image: bytes | None = None) -> str:
    """The form sent, its redirect followed: the page."""
    body, kind = form(fields, image)
    sent = ask(f"{site.url}/search/form", body, Content_Type=kind, Origin=site.url)
    assert sent.status == 303, sent.text
    found = ask(site.url + sent.headers["Location"])
    assert found.status == 200, Page(found.text).words
    return found.text


@pytest.mark.parametrize("run", ["late", "first"])
def test_words_find_what_the_command_line_finds(site: Site, run: str) -> None:
    page = ask(f"{site.url}/search?text=a+red+square+left&run={run}").text
    data = site.served.data["shapes"]
    hits = find(site.served.models[run], data, "a red square left")
    assert [(s.id, s.score) for s in results(page)] == [(h.id, pytest.approx(h.score, abs=1e-3)) for h in hits]
    said = {"train": "seen in training", "validation": "a validation row", "test": "a test row"}
    assert [s.seen for s in results(page)] == [said[h.seen] for h in hits]
    assert 'value="a red square left"' in page


def test_a_picture_finds_itself_and_words_with_it_add_up(site: Site, folder: Path) -> None:
    image = folder / "05.png"
    alone = results(looked(site, {"run": "first", "top": "100"}, image.read_bytes()))
    assert alone[0].id == "05.png"
    both = results(looked(site, {"run": "first", "top": "100", "text": "a purple bar top"}, image.read_bytes()))
    words = results(ask(f"{site.url}/search?text=a+purple+bar+top&run=first&top=100").text)
    apart = [{s.id: s.score for s in part} for part in (alone, words)]
    assert {s.id: s.score for s in both} == {k: pytest.approx(v + apart[1][k], abs=2e-3) for k, v in apart[0].items()}


def test_the_picture_of_a_search_is_shown_and_kept(site: Site, folder: Path) -> None:
    page = looked(site, {}, (folder / "05.png").read_bytes())
    link = re.search(r"/search/pictures/[0-9a-f]{32}", page)
    assert link
    assert ask(site.url + link[0]).headers["Content-Type"] == "image/png"


def test_a_picture_stays_while_words_change(site: Site, folder: Path) -> None:
    page = looked(site, {"run": "first"}, (folder / "05.png").read_bytes())
    held = re.search(r'name="picture" value="([0-9a-f]{32})" checked', page)
    assert held
    again = looked(site, {"run": "first", "text": "a purple bar top", "picture": held[1]})
    both = looked(site, {"run": "first", "text": "a purple bar top"}, (folder / "05.png").read_bytes())
    assert results(again) == results(both) and "the picture:" in Page(ask(site.url + results(again)[0].why).text).words


@pytest.mark.parametrize(
    ("image", "said"), [(b"no picture", "is not a readable picture"), (b"<svg></svg>", "SVG is not read")]
)
def test_what_is_no_picture_is_told_on_the_page(site: Site, image: bytes, said: str) -> None:
    body, kind = form({"text": "a"}, image)
    found = ask(f"{site.url}/search/form", body, Content_Type=kind)
    assert found.status == 400 and said in Page(found.text).words and "<form" in found.text


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("text=a&picture=" + "0" * 32, "no longer held"),
        ("text=a&picture=../../x", "no longer held"),
        ("text=a&run=lat", "did you mean 'late'?"),
        ("text=a&in=shape", "did you mean 'shapes'?"),
        ("text=a&top=0", "expected a whole number from 1 to 100"),
        ("text=" + "a" * 2001, "at most 2,000 are read"),
        ("text=a&language=fr", "was trained without text.fr"),
    ],
)
def test_a_search_that_cannot_be_is_told_on_the_page(site: Site, query: str, said: str) -> None:
    found = ask(f"{site.url}/search?{query}")
    assert found.status == 400 and said in Page(found.text).words and "<form" in found.text


def test_held_pictures_are_few(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures, "HELD", 2)
    names = []
    for seed in range(3):
        from io import BytesIO

        out = BytesIO()
        picture("red", "bar", "left", seed).save(out, "PNG")
        found = re.search(r"/search/pictures/([0-9a-f]{32})", looked(site, {}, out.getvalue()))
        assert found
        names.append(found[1])
    assert [ask(f"{site.url}/search/pictures/{name}").status for name in names] == [400, 200, 200]


def test_why_is_told_of_every_result(site: Site) -> None:
    page = ask(f"{site.url}/search?text=a+red+square+left&run=late&top=20").text
    for hit in results(page):
        told = ask(site.url + hit.why)
        assert told.status == 200
        said = re.search(r"the words: (-?[0-9.]+)", Page(told.text).words)
        assert said and float(said[1]) == pytest.approx(hit.score, abs=2e-3)
        assert told.text.count("data:image/png;base64,") == 4 and "that mean over all tokens" in told.text


@pytest.mark.parametrize(
    "query", ["row=3", "text=a&row=72", "text=a&row=-1", "text=a&row=3&run=x", "text=a&row=3&picture=x", "text=a&row=x"]
)
def test_why_refuses_what_is_not_there(site: Site, query: str) -> None:
    found = ask(f"{site.url}/why?{query}")
    assert found.status == 400 and 'id="why"' in found.text


def _model(site: Site, name: str) -> tuple[Model, Dataset]:
    return site.served.models[name], site.served.data["shapes"]


def test_the_score_of_words_is_the_mean_over_their_tokens(site: Site) -> None:
    model, data = _model(site, "late")
    text = "a red square left"
    why = explain(model, data.image("image", 3), "text", text, None, data)
    score = float(model.rank(model.read("text", [text]), model.read("image", [data.image("image", 3)]))[0, 0])
    assert [p.score for p in why.parts] == [pytest.approx(score)] and why.adds_up and why.without == []
    assert [w.word for w in why.words] == text.split()
    places = [places for _, places in pieces(model, "text", text)]
    query, patches = (
        model.embed(model.read(*pair)) for pair in (("text", [text]), ("image", [data.image("image", 3)]))
    )
    best = (query.x[0][query.mask[0]] @ patches.x[0][patches.mask[0]].T).max(1).values
    assert [w.score for w in why.words] == [pytest.approx(float(best[p.start : p.stop].mean())) for p in places]
    covered = sum(len(p) for p in places)
    assert covered == int(query.mask.sum()) - 1  # all but the end mark
    total = sum(w.score * len(p) for w, p in zip(why.words, places, strict=True)) + float(best[-1])
    assert total / (covered + 1) == pytest.approx(score, abs=1e-4)


def test_a_map_is_darkest_where_the_word_is_closest(site: Site) -> None:
    import base64
    import io

    model, data = _model(site, "late")
    (word,) = explain(model, data.image("image", 3), "text", "red", None, None).words
    row, column, side = map(int, re.findall(r"row (\d+), column (\d+) of (\d+)", word.about)[0])
    query, patches = (
        model.embed(model.read(*pair)) for pair in (("text", ["red"]), ("image", [data.image("image", 3)]))
    )
    tokens = query.x[0][: len(pieces(model, "text", "red")[0][1])]
    heat = (tokens @ patches.x[0].T).mean(0)
    assert divmod(int(heat.argmax()), side) == (row - 1, column - 1) and side * side == heat.numel()
    drawn = Image.open(io.BytesIO(base64.b64decode(word.map.partition(",")[2])))
    step = drawn.width // side
    assert drawn.getpixel(((column - 1) * step, (row - 1) * step)) == (0, 0, 0)  # framed


def test_one_vector_is_explained_by_leaving_words_out(site: Site) -> None:
    model, data = _model(site, "first")
    given = data.image("image", 9)
    why = explain(model, data.image("image", 3), "text", "a red square", given, data)
    item = model.read("image", [data.image("image", 3)])
    assert [p.name for p in why.parts] == ["the words", "the picture"] and why.words == []
    assert why.parts[1].score == pytest.approx(float(model.rank(model.read("image", [given]), item)[0, 0]))
    left = ["red square", "a square", "a red"]
    assert [p.name for p in why.without] == ["a", "red", "square"]
    alone = [float(model.rank(model.read("text", [words]), item)[0, 0]) for words in left]
    assert [p.score for p in why.without] == [pytest.approx(s, abs=1e-5) for s in alone]


@pytest.mark.parametrize("run", ["late", "first"])
def test_nearest_captions_are_training_captions(site: Site, run: str) -> None:
    from sensorium.apps.search import seen_by

    model, data = _model(site, run)
    why = explain(model, data.image("image", 3), "text", "a red bar", None, data)
    train = [data.texts("text")[i] for i, s in enumerate(seen_by(model, data)) if s == "train"]
    scores = model.rank(model.read("text", train), model.read("image", [data.image("image", 3)]))[:, 0]
    best = sorted(zip(scores.tolist(), train, strict=True), reverse=True)[:5]
    assert [c.score for c in why.captions] == [pytest.approx(s, abs=1e-5) for s, _ in best]
    assert {c.text for c in why.captions} <= set(train) and why.compared == why.trained == len(train)
    assert explain(model, data.image("image", 3), "text", "a", None, None).captions == []


@dataclass
class Marked:
    """Tokens of two letters each, between a mark of beginning and one of end."""

    first: list[int]
    last: list[int]

    def read(self, key: str, values: list[str]) -> dict[str, Ids]:
        rows = []
        for value in values:
            tokens = [hash_of(w[i : i + 2]) for w in value.split() for i in range(0, len(w), 2)]
            rows.append([*self.first, *tokens, *self.last] if tokens or self.first else [])
        ids = torch.zeros(len(rows), 12, dtype=torch.int64)
        mask = torch.zeros_like(ids, dtype=torch.bool)
        for k, row in enumerate(rows):
            ids[k, : len(row)], mask[k, : len(row)] = torch.tensor(row, dtype=torch.int64), True
        return {key: Ids(ids, mask)}


def hash_of(letters: str) -> int:
    return 1000 + sum(ord(c) * 300**i for i, c in enumerate(letters))


@pytest.mark.parametrize(("first", "last", "shift"), [([1], [2], 1), ([], [2], 0)])
def test_words_are_found_between_the_marks(first: list[int], last: list[int], shift: int) -> None:
    model: Any = Marked(first, last)
    found = pieces(model, "text", "a square or so")
    spans = {"a": (0, 1), "square": (1, 4), "or": (4, 5), "so": (5, 6)}
    assert found == [(w, range(a + shift, b + shift)) for w, (a, b) in spans.items()]
    assert pieces(model, "text", "so") == [("so", range(shift, shift + 1))]
    assert pieces(model, "text", "so so") == [("so", range(shift, shift + 1)), ("so", range(shift + 1, shift + 2))]


def test_an_index_is_filtered_and_explained(late: Path, folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("lancedb", reason="an index needs the extra `search`")
    from sensorium.apps.index import build

    lines = (folder / "metadata.jsonl").read_text().splitlines()
    (tmp_path / "tagged").mkdir()
    rows = [json.loads(line) for line in lines[:-1]]
    for k, row in enumerate(rows):
        shutil.copy(folder / row["file_name"], tmp_path / "tagged")
        row["shelf"] = "<b>left</b>" if k % 2 else "right & more"
    (tmp_path / "tagged" / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    tagged = Dataset(tmp_path / "tagged", {"image": "file_name", "text": "caption", "label": "shelf"})
    build(load(late), tagged, tmp_path / "library")
    with listening(served([late], indexes=[tmp_path / "library"], say=lambda line: None)) as site:
        (name,) = site.served.indexes
        assert "index of 72 rows" in ask(site.url).text
        where = quote("shelf = '<b>left</b>'")
        page = ask(f"{site.url}/search?in={quote(name)}&text=a+red+square&top=50&where={where}").text
        found = results(page)
        assert len(found) == 36 and {int(hit.id.removesuffix(".png")) % 2 for hit in found} == {1}
        assert "shelf &lt;b&gt;left&lt;/b&gt;" in page and Page(page).wrong == []
        link = re.search(r'<img src="(/thumbs/[^"]+)"', page)
        assert link and ask(site.url + unescape(link[1]), Accept="image/*").status == 200
        asked = re.search(r'<a href="(/image\?[^"]+)">Ask about it', page)
        assert asked and 'name="id"' in ask(site.url + unescape(asked[1])).text
        alike = ask(site.url + unescape(asked[1]) + f"&ask=match&in={quote(name)}").text
        assert "10 found" in Page(alike).words and "id=" in re.findall(r'href="(/image[^"]+)">Ask about this', alike)[0]
        told = ask(site.url + found[0].why)
        assert "Word by word" in told.text and "small picture that the index keeps" in told.text
        score = re.search(r"the words: (-?[0-9.]+)", Page(told.text).words)
        assert score and float(score[1]) == pytest.approx(found[0].score, abs=0.05)
        wrong = ask(f"{site.url}/search?in={quote(name)}&text=a&where=colour+%3D+1")
        assert wrong.status == 400 and "colour" in Page(wrong.text).words
        assert ask(f"{site.url}/why?in={quote(name)}&text=a&id=none").status == 404
