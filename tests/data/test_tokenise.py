"""The data set's tokeniser: no text is unknown, equal fits for equal texts."""

from __future__ import annotations

import pytest

from sensorium.core import SensoriumError
from sensorium.data.tokenise import encode, fit_tokenizer

TEXTS = [f"a red thing number {k}, très bien" for k in range(300)]


def test_round_trip() -> None:
    tok = fit_tokenizer(TEXTS, len(TEXTS))
    for text in ("a red thing", "très bien", "雪 ☃ <0x41> x"):
        assert tok.decode(tok.encode(text).ids).strip() == text
    assert 259 < tok.get_vocab_size() <= 600
    assert fit_tokenizer(TEXTS, len(TEXTS)).to_str() == tok.to_str()


def test_encode() -> None:
    tok = fit_tokenizer(TEXTS, len(TEXTS))
    ids = encode(tok, ["a red thing", "", TEXTS[0] * 9], 12)
    assert ids.ids.shape == ids.mask.shape == (3, 12)
    end = tok.token_to_id("</s>")
    assert ids.mask.sum(1).tolist()[1:] == [0, 12] and ids.ids[2, -1] == end
    n = int(ids.mask[0].sum())
    assert ids.ids[0, n - 1] == end and (ids.ids[0, n:] == 0).all()
    decomposed = encode(tok, ["tre\u0300s", "très"], 12)
    assert (decomposed.ids[0] == decomposed.ids[1]).all()


def test_refusals() -> None:
    with pytest.raises(SensoriumError, match="no texts"):
        fit_tokenizer([], 0)
    with pytest.raises(SensoriumError, match="length 0"):
        encode(fit_tokenizer(TEXTS, len(TEXTS)), ["a"], 0)
