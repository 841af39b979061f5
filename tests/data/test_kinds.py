"""Every kind of value from every place it may lie: understood, described, decoded, and set aside when it is bad."""

from __future__ import annotations

import io
import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import soundfile

from sensorium.core import SensoriumError
from sensorium.data.dataset import Dataset
from sensorium.data.sources.folder import data_sets

from .conftest import png

REAL = Path(__file__).parents[3] / "shared" / "data"
HTML = "<!doctype html><title>Page {k}</title><p>Words of page {k}.</p><script>steal()</script>"


def sound(k: int, seconds: float = 0.5) -> bytes:
    out = io.BytesIO()
    wave = 0.3 * np.sin(np.arange(int(8000 * seconds)) * (0.05 + 0.01 * k))
    soundfile.write(out, wave, 8000, format="WAV")
    return out.getvalue()


def film(k: int) -> bytes:
    out = io.BytesIO()
    with av.open(out, "w", format="mp4") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for t in range(10):
            frame = np.full((48, 64, 3), (20 * k + 10 * t) % 256, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, "rgb24")))
        container.mux(stream.encode())
    return out.getvalue()


def document(k: int) -> bytes:
    """A PDF of one page with a line of text."""
    text = f"BT /F1 12 Tf 20 50 Td (Words of document {k}) Tj ET".encode()
    parts = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 200 100] /Contents 4 0 R "
        b"/Resources << /Font << /F1 5 0 R >> >> >>",
        b"<< /Length %d >>\nstream\n%s\nendstream" % (len(text), text),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    body, places = b"%PDF-1.4\n", []
    for n, part in enumerate(parts, 1):
        places.append(len(body))
        body += b"%d 0 obj\n%s\nendobj\n" % (n, part)
    table = b"xref\n0 6\n0000000000 65535 f \n" + b"".join(b"%010d 00000 n \n" % at for at in places)
    return body + table + b"trailer << /Size 6 /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF" % len(body)


FILES: dict[str, tuple[str, Callable[[int], bytes], bytes, str]] = {
    "audio": ("wav", sound, struct.pack("<4sI4s", b"RIFF", 4, b"WAVE"), "audio"),
    "video": ("mp4", film, film(0)[:300], "video"),
    "document": ("pdf", document, b"%PDF-1.4\nnothing", "image"),
    "page": ("html", lambda k: HTML.replace("{k}", str(k)).encode(), b"<div>" * 100_000, "text"),
}


@pytest.mark.parametrize("name", FILES)
def test_media_files_in_a_folder(tmp_path: Path, name: str) -> None:
    ending, make, broken, key = FILES[name]
    for k in range(21):
        (tmp_path / f"{k:02d}.{ending}").write_bytes(make(k))
    (tmp_path / f"bad.{ending}").write_bytes(broken)
    found = Dataset(tmp_path)
    assert key in found.kinds and len(found) == 21
    (bad,) = found.quarantine
    assert bad.source == f"bad.{ending}" and len(bad.reason) > 10


def test_sounds_are_described_and_decoded(tmp_path: Path) -> None:
    (tmp_path / "audio").mkdir()
    for k in range(22):
        (tmp_path / "audio" / f"{k}.wav").write_bytes(sound(k) if k else soundless())
    lines = [json.dumps({"file_name": f"audio/{k}.wav", "transcript": f"word {k}", "label": k % 2}) for k in range(22)]
    (tmp_path / "metadata.jsonl").write_text("\n".join(lines))
    found = Dataset(tmp_path)
    assert found.kinds == {"audio": "audio", "text": "text", "label": "label"}
    assert found.about("audio", 3) == "0.5 s, 8000 Hz, mono"
    wave = found.value("audio", 3).wave
    assert wave.shape == (1, 4000) and abs(float(np.abs(wave).max()) - 0.3) < 0.01
    assert any("silent" in note for note in found.notes)


def soundless() -> bytes:
    out = io.BytesIO()
    soundfile.write(out, np.zeros(4000), 8000, format="WAV")
    return out.getvalue()


def test_documents_are_their_text_and_their_first_page(tmp_path: Path) -> None:
    for k in range(21):
        (tmp_path / f"{k:02d}.pdf").write_bytes(document(k))
    found = Dataset(tmp_path)
    assert found.kinds == {"image": "image", "text": "text"}
    assert found.texts("text")[4] == "Words of document 4"
    assert found.image("image", 4).size[0] == 2 * found.image("image", 4).size[1]


def test_pages_are_their_visible_text(tmp_path: Path) -> None:
    for k in range(21):
        (tmp_path / f"{k:02d}.html").write_bytes(HTML.replace("{k}", str(k)).encode())
    text = Dataset(tmp_path).texts("text")[4]
    assert "Words of page 4." in text and "steal" not in text


def rows(path: Path, values: list[dict[str, Any]]) -> Path:
    path.write_text("\n".join(json.dumps(v) for v in values) + "\n")
    return path


