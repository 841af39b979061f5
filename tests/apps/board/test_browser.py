"""The board in headless Chromium: each page opened, a search typed, a picture dropped; no console error, no request
elsewhere. Screenshots go to the test's folder."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sensorium.apps.server.state import Served

from .conftest import Site, listening
from .tabs import LOOKS, NEEDED, dropped, opened
from .test_login import KEY

pytestmark = NEEDED
PAGES = {
    "start": "/", "papers": "/papers?family=align", "paper": "/papers/kelip", "races": "/races", "race": "/races/first",
    "run": "/runs/late", "data": "/data/shapes", "search": "/search?text=a+red+square",
    "why": "/why?text=a+red+square&row=3&run=late", "login": "/login",
}  # fmt: skip
DRAWN = {"paper": 1, "race": 3, "run": 2}
"""Pages with charts, and how many at least."""


@pytest.mark.parametrize("look", LOOKS)
def test_every_page_opens_and_fits(browser: Any, site: Site, tmp_path: Path, look: str) -> None:
    with opened(browser, site.url, **LOOKS[look]) as watched:
        tab = watched.tab
        for name, path in PAGES.items():
            assert tab.goto(site.url + path).status == 200
            drawn = tab.locator(".chart svg")
            if name in DRAWN:
                drawn.nth(DRAWN[name] - 1).wait_for()
            assert (drawn.count() > 0) == (name in DRAWN), name
            assert "could not be drawn" not in tab.content()
            wide, there = tab.evaluate("[document.documentElement.scrollWidth, document.documentElement.clientWidth]")
            assert wide <= there, f"{name} is wider than the window"
            assert tab.evaluate("[...document.images].every(i => !i.complete || i.naturalWidth > 0)"), name
            shot = tab.screenshot(path=tmp_path / f"{name}-{look}.png", full_page=True)
            assert len(shot) > 5_000
        watched.clean()


def test_words_are_typed_and_a_result_is_explained(browser: Any, site: Site) -> None:
    with opened(browser, site.url) as watched:
        tab = watched.tab
        tab.goto(f"{site.url}/search")
        tab.evaluate("window.same = true")
        tab.get_by_label("Words", exact=True).fill("a green circle")
        tab.locator("select[name=run]").select_option("late")
        tab.keyboard.press("Tab")
        tab.get_by_role("button", name="Search").click()
        tab.wait_for_selector(".hits li")
        assert tab.locator(".hits > li").count() == 10
        assert tab.get_by_role("status").inner_text().startswith("10 found")
        assert "text=a+green+circle" in tab.url and tab.evaluate("window.same")  # swapped, not loaded anew
        first = tab.locator(".hits > li").first
        first.get_by_role("link", name="Why this one?").click()
        first.locator("#why").wait_for()
        assert first.locator("#why figure img").count() == 3
        assert tab.title().startswith("Search") and tab.evaluate("window.same")
        tab.get_by_label("Words", exact=True).fill("")
        tab.get_by_role("button", name="Search").click()
        tab.locator("#said", has_text="Nothing is asked yet").wait_for()
        assert tab.locator(".hits > li").count() == 0
        tab.go_back()
        tab.wait_for_selector(".hits li")
        watched.clean()


def test_a_picture_is_dropped(browser: Any, site: Site, folder: Path) -> None:
    content = (folder / "05.png").read_bytes()
    with opened(browser, site.url) as watched:
        tab = watched.tab
        tab.goto(f"{site.url}/search?run=first")
        carried = dropped(tab, content)
        tab.dispatch_event("form[data-drop]", "dragover", {"dataTransfer": carried})
        assert "over" in tab.locator("form[data-drop]").get_attribute("class")
        tab.dispatch_event("form[data-drop]", "drop", {"dataTransfer": carried})
        tab.wait_for_selector(".hits li")
        assert "05.png" in tab.locator(".hits > li").first.inner_text()
        assert "picture=" in tab.url and tab.locator("#said img.asked").count() == 1
        watched.clean()


def test_what_is_no_picture_is_told_where_the_results_stand(browser: Any, site: Site, tmp_path: Path) -> None:
    (tmp_path / "x.png").write_text("no picture")
    with opened(browser, site.url) as watched:
        tab = watched.tab
        tab.goto(f"{site.url}/search")
        tab.set_input_files("[name=image]", tmp_path / "x.png")
        assert "x.png" in tab.locator("[data-named]").inner_text()
        tab.get_by_role("button", name="Search").click()
        tab.locator("#said", has_text="is not a readable picture").wait_for()
        assert tab.locator("#results").count() == 1 and watched.abroad == []


def test_papers_are_filtered_in_place(browser: Any, site: Site) -> None:
    with opened(browser, site.url) as watched:
        tab = watched.tab
        tab.goto(f"{site.url}/papers")
        tab.evaluate("window.same = true")
        tab.get_by_label("verdict").select_option("holds")
        tab.locator("#count", has_text=re.compile(r"^\s*1 of")).wait_for()
        assert tab.locator("tbody tr").count() == 1 and "verdict=holds" in tab.url and tab.evaluate("window.same")
        tab.get_by_role("link", name="kelip").click()
        tab.wait_for_url("**/papers/kelip")
        watched.clean()


def test_a_table_is_sorted_by_the_keyboard(browser: Any, site: Site) -> None:
    with opened(browser, site.url) as watched:
        tab = watched.tab
        tab.goto(f"{site.url}/races/first")
        head = tab.locator("#board thead th").first
        head.get_by_role("button").focus()
        tab.keyboard.press("Enter")
        assert head.get_attribute("aria-sort") == "ascending"
        names = tab.locator("#board tbody th").all_inner_texts()
        assert names == sorted(names) and len(names) > 2
        tab.keyboard.press("Enter")
        assert head.get_attribute("aria-sort") == "descending"
        assert tab.locator("#board tbody th").all_inner_texts() == names[::-1]
        watched.clean()


def test_the_keyboard_finds_the_content_first_and_shows_where_it_is(browser: Any, site: Site) -> None:
    with opened(browser, site.url) as watched:
        tab = watched.tab
        tab.goto(site.url)
        tab.keyboard.press("Tab")
        skip = tab.get_by_role("link", name="Skip to the content")
        assert skip.evaluate("e => e === document.activeElement && e.getBoundingClientRect().left >= 0")
        assert skip.evaluate("e => getComputedStyle(e).outlineStyle") == "solid"
        tab.keyboard.press("Enter")
        assert tab.url.endswith("#main")
        for name in ("Sensorium", "Search pictures"):
            role: Callable[..., Any] = tab.get_by_role
            assert role("navigation", name=name).count() + role("search", name=name).count() == 1
        watched.clean()


def test_nothing_that_a_row_says_is_carried_out(browser: Any, site: Site) -> None:
    with opened(browser, site.url) as watched:
        for path in ("/data/shapes", "/search?text=a+blue+circle+top&top=100", "/races/first", "/runs/late"):
            watched.tab.goto(site.url + path)
            assert "taken" not in watched.tab.title()
        watched.clean()


def test_it_reads_and_searches_without_scripts(browser: Any, site: Site, folder: Path) -> None:
    with opened(browser, site.url, java_script_enabled=False) as watched:
        tab = watched.tab
        tab.goto(site.url)
        tab.get_by_label("Search in words").fill("a yellow bar")
        tab.get_by_role("button", name="Search").click()
        assert tab.locator(".hits > li").count() == 10
        tab.set_input_files("[name=image]", folder / "06.png")
        tab.get_by_role("button", name="Search").click()
        assert tab.locator("#said img.asked").count() == 1 and tab.locator(".hits > li").count() == 10
        tab.get_by_role("link", name="Why this one?").first.click()
        assert "the picture:" in tab.locator("#why").inner_text()
        tab.goto(f"{site.url}/races/first")
        assert "The chart needs JavaScript; its numbers stand below." in tab.content()
        watched.clean()


def test_a_key_is_asked_for_once_and_again_when_it_is_gone(browser: Any, there: Served) -> None:
    with listening(there, frozenset({KEY})) as site, opened(browser, site.url) as watched:
        tab = watched.tab
        tab.goto(f"{site.url}/search?text=a+red+bar")
        assert "/login?next=" in tab.url
        tab.get_by_label("Key").fill(KEY)
        tab.get_by_role("button", name="Enter").click()
        tab.wait_for_selector(".hits li")
        assert tab.locator(".hits img").first.evaluate("async i => (await i.decode(), i.naturalWidth)") > 0
        assert KEY not in tab.evaluate("document.cookie")
        watched.clean()
        tab.context.clear_cookies()
        tab.get_by_role("button", name="Search").click()
        tab.wait_for_url("**/login?next=*")
