"""A data set in words, told alike by the command line and the board."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from sensorium.core.paper import KINDS
from sensorium.data.codecs import NOUNS
from sensorium.data.dataset import Dataset
from sensorium.data.describe import PLURALS, gist, inert, reasons, splits, summary

ROWS = 24


@pytest.fixture
def found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Dataset:
    """Two dozen pictures in three sizes, with texts and labels, and three files that are no pictures."""
    monkeypatch.setenv("SENSORIUM_HOME", str(tmp_path / "home"))
    folder = tmp_path / "set"
    folder.mkdir()
    lines = []
    for k in range(ROWS + 3):
        name = f"{k}.png"
        Image.new("RGB", (8 + k % 3, 8), (k, 40, 90)).save(folder / name)
        lines.append({"file_name": name, "text": "x" * (k + 1), "label": "odd" if k % 2 else "even\u202e"})
        lines[-1]["split"] = "train" if k < ROWS // 2 else "test"
    for k in range(ROWS, ROWS + 3):
        (folder / f"{k}.png").write_bytes(b"\x89PNG torn")
    (folder / "metadata.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return Dataset(folder, max_bad=1.0)


def test_the_values_of_a_key_are_counted(found: Dataset) -> None:
    assert summary(found, "image") == "24 pictures, 24 different; 8 × 8x8; 8 × 9x8; 8 × 10x8"
    assert summary(found, "text") == "24 texts, 24 different; 1 to 24 characters, median 13"
    assert summary(found, "label") == "24 labels, 2 different; even\\u202e 12, odd 12"


def test_alike_reasons_are_one(found: Dataset) -> None:
    ((reason, n),) = reasons(found)
    assert n == 3 and reason.startswith("image: ")
    assert gist("a/7.png: 9 pixels, limit 8") == "N pixels, limit N"


def test_splits_are_told_with_their_sizes_and_what_they_share(found: Dataset) -> None:
    (said,) = splits(found)
    assert said.startswith("a race would use ") and "0 of 12 given test rows share a picture or a text" in said
    assert said.endswith(": 10 train, 2 validation, 12 test")


def test_direction_and_control_characters_are_escaped() -> None:
    assert inert("a\u202eb\nc é") == "a\\u202eb\\nc é"


def test_every_kind_of_value_has_a_plural() -> None:
    assert set(KINDS) - {"text", "label", "ids"} <= set(NOUNS) | set(PLURALS)
