"""The image page without a script: a picture, a part of it, what runs say of that part."""

from __future__ import annotations

import asyncio
import io
import re
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from PIL import Image

from sensorium.apps.board.able import offers
from sensorium.apps.board.image import phrases_of
from sensorium.apps.board.regions import Region, tinted
from sensorium.apps.server import generating
from sensorium.apps.server.batch import Batcher
from sensorium.apps.server.generating import Turn
from sensorium.apps.server.predict import Picture, predict_all
from sensorium.apps.server.search import search
from sensorium.apps.server.state import Served

from .conftest import Site, ask, form, listening
from .test_pages import Page

BOX = {"mark": "box", "left": "6", "top": "12", "width": "48", "height": "40"}
PART = (6, 12, 54, 52)


def looked(site: Site, status: int = 200, **asked: str) -> str:
    """The page of row 3 with what is asked."""
    found = ask(f"{site.url}/image?{urlencode({'data': 'scenes', 'row': '3'} | asked)}")
    page = Page(found.text)
    assert found.status == status, page.words
    assert page.wrong == [] and page.open == []
    return found.text


def answered(text: str) -> str:
    """What the page says where answers stand, white space collapsed."""
    return " ".join(Page(text.split('<div id="said"')[1].split("Another picture")[0]).words.split())


def part(site: Site, box: tuple[int, int, int, int] = PART) -> Image.Image:
    return site.served.data["scenes"].image("image", 3).crop(box)


def said(there: Served, run: str, text: str, image: Image.Image) -> str:
    """What the server itself writes."""

    async def whole() -> str:
        batcher = Batcher(there.models)
        try:
            pieces = generating.chat(there, batcher, run, [Turn("user", text, (image,))])
            return "".join([piece.text async for piece in pieces]).strip()
        finally:
            await batcher.close()

    return asyncio.run(whole())


def test_only_what_is_possible_is_offered(studio: Site, site: Site) -> None:
    able = {offer.name: list(offer.runs) for offer in offers(studio.served)}
    assert able == {
        "caption": ["teller", "painter"],
        "answer": ["answerer"],
        "match": ["late"],
        "boxes": ["finder"],
        "label": ["finder", "colours"],
    }
    text = looked(studio)
    assert re.findall(r'name="ask" value="(\w+)"', text) == list(able) and "What cannot be asked" not in text
    less = ask(f"{site.url}/image?data=shapes&row=3").text
    assert re.findall(r'name="ask" value="(\w+)"', less) == ["match"]
    assert "where something is: no served run predicts boxes, such as mdetr" in Page(less).words
    assert "a caption: no served run generates text" in Page(ask(f"{site.url}/image").text).words


@pytest.mark.parametrize("run", ["teller", "painter"])
def test_a_caption_is_of_the_part_that_is_drawn(studio: Site, run: str) -> None:
    text = answered(looked(studio, ask="caption", **{"run-caption": run}, **BOX))
    want = said(studio.served, run, "", part(studio)) or "It says nothing."
    assert f"{run}, of 48 × 40 pixels at 6, 12 {want}" in text


def test_a_question_is_answered(studio: Site) -> None:
    text = answered(looked(studio, ask="answer", **{"text-answer": "which <b>colour"}, **BOX))
    assert said(studio.served, "answerer", "which <b>colour", part(studio)) in text.partition("which <b>colour")[2]


def test_a_part_is_looked_for(studio: Site) -> None:
    text = looked(studio, ask="match", **{"in": "scenes"}, **BOX)

    async def hits() -> Any:
        batcher = Batcher(studio.served.models)
        try:
            return await search(studio.served, batcher, model="late", data_or_index="scenes", image=part(studio))
        finally:
            await batcher.close()

    want = asyncio.run(hits())
    assert re.findall(r"<small>(\S+\.png)", text) == [hit["id"] for hit in want] and len(want) == 10
    assert f"late in scenes, of {48} × {40} pixels at 6, 12" in answered(text)
    links = re.findall(r'href="(/image\?data=scenes&amp;row=\d+)">Ask about this one', text)
    assert len(links) == 10 and ask(studio.url + links[0].replace("&amp;", "&")).status == 200


