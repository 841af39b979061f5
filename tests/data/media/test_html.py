from __future__ import annotations

import random
import socket
import time
import tracemalloc
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sensorium.data.limits import Limits, Refused, Seen
from sensorium.data.media import html
from sensorium.data.media.html import Node

LIMITS = Limits()
LEGACY = "is not UTF-8, read as windows-1252"
PAGE = """<!DOCTYPE html>
<html><head><title>Kites &amp; wind</title><meta charset="utf-8"><style>p { color: red }</style></head>
<body><!-- a comment --><article><h1>Red
  kite</h1><p>One <b>big</b> kite<br>above.</p>
<script>document.write("<p>from a script</p>")</script>
<div hidden>hidden <p>text</p></div><div style="color: red; DISPLAY : none">not shown</div>
<template><p>a template</p></template><noscript><p>no script</p></noscript><p style="visibility:hidden">x</p>
<ul><li>A<li>B</ul><img src="http://127.0.0.1/x.png" onerror="alert(1)" alt="a picture"><dialog>closed</dialog>
<svg><title>tooltip</title><text>drawn</text></svg></article></body></html>"""


def test_text_is_what_a_reader_sees() -> None:
    assert html.text(PAGE, LIMITS).split("\n") == [
        "Kites & wind", "Red kite", "One big kite", "above.", "A", "B", "drawn",
    ]  # fmt: skip
    assert html.text(PAGE.encode(), LIMITS) == html.text(PAGE, LIMITS)
    assert html.check(PAGE.encode(), LIMITS) == Seen(about="article, 51 characters")


def test_nodes_say_where_text_stands() -> None:
    assert html.nodes(PAGE, LIMITS) == [
        Node("title", "/html/head/title", "Kites & wind"),
        Node("h1", "/html/body/article/h1", "Red kite"),
        Node("p", "/html/body/article/p[1]", "One"),
        Node("b", "/html/body/article/p[1]/b", "big"),
        Node("p", "/html/body/article/p[1]", "kite"),
        Node("p", "/html/body/article/p[1]", "above."),
        Node("li", "/html/body/article/ul/li[1]", "A"),
        Node("li", "/html/body/article/ul/li[2]", "B"),
        Node("text", "/html/body/article/svg/text", "drawn"),
    ]


def test_paths_are_those_of_lxml() -> None:
    lxml = pytest.importorskip("lxml.html")
    blocks = [
        "<div>{}</div>",
        "<p>x</p>",
        "<h2>y</h2><h2>z</h2>",
        "<section>s{}</section>",
        "<ul><li>1</li><li>2</li></ul>",
    ]
    rng = random.Random(0)
    for _ in range(50):
        body = "{}"
        for _ in range(8):
            body = body.replace("{}", "".join(rng.choice(blocks) for _ in range(2)), 1)
        page = f"<html><head><title>t</title></head><body><main>{body.replace('{}', '')}</main></body></html>"
        tree = lxml.document_fromstring(page).getroottree()
        found = {node.path: node.text for node in html.nodes(page, LIMITS)}
        assert found == {tree.getpath(e): e.text for e in tree.iter() if e.text}


@pytest.mark.parametrize(
    ("page", "lines"),
    [
        ("<p>a</p>b<p>c", ["a", "b", "c"]),
        ("<p>a <i> b</i>\n c</p>", ["a b c"]),
        ("<table><tr><td>1<td>2<tr><td>3</table>", ["1", "2", "3"]),
        ("<p>1 &lt; 2 &amp; &eacute;&#233;&nbsp;x", ["1 < 2 & éé x"]),
        ("<p>a<script>b</script>c", ["ac"]),
        ("<textarea>a <b>raw</b></textarea>", ["a <b>raw</b>"]),
        ("<dialog open>seen</dialog>", ["seen"]),
        ("<p hidden>a<p>b", ["b"]),
        ("<div/>a<div/>b", ["a", "b"]),
        ("<p>&lol;</p>", ["&lol;"]),
    ],
)
def test_lines(page: str, lines: list[str]) -> None:
    assert html.text(page, LIMITS).split("\n") == lines


