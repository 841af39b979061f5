"""Labels: balanced, learnable from the text, and true of it."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from sensorium.core import SensoriumError
from sensorium.lab.world.facts import COLOURS, SHAPES, Config, facts
from sensorium.lab.world.lang import TAGS, caption, read, row_by_row, tokens
from sensorium.lab.world.lang.labels import (
    FONTS,
    NODES,
    PARENTS,
    STRESS,
    STYLES,
    TEMPLATES,
    author,
    authors,
    boundaries,
    dealt,
    emphasis,
    fonts,
    fonts_expected,
    hierarchy,
    records,
    style_of,
    styles,
    tags,
    templates,
)

RICH = Config(sizes=("small", "large"), textures=("plain", "striped", "dotted"), grounds=("white", "grey", "black"))
WORLD = facts(1, 600, RICH)


@pytest.mark.parametrize("classes", [1, 2, 5, 7])
def test_classes_are_dealt_evenly_and_by_scene_number(classes: int) -> None:
    labels = dealt(WORLD, classes, 0, "x")
    for start in range(0, len(WORLD) - classes, classes):
        assert sorted(labels[start : start + classes]) == list(range(classes))
    assert np.array_equal(dealt(WORLD.rows(slice(30, 90)), classes, 0, "x"), labels[30:90])
    assert classes < 3 or not np.array_equal(labels, np.arange(len(WORLD)) % classes)


def test_zero_classes_are_refused() -> None:
    with pytest.raises(SensoriumError, match="0 classes; expected 1 or more"):
        authors(WORLD, 0)


def test_authors_write_true_texts_by_their_own_habits() -> None:
    texts, labels = authors(WORLD, 6)
    assert np.bincount(labels).tolist() == [100] * 6
    assert row_by_row(texts, WORLD, "en").all()
    who = author(int(labels[0]))
    by = [text for text, label in zip(texts, labels, strict=True) if label == labels[0]]
    assert np.mean([text.startswith(who.opening) for text in by]) > 0.8
    assert authors(WORLD.rows(slice(40, 80)), 6)[0] == texts[40:80]


def test_authors_are_told_apart_by_words_and_marks() -> None:
    texts, labels = authors(WORLD, 8)
    features = TfidfVectorizer(analyzer="char_wb", ngram_range=(1, 3)).fit(texts)
    model = LogisticRegression(max_iter=200).fit(features.transform(texts[:400]), labels[:400])
    accuracy = model.score(features.transform(texts[400:]), labels[400:])
    assert accuracy > 0.5


def test_unseen_authors_have_other_habits() -> None:
    _, labels = authors(WORLD, 4, first=100)
    assert set(labels.tolist()) == {100, 101, 102, 103}
    assert len({author(n) for n in range(40)}) > 35


def test_styles_are_recognised_and_true() -> None:
    texts, labels = styles(WORLD)
    assert [style_of(text) for text in texts] == labels
    assert {style: labels.count(style) for style in STYLES} == dict.fromkeys(STYLES, 120)
    assert row_by_row(texts, WORLD, "en").all()
    assert style_of("a red circle and a blue square") == style_of("") == ""


def test_templates_render_their_record() -> None:
    lines, texts, labels = templates(WORLD)
    assert np.bincount(labels).tolist() == [100] * len(TEMPLATES)
    assert lines == records(WORLD)
    for line, text in zip(lines, texts, strict=True):
        kinds = [f"colour[{COLOURS[m.colour]}] shape[{SHAPES[m.shape]}]" for m in read(text, "en").mentions]
        assert line.split("; ") == kinds


def test_font_votes_are_shares_around_what_is_expected() -> None:
    texts, votes = fonts(WORLD, annotators=60)
    assert texts == caption(WORLD, "one")
    assert votes.shape == (600, len(FONTS)) and np.allclose(votes.sum(1), 1)
    expected = fonts_expected(WORLD)
    assert np.allclose(expected.sum(1), 1)
    assert np.corrcoef(votes.ravel(), expected.ravel())[0, 1] > 0.8
    assert np.abs(votes - expected).mean() < np.abs(votes - votes.mean(0)).mean() / 1.5


def test_equal_texts_have_equal_expectations_and_differing_votes() -> None:
    world = facts(0, 900)
    texts, votes = fonts(world)
    expected = fonts_expected(world)
    common = max(set(texts), key=texts.count)
    rows = [row for row, text in enumerate(texts) if text == common]
    assert np.ptp(expected[rows], axis=0).max() < 1e-12 and np.ptp(votes[rows], axis=0).max() > 0


@pytest.mark.parametrize("language", TAGS)
def test_emphasis_follows_what_words_say(language: str) -> None:
    texts, shares = emphasis(WORLD, 20, "long", language)
    _, kinds = tags(WORLD, "long", language)
    for text, share, kind in zip(texts, shares, kinds, strict=True):
        assert len(share) == len(kind) == len(tokens(text))
    every = np.concatenate(shares)
    names = np.concatenate([np.array(kind) for kind in kinds])
    for factor in ("colour", "shape", "size", "place"):
        assert abs(every[names == factor].mean() - STRESS[factor]) < 0.08
    assert every[names == "word"].mean() < 0.06


@pytest.mark.parametrize("language", TAGS)
def test_boundaries_are_where_full_stops_were(language: str) -> None:
    texts, ends = boundaries(WORLD, language)
    for scene, (text, found) in enumerate(zip(texts, ends, strict=True)):
        assert "." not in text and len(found) == WORLD.n[scene] + 1 and found[-1] == len(text)
        whole = " ".join(text[a:b].strip() + "." for a, b in zip((0, *found), found, strict=False))
        assert whole == caption(WORLD, "long", language)[scene] if scene < 20 else True


def test_the_hierarchy_marks_a_node_and_all_above_it() -> None:
    texts, labels = hierarchy(WORLD)
    for text, row in zip(texts, labels, strict=True):
        marked = {name for name, is_on in zip(NODES, row, strict=True) if is_on}
        (mention,) = read(text, "en").mentions
        leaves = {COLOURS[mention.colour], SHAPES[mention.shape]}
        above = {PARENTS[leaf] for leaf in leaves}
        assert marked == leaves | above | {"form", "colour"}
        assert not above & set(text.split())
    assert {node for node in NODES if node not in PARENTS} == {"form", "colour"}
    assert set(COLOURS) | set(SHAPES) == set(PARENTS) - set(PARENTS.values())


def test_tags_name_what_each_word_says() -> None:
    texts, kinds = tags(WORLD, "short", "fr")
    for text, found in zip(texts, kinds, strict=True):
        assert len(found) == len(tokens(text))
        assert [found.count(kind) for kind in ("colour", "shape")] == [2, 2] and "unknown" not in found
