"""Interleaved documents: truth against the reader of captions, faults where they are said to be."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from sensorium.core import SensoriumError
from sensorium.lab.world.facts import Config, Facts, facts
from sensorium.lab.world.guards import balanced, held_out
from sensorium.lab.world.lang import TAGS, caption, row_by_row, true_of
from sensorium.lab.world.operators import read as read_scenes
from sensorium.lab.world.scene import render
from sensorium.lab.world.talk.interleaved import FAULTS, PICTURE, THEMES, interleaved, placement, sequence


def same(a: Facts, b: Facts, i: int) -> bool:
    return all(
        np.array_equal(getattr(a, name)[i], getattr(b, name)[i]) for name in ("shape", "colour", "row", "col", "n")
    )


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("language", TAGS)
def test_unbroken_documents_are_true_throughout(theme: str, language: str) -> None:
    made = interleaved(facts(0, 60), theme=theme, language=language)
    assert made.true.all() and (made.fault == -1).all() and (made.place == -1).all()
    for s, world in enumerate(made.worlds):
        assert [row[s] for row in made.texts] == caption(world, "list", language)


def test_a_chain_changes_one_fact_at_a_time() -> None:
    worlds = sequence(facts(0, 100), 5)
    for before, after in pairwise(worlds):
        changed = (before.colour != after.colour).sum(1) + (before.shape != after.shape).sum(1)
        assert (changed == 1).all() and np.array_equal(before.row, after.row)
    loose = sequence(facts(0, 100), 3, "loose")
    assert ((loose[1].colour != loose[0].colour).any(1)).mean() > 0.9


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_breaks_its_place_and_no_other(theme: str, fault: str) -> None:
    world = facts(1, 200)
    whole, made = interleaved(world, theme=theme), interleaved(world, theme=theme, broken=1.0, faults=(fault,))
    assert (made.fault >= 0).mean() > 0.9
    for i in range(200):
        place = int(made.place[i])
        touched = {place, place + 1} if fault == "order" else {place}
        if made.fault[i] < 0:
            assert made.true[i].all() and made.texts[i] == whole.texts[i]
            touched = set()
        for s in range(4):
            assert made.true[i, s] == true_of(made.texts[i][s], made.worlds[s].rows([i]), "en")[0]
            if s not in touched:
                assert made.texts[i][s] == whole.texts[i][s] and same(made.worlds[s], whole.worlds[s], i)
        if made.fault[i] >= 0:
            assert not all(made.true[i, s] for s in touched)
            if fault == "order":
                assert same(made.worlds[place], whole.worlds[place + 1], i)
                assert same(made.worlds[place + 1], whole.worlds[place], i)
            elif fault == "text":
                assert made.texts[i][place] != whole.texts[i][place] and same(
                    made.worlds[place], whole.worlds[place], i
                )
            else:
                assert made.texts[i][place] == whole.texts[i][place] and not made.true[i, place]


def test_pictures_show_what_is_true() -> None:
    made = interleaved(facts(2, 80), broken=0.5)
    for s, world in enumerate(made.worlds):
        seen = read_scenes(render(world, 48), world.config)
        assert np.array_equal(row_by_row([row[s] for row in made.texts], seen, "en"), made.true[:, s])


def test_faults_and_places_are_balanced() -> None:
    made = interleaved(facts(0, 3000), theme="loose", broken=0.5, faults=("picture", "text"))
    hit = made.fault >= 0
    assert 0.46 < hit.mean() < 0.54
    assert balanced(made.fault[hit].tolist(), 2).ok and balanced(made.place[hit].tolist(), 4).ok


def test_any_chunk_has_the_same_documents() -> None:
    world = facts(3, 40)
    whole, part = interleaved(world, broken=0.6, seed=2), interleaved(world.rows(slice(10, 20)), broken=0.6, seed=2)
    assert whole.texts[10:20] == part.texts and np.array_equal(whole.true[10:20], part.true)
    assert all(np.array_equal(a.colour[10:20], b.colour) for a, b in zip(whole.worlds, part.worlds, strict=True))


def test_held_combinations_stay_held() -> None:
    config = Config(held=0.25)
    train, test = (interleaved(facts(0, 150, config, part=part)).worlds for part in ("train", "test"))
    assert all(held_out(a, b).ok for a in train for b in test)


def test_a_document_is_written_with_its_pictures_in_place() -> None:
    made = interleaved(facts(0, 2), steps=3)
    assert made.as_text(1) == " ".join(f"{PICTURE} {text}" for text in made.texts[1])


def test_each_picture_belongs_to_one_sentence_only() -> None:
    made = placement(facts(0, 40), steps=6, pictures=3)
    for i, texts in enumerate(made.texts):
        assert len(set(made.sentence[i].tolist())) == 3
        for p, world in enumerate(made.worlds):
            fits = [s for s, text in enumerate(texts) if text != "…" and true_of(text, world.rows([i]), "en")[0]]
            right = int(made.sentence[i, p])
            assert right in fits
            assert all(s in made.sentence[i] for s in fits)
    order = placement(facts(0, 2000), steps=3, pictures=3).sentence
    assert balanced([tuple(row) for row in order.tolist()], 6).ok


def test_bad_arguments_are_refused() -> None:
    world = facts(0, 2)
    with pytest.raises(SensoriumError, match="fault 'pictures'; did you mean 'picture'"):
        interleaved(world, faults=("pictures",))
    with pytest.raises(SensoriumError, match="theme 'chains'; did you mean 'chain'"):
        interleaved(world, theme="chains")
    with pytest.raises(SensoriumError, match=r"1 steps, a share 0\.0 broken by 3 faults"):
        interleaved(world, steps=1)
    with pytest.raises(SensoriumError, match="6 pictures for 5 sentences; expected 1 to 5"):
        placement(world, pictures=6)