@pytest.mark.parametrize(
    ("data", "text", "notes"),
    [
        ("<p>äß€".encode(), "äß€", ()),
        ("<p>äß€".encode("utf-8-sig"), "äß€", ()),
        (b"\xff\xfe" + "<p>äß€".encode("utf-16-le"), "äß€", ()),
        (b"\xfe\xff" + "<p>äß€".encode("utf-16-be"), "äß€", ()),
        ("<meta charset=windows-1252><p>äß€".encode("cp1252"), "äß€", ()),
        ("<meta charset='iso-8859-1'><p>äß€".encode("cp1252"), "äß€", ()),
        ('<meta http-equiv=Content-Type content="text/html; charset=shift_jis"><p>凧'.encode("cp932"), "凧", ()),
        ("<meta charset=koi8-r><p>змей".encode("koi8-r"), "змей", ()),
        ('<?xml version="1.0" encoding="windows-1251"?><p>змей'.encode("cp1251"), "змей", ()),
        ("<meta charset=iso-2022-jp><p>凧".encode("iso-2022-jp"), "凧", ()),
        ("<meta charset=latin1><p>äß€".encode(), "äß€", ("declared as latin1, is UTF-8",)),
        ("<meta charset=utf-8><p>äß€".encode("cp1252"), "äß€", (f"declared as utf-8, {LEGACY}",)),
        ("<p>äß€".encode("cp1252"), "äß€", (f"no charset, {LEGACY}",)),
        ("<meta charset=rot13><p>ä".encode("cp1252"), "ä", (f"declared as rot13, {LEGACY}",)),
        (b"<meta charset=utf-7><p>+AOQ-", "+AOQ-", ()),
        (b"<meta charset=idna><p>xn--a", "xn--a", ()),
        ("<p>äöüäöüäöüäöü".encode() + b"\xc3", "äöüäöüäöüäöü\ufffd", ("1 characters are not UTF-8",)),
        (b"<meta charset=euc-kr><p>\xc7\xd1\xff", "한\ufffd", ("1 characters are not CP949",)),
    ],
)
def test_charset(data: bytes, text: str, notes: tuple[str, ...]) -> None:
    assert html.text(data, LIMITS) == text
    assert html.check(data, LIMITS).notes == notes


