from __future__ import annotations

import os
import threading
import time
import tracemalloc
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sensorium.data.limits import Limits, Refused, Seen
from sensorium.data.media import pdf

from .documents import document, locked, stream
from .documents import pdf as written

LIMITS = Limits()
SCAN = "no text (a scan?); an OCR tool must read it"
SQUARE = b"1 0 0 rg 72 72 144 144 re f"  # red, one to three inches from the left and the bottom


def looping(ring: bool) -> bytes:
    """A table whose /Prev names itself, or a second table that names the first again."""
    first = document(trailer=b"/Prev 0000000000")
    at = int(first.rsplit(b"startxref\n")[1].split()[0])
    if not ring:
        return first.replace(b"/Prev 0000000000", b"/Prev %010d" % at)
    second = len(first)
    first = first.replace(b"/Prev 0000000000", b"/Prev %010d" % second)
    return first + b"xref\n0 0\ntrailer\n<</Size 6/Root 1 0 R/Prev %d>>\nstartxref\n%d\n%%%%EOF\n" % (at, second)


def test_text_of_every_page() -> None:
    assert pdf.pages(document(count=3), LIMITS) == ["Hello, pages\nsecond line"] * 3
    assert pdf.check(document(count=3), LIMITS) == Seen(about="3 pages, A4")


def test_compressed_text() -> None:
    assert pdf.pages(document(layers=2), LIMITS) == ["Hello, pages\nsecond line"]


@pytest.mark.parametrize(
    ("size", "about"),
    [
        ((612, 792), "1 page, Letter"), ((842, 595), "1 page, A4 landscape"), ((595.28, 841.89), "1 page, A4"),
        ((100, 50), "1 page, 100 x 50 pt"),
    ],
)  # fmt: skip
def test_size(size: tuple[float, float], about: str) -> None:
    assert pdf.check(document(SQUARE, size=size), LIMITS) == Seen(about=about, notes=(SCAN,))


def test_pages_of_two_sizes() -> None:
    sheet = b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 %d 300]/Resources<<>>>>"
    kids = b"<</Type/Pages/Kids[3 0 R 4 0 R]/Count 2>>"
    data = written([b"<</Type/Catalog/Pages 2 0 R>>", kids, sheet % 200, sheet % 400])
    assert pdf.check(data, LIMITS).about == "2 pages, 200 x 300 pt and other sizes"


def test_page_is_drawn_where_it_says() -> None:
    picture = pdf.page(document(SQUARE, size=(400, 800)), 0, LIMITS, side=400)  # half a pixel a point
    pixels = np.asarray(picture)
    red = (pixels == [255, 0, 0]).all(-1)
    assert picture.mode == "RGB" and pixels.shape == (400, 200, 3)
    assert red[400 - 108 : 400 - 36, 36:108].all() and red.sum() == 72 * 72
    assert (pixels[~red] == 255).all()


@pytest.mark.parametrize("size", [(595.28, 841.89), (612, 792), (7, 3), (333.3, 1000.1)])
def test_longer_side_is_the_one_asked_for(size: tuple[float, float]) -> None:
    for side in (1, 2, 63, 64, 100, 333, 1000):
        assert max(pdf.page(document(size=size), 0, LIMITS, side=side).size) == side


def test_page_with_text_is_drawn() -> None:
    assert (np.asarray(pdf.page(document(), 0, LIMITS, side=800)) < 128).any()


@pytest.mark.parametrize("i", [-1, 1])
def test_page_that_there_is_not(i: int) -> None:
    with pytest.raises(Refused, match=f"page {i + 1} of 1"):
        pdf.page(document(), i, LIMITS)


@pytest.mark.parametrize("side", [0, 20_000])
def test_drawn_pixels_are_limited(side: int) -> None:
    with pytest.raises(Refused, match=f"page of {side} pixels a side, limit 64 megapixels"):
        pdf.page(document(), 0, LIMITS, side=side)


