"""What is understood of a data set: layouts, roles, pictures, groups."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from sensorium.core import SensoriumError
from sensorium.data.cache import home
from sensorium.data.dataset import Dataset, Limits
from sensorium.data.media.image import load

from .conftest import folder, png

REAL = Path(__file__).parents[3] / "shared" / "data" / "images"


@pytest.mark.parametrize(
    ("name", "rows", "text", "kinds"),
    [
        ("symbols", 3436, "name_en", {"image", "text", "text.en", "text.fr", "text.fi", "label"}),
        ("grocery", 1752, "description", {"image", "text", "label"}),
        ("figures", 546, "alt_text", {"image", "text"}),
        ("flags", 250, "name_en", {"image", "text", "text.en"}),
    ],
)
def test_real(name: str, rows: int, text: str, kinds: set[str]) -> None:
    if not (REAL / name).is_dir():
        pytest.skip(f"{REAL / name} is not on this machine")
    found = Dataset(REAL / name)
    assert len(found) == rows == len(found.ids) == len(set(found.ids)) and not found.quarantine
    assert found.columns["text"].source == text and set(found.kinds) == kinds


def test_real_roles() -> None:
    if not (REAL / "symbols").is_dir():
        pytest.skip(f"{REAL / 'symbols'} is not on this machine")
    found = Dataset(REAL / "symbols", {"text": "name_en+category+tags", "text.fr": "name_fr"})
    assert found.texts("text")[0] == "A, Alphabet, alphabet letter"
    assert {"text", "text.fr"} == {k for k in found.kinds if k.startswith("text")}
    assert (found.given == "test").sum() == 300  # validation beside train is the test split
    assert any("validation split is the test split" in note for note in found.notes)


def test_fullest_text_wins(tmp_path: Path) -> None:
    rows = [{"caption": f"c{k}" if k < 10 else "", "alt_text": f"a{k}"} for k in range(30)]
    found = Dataset(folder(tmp_path / "d", rows))
    assert "text <- alt_text (30 of 30 rows filled; caption was filled in 10)" in found.notes


@pytest.mark.parametrize(
    ("roles", "words"),
    [
        ({"text": "txet"}, r"text=txet: no column 'txet'; did you mean 'text'"),
        ({"txt": "text"}, r"role 'txt' is unknown; did you mean 'text'"),
        ({"sound": "text"}, r"role 'sound' is unknown; expected one of audio, boxes, graph, group, image, label, mask"),
        ({"image": "file_name+text"}, "a picture comes from one column"),
    ],
)
def test_wrong_roles(roles: dict[str, str], words: str, tmp_path: Path, good: Any) -> None:
    with pytest.raises(SensoriumError, match=words):
        Dataset(folder(tmp_path / "d", good(30)), roles)


def test_about(tmp_path: Path) -> None:
    path = folder(tmp_path / "d", [{"a": f"a{k}", "b": "" if k else "b", "kind": "x"} for k in range(30)])
    about = {"name": "Things", "license": "CC0", "roles": {"text": "a+b", "label": "kind"}}
    (path / "dataset.json").write_text(json.dumps(about))
    found = Dataset(path)
    assert (found.name, found.license) == ("Things", "CC0")
    assert found.texts("text")[:2] == ["a0, b", "a1"] and found.texts("label")[0] == "x"
    assert Dataset(path, {"text": "a"}).texts("text")[0] == "a0"


def test_layouts(tmp_path: Path) -> None:
    for k, name in enumerate(("train", "val", "test")):
        folder(tmp_path / "split" / name, [{"text": f"{name} {i}"} for i in range(10 + k)])
    split = Dataset(tmp_path / "split")
    assert {n: int((split.given == n).sum()) for n in ("train", "validation", "test")} == {
        "train": 10, "validation": 11, "test": 12,
    }  # fmt: skip
    assert split.ids[0] == "test/0.png"
    (tmp_path / "pictures").mkdir()
    for k in range(25):
        (tmp_path / "pictures" / f"{k}.png").write_bytes(png(k))
    lines = [json.dumps({"image": f"pictures/{k}.png", "text": f"t{k}"}) for k in range(25)]
    (tmp_path / "d.jsonl").write_text("\n".join(lines))
    assert Dataset(tmp_path / "d.jsonl").kinds == {"image": "image", "text": "text"}
    columns = {"image": [png(k) for k in range(25)], "label": list(range(25)), "title": [f"t{k}" for k in range(25)]}
    pq.write_table(pa.table(columns), tmp_path / "d.parquet")
    assert Dataset(tmp_path / "d.parquet").kinds == {"image": "image", "text": "text", "label": "label"}


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"a.doc": b"x", "b.doc": b"x"}, r"holds 2 \.doc; expected metadata\.jsonl"),
        ({}, "holds nothing; expected"),
        ({"metadata.jsonl": b'{"filename": "a.png"}\n'}, r"no column 'file_name'; did you mean 'filename'"),
        ({"d.jsonl": b'{"x": {"a": 1}}\n' * 30}, "has no picture or text column; found x"),
        ({"metadata.jsonl": b"", "dataset.json": b"{"}, "dataset.json: broken JSON"),
    ],
)
def test_not_understood(files: dict[str, bytes], words: str, tmp_path: Path) -> None:
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    with pytest.raises(SensoriumError, match=words) as error:
        Dataset(tmp_path)
    assert "\n" not in str(error.value)


def test_no_such_path(tmp_path: Path) -> None:
    (tmp_path / "symbols").mkdir()
    with pytest.raises(SensoriumError, match="did you mean 'symbols'"):
        Dataset(tmp_path / "symbosl")


def test_groups(tmp_path: Path) -> None:
    """Equal bytes, a near-equal picture and an equal text join rows; blank pictures join nothing."""
    recoded = io.BytesIO()
    Image.open(io.BytesIO(png(3, (90, 80)))).save(recoded, "JPEG", quality=95)
    blank = [io.BytesIO(), io.BytesIO()]
    Image.new("RGB", (8, 8), "white").save(blank[0], "PNG")
    Image.new("RGB", (9, 9), "white").save(blank[1], "PNG")
    files = {"a.png": png(1), "b.png": png(1), "c.png": png(3, (90, 80)), "d.jpg": recoded.getvalue()}
    files |= {"e.png": blank[0].getvalue(), "f.png": blank[1].getvalue()}
    rows: list[dict[str, Any]] = [{"file_name": name, "text": name} for name in files]
    rows += [{"text": "Cafe\u0301  noir"}, {"text": " CAFÉ noir "}, *({"text": f"other {k}"} for k in range(20))]
    found = Dataset(folder(tmp_path / "d", rows, files))
    g = found.groups
    assert g[0] == g[1] and g[2] == g[3] and g[4] != g[5] and g[6] == g[7]
    assert len(set(g.tolist())) == len(rows) - 3
    assert found.texts("text")[6] == "Café  noir" and found.pictures[6] != found.pictures[7]


def test_pictures(tmp_path: Path, good: Any) -> None:
    files = {"wide.png": png(1, (40, 10)), "line.png": png(2, (1, 900))}
    rows = [*good(30), *({"file_name": n, "text": n} for n in files)]
    found = Dataset(folder(tmp_path / "d", rows, files))
    pixels = found.pixels("image", 20)
    assert pixels.shape == (32, 3, 20, 20) and pixels.dtype == np.uint8
    assert (pixels[30, :, :7] == 255).all() and (pixels[30, :, 13:] == 255).all() and (pixels[30, :, 8:12] < 255).any()
    assert found.image("image", 30).size == (40, 10)


def test_tampered_store_is_rebuilt(tmp_path: Path, good: Any) -> None:
    found = Dataset(folder(tmp_path / "d", good(30)))
    before = np.array(found.pixels("image", 16))
    (stored,) = (home() / "decoded").glob("*.npy")
    data = bytearray(stored.read_bytes())
    data[-1] ^= 0xFF
    stored.write_bytes(data)
    assert (found.pixels("image", 16) == before).all()
    assert not list((home() / "decoded").glob("*.tmp"))


def _encoded(image: Image.Image, kind: str = "PNG", **how: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **how)
    return out.getvalue()


def test_conversions() -> None:
    clear = load(_encoded(Image.new("RGBA", (2, 2), (255, 0, 0, 0))), Limits())
    assert clear.getpixel((0, 0)) == (255, 255, 255)
    deep = load(_encoded(Image.fromarray(np.full((2, 2), 32768, np.uint16))), Limits())
    assert deep.getpixel((0, 0)) == (128, 128, 128)
    ink = load(_encoded(Image.new("CMYK", (8, 8), (0, 0, 0, 0)), "JPEG"), Limits())
    assert ink.getpixel((0, 0)) == (255, 255, 255)
    turned = Image.Exif()
    turned[0x0112] = 6
    assert load(_encoded(Image.new("RGB", (4, 2)), "JPEG", exif=turned), Limits()).size == (2, 4)
    assert load(_encoded(Image.new("P", (2, 2)), "GIF"), Limits()).mode == "RGB"


def test_fingerprint(tmp_path: Path, good: Any) -> None:
    a, b = Dataset(folder(tmp_path / "d", good(30))), Dataset(folder(tmp_path / "e" / "d", good(30)))
    c = Dataset(folder(tmp_path / "f" / "d", [*good(29), {"text": "changed"}]))
    assert a.fingerprint == b.fingerprint != c.fingerprint and len(a.fingerprint) == 16


def test_a_group_column_decides_alone(tmp_path: Path) -> None:
    """Near copies and equal texts of two patients stay apart; rows of one patient, and equal bytes, do not."""
    rows: list[dict[str, Any]] = [{"text": "the same", "patient": f"p{k // 2}"} for k in range(24)]
    rows += [{"text": "copy", "file_name": "0.png", "patient": "x"}, {"text": "nobody's", "patient": ""}]
    found = Dataset(folder(tmp_path / "d", rows), {"group": "patient"})
    g = found.groups.tolist()
    assert g[0] == g[1] == g[24] and g[2] == g[3] and g[0] != g[2] and len(set(g)) == 13
    assert "group" not in found.kinds and "group <- patient (given)" in found.notes
