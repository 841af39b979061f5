"""Spans of raw texts become spans of the stored ones."""

from __future__ import annotations

import unicodedata
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sensorium.data.limits import Limits, Refused
from sensorium.data.media.spans import SPANS, load
from sensorium.data.words import clean


def test_one_stretch_per_box_or_several() -> None:
    assert load([[0, 3], [[4, 7], [8, 9]], []], "one two 3") == [[[0, 3]], [[4, 7], [8, 9]], []]


def named(value: list[Any], text: str) -> list[list[str]]:
    kept = clean(text, Limits())
    return [[kept[a:b] for a, b in parts] for parts in load(value, text)]


def test_offsets_follow_what_is_stored_of_the_text() -> None:
    apart = unicodedata.normalize("NFD", "  ein süßes Café dort ")
    at = apart.index("Cafe")
    assert named([[at, at + 5], [at + 6, at + 10]], apart) == [["Café"], ["dort"]]
    assert named([[at + 4, at + 5]], apart) == [["é"]]  # the accent alone is the letter that bears it
    assert named([[0, 5], [0, 1]], "  abc  ") == [["abc"], [""]]
    assert named([[0, 1], [1, 2]], "\u0958x") == [["\u0915\u093c"], ["x"]]  # one letter that NFC takes apart


@given(st.text(st.sampled_from("ae\u0301\u0323\u0308 \u1100\u1161\u11a8\u0958"), min_size=1, max_size=12), st.data())
@settings(max_examples=200, deadline=None)
def test_any_stretch_stays_within_the_text_and_keeps_its_letters(text: str, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(text) - 1))
    end = data.draw(st.integers(start + 1, len(text)))
    ((part,),) = named([[start, end]], text)
    assert part in clean(text, Limits())
    spaces = text[start:end].count(" ") < end - start
    bases = [c for c in text[start:end] if unicodedata.combining(c) == 0 and c != " "]
    if spaces and bases and text[start] in bases:
        assert unicodedata.normalize("NFD", part)[:1] or part  # a letter is left of what had one
        assert unicodedata.normalize("NFD", part).strip()[:1] in unicodedata.normalize("NFD", text)


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ("0-3", "not a list of spans but a str"),
        ([[0, 3, 4]], r"span 1 is \[0, 3, 4\]; expected \[start, end\) as two whole numbers"),
        ([[0, 1], [0, 1.5]], r"span 2 is \[0, 1.5\]"),
        ([[True, 2]], "span 1 is"),
        ([7], "span 1 is 7"),
        ([[2, 2]], r"span 1 is \[2, 2\); the text has 3 characters"),
        ([[0, 1], [[0, 1], [1, 4]]], r"span 2 is \[1, 4\)"),
        ([[-1, 2]], r"span 1 is \[-1, 2\)"),
        ([[0, 1]] * (SPANS + 1), "1,001 spans, limit 1,000"),
        ([[[0, 1]] * (SPANS + 1)], "1,001 spans, limit 1,000"),
    ],
)
def test_what_is_no_span_is_refused(value: object, why: str) -> None:
    with pytest.raises(Refused, match=why):
        load(value, "abc")