BAD: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", "zero bytes"),
    "text": (b"no document\n", "not a PDF"),
    "only a header": (b"%PDF-1.7\n" + b"x" * 500, "does not decode: damaged"),
    "encrypted": (locked(b"secret"), "needs a password"),
    "no pages": (document(count=0), "no pages"),
    "too many pages": (document(count=100_000), "100,000 pages, limit 1,000"),
    "claims pages": (document(claims=50), "page 2 does not load"),
    "pages that hold themselves": (
        written([b"<</Type/Catalog/Pages 2 0 R>>", b"<</Type/Pages/Kids[2 0 R]/Count 1>>"]),
        "page 1 does not load",
    ),
    "flate bomb": (document(b" " * (100 << 20), layers=1), "a stream unpacks to more than 96 MiB"),
    "nested flate bomb": (document(b" " * (100 << 20), layers=3), "a stream unpacks to more than 96 MiB"),
    "endless layers": (document(layers=9), "compressed more than 8 times over"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_document(name: str) -> None:
    data, reason = BAD[name]
    seen = pdf.check(data, LIMITS)
    assert seen == Seen(reason)
    for read in (lambda: pdf.pages(data, LIMITS), lambda: pdf.page(data, name == "claims pages", LIMITS)):
        with pytest.raises(Refused, match=reason):
            read()


def test_no_pages_after_an_encrypted_one() -> None:
    """PDFium keeps the last error; one document's must not become the next one's."""
    assert pdf.check(locked(b"secret"), LIMITS).reason == "needs a password"
    assert pdf.check(document(count=0), LIMITS).reason == "no pages"


def test_encrypted_without_a_password_is_read() -> None:
    assert pdf.check(locked(b""), LIMITS) == Seen(about="1 page, A4", notes=(SCAN,))


def test_bomb_is_refused_without_memory() -> None:
    data = document(b" " * (160 << 20), layers=2)
    assert len(data) < 3000
    tracemalloc.start()
    assert "96 MiB" in pdf.check(data, LIMITS).reason
    assert tracemalloc.get_traced_memory()[1] < 2_000_000
    tracemalloc.stop()


def test_all_streams_together_are_limited() -> None:
    more = [stream(zlib.compress(bytes(20_000)), b"/Filter/FlateDecode") for _ in range(4)]
    assert pdf.check(document(more=more), Limits(table=100_000)) == Seen(about="1 page, A4")
    assert pdf.check(document(more=more), Limits(table=50_000)).reason == "its streams unpack to more than 0 MiB"


@pytest.mark.parametrize("ring", [False, True])
def test_circular_tables_end_soon(ring: bool) -> None:
    start = time.monotonic()
    assert pdf.check(looping(ring), LIMITS).reason in ("", "does not decode: damaged")
    assert time.monotonic() - start < 5


def test_scripts_and_embedded_files_are_ignored_and_noted() -> None:
    action = b"<</S/JavaScript/JS(app.alert\\(1\\))>>"
    files = [b"<</Type/Filespec/F(f.exe)/EF<</F 7 0 R>>>>", stream(b"MZ", b"/Type/EmbeddedFile")]
    names = b"/Names<</JavaScript<</Names[(a)%s]>>/EmbeddedFiles<</Names[(f.exe)6 0 R]>>>>" % action
    assert pdf.check(document(catalog=names, more=files), LIMITS).notes == (
        "embedded files ignored",
        "JavaScript ignored",
    )
    assert pdf.check(document(catalog=b"/OpenAction" + action), LIMITS).notes == ("JavaScript ignored",)


def test_hostile_character_map_is_never_opened(tmp_path: Path) -> None:
    """Its name leads to a pipe that would hang whoever reads it."""
    os.mkfifo(tmp_path / "pipe")
    path = os.fsencode(tmp_path / "pipe")
    info = b"<</Registry(%s)/Ordering(%s)/Supplement 0>>" % (path, path)
    wide = b"<</Type/Font/Subtype/CIDFontType2/BaseFont/X/CIDSystemInfo%s>>" % info
    for name in (path, b"../../../../../../../.." + path, path[1:]):
        font = b"/Subtype/Type0/BaseFont/X/Encoding/%s/DescendantFonts[6 0 R]" % name.replace(b"/", b"#2f")
        data = document(font=font, more=[wide])
        assert pdf.check(data, LIMITS).reason == ""
        assert pdf.page(data, 0, LIMITS, side=64).size == (46, 64)


def test_characters_of_a_page_are_limited() -> None:
    assert pdf.check(document(), Limits(text=10)).reason == "25 characters on page 1, limit 10"


def test_bytes_are_limited() -> None:
    assert pdf.check(document(), Limits(bytes=100)).reason.endswith("bytes, limit 100")


def test_threads_take_turns() -> None:
    texts: list[list[str]] = []

    def read() -> None:
        texts.extend(pdf.pages(document(count=5), LIMITS) for _ in range(20))

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert texts == [["Hello, pages\nsecond line"] * 5] * 80


@given(st.binary(max_size=300))
@settings(max_examples=100, deadline=None)
def test_check_never_raises_on_any_bytes(data: bytes) -> None:
    assert isinstance(pdf.check(b"%PDF-1.7\n" + data, LIMITS), Seen)
    assert pdf.check(data, LIMITS).reason


@given(st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), max_size=12), st.floats(0, 1))
@settings(max_examples=200, deadline=None)
def test_check_and_pages_agree_on_mutations(changes: list[tuple[float, int]], keep: float) -> None:
    data = bytearray(document(count=2, layers=1))
    for where, value in changes:
        data[int(where * len(data))] = value
    cut = bytes(data[: int(keep * len(data))]) if keep < 0.5 else bytes(data)
    seen = pdf.check(cut, LIMITS)
    if seen.reason:
        with pytest.raises(Refused):
            pdf.pages(cut, LIMITS)
    else:
        assert all("\0" not in text for text in pdf.pages(cut, LIMITS))


@given(st.binary(max_size=2000))
@settings(max_examples=50, deadline=None)
def test_unpacked_is_zlibs(data: bytes) -> None:
    packed = zlib.compress(b"\xff" + data)  # no zlib header: one layer
    assert pdf._unpacked(b"before" + packed + b"after", 6) == len(data) + 1
    assert pdf._unpacked(zlib.compress(packed), 0) == len(data) + 1
