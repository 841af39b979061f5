"""Reading: every caption is read back whole; what a model writes is read as far as it means anything."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sensorium.lab.world.facts import COLOURS, GROUNDS, SHAPES, SIZES, TEXTURES, Config, facts
from sensorium.lab.world.lang import FORMS, OUTSIDE, TAGS, Mention, caption, language_of, read
from sensorium.lab.world.lang.reading import labelled

RICH = Config(sizes=("small", "large"), textures=("plain", "striped", "dotted"), grounds=("white", "grey", "black"))
WORDS = ("a", "red", "circle", "is", "left", "of", ",", ".", "3", "two", "no", "on", "white", "background")
FIELDS = ("colour", "shape", "size", "texture", "row", "col")


def kinds(text: str, language: str = "", cells: int = 2) -> list[str]:
    """ "small red circle" of each mention, for short expectations."""
    out = []
    for mention in read(text, language, cells).mentions:
        named = ((SIZES, mention.size), (TEXTURES, mention.texture), (COLOURS, mention.colour), (SHAPES, mention.shape))
        out.append(" ".join("?" if value == OUTSIDE else names[value] for names, value in named if value >= 0))
    return out


@pytest.mark.parametrize("language", TAGS)
@pytest.mark.parametrize("cells", [1, 2, 3, 6])
def test_long_captions_are_read_back_whole(language: str, cells: int) -> None:
    most = min(4, cells**2)
    world = facts(
        3, 60, Config(cells=cells, fewest=1, most=most, sizes=RICH.sizes, textures=RICH.textures, grounds=RICH.grounds)
    )
    for scene, text in enumerate(caption(world, "long", language)):
        said = read(text, language, cells)
        told = sorted(tuple(getattr(m, field) for field in FIELDS) for m in said.mentions)
        true = sorted(
            tuple(int(getattr(world, field)[scene, k]) for field in FIELDS) for k in range(int(world.n[scene]))
        )
        assert told == true
        assert (said.ground, said.unknown, said.relations) == (world.ground[scene], (), ())


@settings(max_examples=60, deadline=None)
@given(text=st.text(max_size=200) | st.lists(st.sampled_from(WORDS)).map(" ".join))
def test_any_text_can_be_read(text: str) -> None:
    said = read(text)
    assert all(0 <= m.start <= m.end <= len(text) for m in said.mentions)
    assert all(0 <= a < len(said.mentions) and 0 <= b < len(said.mentions) for a, _, b in said.relations)
    assert len(labelled(text)) >= len(said.unknown)


def test_mentions_know_where_they_stand() -> None:
    text = "there is a big striped red circle on the left."
    (mention,) = read(text, "en", 3).mentions
    assert text[mention.start : mention.end] == "big striped red circle"
    assert (mention.row, mention.col) == (1, 0)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "The picture shows two large red circles and one blue square.",
            ["large red circle", "large red circle", "blue square"],
        ),
        ("A Red Circle, A BLUE SQUARE!", ["red circle", "blue square"]),
        ("the circle is red and the square is blue", ["red circle", "blue square"]),
        ("a big scarlet disc over a navy box", ["large red circle", "blue square"]),
        ("un cercle rouge et une étoile orange", ["red circle", "orange star"]),
        ("a white circle", ["? circle"]),
        ("a circle and something green", ["circle"]),
        ("ein roter Kreis, un carré bleu, жёлтая звезда", ["red circle", "blue square", "yellow star"]),
        ("nothing to see", []),
        ("", []),
    ],
)
def test_free_text_is_read_tolerantly(text: str, expected: list[str]) -> None:
    assert kinds(text) == expected


@pytest.mark.parametrize(
    ("text", "relations"),
    [
        ("a red circle left of a blue square", ((0, 0, 1),)),
        ("the circle is above the square and the star is below the ring", ((0, 2, 1), (2, 3, 3))),
        ("punainen ympyrä sinisen neliön yläpuolella", ((0, 2, 1),)),
        ("left of a red circle", ()),
        ("a red circle. left of a blue square", ()),
        ("a red circle left of", ()),
    ],
)
def test_relations_join_the_mentions_around_them(text: str, relations: tuple[tuple[int, int, int], ...]) -> None:
    assert read(text).relations == relations


@pytest.mark.parametrize(
    ("text", "ground"),
    [
        ("the background is grey.", "grey"),
        ("a red circle on a black background", "black"),
        ("le fond est blanc.", "white"),
        ("фон чёрный.", "black"),
        ("a red circle is at the top left. the background is white.", "white"),
        ("a white circle", ""),
    ],
)
def test_the_background_is_read_before_or_behind_its_noun(text: str, ground: str) -> None:
    assert read(text).ground == (GROUNDS.index(ground) if ground else -1)


def test_what_no_scene_can_have_is_outside() -> None:
    assert read("the background is red.").ground == OUTSIDE
    assert read("a red circle is in the middle.", "en", 2).mentions[0].row == OUTSIDE
    assert read("a red circle is in row 9 of column 1.", "en", 4).mentions[0].row == OUTSIDE


def test_numbers_count_shapes_and_deny_kinds() -> None:
    assert read("three shapes").count == 3
    assert read("drei Figuren").count == 3
    assert read("12 shapes").count == 12
    said = read("there are no red circles.")
    assert said.mentions == () and [(m.colour, m.shape) for m in said.absent] == [(0, 0)]


def test_names_and_unknown_words_are_told_apart() -> None:
    said = read("Fodo left of a purple elephant")
    assert said.mentions[0].name >= 0 and said.mentions[0].shape == -1
    assert said.unknown == ("elephant",)
    assert read("Fodon vasemmalla puolella").mentions == (Mention(name=said.mentions[0].name, start=0, end=5),)


def test_words_of_another_language_are_unknown_where_one_is_asked_for() -> None:
    assert read("un cercle rouge", "en").unknown == ("un", "cercle", "rouge")


@pytest.mark.parametrize("language", TAGS)
def test_the_language_of_a_caption_is_recognised(language: str) -> None:
    world = facts(4, 40, RICH)
    assert {language_of(text) for form in FORMS for text in caption(world, form, language)} == {language}
    assert language_of("qwx 123") == ""


def test_labels_of_words_follow_the_text() -> None:
    assert labelled("a red circle is at the top left.") == [
        "word",
        "colour",
        "shape",
        "word",
        "place",
        "place",
        "place",
        "place",
        "word",
    ]
