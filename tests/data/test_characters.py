"""Characters of any script are ids of their own; what train never had is bytes; all of it comes back."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from sensorium.core import SensoriumError
from sensorium.data.characters import fit_characters, length_of
from sensorium.data.tokenise import END, PAD, START, encode, fit_tokenizer

TEXTS = ["ein Kreis", "три круга", "漢字と仮名", "원 두 개", "cafe\u0301"]


def test_each_character_of_train_is_one_id() -> None:
    tok = fit_characters(TEXTS)
    for text in TEXTS:
        normal = unicodedata.normalize("NFC", text)
        assert tok.encode(text).tokens == list(normal) and tok.decode(tok.encode(text).ids) == normal
    assert tok.get_vocab_size() == 259 + len({c for t in TEXTS for c in unicodedata.normalize("NFC", t)})


@settings(max_examples=60, deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=40))
def test_any_text_comes_back(text: str) -> None:
    tok = fit_characters(TEXTS)
    assert tok.decode(tok.encode(text).ids) == unicodedata.normalize("NFC", text)


def test_special_ids_stand_first_and_cannot_be_typed() -> None:
    tok = fit_characters(["<pad>"])
    assert [tok.token_to_id(name) for name in (PAD, START, END)] == [0, 1, 2]
    assert tok.encode("<pad>").tokens == list("<pad>")
    assert tok.encode("</s>", add_special_tokens=False).ids[0] > 2


def test_the_order_of_texts_means_nothing() -> None:
    assert fit_characters(TEXTS).to_str() == fit_characters(TEXTS[::-1]).to_str()


def test_a_long_text_is_cut_with_the_end_last_and_the_length_is_saved() -> None:
    tok = Tokenizer.from_str(fit_characters(["ab"], length=8).to_str())
    assert length_of(tok, 64) == 8
    ids = encode(tok, ["abababababab", "ab", ""], length_of(tok, 64))
    assert ids.mask.sum(1).tolist() == [8, 3, 0] and ids.ids[0, -1] == 2 and ids.ids[1, 2] == 2


def test_the_usual_tokeniser_has_no_length_of_its_own() -> None:
    assert length_of(fit_tokenizer(["a b c"], 1), 64) == 64 and length_of(None, 64) == 64


def test_no_text_and_no_room_are_refused() -> None:
    with pytest.raises(SensoriumError, match="no texts"):
        fit_characters(["", ""])
    with pytest.raises(SensoriumError, match="text length 1; expected 2 or more"):
        fit_characters(["a"], length=1)
