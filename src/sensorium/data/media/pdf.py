"""PDF from bytes by PDFium: text and pictures of pages. Scripts never run, embedded files are never opened."""

from __future__ import annotations

import re
import threading
import zlib
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from itertools import chain
from typing import TYPE_CHECKING

import pypdfium2
from pypdfium2 import raw

from sensorium.data.limits import Limits, Refused, Seen

if TYPE_CHECKING:
    from PIL import Image

ENDINGS = (".pdf",)
UNPACKED = 96 << 20
"""Bytes that one stream may inflate to; PDFium itself stops at 1 GiB and holds twice that. (pypdf: 75 MB.)"""
LAYERS = 8
"""Times over that a stream may be compressed."""
PIECE = 1 << 16
"""Bytes inflated at once."""
SIZES = {"A3": (842, 1191), "A4": (595, 842), "A5": (420, 595), "Letter": (612, 792), "Legal": (612, 1008)}
_PDFIUM = threading.Lock()  # PDFium must not be entered by two threads at once


def looks_like_pdf(data: bytes) -> bool:
    """Whether a PDF header stands in the first kilobyte, as readers accept it."""
    return b"%PDF-" in data[:1024]


def check(data: bytes, limits: Limits) -> Seen:
    """Loads every page and its text; draws none."""
    try:
        with _open(data, limits) as document:
            sizes, characters = [], 0
            for i in range(len(document)):
                with _page(document, i) as sheet:
                    sizes.append(sheet.get_size())
                    characters += len(_text(sheet, i, limits).strip())
            return Seen(about=_about(sizes), notes=_notes(document, data, characters))
    except Refused as reason:
        return Seen(str(reason))


def pages(data: bytes, limits: Limits) -> list[str]:
    """The text of each page, in the order in which PDFium reads it; "" for a page that holds none.

    Raises:
        Refused: with the reason.
    """
    with _open(data, limits) as document:
        texts = []
        for i in range(len(document)):
            with _page(document, i) as sheet:
                texts.append(_text(sheet, i, limits))
        return texts


def page(data: bytes, i: int, limits: Limits, side: int = 1024) -> Image.Image:
    """Page `i`, counted from 0, as RGB on white; its longer side is `side` pixels.

    Raises:
        Refused: with the reason; also for a page that there is not.
    """
    with _open(data, limits) as document:
        if not 0 <= i < len(document):
            raise Refused(f"page {i + 1} of {len(document)}")
        with _page(document, i) as sheet:
            width, height = sheet.get_size()
            scale = side / max(width, height) * (1 - 1e-9)  # sides are rounded up
            if side < 1 or width * height * scale * scale > limits.pixels:
                raise Refused(f"page of {side} pixels a side, limit {limits.pixels / 1e6:.0f} megapixels")
            with closing(sheet.render(scale=scale, rev_byteorder=True)) as bitmap:
                picture: Image.Image = bitmap.to_pil().convert("RGB")  # a copy: the memory goes with the bitmap
                return picture


@contextmanager
def _open(data: bytes, limits: Limits) -> Iterator[pypdfium2.PdfDocument]:
    if not data:
        raise Refused("zero bytes")
    if len(data) > limits.bytes:
        raise Refused(f"{len(data):,} bytes, limit {limits.bytes:,}")
    if not looks_like_pdf(data):
        raise Refused("not a PDF")
    _no_bomb(data, limits)
    try:
        with _PDFIUM, pypdfium2.PdfDocument(_handle(data)) as document:
            if not 0 < len(document) <= limits.pages:
                raise Refused(f"{len(document):,} pages, limit {limits.pages:,}" if len(document) else "no pages")
            yield document
    except (Refused, MemoryError):
        raise
    except Exception as error:  # decoders raise anything on hostile bytes
        raise Refused(f"does not decode: {type(error).__name__}") from error


