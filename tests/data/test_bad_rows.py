"""One bad row among forty good ones: set aside, with its reason, and nothing else changes."""

from __future__ import annotations

import io
import json
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image, ImageFile

from sensorium.core import SensoriumError
from sensorium.data.dataset import Dataset

from .conftest import folder, png


def header(width: int, height: int) -> bytes:
    """A PNG that claims a size and holds almost nothing."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"\0" * 10)) + chunk(b"IEND", b"")


def flipped(back: int) -> bytes:
    """A PNG with one bit flipped, `back` bytes before IEND: within the pixels, or in the checksum that load() skips."""
    data = bytearray(png(7, (64, 64)))
    data[data.index(b"IEND") - 4 - back] ^= 0x10
    return bytes(data)


def bomb_in_frame_two() -> bytes:
    """A TIFF whose second page claims 60000 x 60000."""
    out = io.BytesIO()
    page = Image.new("L", (8, 8))
    page.save(out, "TIFF", save_all=True, append_images=[Image.new("L", (9, 9))])
    data = bytearray(out.getvalue())
    for tag in (256, 257):  # width, height: one short or long each, little endian
        at = max(data.find(struct.pack("<HHI", tag, kind, 1) + struct.pack("<I", 9)) for kind in (3, 4))
        assert at > 0
        data[at : at + 12] = struct.pack("<HHII", tag, 4, 1, 60000)
    return bytes(data)


def webp_bomb() -> bytes:
    body = b"WEBPVP8X" + struct.pack("<I", 10) + b"\0" * 4 + (16000).to_bytes(3, "little") * 2
    return b"RIFF" + struct.pack("<I", len(body)) + body


PICTURES: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "zero bytes"),
    "truncated jpeg": (png(1, (300, 300), "JPEG")[:-2000], "does not decode: image file is truncated"),
    "truncated png": (png(1, (300, 300))[:-200], "does not decode"),
    "bit flipped": (flipped(40), "does not decode"),
    "checksum flipped": (flipped(2), "does not decode"),
    "text": (b"this is no picture at all\n", "text, not a picture"),
    "svg": (b'<?xml version="1.0"?><svg xmlns="x"><script/></svg>', "SVG is not read"),
    "50000 square": (header(50_000, 50_000), "megapixels"),
    "65 megapixels": (header(65_000, 1_000), "65000 x 1000 pixels, limit 64 megapixels"),
    "frame two": (bomb_in_frame_two(), "frame 2"),
    "webp canvas": (webp_bomb(), "16001 x 16001 pixels"),
    "eps": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n\xff", "not a picture in PNG"),
    "fits": (b"SIMPLE  =                    T\0\xff" * 100, "not a picture in PNG"),
}


@pytest.mark.parametrize("name", PICTURES)
def test_picture(name: str, tmp_path: Path, good: Any) -> None:
    data, reason = PICTURES[name]
    path = folder(tmp_path / "d", [*good(40), {"file_name": "bad.png", "text": "bad"}], {"bad.png": data})
    found = Dataset(path)
    assert len(found) == 40
    (bad,) = found.quarantine
    assert (bad.source, bad.key) == ("metadata.jsonl:41", "image")
    assert bad.reason.startswith("bad.png: ") and reason in bad.reason


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("nowhere.png", "file is missing"), ("../outside.png", "path outside the folder"), ("", "no picture"),
        ("/etc/hostname", "path outside the folder"), ("http://x.org/a.png", "nothing is fetched"),
        (None, "no picture"),
        (".", "not a file"), ("a\0.png", "path is not valid"), (7, "not a picture but a int"), ("link.png", "outside"),
    ],
)  # fmt: skip
def test_path(name: Any, reason: str, tmp_path: Path, good: Any) -> None:
    (tmp_path / "outside.png").write_bytes(png(5))
    path = folder(tmp_path / "d", [*good(40), {"file_name": name, "text": "bad"}])
    (path / "link.png").symlink_to(tmp_path / "outside.png")
    found = Dataset(path)
    assert len(found) == 40
    assert [b.key for b in found.quarantine] == ["image"]
    assert reason in found.quarantine[0].reason


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "empty text"), (" \n\t", "empty text"), (None, "empty text"), ("a\0b", "NUL"),
        ("\ud800x", "lone surrogate"),
        (7, "not a text but a int"), ({"a": 1}, "not a text but a dict"), (True, "not a text but a bool"),
        ("x" * 1_000_001, "1,000,001 characters"),
    ],
)  # fmt: skip
def test_text(text: Any, reason: str, tmp_path: Path, good: Any) -> None:
    found = Dataset(folder(tmp_path / "d", [*good(40), {"text": text}]))
    assert len(found) == 40
    (bad,) = found.quarantine
    assert (bad.source, bad.key) == ("metadata.jsonl:41", "text") and reason in bad.reason


LINES: dict[str, tuple[bytes, str]] = {
    "broken": (b'{"text": "a" "b"}\n', "broken JSON"),
    "duplicate": (b'{"text": "a", "text": "b"}\n', "duplicate key 'text'"),
    "nan": (b'{"text": "a", "x": NaN}\n', "NaN is not JSON"),
    "infinity": (b'{"text": "a", "x": -Infinity}\n', "-Infinity is not JSON"),
    "list": (b'["text"]\n', "not a JSON object but a list"),
    "utf-8": (b'{"text": "\xff"}\n', "invalid UTF-8"),
    "deep": (b'{"text": ' + b"[" * 100_000 + b"]" * 100_000 + b"}\n", "nested too deeply"),
    "cut off": (b'{"text": "a', "truncated last line"),
}


@pytest.mark.parametrize("name", LINES)
def test_line(name: str, tmp_path: Path) -> None:
    line, reason = LINES[name]
    path = tmp_path / "d.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + b"".join(b'{"text": "thing %d"}\n' % k for k in range(40)) + line)
    found = Dataset(path)
    assert found.texts("text")[0] == "thing 0" and len(found) == 40
    (bad,) = found.quarantine
    assert bad.source == "d.jsonl:41" and reason in bad.reason


def test_csv(tmp_path: Path) -> None:
    path = tmp_path / "d.csv"
    rows = b"".join(b"thing %d,x\n" % k for k in range(40))
    path.write_bytes(b"text,label\n" + rows + b"one\nbad\xff,x\n")
    found = Dataset(path)
    assert [(b.source, b.reason) for b in found.quarantine] == [
        ("d.csv:42", "has 1 fields, the header has 2"),
        ("d.csv:43", "invalid UTF-8"),
    ]


def test_parquet_cells(tmp_path: Path) -> None:
    pictures = [{"bytes": png(k), "path": f"{k}.png"} for k in range(40)]
    table = pa.table(
        {
            "image": [*pictures, None, {"bytes": None, "path": None}, {"bytes": b"", "path": "e.png"}],
            "text": pa.array([*(b"t%d" % k for k in range(39)), b"\xff\xfe", b"a", b"b", b"c"]).cast(pa.binary()),
        }
    )
    # the string type with bytes that are no UTF-8, as a careless writer leaves them
    bad = pa.Array.from_buffers(pa.string(), len(table), table["text"].combine_chunks().buffers())
    pq.write_table(table.set_column(1, "text", bad), tmp_path / "d.parquet")
    found = Dataset(tmp_path / "d.parquet")
    assert found.ids[0] == "0.png" and len(found) == 39
    assert [(b.source, b.key, b.reason) for b in found.quarantine] == [
        ("d.parquet:39", "text", "invalid UTF-8"),
        ("d.parquet:40", "image", "no picture"),
        ("d.parquet:41", "image", "no picture"),
        ("d.parquet:42", "image", "zero bytes"),
    ]


def test_parquet_file(tmp_path: Path) -> None:
    path = tmp_path / "d.parquet"
    pq.write_table(pa.table({"text": [f"t{k}" for k in range(40)]}), path)
    path.write_bytes(path.read_bytes()[:-6] + b"zzzzzz")
    with pytest.raises(SensoriumError, match="not readable as Parquet"):
        Dataset(path)


def test_schema_drift(tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": [f"t{k}" for k in range(40)]}), tmp_path / "train.parquet")
    pq.write_table(pa.table({"text": [{"a": 1}]}), tmp_path / "test.parquet")
    with pytest.raises(SensoriumError, match=r"'text' is .*test\.parquet but string in .*train\.parquet"):
        Dataset(tmp_path)


def test_too_many(tmp_path: Path, good: Any) -> None:
    path = folder(tmp_path / "d", [*good(3), *({"text": "", "file_name": "0.png"} for _ in range(37))])
    with pytest.raises(SensoriumError, match=r"^37 of 40 rows are bad \(limit 10%\): first metadata.jsonl:4 text"):
        Dataset(path)


@pytest.mark.parametrize(("n", "words"), [(0, "0 usable rows"), (1, "1 usable row;"), (19, "at least 20 are needed")])
def test_too_few(n: int, words: str, tmp_path: Path, good: Any) -> None:
    with pytest.raises(SensoriumError, match=words):
        Dataset(folder(tmp_path / "d", good(n)))


def test_optional_variant_may_be_empty(tmp_path: Path) -> None:
    rows = [{"name_en": f"thing {k}", "name_fr": "" if k % 2 else f"chose {k}"} for k in range(30)]
    found = Dataset(folder(tmp_path / "d", rows))
    assert not found.quarantine and found.texts("text.fr")[:2] == ["chose 0", ""]


def test_truncated_pictures_stay_refused(tmp_path: Path, good: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)  # another library's doing
    data = PICTURES["truncated jpeg"][0]
    assert len(Dataset(folder(tmp_path / "d", [*good(40), {"file_name": "b.jpg", "text": "b"}], {"b.jpg": data}))) == 40


def test_written(tmp_path: Path, good: Any) -> None:
    found = Dataset(folder(tmp_path / "d", [*good(40), {"text": "\ud800"}]))
    found.write_quarantine(tmp_path / "out" / "quarantine.jsonl")
    (line,) = (tmp_path / "out" / "quarantine.jsonl").read_text().splitlines()
    assert json.loads(line) == {"source": "metadata.jsonl:41", "key": "text", "reason": "lone surrogate"}


def test_second_start_decodes_nothing(tmp_path: Path, good: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    path = folder(tmp_path / "d", [*good(40), {"file_name": "b.png", "text": "b"}], {"b.png": b"no picture"})
    first = Dataset(path)
    stored = np.array(first.pixels("image", 16))
    monkeypatch.setattr("sensorium.data.media.image.load", lambda *_: pytest.fail("decoded again"))
    second = Dataset(path)
    assert second.quarantine == first.quarantine and (second.groups == first.groups).all()
    assert (second.pixels("image", 16) == stored).all()
