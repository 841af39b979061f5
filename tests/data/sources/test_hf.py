"""Hugging Face data sets in memory become a folder that runs can name."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from PIL import Image

from sensorium.core import SensoriumError
from sensorium.data.dataset import Dataset

from ..conftest import png

datasets = pytest.importorskip("datasets", reason="the extra `data` is not installed")


def test_pictures_and_texts_of_a_data_set_in_memory(tmp_path: Path) -> None:
    (tmp_path / "one.png").write_bytes(png(99))
    columns = {
        "image": [{"bytes": png(k), "path": None} for k in range(24)]
        + [{"bytes": None, "path": str(tmp_path / "one.png")}],
        "caption": [f"thing {k}" for k in range(25)],
    }
    made = datasets.Dataset.from_dict(columns).cast_column("image", datasets.Image())
    found = Dataset(made)
    assert found.kinds == {"image": "image", "text": "text"} and len(found) == 25
    assert found.image("image", 24) == Image.open(io.BytesIO(png(99))).convert("RGB")
    again = Dataset(found.path)
    assert again.fingerprint == found.fingerprint


def test_splits_are_kept_and_columns_that_are_no_media_stay() -> None:
    part = datasets.Dataset.from_dict({"text": [f"t {k}" for k in range(30)], "label": [k % 2 for k in range(30)]})
    other = datasets.Dataset.from_dict({"text": [f"u {k}" for k in range(10)], "label": [0] * 10})
    found = Dataset(datasets.DatasetDict({"train": part, "test": other}))
    assert (found.given == "test").sum() == 10 and found.texts("label")[1] in ("0", "1")


def test_anything_else_is_refused() -> None:
    with pytest.raises(SensoriumError, match="a data set of type list; expected a path or a Hugging Face data set"):
        Dataset([1, 2, 3])
    part = datasets.Dataset.from_dict({"text": ["a"]})
    with pytest.raises(SensoriumError, match="split 'odd' is unknown"):
        Dataset(datasets.DatasetDict({"odd": part}))