def test_series_boxes_poses_and_values(tmp_path: Path) -> None:
    series = rows(
        tmp_path / "series.jsonl",
        [{"series": [[float(k + t) for t in range(30)]] * 2, "label": k % 3} for k in range(22)]
        + [{"series": [[1.0, 2.0], [1.0]], "label": 0}],
    )
    found = Dataset(series)
    assert found.kinds == {"series": "series", "label": "label"}
    assert found.about("series", 0) == "30 steps, 2 channels" and found.value("series", 1).values.shape == (30, 2)
    assert [b.key for b in found.quarantine] == ["series"]
    boxes = rows(
        tmp_path / "boxes.jsonl",
        [{"text": f"t {k}", "bbox": [[1, 2, 3, 4], [0, 0, 5, 5]]} for k in range(22)]
        + [{"text": "bad", "bbox": [[1, 2, -3, 4]]}],
    )
    found = Dataset(boxes)
    assert found.value("boxes", 0).tolist() == [[1, 2, 4, 6], [0, 0, 5, 5]]
    assert "boxes <- bbox (23 of 23 rows filled; xywh)" in found.notes and len(found.quarantine) == 1
    joints = np.arange(5 * 4 * 3, dtype=float).reshape(5, 4, 3)
    for name, value in (("flat", joints.ravel()), ("frames", joints.reshape(5, 12)), ("deep", joints)):
        values = [{"joints": value.tolist(), "n_frames": 5, "n_joints": 4, "caption": f"c {k}"} for k in range(21)]
        found = Dataset(rows(tmp_path / f"{name}.jsonl", values))
        assert found.kinds == {"pose": "pose", "text": "text"} and found.about("pose", 0) == "5 frames, 4 joints"
        assert np.array_equal(found.value("pose", 0).joints, joints)


def test_a_table_and_its_value(tmp_path: Path) -> None:
    lines = [f"{k},{k % 2},{k / 10},{'' if k == 4 else k * 1.5}" for k in range(25)]
    (tmp_path / "d.csv").write_text("rooms,garden,area,price\n" + "\n".join(lines) + "\nx,1,2,many\n")
    found = Dataset(tmp_path / "d.csv")
    assert set(found.kinds) == {"table", "value"} and found.value("value", 0) == 0.0
    assert [(b.source, b.key, b.reason) for b in found.quarantine] == [
        ("d.csv:6", "value", "no number"),
        ("d.csv:27", "value", "not a number but 'many'"),
    ]


def test_molecules(tmp_path: Path) -> None:
    pytest.importorskip("rdkit", reason="the extra `molecules` is not installed")
    smiles = ["C" * (k + 1) for k in range(20)] + ["OCC", "CCO", "C(C)(C)(C)(C)C", "not a molecule"]
    (tmp_path / "m.csv").write_text("smiles,logd\n" + "\n".join(f"{s},{k / 10}" for k, s in enumerate(smiles)))
    found = Dataset(tmp_path / "m.csv")
    assert found.kinds == {"graph": "graph", "value": "value"} and len(found.quarantine) == 2
    assert found.about("graph", 2) == "3 atoms, 2 bonds" and found.value("graph", 2).atoms.shape[0] == 3
    assert found.groups[20] == found.groups[21]  # two spellings of ethanol


def test_negatives_and_long_texts_come_from_columns(tmp_path: Path) -> None:
    made = [
        {"caption": f"a red {k}", "negative_caption": f"a blue {k}", "long_caption": f"a red {k}, at length"}
        for k in range(22)
    ]
    found = Dataset(rows(tmp_path / "d.jsonl", made))
    assert set(found.kinds) == {"text", "text.long", "text/negative"}
    assert found.texts("text/negative")[3] == "a blue 3"


def test_languages_as_columns(tmp_path: Path) -> None:
    made = [{"de": f"ein {k}", "en": f"one {k}", "image": f"{k}.jpg"} for k in range(22)]
    found = Dataset(rows(tmp_path / "d.jsonl", made))
    assert set(found.kinds) == {"text", "text.de"} and found.texts("text")[0] == "one 0"
    assert "image: 'image' names files, but none of the first 22 is there; left out" in found.notes
    with pytest.raises(SensoriumError, match="22 of 22 rows are bad"):
        Dataset(tmp_path / "d.jsonl", {"image": "image"})


@pytest.mark.parametrize("ending", ["png", "wav"])
def test_media_inside_parquet_are_read_from_where_they_lie(tmp_path: Path, ending: str) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    make = {"png": png, "wav": sound}[ending]
    cells = [{"bytes": make(k), "path": f"{k}.{ending}"} for k in range(30)]
    pq.write_table(
        pa.table({"media": cells, "caption": [f"c {k}" for k in range(30)]}), tmp_path / "d.parquet", row_group_size=7
    )
    found = Dataset(tmp_path / "d.parquet")
    key = {"png": "image", "wav": "audio"}[ending]
    assert found.kinds == {key: key, "text": "text"} and found.ids[11] == f"11.{ending}"
    first, again = (found.value(key, 29) for _ in range(2))
    assert np.array_equal(np.asarray(getattr(first, "wave", first)), np.asarray(getattr(again, "wave", again)))


def test_every_folder_of_the_shared_data_is_understood() -> None:
    if not REAL.is_dir():
        pytest.skip(f"{REAL} is not on this machine")
    found = {str(p.relative_to(REAL)): p for p in data_sets(REAL)}
    assert len(found) == 23
    kinds = {name: set(Dataset(path, max_bad=1.0).kinds) for name, path in found.items()}
    assert kinds["audio/speech_de"] == {"audio", "text"} and kinds["documents/receipts"] == {"image", "boxes", "text"}
    assert kinds["science/motion"] == {"pose", "text"} and kinds["science/timeseries/gunpoint"] == {"series", "label"}
    assert {"text", "text.de", "text.fr", "text.cs"} == kinds["text/multi30k"]