def test_boxes_are_drawn_where_the_phrases_are(studio: Site) -> None:
    text = looked(studio, ask="boxes", **{"text-boxes": "a red bar , a square"}, **BOX)
    names, words, spans = phrases_of("a red bar , a square")
    crop = part(studio)
    row = {"image": Picture(crop, crop.size), "text": words, "spans": spans}
    (found,) = predict_all(studio.served.models["finder"], "boxes", [row])
    want = [
        [round(x0) + 6, round(y0) + 12, round(x1) - round(x0), round(y1) - round(y0)]
        for x0, y0, x1, y1 in found["boxes"]
    ]
    drawn = re.findall(r'<g class="box"><rect x="(\d+)" y="(\d+)" width="(\d+)" height="(\d+)"/>', text)
    assert [[int(v) for v in box] for box in drawn] == want and len(want) == 2
    for n, (name, box) in enumerate(zip(names, want, strict=True), 1):
        cells = re.findall(rf'<tr><th scope="row">{n}</th><td class="what">(.*?)</td><td>(\d+)</td><td>(\d+)', text)
        assert cells == [(name, str(box[0]), str(box[1]))]
    (told,) = predict_all(studio.served.models["finder"], "mask", [row])
    layers = re.findall(r'<image class="mask" href="([^"]+)" x="6" y="12" width="48" height="40"', text)
    assert layers == [tinted(png, Region(6, 12, 48, 40)) for png in told["masks"]] and len(layers) == 2
    assert "finder reads words beside the picture; write some" in Page(looked(studio, 400, ask="boxes")).words


def test_phrases_are_the_characters_between_commas() -> None:
    names, text, spans = phrases_of(" a cup,, a red  spoon ,")
    assert names == ["a cup", "a red  spoon"] and [text[s:e] for ((s, e),) in spans] == names
    assert phrases_of(" , ") == ([], "", [])


@pytest.mark.parametrize(("run", "words"), [("colours", ""), ("finder", "a red bar")])
def test_a_label_comes_with_the_scores_of_the_run(studio: Site, run: str, words: str) -> None:
    text = looked(studio, ask="label", **{"run-label": run, "text-label": words}, **BOX)
    crop = part(studio)
    row: dict[str, Any] = {"image": Picture(crop, crop.size)}
    row |= {"text": words, "spans": [[[0, len(words)]]]} if words else {}
    (found,) = predict_all(studio.served.models[run], "label", [row])
    shown = re.findall(r'<tr><th scope="row">(\w+)</th><td>(−?-?[0-9.]+)</td>', text)
    assert [name for name, _ in shown] == list(found["scores"])
    assert f"<p><b>{found['label']}</b></p>" in text
    assert [float(v.replace("−", "-")) for _, v in shown] == [
        pytest.approx(s, abs=1e-3) for s in found["scores"].values()
    ]


@pytest.mark.parametrize(
    ("mark", "told"),
    [
        ({"mark": "point", "x": "48", "y": "48"}, "24 × 24 pixels at 36, 36"),
        ({"mark": "stroke", "stroke": "10,10 40,20"}, "31 × 11 pixels at 10, 10"),
    ],
)
def test_a_point_and_a_stroke_stand_for_rectangles(studio: Site, mark: dict[str, str], told: str) -> None:
    text = looked(studio, ask="caption", **mark)
    assert told in answered(text)
    assert "a point: the square around it, 25 % of the shorter side wide" in Page(text).words
    assert "a stroke: the box around it" in Page(text).words
    assert ('<polyline points="10,10 40,20"/>' in text) == (mark["mark"] == "stroke")


