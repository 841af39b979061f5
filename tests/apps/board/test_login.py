"""The key is asked for once, kept in a cookie that no script reads, and never shown."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import quote, urlencode

import pytest

from sensorium.apps.server.state import Served

from .conftest import Answer, Site, ask, listening

KEY = "a-key-of-twenty-four-chars"


@pytest.fixture(scope="module")
def locked(there: Served) -> Iterator[Site]:
    with listening(there, frozenset({KEY, "another-key-of-the-server"})) as found:
        yield found


def _enter(site: Site, key: str, wanted: str = "/") -> Answer:
    body = urlencode({"key": key, "next": wanted}).encode()
    return ask(f"{site.url}/login", body, Content_Type="application/x-www-form-urlencoded")


@pytest.mark.parametrize("path", ["/", "/papers", "/runs/late", "/search?text=a+b", "/why?row=1&text=a"])
def test_without_a_key_a_page_asks_for_one(locked: Site, path: str) -> None:
    found = ask(locked.url + path)
    assert found.status == 303 and found.headers["Location"] == f"/login?next={quote(path, safe='')}"
    assert b"late" not in found.body


def test_the_form_itself_needs_none(locked: Site) -> None:
    assert ask(f"{locked.url}/login").status == 200
    assert ask(f"{locked.url}/static/style.css").status == 200


@pytest.mark.parametrize("key", [KEY, f" {KEY}\n"])
def test_a_right_key_opens_the_page_that_was_asked_for(locked: Site, key: str) -> None:
    found = _enter(locked, key, "/search?text=a+red+square")
    assert found.status == 303 and found.headers["Location"] == "/search?text=a+red+square"
    cookie = found.headers["Set-Cookie"]
    assert "HttpOnly" in cookie and "samesite=strict" in cookie.lower() and "Path=/" in cookie
    opened = ask(f"{locked.url}/runs/late", Cookie=cookie.partition(";")[0])
    assert opened.status == 200 and KEY not in opened.text
    thumb = ask(f"{locked.url}/thumbs/shapes?row=1", Accept="image/png", Cookie=cookie.partition(";")[0])
    assert thumb.status == 200


@pytest.mark.parametrize("key", ["", "wrong", KEY + "x", KEY[:-1], "schlüssel", "a\r\nSet-Cookie: x=y", "\0"])
def test_a_wrong_key_opens_nothing(locked: Site, key: str) -> None:
    found = _enter(locked, key)
    assert found.status == 401 and "Set-Cookie" not in found.headers
    assert "That is not a key of this server." in found.text
    assert not key.strip() or key not in found.text


@pytest.mark.parametrize(
    "wanted",
    ["//evil.example", "https://evil.example", "/\\evil.example", "javascript:alert(1)", "", "/\t/evil.example"],
)
def test_a_key_leads_to_no_other_place(locked: Site, wanted: str) -> None:
    assert _enter(locked, KEY, wanted).headers["Location"] == "/"
