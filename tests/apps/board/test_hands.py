"""Chat, image and paint in headless Chromium: a message streamed and stopped; a point, a box, a stroke drawn by mouse,
finger and keys, and asked about; no console error, no request elsewhere. Screenshots go to the test's folder."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from sensorium.apps.board import chat
from sensorium.apps.server.generating import Piece

from .conftest import Site
from .tabs import LOOKS, NEEDED, Watched, dropped, opened

pytestmark = NEEDED
WHERE = "/image?data=scenes&row=3"
PAGES = {
    "image": "/image", "drawn": f"{WHERE}&ask=boxes&text-boxes=a+red+square,+a+bar&mark=point&x=60&y=30",
    "match": f"{WHERE}&ask=match&mark=box&left=2&top=3&width=30&height=40", "chat": "/chat?data=scenes&row=3",
    "paint": "/paint?prompt=a+red+square&n=2", "data": "/data/scenes", "search": "/search?text=a+red+square",
    "run": "/runs/painter",
}  # fmt: skip
SMALL = """[...document.querySelectorAll("main :is(button, select, [type=number], [type=text])")]
  .filter(e => e.offsetParent && e.getBoundingClientRect().height < 24).map(e => e.name || e.textContent)"""
"""What is too small for a finger."""
ANSWER = ".assistant:not([aria-busy]) .said:not(:empty)"


@pytest.mark.parametrize("look", LOOKS)
def test_every_page_opens_and_fits(browser: Any, studio: Site, tmp_path: Path, look: str) -> None:
    with opened(browser, studio.url, **LOOKS[look]) as watched:
        tab = watched.tab
        for name, path in PAGES.items():
            assert tab.goto(studio.url + path).status == 200
            wide, there = tab.evaluate("[document.documentElement.scrollWidth, document.documentElement.clientWidth]")
            assert wide <= there, f"{name} is wider than the window"
            assert tab.evaluate("[...document.images].every(i => !i.complete || i.naturalWidth > 0)"), name
            small = tab.evaluate(SMALL)
            assert small == [], name
            assert len(tab.screenshot(path=tmp_path / f"{name}-{look}.png", full_page=True)) > 5_000
        watched.clean()


def said(watched: Watched) -> list[str]:
    return [text.strip() for text in watched.tab.locator(".turn .said").all_inner_texts()]


def test_a_message_is_typed_and_its_answer_streams_in(browser: Any, studio: Site, folder: Path) -> None:
    with opened(browser, studio.url) as watched:
        tab = watched.tab
        tab.goto(f"{studio.url}/chat?run=answerer")
        tab.evaluate("window.same = true")
        tab.set_input_files("[name=image]", folder / "05.png")
        assert tab.locator("[data-named]").inner_text() == "05.png"
        box = tab.get_by_role("textbox", name="Message")
        box.fill("which colour")
        box.press("Enter")
        tab.locator(ANSWER).wait_for()
        assert said(watched)[0] == "which colour" and len(said(watched)) == 2
        assert tab.locator(".user img").evaluate("i => i.naturalWidth") == 96
        assert box.input_value() == "" and "drop it here" in tab.locator("[data-named]").inner_text()
        assert box.evaluate("e => e === document.activeElement") and tab.locator("#stop").is_hidden()
        box.fill("which shape")
        tab.get_by_role("button", name="Send").click()
        tab.locator(ANSWER).nth(1).wait_for()
        assert len(said(watched)) == 4 and tab.locator("[name=role]").count() == 4
        kept = [value.strip() for value in tab.locator("[name=said]").evaluate_all("all => all.map(e => e.value)")]
        assert kept == said(watched) and tab.evaluate("window.same")
        watched.clean()


def test_what_is_refused_leaves_the_message_as_it_was(browser: Any, studio: Site, folder: Path) -> None:
    with opened(browser, studio.url) as watched:
        tab = watched.tab
        tab.goto(f"{studio.url}/chat?run=teller")
        tab.set_input_files("[name=image]", folder / "05.png")
        box = tab.get_by_role("textbox", name="Message")
        box.fill("hello")
        box.press("Enter")
        tab.get_by_role("status").filter(has_text="teller has no use for words").wait_for()
        assert said(watched) == [] and box.input_value() == "hello"
        assert tab.locator("[data-named]").inner_text() == "05.png"
        box.fill("")
        tab.get_by_role("button", name="Send").click()
        tab.locator(ANSWER).wait_for()
        assert tab.get_by_role("status").inner_text() == ""
        watched.clean()


def test_an_answer_can_be_stopped(browser: Any, studio: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    ended: list[str] = []

    async def endless(*given: Any, **more: Any) -> AsyncIterator[Piece]:
        try:
            while True:
                yield Piece("word ")
                await asyncio.sleep(0.02)
        finally:
            ended.append("ended")

    monkeypatch.setattr(chat, "chat", endless)
    with opened(browser, studio.url) as watched:
        tab = watched.tab
        tab.goto(f"{studio.url}/chat?data=scenes&row=3")
        tab.get_by_role("button", name="Send").click()
        tab.locator(".assistant[aria-busy] .said", has_text="word word word").wait_for()
        assert tab.get_by_role("button", name="Send").is_disabled()
        tab.get_by_role("button", name="Stop").click()
        tab.locator(".assistant:not([aria-busy]) .note", has_text="stopped").wait_for()
        text = said(watched)[1]
        tab.wait_for_timeout(200)
        assert ended == ["ended"] and said(watched)[1] == text
        assert tab.locator("[name=said]").nth(1).input_value().strip() == text
        assert tab.get_by_role("button", name="Send").is_enabled() and tab.locator("#stop").is_hidden()
        watched.clean()


def test_a_picture_dropped_on_a_message_waits_for_its_words(browser: Any, studio: Site, folder: Path) -> None:
    with opened(browser, studio.url) as watched:
        tab = watched.tab
        tab.goto(f"{studio.url}/chat?run=answerer")
        carried = dropped(tab, (folder / "05.png").read_bytes())
        tab.dispatch_event("form[data-chat]", "drop", {"dataTransfer": carried})
        assert tab.locator("[data-named]").inner_text() == "05.png" and said(watched) == []
        tab.get_by_role("textbox", name="Message").fill("which colour")
        tab.get_by_role("button", name="Send").click()
        tab.locator(ANSWER).wait_for()
        assert tab.locator(".user img").count() == 1
        watched.clean()


def test_it_talks_and_asks_without_scripts(browser: Any, studio: Site, folder: Path) -> None:
    with opened(browser, studio.url, java_script_enabled=False) as watched:
        tab = watched.tab
        tab.goto(f"{studio.url}/chat?run=answerer")
        tab.set_input_files("[name=image]", folder / "05.png")
        for n, question in enumerate(("which colour", "which shape"), 1):
            tab.get_by_role("textbox", name="Message").fill(question)
            tab.get_by_role("button", name="Send").click()
            assert tab.locator(ANSWER).count() == n and said(watched)[-2] == question
        tab.goto(f"{studio.url}{WHERE}")
        assert tab.locator("#keys .live").is_hidden()
        tab.get_by_label("a box", exact=True).check()
        for name, value in {"left edge": "6", "upper edge": "12", "width": "48", "height": "40"}.items():
            tab.get_by_label(name, exact=True).fill(value)
        tab.get_by_label("a caption").check()
        tab.get_by_role("button", name="Ask").click()
        assert "48 × 40 pixels at 6, 12" in tab.locator("#said").inner_text()
        assert tab.locator("#mark rect").get_attribute("width") == "48"
        watched.clean()


def place(tab: Any, x: float, y: float) -> tuple[float, float]:
    """Where the middle of a pixel of the picture lies in the window."""
    found = tab.locator("#stage").evaluate(
        """(stage, [x, y]) => {
          const p = new DOMPoint(x + .5, y + .5).matrixTransform(stage.getScreenCTM());
          return [p.x, p.y];
        }""",
        [x, y],
    )
    return found[0], found[1]


def drag(tab: Any, *points: tuple[float, float]) -> None:
    """The mouse pressed at the first pixel and let go at the last."""
    tab.locator("#stage").scroll_into_view_if_needed()
    tab.mouse.move(*place(tab, *points[0]))
    tab.mouse.down()
    for point in points[1:]:
        tab.mouse.move(*place(tab, *point), steps=4)
    tab.mouse.up()


def fields(tab: Any, *names: str) -> list[int]:
    return [int(tab.locator(f"#desk [name={name}]").input_value()) for name in names]


BOX = ("left", "top", "width", "height")


def test_a_box_is_drawn_by_mouse_and_asked_about(browser: Any, studio: Site) -> None:
    with opened(browser, studio.url, viewport={"width": 1200, "height": 900}) as watched:
        tab = watched.tab
        tab.goto(studio.url + WHERE)
        tab.evaluate("window.same = true")
        drag(tab, (53, 51), (20, 30), (6, 12))  # from the lower right corner
        assert tab.get_by_label("a box", exact=True).is_checked() and fields(tab, *BOX) == [6, 12, 48, 40]
        assert tab.locator("#region").inner_text() == "48 × 40 pixels at 6, 12"
        tab.get_by_label("where something is").check()
        words = tab.get_by_label("phrases, with commas between")
        words.fill("a red square, a bar")
        words.press("Enter")
        tab.get_by_role("status").filter(has_text="2 boxes").wait_for()
        assert tab.locator("#drawn .box rect").count() == 2 and tab.evaluate("window.same")
        assert tab.locator("#drawn .box text").all_text_contents() == ["1", "2"]
        rows = tab.locator("#results tbody tr").all_inner_texts()
        boxes = tab.locator("#drawn rect").evaluate_all(
            """all => all.map(r => ["x", "y", "width", "height"].map(n => Number(r.getAttribute(n))))"""
        )
        assert [[int(n) for n in re.findall(r"\d+", row)][1:] for row in rows] == boxes
        assert all(x >= 6 and x + w <= 54 and y >= 12 and y + h <= 52 for x, y, w, h in boxes)  # within what was asked
        assert tab.locator("#drawn rect").first.evaluate("r => r.getBoundingClientRect().width > 0")
        assert "mark=box" in tab.url and tab.goto(tab.url).status == 200
        assert tab.locator("#drawn .box").count() == 2
        watched.clean()


def test_a_box_is_drawn_moved_and_resized_by_the_keyboard(browser: Any, studio: Site) -> None:
    with opened(browser, studio.url) as watched:
        tab = watched.tab
        tab.goto(studio.url + WHERE)
        stage = tab.get_by_role("application")
        assert "The picture, 96 × 96 pixels" in stage.get_attribute("aria-label")
        stage.focus()
        tab.keyboard.press("ArrowRight")
        assert fields(tab, *BOX) == [24, 24, 48, 48]
        for key in ("ArrowRight", "ArrowUp", "Shift+ArrowRight", "Shift+ArrowUp", "Shift+ArrowUp"):
            tab.keyboard.press(key)
        assert fields(tab, *BOX) == [26, 22, 50, 44]
        for _ in range(40):
            tab.keyboard.press("ArrowRight")
        assert fields(tab, *BOX) == [46, 22, 50, 44]  # it stays on the picture
        for _ in range(40):
            tab.keyboard.press("Shift+ArrowDown")
        assert fields(tab, *BOX) == [46, 22, 50, 74]
        tab.get_by_label("width", exact=True).fill("10")
        assert tab.locator("#mark rect").get_attribute("width") == "10"  # numbers do the same
        assert tab.locator("#region").inner_text() == "10 × 74 pixels at 46, 22"
        tab.get_by_label("a caption").check()
        tab.get_by_role("button", name="Ask").focus()
        tab.keyboard.press("Enter")
        tab.get_by_role("status").filter(has_text="10 × 74 pixels at 46, 22").wait_for()
        watched.clean()


def test_a_point_is_set_by_mouse_and_keyboard(browser: Any, studio: Site) -> None:
    with opened(browser, studio.url) as watched:
        tab = watched.tab
        tab.goto(studio.url + WHERE)
        tab.get_by_label("a point").check()
        drag(tab, (90, 50))
        assert fields(tab, "x", "y") == [90, 50]
        rect = tab.locator("#mark rect").evaluate("""r => ["x", "y", "width"].map(n => Number(r.getAttribute(n)))""")
        assert rect == [72, 38, 24]  # moved so that it lies on the picture
        for key in ("ArrowLeft", "ArrowDown"):
            tab.keyboard.press(key)
        assert fields(tab, "x", "y") == [88, 52]
        tab.get_by_label("what looks like it").check()
        tab.get_by_role("button", name="Ask").click()
        tab.get_by_role("status").filter(has_text="24 × 24 pixels at 72, 40").wait_for()
        tab.locator("#results .hits > li").nth(9).wait_for()
        watched.clean()


def test_a_stroke_is_drawn_by_mouse_and_led_on_by_the_keyboard(browser: Any, studio: Site) -> None:
    with opened(browser, studio.url) as watched:
        tab = watched.tab
        tab.goto(studio.url + WHERE)
        tab.get_by_label("a stroke").check()
        drag(tab, (10, 12), (40, 20), (30, 60))
        assert tab.locator("#region").inner_text() == "31 × 49 pixels at 10, 12"
        stroke = tab.locator("[name=stroke]").input_value()
        assert stroke.startswith("10,12 ") and stroke.endswith(" 30,60") and len(stroke.split()) > 4
        assert tab.locator("#mark polyline").get_attribute("points") == stroke
        tab.keyboard.press("Shift+ArrowDown")
        assert tab.locator("#region").inner_text() == "31 × 51 pixels at 10, 12"
        for _ in range(30):
            tab.keyboard.press("ArrowLeft")
        assert tab.locator("#region").inner_text() == "31 × 51 pixels at 0, 12"
        tab.get_by_label("an answer").check()
        tab.get_by_label("question").fill("which colour")
        tab.get_by_role("button", name="Ask").click()
        tab.get_by_role("status").filter(has_text="31 × 51 pixels at 0, 12").wait_for()
        assert tab.locator("#said blockquote").inner_text().strip()
        watched.clean()


def test_a_finger_draws_what_is_chosen_and_scrolls_before_that(browser: Any, studio: Site) -> None:
    with opened(browser, studio.url, **LOOKS["narrow"], has_touch=True) as watched:
        tab = watched.tab
        tab.goto(studio.url + WHERE)
        touch = "e => getComputedStyle(e).touchAction"
        assert tab.locator("#stage").evaluate(touch) == "auto"
        tab.touchscreen.tap(*place(tab, 30, 40))
        assert tab.get_by_label("the whole picture").is_checked()
        tab.get_by_label("a point").check()
        tab.locator("#stage").scroll_into_view_if_needed()
        assert tab.locator("#stage").evaluate(touch) == "none"
        tab.touchscreen.tap(*place(tab, 30, 40))
        assert fields(tab, "x", "y") == [30, 40]
        watched.clean()


def test_a_picture_is_dropped_and_drawn_on(browser: Any, studio: Site, folder: Path) -> None:
    with opened(browser, studio.url) as watched:
        tab = watched.tab
        tab.goto(f"{studio.url}/image")
        tab.dispatch_event("form[data-drop]", "drop", {"dataTransfer": dropped(tab, (folder / "05.png").read_bytes())})
        tab.wait_for_url("**/image?picture=*")
        drag(tab, (10, 10), (60, 60))
        tab.get_by_label("a label").check()
        tab.get_by_label("words that go with the picture").fill("a bar")
        tab.get_by_role("button", name="Ask").click()
        tab.get_by_role("status").filter(has_text="A label").wait_for()
        assert tab.locator("#results tbody tr").count() == 6
        tab.get_by_role("link", name="Chat about this picture").click()
        tab.locator("#attached img").wait_for()
        watched.clean()


def test_pictures_are_painted_in_place(browser: Any, studio: Site) -> None:
    with opened(browser, studio.url) as watched:
        tab = watched.tab
        tab.goto(f"{studio.url}/paint")
        tab.evaluate("window.same = true")
        tab.get_by_label("What the pictures show").fill("a red square")
        tab.get_by_label("how many").fill("2")
        tab.get_by_label("seed of the first").fill("7")
        tab.get_by_role("button", name="Paint").click()
        tab.get_by_role("status").filter(has_text="2 painted").wait_for()
        assert tab.locator(".painted figcaption b").all_inner_texts() == ["7", "8"] and tab.evaluate("window.same")
        assert tab.locator(".painted img").first.evaluate("async i => (await i.decode(), i.naturalWidth)") == 64
        tab.get_by_role("link", name="ask about it").first.click()
        tab.locator("#stage").wait_for()
        watched.clean()
