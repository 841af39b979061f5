"""Memes: labels against both halves, blind to either at chance, techniques as a tree."""

from __future__ import annotations

import numpy as np
import pytest

from sensorium.core import SensoriumError
from sensorium.lab.world.facts import Config, facts
from sensorium.lab.world.guards import balanced, blind
from sensorium.lab.world.lang import TAGS, row_by_row
from sensorium.lab.world.operators import read as read_scenes
from sensorium.lab.world.page.memes import PARENTS, TECHNIQUES, TONES, memes, read


def test_the_label_says_whether_the_text_is_false_of_the_picture() -> None:
    made = memes(facts(0, 80), size=96)
    seen = read_scenes(made.pictures, Config())
    assert np.array_equal(~row_by_row(made.texts, seen, "en"), made.label) and len(made.label) == 320


def test_each_picture_and_each_text_stands_in_as_many_positive_as_negative_memes() -> None:
    made = memes(facts(0, 60))
    for scene in range(60):
        rows = np.flatnonzero(made.scene == scene)
        assert len(rows) == 4 and made.label[rows].sum() == 2
        for key in ([made.texts[row] for row in rows], [made.pictures[row].tobytes() for row in rows]):
            assert len(set(key)) == 2
            for value in set(key):
                assert sorted(made.label[row] for row, found in zip(rows, key, strict=True) if found == value) == [0, 1]


def test_neither_half_alone_predicts_the_label() -> None:
    made = memes(facts(0, 1500), size=96, tones=True)
    label = made.label.tolist()
    pictures = [picture.tobytes() for picture in (made.pictures // 64)]
    for seen in (None, made.texts, pictures, [text.split()[-1] for text in made.texts]):
        assert blind(seen, label).ok
    at = np.arange(len(label)) % 4
    assert blind(at.tolist(), label).ok and balanced(made.factor[::4].tolist(), 2).ok
    assert balanced(made.tone[::4].tolist(), len(TONES)).ok


def test_both_halves_together_do_predict_it() -> None:
    made = memes(facts(0, 300))
    both = [(int(made.factor[at]), made.texts[at], made.pictures[at].tobytes()) for at in range(len(made.texts))]
    assert len(set(both)) == len(both)
    assert not blind([bool(x) for x in made.label], made.label.tolist()).ok


def test_a_leaf_comes_with_what_stands_above_it() -> None:
    made = memes(facts(0, 100), tones=True)
    names = [{TECHNIQUES[at] for at in np.flatnonzero(row)} for row in made.techniques]
    for found, false, text in zip(names, made.label.tolist(), made.texts, strict=True):
        (leaf,) = found & set(PARENTS)
        assert found == {leaf, PARENTS[leaf]} and (PARENTS[leaf] == "misleading") == false
        assert (leaf in ("warning", "scare")) == text.startswith("beware")
        assert (leaf in ("flattery", "seduction")) == text.startswith("how")
    plain = memes(facts(0, 10)).techniques
    assert plain[:, TECHNIQUES.index("information")].sum() == plain[:, TECHNIQUES.index("distraction")].sum() == 20


@pytest.mark.parametrize("language", TAGS)
def test_texts_are_drawn_above_and_below_and_leave_the_picture_alone(language: str) -> None:
    made = memes(facts(0, 6), size=128, language=language)
    for image, picture, text, words in zip(made.images, made.pictures, made.texts, made.words, strict=True):
        assert " ".join(word.text for word in words) == text
        band = (image.shape[1] - 128) // 2
        assert np.array_equal(image[:, band : band + 128], picture)
        assert all(word.box.y1 <= band or word.box.y0 >= band + 128 for word in words)


def test_texts_are_read_back() -> None:
    made = memes(facts(1, 10), tones=True)
    assert [read(image) for image in made.images] == made.texts


def test_groups_with_an_equal_object_elsewhere_are_left_out() -> None:
    crowded = Config(distinct=False, colours=2, shapes=2)
    made = memes(facts(0, 300, crowded))
    assert 0 < len(made.label) < 1200 and len(made.label) % 4 == 0 and made.label.sum() * 2 == len(made.label)


def test_any_chunk_has_the_same_memes() -> None:
    world = facts(2, 20)
    whole, part = memes(world, tones=True, seed=3), memes(world.rows(slice(5, 10)), tones=True, seed=3)
    assert np.array_equal(whole.images[20:40], part.images) and whole.texts[20:40] == part.texts
    assert len(memes(facts(0, 0)).images) == 0


def test_what_makes_no_meme_is_refused() -> None:
    with pytest.raises(SensoriumError, match="null world 'binding'"):
        memes(facts(0, 1, Config(null="binding")))
    with pytest.raises(SensoriumError, match="tones in 'de'; expected 'en'"):
        memes(facts(0, 1), language="de", tones=True)
    with pytest.raises(SensoriumError, match="lines of 28 pixels; expected 2"):
        memes(facts(0, 1), size=32, tones=True)


def test_test_memes_show_held_combinations_only() -> None:
    config = Config(held=0.25)
    train, test = (memes(facts(0, 300, config, part=part)) for part in ("train", "test"))
    assert len(test.label) > 100 and not set(train.texts) & set(test.texts)
