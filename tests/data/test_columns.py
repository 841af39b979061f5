"""Columns that stay on disk give what columns in memory give."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

from sensorium.data import columns
from sensorium.data.columns import (
    Encoded,
    box_column,
    label_column,
    mask_column,
    pixel_column,
    sound_field,
    sound_rate,
    span_column,
    token_column,
    value_column,
    wave_column,
)
from sensorium.data.dataset import Dataset
from sensorium.data.media import audio, masks
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


def test_a_label_that_train_never_had_is_masked() -> None:
    found = label_column(["cat", "owl", "dog"], ["cat", "dog"])
    assert found.data.tolist() == [0, 0, 1] and found.mask is not None and found.mask.tolist() == [True, False, True]


def test_a_row_without_a_number_is_masked() -> None:
    found = value_column(["1.5", "", "-2.0"])
    assert found.data.tolist() == [1.5, 0.0, -2.0] and found.mask is not None
    assert found.mask.tolist() == [True, False, True] and found.data.dtype == torch.float32


def boxed(path: Path, boxes: list[list[float]], size: tuple[int, int]) -> Dataset:
    rows = [{"file_name": "a.png", "text": f"t{k}", "boxes": boxes[: 1 + k % len(boxes)]} for k in range(24)]
    return Dataset(folder(path, rows, {"a.png": png(1, size)}))


def test_boxes_in_pixels_become_shares_of_the_square(tmp_path: Path) -> None:
    found = box_column(boxed(tmp_path / "d", [[0, 0, 40, 20], [10, 5, 30, 15]], (40, 20)), "boxes")
    # 40 x 20 stands in the middle of a 40 x 40 square, 10 pixels down.
    assert found.data.shape == (24, 2, 4) and found.mask is not None
    torch.testing.assert_close(found.data[1], torch.tensor([[0, 0.25, 1, 0.75], [0.25, 0.375, 0.75, 0.625]]))
    assert found.mask[0].tolist() == [True, False] and found.data[0, 1].tolist() == [0, 0, 0, 0]


def test_boxes_as_shares_are_shares_of_the_picture(tmp_path: Path) -> None:
    found = box_column(boxed(tmp_path / "d", [[0, 0, 1, 1], [0.25, 0.5, 0.5, 1]], (20, 40)), "boxes")
    torch.testing.assert_close(found.data[1], torch.tensor([[0.25, 0, 0.75, 1], [0.375, 0.5, 0.5, 1]]))


def test_masks_are_fitted_as_their_picture_is(tmp_path: Path) -> None:
    """40 x 20 stands in the middle of a square of 40: at 8 pixels a side that is rows 2 to 5."""
    left, dot = np.zeros((20, 40), bool), np.zeros((20, 40), bool)
    left[:, :20], dot[:5, 35:] = True, True
    each = [masks.stored([masks.runs(left), masks.runs(dot)])[: 1 + k % 2] for k in range(24)]
    rows = [{"file_name": "a.png", "text": f"t{k}", "masks": value} for k, value in enumerate(each)]
    data = Dataset(folder(tmp_path / "d", rows, {"a.png": png(1, (40, 20))}))
    assert data.kinds["mask"] == "mask" and data.about("mask", 1) == "2 masks"
    assert np.array_equal(data.value("mask", 1), np.stack([left, dot]))
    column = mask_column(data, "mask", 8)
    found = column.rows(torch.tensor([1, 0]))
    assert found.data.shape == (2, 2, 8, 8) and found.data.dtype == torch.bool and len(column) == 24
    assert found.mask is not None and found.mask.tolist() == [[True, True], [True, False]]
    assert found.data[0, 0, 2:6, :4].all() and found.data[0, 0].sum() == 16
    assert found.data[0, 1].nonzero().tolist() == [[2, 7]] and not found.data[1, 1].any()
    again = mask_column(data, "mask", 8).to(torch.device("cpu"))
    assert again.data.shape[0] == 24 and torch.equal(again.data[1], found.data[0])


def test_a_row_whose_masks_are_none_is_set_aside(tmp_path: Path) -> None:
    good = [{"size": [20, 40], "counts": [800]}]
    bad = [{"size": [20, 40], "counts": [799]}]
    rows = [{"file_name": "a.png", "text": f"t{k}", "masks": bad if k == 3 else good} for k in range(24)]
    data = Dataset(folder(tmp_path / "d", rows, {"a.png": png(1, (40, 20))}))
    assert [b.reason for b in data.quarantine] == ["mask 1: its runs are 799 pixels of 800"] and len(data) == 23


def test_spans_count_tokens_and_what_was_cut_off_is_masked(tmp_path: Path) -> None:
    text = "a red circle and a blue square"
    rows = [
        {"file_name": "a.png", "text": f"{text} {k}", "boxes": [[0, 0, 1, 1]] * 2, "spans": [[2, 12], [19, 30]]}
        for k in range(24)
    ]
    data = Dataset(folder(tmp_path / "d", rows, {"a.png": png(1)}))
    texts = data.texts("text")
    tokenizer = fit_tokenizer(texts, len(texts))
    found = span_column(data, "spans", texts, tokenizer, 64)
    assert found.mask is not None and found.mask.all() and found.data.shape == (24, 2, 2)
    tokens = tokenizer.encode(texts[0], add_special_tokens=False).tokens
    named = ["".join(tokens[a:b]).replace("▁", " ").strip() for a, b in found.data[0].tolist()]
    assert named == ["red circle", "blue square"]
    last = int(found.data[0, 1, 1])
    short = span_column(data, "spans", texts, tokenizer, last)
    assert short.mask is not None and short.mask[0].tolist() == [True, False]


def sounds(path: Path, rates: list[int], seconds: list[float]) -> Dataset:
    """Rows of noise; row k has the k-th rate and length, in turn, and every fifth row repeats the first one's sound."""
    rows, files = [], {}
    for k in range(25):
        n = 0 if k % 5 == 0 else k
        rate, count = rates[n % len(rates)], round(seconds[n % len(seconds)] * rates[n % len(rates)])
        wave = np.random.default_rng(n).uniform(-0.9, 0.9, count).astype(np.float32)
        files[f"{n}.wav"] = audio.wav(wave, rate)
        rows.append({"file_name": f"{n}.wav", "text": f"t{k}"})
    return Dataset(folder(path, rows, files))


