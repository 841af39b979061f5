"""PDFs written by hand, so that their faults are known to the byte."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Sequence

HELLO = b"BT /F 24 Tf 72 700 Td (Hello, pages) Tj 0 -30 Td (second line) Tj ET"


def pdf(objects: Sequence[bytes], trailer: bytes = b"", root: int = 1) -> bytes:
    """Numbered from 1, with a cross-reference table and a trailer."""
    out, offsets = b"%PDF-1.7\n", []
    for k, body in enumerate(objects, 1):
        offsets.append(len(out))
        out += b"%d 0 obj\n" % k + body + b"\nendobj\n"
    table = b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    head = b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    end = b"trailer\n<</Size %d/Root %d 0 R%s>>\nstartxref\n%d\n%%%%EOF\n" % (len(objects) + 1, root, trailer, len(out))
    return out + head + table + end


def stream(data: bytes, more: bytes = b"") -> bytes:
    return b"<</Length %d%s>>\nstream\n" % (len(data), more) + data + b"\nendstream"


def document(
    content: bytes = HELLO, *, count: int = 1, claims: int | None = None, size: tuple[float, float] = (595, 842),
    layers: int = 0, catalog: bytes = b"", font: bytes = b"/Subtype/Type1/BaseFont/Helvetica",
    more: Sequence[bytes] = (), trailer: bytes = b"",
) -> bytes:  # fmt: skip
    """`count` equal pages; object 4 is their content, compressed `layers` times; `more` are objects from 6 on."""
    for _ in range(layers):
        content = zlib.compress(content, 9)
    filters = b"/Filter[" + b"/FlateDecode" * layers + b"]" if layers else b""
    kids = b" ".join([b"3 0 R"] * count)
    sheet = b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 %g %g]/Contents 4 0 R/Resources<</Font<</F 5 0 R>>>>>>"
    return pdf(
        [
            b"<</Type/Catalog/Pages 2 0 R%s>>" % catalog,
            b"<</Type/Pages/Kids[%s]/Count %d>>" % (kids, count if claims is None else claims),
            sheet % size,
            stream(content, filters),
            b"<</Type/Font%s>>" % font,
            *more,
        ],
        trailer,
    )


def locked(password: bytes) -> bytes:
    """An empty page encrypted with RC4, 40 bits, by the standard handler, revision 2 (ISO 32000-1, 7.6.3)."""
    fill = bytes.fromhex("28BF4E5E4E758A4164004E56FFFA01082E2E00B6D0683E802F0CA9FE6453697A")
    name, rights = bytes(range(16)), (-4).to_bytes(4, "little", signed=True)
    owner = rc4(hashlib.md5((b"owner" + fill)[:32]).digest()[:5], (password + fill)[:32])
    key = hashlib.md5((password + fill)[:32] + owner + rights + name).digest()[:5]
    rules = b"<</Filter/Standard/V 1/R 2/O<%s>/U<%s>/P -4>>"
    handler = rules % (owner.hex().encode(), rc4(key, fill).hex().encode())
    file_name = name.hex().encode()
    return document(b"", more=[handler], trailer=b"/Encrypt 6 0 R/ID[<%s><%s>]" % (file_name, file_name))


def rc4(key: bytes, data: bytes) -> bytes:
    box, j = list(range(256)), 0
    for i in range(256):
        j = (j + box[i] + key[i % len(key)]) % 256
        box[i], box[j] = box[j], box[i]
    i = j = 0
    out = bytearray()
    for byte in data:
        i = (i + 1) % 256
        j = (j + box[i]) % 256
        box[i], box[j] = box[j], box[i]
        out.append(byte ^ box[(box[i] + box[j]) % 256])
    return bytes(out)