def _handle(data: bytes) -> raw.FPDF_DOCUMENT:
    """An open document, or why there is none; pypdfium2 mistakes one without pages for the error before it."""
    if handle := raw.FPDF_LoadMemDocument64(data, len(data), None):
        return handle
    why = {raw.FPDF_ERR_PASSWORD: "needs a password", raw.FPDF_ERR_SECURITY: "is encrypted in a way that is not read"}
    raise Refused(why.get(raw.FPDF_GetLastError(), "does not decode: damaged"))


def _no_bomb(data: bytes, limits: Limits) -> None:
    """Inflates what looks like Flate, also twice and more, piece by piece: PDFium would hold it whole."""
    total = 0
    for found in re.finditer(rb"stream\r?\n", data):
        if _is_zlib(data[found.end() : found.end() + 2]):
            total += _unpacked(data, found.end())
        if total > limits.table:
            raise Refused(f"its streams unpack to more than {limits.table >> 20} MiB")


def _unpacked(data: bytes, start: int) -> int:
    """Bytes that the zlib stream at `start` becomes, with all layers below it taken off."""
    pieces: Iterator[bytes] = (data[at : at + PIECE] for at in range(start, len(data), PIECE))
    for _ in range(LAYERS):
        pieces = _inflated(pieces)
        first = next(pieces, b"")
        if not _is_zlib(first):
            return len(first) + sum(map(len, pieces))
        pieces = chain([first], pieces)
    raise Refused(f"compressed more than {LAYERS} times over")


def _is_zlib(start: bytes) -> bool:
    """A zlib header: deflate, and a checksum of two bytes (RFC 1950)."""
    return len(start) > 1 and start[0] & 0x8F == 8 and int.from_bytes(start[:2], "big") % 31 == 0


def _inflated(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Pieces of a zlib stream -> pieces of at most `PIECE` bytes, up to where it ends or is damaged."""
    machine, total = zlib.decompressobj(), 0
    for piece in pieces:
        while piece and not machine.eof:
            try:
                out = machine.decompress(piece, PIECE)
            except zlib.error:
                return
            piece, total = machine.unconsumed_tail, total + len(out)
            if total > UNPACKED:
                raise Refused(f"a stream unpacks to more than {UNPACKED >> 20} MiB")
            yield out


@contextmanager
def _page(document: pypdfium2.PdfDocument, i: int) -> Iterator[pypdfium2.PdfPage]:
    try:
        sheet = document[i]
    except pypdfium2.PdfiumError:
        raise Refused(f"page {i + 1} does not load") from None
    with closing(sheet):
        yield sheet


def _text(sheet: pypdfium2.PdfPage, i: int, limits: Limits) -> str:
    with closing(sheet.get_textpage()) as found:
        if (characters := found.count_chars()) > limits.text:
            raise Refused(f"{characters:,} characters on page {i + 1}, limit {limits.text:,}")
        text: str = found.get_text_bounded()
    return text.replace("\r\n", "\n").translate({0: None, 0xFFFE: None})  # PDFium's mark of a broken word


def _about(sizes: list[tuple[float, float]]) -> str:
    """ "3 pages, A4"; the size of the first page where they differ."""
    width, height = sizes[0]
    name = f"{width:.0f} x {height:.0f} pt"
    for known, (short, long) in SIZES.items():
        if abs(min(width, height) - short) < 2 and abs(max(width, height) - long) < 2:
            name = known + " landscape" * (width > height)
    return f"{len(sizes)} page{'s' * (len(sizes) > 1)}, {name}" + " and other sizes" * (len(set(sizes)) > 1)


def _notes(document: pypdfium2.PdfDocument, data: bytes, characters: int) -> tuple[str, ...]:
    scripts = raw.FPDFDoc_GetJavaScriptActionCount(document) > 0 or re.search(rb"/(JS|JavaScript)\b", data)
    notes = {
        "no text (a scan?); an OCR tool must read it": not characters,
        "embedded files ignored": document.count_attachments() > 0,
        "JavaScript ignored": scripts,
    }
    return tuple(note for note, is_so in notes.items() if is_so)
