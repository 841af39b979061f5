"""Pictures of words: boxes against pixels, dials that do what they say, chunks, held words."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import pytest

from sensorium.core import SensoriumError
from sensorium.lab.world.facts import GROUNDS, facts
from sensorium.lab.world.guards import balanced
from sensorium.lab.world.lang import TAGS, vocabulary
from sensorium.lab.world.lang.labels import FONTS
from sensorium.lab.world.page.words import DOCUMENT, SCENE, STYLE, Style, strings, write
from sensorium.lab.world.scene import MAGENTA

CLEAN = replace(STYLE, noise=0.0)
WILD = replace(SCENE, noise=0.0)


@pytest.mark.parametrize("style", [CLEAN, replace(WILD, grounds=("white",)), replace(CLEAN, script="invented")])
def test_word_and_character_boxes_are_the_extent_of_their_ink(style: Style) -> None:
    world = facts(0, 60)
    out = write(world, strings(world), style)
    for i, (text,) in enumerate(out.texts):
        rows, columns = np.flatnonzero(out.ink[i].any(1)), np.flatnonzero(out.ink[i].any(0))
        assert out.boxes[i, 0].tolist() == [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]
        covered = np.zeros(out.ink[i].shape, bool)
        for x0, y0, x1, y1 in out.characters[i, 0, : len(text)].tolist():
            assert out.ink[i, y0:y1, x0:x1].any()
            covered[y0:y1, x0:x1] = True
        assert not out.ink[i][~covered].any() and not out.characters[i, 0, len(text) :].any()
        changed = (out.images[i] != 255).any(0)
        assert (changed == (out.ink[i] > 0)).mean() > 0.999


def test_many_words_stand_in_bands_of_their_own() -> None:
    world = facts(1, 20)
    style = replace(CLEAN, height=120)
    out = write(world, strings(world, count=5), style)
    for at in range(5):
        assert (out.boxes[:, at, 1] >= 24 * at).all() and (out.boxes[:, at, 3] <= 24 * (at + 1)).all()


def test_any_chunk_gets_the_same_pictures() -> None:
    world = facts(2, 30)
    for kind in ("word", "name", "letters", "number"):
        whole, part = strings(world, kind), strings(world.rows(slice(10, 20)), kind)
        assert part == whole[10:20]
    texts = strings(world)
    whole, part = write(world, texts, WILD, 3), write(world.rows(slice(10, 20)), texts[10:20], WILD, 3)
    assert np.array_equal(part.images, whole.images[10:20]) and np.array_equal(part.boxes, whole.boxes[10:20])
    assert not np.array_equal(write(world, texts, WILD, 4).images, whole.images)


def test_the_same_words_in_another_style_keep_their_font_drawn_apart() -> None:
    world = facts(0, 50)
    texts = strings(world)
    plain, noisy = write(world, texts, CLEAN), write(world, texts, replace(CLEAN, noise=20.0))
    assert np.array_equal(plain.boxes, noisy.boxes) and not np.array_equal(plain.images, noisy.images)
    assert abs(float((noisy.images.astype(int) - plain.images)[plain.images == 0].std()) - 11.7) < 3  # half is clipped


def test_the_bar_hides_what_it_is_said_to_hide() -> None:
    world = facts(0, 40)
    texts = strings(world)
    out, whole = write(world, texts, replace(CLEAN, covered=0.4)), write(world, texts, CLEAN)
    bar = (out.images == MAGENTA[:, None, None]).all(1)
    for i, (text,) in enumerate(texts):
        width = out.boxes[i, 0, 2] - out.boxes[i, 0, 0]
        assert bar[i].any(0).sum() == round(0.4 * width)
        for at, (x0, y0, x1, y1) in enumerate(out.characters[i, 0, : len(text)].tolist()):
            inked = whole.ink[i, y0:y1, x0:x1].astype(float)
            share = (inked * bar[i, y0:y1, x0:x1]).sum() / inked.sum()
            assert abs(share - out.hidden[i, 0, at]) < 1e-6
    assert 0.2 < out.hidden[:, 0][out.characters[:, 0, :, 2] > 0].mean() < 0.6


def test_an_arc_bends_up_or_down_and_keeps_the_width_about() -> None:
    world = facts(0, 80)
    texts = [("background",)] * 80
    flat, bent = write(world, texts, CLEAN), write(world, texts, replace(CLEAN, curve=25, height=64))

    def middle_less_ends(i: int) -> float:
        y = bent.characters[i, 0, :10, 3].astype(float)
        return float(y[4:6].mean() - (y[0] + y[9]) / 2)

    bends = np.array([middle_less_ends(i) for i in range(80)])
    assert (np.abs(bends) > 4).all() and 20 < (bends > 0).sum() < 60
    assert flat.boxes[:, 0, 3].max() - flat.boxes[:, 0, 1].min() <= 32


def test_letters_are_the_words_letters_in_an_order_that_is_no_word() -> None:
    world = facts(0, 300)
    told, mixed = strings(world, "word"), strings(world, "letters")
    assert not {word for (word,) in mixed} & vocabulary("en")
    same = [sorted(a) == sorted(b) for (a,), (b,) in zip(told, mixed, strict=True)]
    assert np.mean(same) > 0.8 and all(len(a) == len(b) for (a,), (b,) in zip(told, mixed, strict=True))
    assert all(word.isdigit() and 1 <= len(word) <= 4 for (word,) in strings(world, "number"))


@pytest.mark.parametrize("language", TAGS)
def test_held_words_are_in_test_alone(language: str) -> None:
    train, test = (strings(facts(0, 1500, part=part), language=language, held=0.3) for part in ("train", "test"))
    assert not set(train) & set(test) and len(set(test)) > 10
    assert set(strings(facts(0, 1500, part="test"), language=language)) & set(train)


def test_fonts_and_sizes_are_balanced() -> None:
    world = facts(0, 3000)
    out = write(world, [("ab",)] * 3000, replace(CLEAN, fonts=FONTS, px=(7, 10)))
    assert balanced(out.font[:, 0].tolist(), 6).ok and balanced(out.px[:, 0].tolist(), 4).ok


def test_two_domains_differ_in_looks_only() -> None:
    world = facts(0, 40)
    texts = strings(world)
    printed, wild = write(world, texts, DOCUMENT), write(world, texts, SCENE)
    assert printed.texts == wild.texts and set(printed.font.ravel()) <= {0, 1, 2} and len(set(wild.font.ravel())) > 3


def test_two_thousand_pictures_a_second() -> None:
    world = facts(0, 2000)
    texts = strings(world)
    started = time.process_time()
    write(world, texts)
    assert time.process_time() - started < 1.0


def test_bad_dials_and_words_are_refused() -> None:
    world = facts(0, 2)
    with pytest.raises(SensoriumError, match="font 'sanz'; did you mean 'sans'"):
        Style(fonts=("sanz",))
    with pytest.raises(SensoriumError, match="expected no colour among both"):
        Style(inks=("black",), grounds=("black",))
    with pytest.raises(SensoriumError, match=r"covered 0\.95; expected 0 to 0\.9"):
        Style(covered=0.95)
    with pytest.raises(SensoriumError, match="letters of 9 to 8 pixels; expected the smaller size first"):
        Style(px=(9, 8))
    with pytest.raises(SensoriumError, match=r"'a{25}' is .* a larger picture"):
        write(world, [("a" * 25,), ("b",)])
    with pytest.raises(SensoriumError, match=r"1 rows of words for 2 scenes"):
        write(world, [("a",)])
    with pytest.raises(SensoriumError, match="strings of kind 'wrod'; did you mean 'word'"):
        strings(world, "wrod")
    with pytest.raises(SensoriumError, match="language 'eng'"):
        strings(world, language="eng")
    assert GROUNDS[0] in Style().grounds
