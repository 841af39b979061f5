"""The starter set: whole, readable, with its licence notice."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from PIL import Image

import sensorium

STARTER = Path(sensorium.__file__).parent / "starter"


@pytest.mark.parametrize(("split", "rows"), [("train", 3136), ("test", 300)])
def test_rows_are_whole(split: str, rows: int) -> None:
    table = pq.read_table(STARTER / f"{split}.parquet")
    assert table.num_rows == rows
    roles = json.loads((STARTER / "dataset.json").read_text(encoding="utf-8"))["roles"]
    columns = {c for spec in roles.values() for c in spec.split("+")}
    assert columns <= set(table.column_names)
    assert all(table[c].null_count == 0 for c in columns)
    for cell in table["image"].to_pylist()[:: rows // 20]:
        with Image.open(io.BytesIO(cell["bytes"])) as image:
            image.load()
            assert image.format == "PNG"
            assert max(image.size) == 112


def test_no_row_is_in_both_splits() -> None:
    train, test = (
        set(pq.read_table(STARTER / f"{s}.parquet", columns=["id"])["id"].to_pylist()) for s in ("train", "test")
    )
    assert (len(train), len(test)) == (3136, 300)
    assert not train & test


def test_licence_notice_is_beside_the_data() -> None:
    notice = (STARTER / "LICENSE.txt").read_text(encoding="utf-8")
    for words in ("Mulberry Symbols", "Garry Paxton / Straight Street", "CC BY-SA 2.0 UK", "rasterised", "Finnish"):
        assert words in notice
    about = json.loads((STARTER / "dataset.json").read_text(encoding="utf-8"))
    assert about["license"] == "CC BY-SA 2.0 UK"
    assert "Garry Paxton / Straight Street" in about["attribution"]