@pytest.mark.parametrize(
    ("asked", "status", "line"),
    [
        ({"ask": "captoin"}, 400, "did you mean 'caption'?"),
        ({"ask": "caption", "run-caption": "tellr"}, 404, "did you mean 'teller'?"),
        ({"ask": "caption", "run-caption": "late"}, 400, "late cannot; a caption needs a run that generates text"),
        ({"ask": "answer"}, 400, "no question is asked"),
        ({"ask": "answer", "text-answer": "a" * 2001}, 400, "at most 2,000 are read"),
        ({"ask": "match", "in": "scene"}, 400, "did you mean 'scenes'?"),
        ({"ask": "caption", "mark": "box", "left": "90", "top": "0", "width": "7", "height": "1"}, 400, "from 1 to 6"),
        ({"ask": "caption", "mark": "circle"}, 400, "mark 'circle'"),
        ({"ask": "caption", "mark": "stroke", "stroke": "<b>"}, 400, "expected 1 to 400 points"),
    ],
)
def test_what_cannot_be_asked_is_told_on_the_page(studio: Site, asked: dict[str, str], status: int, line: str) -> None:
    text = looked(studio, status, **asked)
    assert line in Page(text).words and '<svg id="stage"' in text


@pytest.mark.parametrize(
    ("query", "status", "line"),
    [
        ("data=scene&row=3", 404, "did you mean 'scenes'?"),
        ("data=scenes&row=99", 400, "expected a whole number from 0 to 71"),
        ("picture=" + "0" * 32, 400, "no longer held"),
        ("picture=../../x", 400, "no longer held"),
    ],
)
def test_a_picture_that_is_not_there_is_told(studio: Site, query: str, status: int, line: str) -> None:
    found = ask(f"{studio.url}/image?{query}")
    assert found.status == status and line in Page(found.text).words and "<form" in found.text


def test_a_picture_is_given(studio: Site, folder: Path) -> None:
    big = Image.open(folder / "05.png").resize((1600, 1200))
    out = io.BytesIO()
    big.save(out, "PNG")
    body, kind = form({}, out.getvalue())
    sent = ask(f"{studio.url}/image/form", body, Content_Type=kind, Origin=studio.url)
    assert sent.status == 303 and re.fullmatch(r"/image\?picture=[0-9a-f]{32}", sent.headers["Location"])
    text = ask(studio.url + sent.headers["Location"]).text
    assert 'viewBox="0 0 1024 768"' in text
    link = re.search(r'<image href="([^"]+)"', text)
    assert link and ask(studio.url + link[1], Accept="image/*").headers["Content-Type"] == "image/png"
    assert f"/chat?picture={link[1].rpartition('/')[2]}" in text


@pytest.mark.parametrize(("image", "line"), [(b"no picture", "not a readable picture"), (None, "no picture was given")])
def test_what_is_no_picture_is_told(studio: Site, image: bytes | None, line: str) -> None:
    body, kind = form({}, image)
    found = ask(f"{studio.url}/image/form", body, Content_Type=kind)
    assert found.status == 400 and line in Page(found.text).words and "<form" in found.text


def test_rows_and_results_lead_here(studio: Site) -> None:
    rows = ask(f"{studio.url}/data/scenes").text
    assert '<a href="/image?data=scenes&amp;row=3">' in rows and '<a href="/chat?data=scenes&amp;row=3">' in rows
    start = Page(ask(studio.url).text)
    assert {"/image", "/chat", "/paint"} <= set(start.links) and "teller, answerer, painter" in start.words
    hits = ask(f"{studio.url}/search?text=a+red+square&in=scenes").text
    links = re.findall(r'<a href="(/(?:image|chat)\?data=scenes&amp;row=\d+)">', hits)
    assert len(links) == 20 and all(ask(studio.url + link.replace("&amp;", "&")).status == 200 for link in links[:2])
    uses = {
        run: re.findall(rf'<a href="(/\w+)\?run={run}">', ask(f"{studio.url}/runs/{run}").text)
        for run in studio.served.models
    }
    assert uses == {
        "late": ["/search", "/image"], "teller": ["/image", "/chat"], "answerer": ["/image", "/chat"],
        "painter": ["/image", "/chat", "/paint"], "finder": ["/image"], "colours": ["/image"],
    }  # fmt: skip


def test_a_run_without_pictures_to_search_offers_no_match(makers: list[Path]) -> None:
    from sensorium.apps.server.state import served

    with listening(served([makers[0]], say=lambda line: None)) as alone:
        assert [o.name for o in offers(alone.served) if o.runs] == ["caption"]
        found = ask(f"{alone.url}/image?data=shapes&row=1&ask=match")
        assert (
            found.status == 400
            and "no served run can; what looks like it needs a run that embeds" in Page(found.text).words
        )
