"""Names of individuals: distinct, invertible, never a word of a language."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sensorium.lab.world.lang import vocabulary
from sensorium.lab.world.lang.names import name_number, name_word


@given(st.integers(0, 10**6))
def test_every_number_has_a_name_that_leads_back(number: int) -> None:
    word = name_word(number)
    assert name_number(word) == number
    assert word.isalpha() and word[0].isupper() and word[1:].islower() and len(word) >= 4


def test_no_two_of_the_first_ten_thousand_share_a_name_and_none_is_a_word() -> None:
    names = [name_word(number) for number in range(10_000)]
    assert len(set(names)) == 10_000
    assert not {name.casefold() for name in names} & vocabulary()


@pytest.mark.parametrize("word", ["", "Ba", "baba", "Bax", "Stern", "Kreis", "Foddba", "Dodoq"])
def test_other_words_are_no_names(word: str) -> None:
    assert name_number(word) == -1
