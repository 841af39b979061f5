"""Log-mel frames: against transformers' spectrogram, by hand, and blind to padding."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from transformers.audio_utils import mel_filter_bank, spectrogram

from sensorium.blocks.codecs.mel import FLOOR, LogMel, levelled, triangles
from sensorium.core import Field, SensoriumError, Tokens

RATE = 8000


def waves(rows: int, samples: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(rows, samples, generator=torch.Generator().manual_seed(seed))


def heard(counts: list[int], samples: int) -> torch.Tensor:
    return torch.arange(samples) < torch.tensor(counts)[:, None]


def test_equals_the_spectrogram_of_transformers() -> None:
    mel = LogMel(RATE, bands=24)
    wave = waves(1, 3001)
    found = mel(Field(wave)).x[0]
    filters = mel_filter_bank(mel.points // 2 + 1, 24, 0, RATE / 2, RATE, norm=None, mel_scale="htk")
    theirs = spectrogram(
        wave[0].double().numpy(), np.hanning(mel.size + 1)[:-1], mel.size, mel.hop, mel.points, power=2.0,
        center=False, mel_filters=filters, mel_floor=FLOOR, log_mel="log",
    )  # fmt: skip
    assert found.shape == theirs.T.shape
    np.testing.assert_allclose(found.numpy(), theirs.T, atol=2e-4)


def test_a_tone_is_loudest_in_its_own_band() -> None:
    filters = triangles(RATE, 256, 20)
    centres = filters.argmax(0) * RATE / 256
    mel = LogMel(RATE, bands=20)
    for band in (4, 9, 15):
        tone = torch.sin(2 * torch.pi * centres[band] * torch.arange(2000) / RATE)[None]
        assert (mel(Field(tone)).x.argmax(-1) == band).all()


def test_a_frame_is_real_where_all_its_samples_are() -> None:
    """Frames of 200 samples every 80: 200 hold one, 279 one, 280 two; 10 are filled up; no sound has none."""
    out = LogMel(RATE)(Field(waves(5, 400), heard([200, 279, 280, 10, 0], 400)))
    assert out.mask.sum(1).tolist() == [1, 1, 2, 1, 0]
    assert out.pos is not None and out.pos[0, :2, 0].tolist() == pytest.approx([0.0125, 0.0225])
    assert not out.x[4].any()


def test_padding_changes_nothing_not_even_as_nan() -> None:
    mel, short = LogMel(RATE), waves(2, 900)
    wide = torch.nn.functional.pad(short, (0, 500), value=float("nan"))
    a, b = mel(Field(short)), mel(Field(wide, heard([900, 900], 1400)))
    n = a.x.shape[1]
    torch.testing.assert_close(a.x, b.x[:, :n])
    assert torch.equal(a.mask, b.mask[:, :n]) and not b.mask[:, n:].any()


def test_levelled_bands_have_mean_0_and_deviation_1_whatever_the_loudness() -> None:
    mel, wave = LogMel(RATE), waves(1, 4000)
    a, b = levelled(mel(Field(wave))), levelled(mel(Field(wave * 0.01)))
    torch.testing.assert_close(a.x, b.x, atol=1e-3, rtol=0)
    torch.testing.assert_close(a.x.mean(1), torch.zeros(1, 40), atol=1e-4, rtol=0)
    torch.testing.assert_close(a.x.std(1, correction=0), torch.ones(1, 40), atol=1e-3, rtol=0)


def test_levelling_by_hand_and_of_silence() -> None:
    x = torch.tensor([[[1.0], [3.0], [99.0]], [[5.0], [5.0], [5.0]], [[7.0], [7.0], [7.0]]])
    mask = torch.tensor([[True, True, False], [True, True, True], [False, False, False]])
    assert levelled(Tokens(x, mask)).x[..., 0].tolist() == [[-1, 1, 0], [0, 0, 0], [0, 0, 0]]


def test_impossible_frames_are_refused() -> None:
    with pytest.raises(SensoriumError, match="too fine"):
        LogMel(RATE, bands=200)
    with pytest.raises(SensoriumError, match="expected each sample heard"):
        LogMel(RATE, window=0.005, hop=0.01)
    with pytest.raises(SensoriumError, match=r"expected waves \[B N\]"):
        LogMel(RATE)(Field(waves(2, 800)[None]))