BOMB = '<?xml version="1.0"?><!DOCTYPE lolz [<!ENTITY lol "lol"><!ENTITY l2 "&lol;&lol;">]><html><p>&l2;</p></html>'
FONTS = "<p>" + "".join(f"<font size={k}>" for k in range(200)) + "</p>"
BAD: dict[str, tuple[str | bytes, str]] = {
    "nothing": ("", "zero bytes"),
    "text": ("1 < 2, no tags at all", "holds no tags: not HTML"),
    "picture": (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR<a", "holds NUL characters"),
    "entities": (BOMB, "declares entities, which are not expanded"),
    "100,000 nested tags": ("<div>" * 100_000, "nested deeper than 256"),
    "nested just too deep": ("<div>" * 255, "nested deeper than 256"),
    "nested behind false ends": ("<div></p>" * 50_000, "nested deeper than 256"),
    "nested and closed": ("<div>" * 5000 + "</div>" * 5000, "nested deeper than 256"),
    "nested in a table": ("<table><td>" * 20_000, "nested deeper than 256"),
    "nested formatting": ("".join(f"<b id={k}>" for k in range(300)), "nested deeper than 256"),
    "repeated formatting": (FONTS + "<p>x</p>" * 5000, "more than 500,000 elements"),
    "many attributes": (
        "<p " + " ".join(f"a{k}" for k in range(100_000)) + ">x",
        "a tag of more than 1,000 attributes",
    ),
    "attributes behind quotes": (
        '<p x" ' + "/".join(f"a{k}=''" for k in range(5000)) + ">x",
        "more than 1,000 attributes",
    ),
    "much text": ("<p>" + "x" * 1_000_001, "more than 1,000,000 characters of text"),
    "much markup": ("<p>" + " " * 8_000_000, "8,000,003 bytes of markup, limit 8,000,000"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_page(name: str) -> None:
    page, reason = BAD[name]
    data = page.encode() if isinstance(page, str) else page
    start = time.monotonic()
    seen = html.check(data, LIMITS)
    assert reason in seen.reason and seen == Seen(seen.reason)
    for read in (html.text, html.nodes):
        with pytest.raises(Refused, match=reason):
            read(page, LIMITS)
    assert time.monotonic() - start < 10


def test_tags_are_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(html, "ELEMENTS", 1000)
    assert html.check(b"<br>" * 1001, LIMITS).reason == "more than 1,000 elements"
    assert html.check(b"<br>" * 1000, LIMITS).reason == ""


def test_lone_surrogate_is_refused() -> None:
    with pytest.raises(Refused, match="lone surrogates"):
        html.text("<p>\ud800", LIMITS)


def test_depth_up_to_the_limit_is_read() -> None:
    page = "<div>" * 253 + "<p>deep"
    assert html.text(page, LIMITS) == "deep"
    assert html.nodes(page, LIMITS)[0].path.count("/") == 256


@pytest.mark.parametrize(
    "page",
    [
        "<ul>" + "<li>x" * 20_000 + "</ul>", "<p>x" * 20_000, "<svg>" + "<path d='M 1 2'/>" * 20_000 + "</svg><p>x",
        "<table>" + "<tr><td><b>x" * 2000 + "</table>", "<a href=x>x" * 5000, "<br>x" * 20_000,
        "<script>" + "if (a<b) { x('<div>') }" * 5000 + "</script><p>x", "<!--" + "<div>" * 9000 + "--><p>x",
        "<img src='data:," + "x y " * 50_000 + "'>x", "<!--><p>x", "<p title='<div>'>x" * 2000,
    ],
)  # fmt: skip
def test_careless_pages_are_read(page: str) -> None:
    assert set(html.text(page, LIMITS).split("\n")) in ({"x"}, {"x" * 5000})


def test_bombs_take_no_memory() -> None:
    tracemalloc.start()
    for name in ("100,000 nested tags", "repeated formatting", "many attributes", "entities"):
        page = str(BAD[name][0]).encode()
        before = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()
        assert html.check(page, LIMITS).reason
        assert tracemalloc.get_traced_memory()[1] - before < 5_000_000
    tracemalloc.stop()


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as found:
        found.settimeout(0.2)
        yield found


def test_nothing_is_fetched(listener: socket.socket) -> None:
    url = f"http://127.0.0.1:{listener.getsockname()[1]}/x"
    page = (
        f'<!DOCTYPE html SYSTEM "{url}"><link rel=stylesheet href={url}><script src={url}></script><base href={url}>'
        f'<img src="{url}" srcset="{url} 2x"><iframe src={url}></iframe><object data={url}></object><p>x'
    )
    assert html.text(page, LIMITS) == "x"
    with pytest.raises(TimeoutError):
        listener.accept()


def test_scripts_are_only_text_once_escaped() -> None:
    assert html.text("<p>&lt;script&gt;alert(1)&lt;/script&gt;", LIMITS) == "<script>alert(1)</script>"
    assert html.text("<p onclick='alert(1)'>x<a href='javascript:alert(1)'>y</a>", LIMITS) == "xy"


def test_no_visible_text_is_noted() -> None:
    assert html.check(b"<p hidden>x", LIMITS) == Seen(about="page, 0 characters", notes=("no visible text",))


@given(st.binary(max_size=300))
@settings(max_examples=200, deadline=None)
def test_check_never_raises_on_any_bytes(data: bytes) -> None:
    assert isinstance(html.check(data, LIMITS), Seen)
    assert isinstance(html.check(b"<p>" + data, LIMITS), Seen)


@given(
    st.lists(
        st.sampled_from(
            [
                "<div>", "</div>", "<p>", "</p>", "<b>", "</b>", "<table>", "<tr>", "<td>", "</table>", "<svg>", "<a ",
                "x", "'", '"', "=", ">", "<!--", "-->", "<script>", "</script>", "<template>", "hidden", "<select>",
                "<li>", "<form>", "&amp;", " ", "/", "<![CDATA[", "<math>", "<title>", "<h1>", "</br>", "<frameset>",
            ]
        ),
        max_size=60,
    )
)  # fmt: skip
@settings(max_examples=300, deadline=None)
def test_check_and_text_agree_on_tag_soup(parts: list[str]) -> None:
    page = "".join(parts)
    seen = html.check(page.encode(), LIMITS)
    if seen.reason:
        with pytest.raises(Refused):
            html.text(page, LIMITS)
        return
    found = html.text(page, LIMITS)
    assert "".join(found.split()) == "".join("".join(node.text.split()) for node in html.nodes(page, LIMITS))
    assert f", {len(found):,} character" in seen.about
