"""Ids as text while they come: what was given joins to the whole, and nothing is given that later changes."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from sensorium.apps.server.spelling import Spelling
from sensorium.data.tokenise import fit_tokenizer

SHORT = settings(max_examples=150, deadline=None, derandomize=True)
PARTS = ["a", "b", "red", " ", "é", "🙂", "字", "\n", "<0x41>", "\ufffd"]
WORDS = st.lists(st.sampled_from(PARTS), max_size=12).map("".join)


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    """It knows the letters of its texts; all others come as bytes."""
    return fit_tokenizer(["a red square", "abab ba", "a bar"] * 20, 60)


def spelt(tokenizer: Tokenizer, ids: list[int], *stop: str) -> list[str]:
    """The pieces of a text, until it stops."""
    words, found = Spelling(tokenizer, stop), []
    for token in ids:
        found.append(words.say(token))
        if words.stopped:
            return found
    return [*found, words.end()]


def ids_of(tokenizer: Tokenizer, text: str) -> list[int]:
    return list(tokenizer.encode(text, add_special_tokens=False).ids)


@SHORT
@given(WORDS)
@example(" a\t🙂字 b ")
def test_pieces_join_to_the_text_and_none_holds_half_a_character(tokenizer: Tokenizer, text: str) -> None:
    pieces = spelt(tokenizer, ids := ids_of(tokenizer, text))
    whole = tokenizer.decode(ids).strip()
    assert "".join(pieces) == whole
    if "\ufffd" not in text:
        assert "\ufffd" not in "".join(pieces)


@SHORT
@given(st.lists(st.integers(0, 520), max_size=12))
@example([0xF0 + 3, 0x9F + 3])
@example([0xC3 + 3, 0xA9 + 3, 0xC3 + 3, 1])
def test_ids_that_are_no_text_join_to_what_the_tokeniser_makes_of_them(tokenizer: Tokenizer, ids: list[int]) -> None:
    assert "".join(spelt(tokenizer, ids)) == tokenizer.decode(ids).strip()


def test_a_character_is_given_once_it_is_whole(tokenizer: Tokenizer) -> None:
    ids = [token for token in ids_of(tokenizer, "a 🙂 a") if tokenizer.id_to_token(token) != "▁"]
    assert len(ids) == 6  # the smile is four bytes
    assert spelt(tokenizer, ids) == ["a", "", "", "", "", "🙂 a", ""]


@SHORT
@given(WORDS, st.text(st.sampled_from("ab \n🙂"), min_size=1, max_size=3))
@example("a red square", " s")
@example("abab ba", "bb")
def test_a_text_ends_before_what_stops_it(tokenizer: Tokenizer, text: str, stop: str) -> None:
    ids = ids_of(tokenizer, text)
    whole = tokenizer.decode(ids).lstrip()
    assert "".join(spelt(tokenizer, ids, stop)) == whole.partition(stop)[0].strip()


def test_nothing_is_given_that_may_be_the_beginning_of_a_stop(tokenizer: Tokenizer) -> None:
    ids = ids_of(tokenizer, "abab ba")
    pieces = spelt(tokenizer, ids, "ab ba!", "zzz")
    assert "".join(pieces) == "abab ba"
    assert "".join(pieces[:-1]) == "ab"  # the rest might have become "ab ba!"


def test_the_first_of_several_stops_counts_and_nothing_comes_after(tokenizer: Tokenizer) -> None:
    words = Spelling(tokenizer, ("zz", "r", "ed"))
    assert "".join(words.say(token) for token in ids_of(tokenizer, "a red square")) == "a"
    assert words.stopped and words.say(ids_of(tokenizer, "a")[0]) == "" and words.end() == ""
