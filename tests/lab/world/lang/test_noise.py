"""Noise: what is said to be broken is broken, at the rate that was asked for, and the rest is untouched."""

from __future__ import annotations

import numpy as np
import pytest

from sensorium.core import SensoriumError
from sensorium.lab.world.facts import COLOURS, Config, facts
from sensorium.lab.world.lang import (
    CAPTIONERS,
    TAGS,
    Captioner,
    caption,
    check,
    described,
    named,
    partial,
    read,
    row_by_row,
    typos,
    weak,
)

RICH = Config(sizes=("small", "large"), textures=("plain", "striped", "dotted"), grounds=("white", "grey", "black"))
WORLD = facts(1, 600, RICH)
MAKERS = {
    "weak": lambda world: weak(world, 0.4),
    "described": lambda world: described(world, CAPTIONERS[3]),
    "named": lambda world: named(world, 0.4),
    "partial": lambda world: partial(world, 0.4),
    "typos": lambda world: typos(caption(world, "long"), world, 0.3),
}


@pytest.mark.parametrize("kind", MAKERS)
def test_any_chunk_is_broken_alike(kind: str) -> None:
    whole, part = MAKERS[kind](WORLD), MAKERS[kind](WORLD.rows(slice(100, 140)))
    assert part.texts == whole.texts[100:140] and part.what == whole.what[100:140]
    assert np.array_equal(part.broken, whole.broken[100:140])
    assert MAKERS[kind](WORLD.rows([])).texts == []


@pytest.mark.parametrize("kind", MAKERS)
def test_what_is_broken_is_said(kind: str) -> None:
    found = MAKERS[kind](WORLD)
    assert found.broken.dtype == bool and found.broken.mean() > 0.05
    assert [bool(line) for line in found.what] == found.broken.tolist()


@pytest.mark.parametrize("rate", [0.0, 0.25, 1.0])
def test_weak_pairs_are_false_and_the_others_are_the_captions(rate: float) -> None:
    found, true = weak(WORLD, rate), caption(WORLD)
    assert abs(found.broken.mean() - rate) < 0.08
    assert np.array_equal(row_by_row(found.texts, WORLD), ~found.broken)
    assert all(text == good for text, good, broken in zip(found.texts, true, found.broken, strict=True) if not broken)


def test_weak_captions_that_happen_to_be_true_do_not_count_as_broken() -> None:
    world = facts(0, 400, Config(colours=2, shapes=2, most=2))
    found = weak(world, 1.0)
    assert np.array_equal(row_by_row(found.texts, world), ~found.broken)
    assert 0.3 < found.broken.mean() < 0.97


def test_captioners_err_at_their_rate_in_their_factor_only() -> None:
    found = described(WORLD, Captioner("x", "list", errors={"colour": 0.3}))
    checked = check(found.texts, WORLD, "en")
    assert abs(checked.precision("colour") - 0.7) < 0.05
    assert checked.precision("shape") == 1.0
    assert np.array_equal(checked.wrong["colour"] > 0, found.broken)


def test_a_captioner_lists_each_error() -> None:
    found = described(WORLD, Captioner("x", "list", errors={"colour": 0.3}))
    row = int(np.flatnonzero(found.broken)[0])
    first = found.what[row].split("; ")[0]
    slot, (new, old) = int(first.split()[3].rstrip(":")), first.split(": ")[1].split(", not ")
    assert COLOURS[WORLD.colour[row, slot]] == old != new and new in found.texts[row]


def test_captioners_have_their_own_words_and_stay_true_where_they_do_not_err() -> None:
    wordy = CAPTIONERS[2]
    found = described(WORLD, wordy)
    assert np.array_equal(row_by_row(found.texts, WORLD), ~found.broken)
    assert " big " in " ".join(found.texts) and " large " not in " ".join(found.texts)
    assert described(WORLD, CAPTIONERS[1]).texts == caption(WORLD, "list")


@pytest.mark.parametrize("language", TAGS)
def test_names_replace_kinds_and_lead_to_the_individual(language: str) -> None:
    found = named(WORLD, 0.5, "list", language)
    assert row_by_row(found.texts, WORLD, language).all()
    for scene, text in enumerate(found.texts):
        names = [m.name for m in read(text, language).mentions if m.name >= 0]
        assert set(names) <= set(WORLD.name[scene].tolist())
        assert bool(names) == found.broken[scene]
    share = np.mean([m.name >= 0 for text in found.texts for m in read(text, language).mentions])
    assert abs(share - 0.5) < 0.05


@pytest.mark.parametrize("language", TAGS)
def test_partial_captions_say_less_and_stay_true(language: str) -> None:
    found = partial(WORLD, 0.4, "long", language)
    assert row_by_row(found.texts, WORLD, language).all()
    checked = check(found.texts, WORLD, language)
    told = sum(checked.right[factor].sum() for factor in ("colour", "shape", "size", "texture", "place"))
    assert abs(told / (5 * WORLD.n.sum()) - 0.6) < 0.05
    assert partial(WORLD, 0.0, "long", language).texts == caption(WORLD, "long", language)


@pytest.mark.parametrize("language", ["en", "ru"])
def test_typos_hit_long_words_by_one_edit(language: str) -> None:
    true = caption(WORLD, "short", language)
    found = typos(true, WORLD, 0.3)
    hit = total = 0
    for before, after in zip(true, found.texts, strict=True):
        for a, b in zip(before.split(), after.split(), strict=True):
            total += len(a) >= 4
            hit += a != b
            if a != b:
                assert len(a) >= 4 and abs(len(a) - len(b)) <= 1
                assert len(b) != len(a) or sorted(a) == sorted(b) or sum(x != y for x, y in zip(a, b, strict=True)) == 1
    assert abs(hit / total - 0.3) < 0.04
    assert typos(true, WORLD, 0.0).texts == true


def test_bad_rates_and_captioners_are_refused() -> None:
    with pytest.raises(SensoriumError, match=r"rate 1\.5; expected a share from 0 to 1"):
        weak(WORLD, 1.5)
    with pytest.raises(SensoriumError, match="error in 'color'; did you mean 'colour'"):
        Captioner("x", errors={"color": 0.1})
    with pytest.raises(SensoriumError, match="synonyms of 'shap'; did you mean 'shape'"):
        Captioner("x", others=frozenset(["shap"]))
    with pytest.raises(SensoriumError, match="1 texts for 600 scenes"):
        typos(["a"], WORLD, 0.1)
