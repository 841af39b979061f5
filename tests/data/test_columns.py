"""Columns that stay on disk give what columns in memory give."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from sensorium.data import columns
from sensorium.data.columns import Encoded, pixel_column, token_column
from sensorium.data.dataset import Dataset
from sensorium.data.tokenise import encode, fit_tokenizer

from .conftest import folder, png

TEXTS = [f"a thing of {k % 7} kinds" for k in range(40)] + [""]


def test_ids_from_disk_equal_ids_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer = fit_tokenizer(TEXTS, len(TEXTS))
    held = token_column(tokenizer, TEXTS, 12)
    monkeypatch.setattr(columns, "IN_MEMORY", 10)
    monkeypatch.setattr(columns, "AT_ONCE", 7)
    mapped = token_column(tokenizer, TEXTS, 12)
    assert isinstance(mapped, Encoded) and len(mapped) == len(TEXTS)
    pick = torch.tensor([40, 3, 3, 0])
    for a, b in ((mapped.rows(pick), held.rows(pick)), (mapped.to("cpu"), held.to("cpu"))):
        assert torch.equal(a.ids, b.ids) and torch.equal(a.mask, b.mask) and a.ids.dtype == torch.int64


def test_ids_are_encoded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer = fit_tokenizer(TEXTS, len(TEXTS))
    monkeypatch.setattr(columns, "IN_MEMORY", 10)
    first = token_column(tokenizer, TEXTS, 12).to("cpu")
    monkeypatch.setattr(columns, "encode", lambda *_: pytest.fail("encoded again"))
    assert torch.equal(token_column(tokenizer, TEXTS, 12).to("cpu").ids, first.ids)
    monkeypatch.setattr(columns, "encode", encode)
    other = token_column(tokenizer, [*TEXTS[:-1], "a thing"], 12).to("cpu")
    assert not torch.equal(other.ids, first.ids)


def test_rows_that_share_a_picture_share_its_pixels(tmp_path: Path) -> None:
    files = {"a.png": png(1), "b.png": png(2)}
    rows = [{"file_name": "ab"[k % 3 == 1] + ".png", "text": f"t{k}"} for k in range(24)]
    data = Dataset(folder(tmp_path / "d", rows, files))
    column = pixel_column(data, "image", 16)
    assert len(column) == 24 and len(column.values) == 2 == len(data.pixels("image", 16))
    found = column.rows(torch.tensor([1, 0, 4])).data
    assert found.shape == (3, 3, 16, 16) and torch.equal(found[0], found[2]) and not torch.equal(found[0], found[1])
    first, which = data.distinct("image")
    assert first.tolist() == [0, 1] and which[:5].tolist() == [0, 1, 0, 0, 1]
    assert np.array_equal(column.to("cpu").data.numpy()[3], data.pixels("image", 16)[0])