def test_waves_are_those_of_the_files_padded_to_the_longest_asked_for(tmp_path: Path) -> None:
    data = sounds(tmp_path / "d", [8000], [0.1, 0.25, 0.0731])
    column = wave_column(data, "audio", 8000, 8000)
    assert len(column) == 25 and column.samples.dtype == torch.int16
    for pick in ([1, 2], [0, 5, 3], [2]):
        found = column.rows(torch.tensor(pick))
        assert found.mask is not None
        for row, wave, mask in zip(pick, found.data, found.mask, strict=True):
            own = data.value("audio", row).wave[0]
            assert int(mask.sum()) == len(own) and mask[: len(own)].all()
            np.testing.assert_array_equal(wave[: len(own)].numpy(), own)
            assert not wave[len(own) :].any()
        assert found.data.shape[1] == max(len(data.value("audio", row).wave[0]) for row in pick)
    whole = column.to("cpu")
    assert whole.data.shape == (25, 2000) and torch.equal(whole.data[5], whole.data[10])


def test_sounds_are_decoded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = sounds(tmp_path / "d", [8000], [0.1, 0.2])
    first = wave_column(data, "audio", 8000, 8000).to("cpu")
    monkeypatch.setattr(Dataset, "value", lambda *_: pytest.fail("decoded again"))
    assert torch.equal(wave_column(data, "audio", 8000, 8000).to("cpu").data, first.data)
    with pytest.raises(pytest.fail.Exception):
        wave_column(data, "audio", 4000, 8000)


def test_other_rates_and_channels_become_one(tmp_path: Path) -> None:
    """A tone at 44,100 Hz in stereo is the tone at 8,000 Hz."""
    at = np.arange(22050) / 44100
    stereo = np.stack([np.sin(2 * np.pi * 440 * at), 0 * at]).astype(np.float32)
    import io

    import soundfile

    out = io.BytesIO()
    soundfile.write(out, stereo.T, 44100, format="FLAC")
    rows = [{"file_name": "a.flac", "text": f"t{k}"} for k in range(20)]
    data = Dataset(folder(tmp_path / "d", rows, {"a.flac": out.getvalue()}))
    found = wave_column(data, "audio", 8000, 80_000).rows(torch.tensor([3]))
    assert found.data.shape == (1, 4000)
    again = sound_field([data.value("audio", 3)], 8000, 80_000)
    assert torch.equal(again.data, found.data) and again.mask is not None and again.mask.all()
    wanted = 0.5 * np.sin(2 * np.pi * 440 * np.arange(4000) / 8000)
    np.testing.assert_allclose(found.data[0, 100:-100].numpy(), wanted[100:-100], atol=2e-3)


def test_long_sounds_are_cut_and_counted(tmp_path: Path) -> None:
    data = sounds(tmp_path / "d", [8000], [0.1, 0.2, 0.1, 0.1, 0.2])
    with pytest.warns(UserWarning, match=r"10 of 25 sounds are longer than 0.15 s and are cut there"):
        found = wave_column(data, "audio", 8000, 1200).to("cpu")
    assert found.mask is not None and found.mask.sum(1).max() == 1200 and found.mask.sum(1).min() == 800
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        wave_column(data, "audio", 8000, 1600)


def test_the_rate_is_the_commonest_of_the_rows_but_never_above_16_khz(tmp_path: Path) -> None:
    data = sounds(tmp_path / "a", [8000, 8000, 44100], [0.1])
    assert sound_rate(data, "audio", np.arange(25)) == 8000
    assert sound_rate(data, "audio", np.array([2, 8, 1])) == 16_000
