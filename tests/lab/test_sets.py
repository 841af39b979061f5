"""Data sets of claims by name: ordinary folders that say what the world says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sensorium.core import SensoriumError
from sensorium.data.dataset import Dataset
from sensorium.lab import sets
from sensorium.lab.sets import RECIPES, Recipe, data_set, scenes
from sensorium.lab.world.facts import Config, facts
from sensorium.lab.world.lang import true_of
from sensorium.lab.world.operators import read


@pytest.fixture(autouse=True)
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SENSORIUM_HOME", str(tmp_path))
    few = {name: Recipe(**{**vars(recipe), "rows": (60, 20, 20)}) for name, recipe in RECIPES.items()}
    monkeypatch.setattr(sets, "RECIPES", few)


@pytest.mark.parametrize("name", RECIPES)
def test_a_set_is_an_ordinary_data_set(name: str) -> None:
    found = Dataset(data_set(name))
    more = 40 if RECIPES[name].shots else 0  # scenes of the few
    assert len(found) == 100 + more and not found.quarantine and found.name == name
    assert {n: int((found.given == n).sum()) for n in ("train", "validation", "test")} == {
        "train": 60 + more,
        "validation": 20,
        "test": 20,
    }
    if not RECIPES[name].maps:  # where rows of equal maps are of one group
        assert len(set(found.groups.tolist())) == 100 + more  # a scene is a group, however alike scenes look
    assert ("text/negative" in found.kinds) == bool(RECIPES[name].wrong)
    assert ("image/negative" in found.kinds) == bool(RECIPES[name].edited)


def test_it_is_written_once_and_named_by_what_made_it(monkeypatch: pytest.MonkeyPatch) -> None:
    first = data_set("world/binding")
    before = (first / "train.parquet").stat().st_mtime_ns
    assert data_set("world/binding") == first and (first / "train.parquet").stat().st_mtime_ns == before
    monkeypatch.setattr(sets, "RECIPES", {"world/binding": Recipe(rows=(60, 20, 20), seed=1)})
    assert data_set("world/binding") != first


def test_texts_are_true_negatives_false_and_edits_seen() -> None:
    recipe = Recipe(rows=(0, 0, 0), config=Config(fewest=3, most=4), wrong="binding", edited="binding")
    columns = scenes(recipe, "train", 40)
    world = facts(0, 40, recipe.config)
    for k in range(40):
        assert true_of(columns["text"][k], world.rows([k])).all()
        assert not true_of(columns["negative"][k], world.rows([k])).any()
    from sensorium.data.limits import Limits
    from sensorium.data.media.image import load

    shown = np.stack([np.asarray(load(png, Limits())).transpose(2, 0, 1) for png in columns["edit"]])
    seen = read(shown, recipe.config)
    for k in range(40):
        assert not true_of(columns["text"][k], seen.rows([k])).any()


def test_a_null_set_does_not_show_what_it_says() -> None:
    recipe = RECIPES["world/binding-null"]
    world = facts(recipe.seed, 200, recipe.config)
    columns = scenes(recipe, "train", 200)
    from sensorium.data.limits import Limits
    from sensorium.data.media.image import load

    shown = np.stack([np.asarray(load(png, Limits())).transpose(2, 0, 1) for png in columns["image"]])
    seen = read(shown, recipe.config)
    agree = [bool(true_of(columns["text"][k], seen.rows([k])).all()) for k in range(len(world))]
    assert 0.35 < np.mean(agree) < 0.65  # two objects: half of the draws bind them as said


def test_the_starter_set_and_unknown_names() -> None:
    assert (data_set("starter") / "dataset.json").is_file()
    with pytest.raises(SensoriumError, match=r"data set 'world/bindin'; did you mean 'world/binding'"):
        data_set("world/bindin")


def test_a_set_of_questions_asks_each_scene_once_in_turn() -> None:
    recipe = Recipe(rows=(0, 0, 0), asked=("colour", "count"))
    columns = scenes(recipe, "train", 40)
    assert all(columns["question"]) and all(columns["answer"])
    assert sum(q.startswith("how many") for q in columns["question"]) == 20
    world = facts(0, 40, recipe.config)
    named = {"two": 2, "three": 3}
    for k in range(1, 40, 2):
        assert named[columns["answer"][k]] == int(world.real()[k].sum())


def test_captioners_say_more_and_train_captions_are_weak() -> None:
    recipe = Recipe(rows=(0, 0, 0), form="short", captioners=("wordy",), weak=0.5)
    columns, world = scenes(recipe, "train", 60), facts(0, 60, recipe.config)
    assert all(len(a.split()) > len(b.split()) for a, b in zip(columns["wordy"], columns["text"], strict=True))
    true = sum(true_of(text, world.rows([k])).all() for k, text in enumerate(columns["text"]))
    assert 15 < true < 50
    test, world = scenes(recipe, "test", 30), facts(0, 30, recipe.config, part="test")
    assert all(true_of(text, world.rows([k])).all() for k, text in enumerate(test["text"]))


def test_a_stream_is_its_domains_one_after_the_other() -> None:
    recipe = RECIPES["world/stream"]
    names = [name for name, _ in recipe.domains]
    columns = scenes(recipe, "train", 20)
    counts = [columns["label"].count(name) for name in names]
    assert sum(counts) == 20 and max(counts) - min(counts) <= 1
    assert columns["label"] == [name for name, n in zip(names, counts, strict=True) for _ in range(n)]
    assert len(set(columns["scene"])) == 20 and len(set(columns["image"])) == 20
    long = [text for text, name in zip(columns["text"], columns["label"], strict=True) if name == "places"]
    assert all("background" in text for text in long)  # each domain keeps its own form


def test_maps_boxes_and_numbers_are_true_of_their_picture() -> None:
    recipe = RECIPES["world/modalities"]
    columns, world = scenes(recipe, "train", 40), facts(recipe.seed, 40, recipe.config)
    from sensorium.data.limits import Limits
    from sensorium.data.media.image import load

    shown = {
        k: np.stack([np.asarray(load(png, Limits()))[..., 0] for png in columns[k]]) for k in ("image", *sets.MAPS)
    }
    there = shown["depth"] < 255
    assert (there == (shown["mask"] > 0)).all() and (there == (shown["instances"] > 0)).all()
    assert set(np.unique(shown["edges"])) == {0, 255}
    for k in range(40):
        kinds = sorted(int(v) // 42 - 1 for v in np.unique(shown["mask"][k][there[k]]))
        assert kinds == sorted(world.shape[k, : world.n[k]].tolist())
        assert len(np.unique(shown["depth"][k])) == 1 + world.n[k] == 1 + columns["objects"][k]
        assert len(columns["boxes"][k]) == world.n[k]
        inside = np.zeros((16, 16), bool)
        for x0, y0, x1, y1 in (16 * np.array(columns["boxes"][k])).round().astype(int):
            inside[y0:y1, x0:x1] = True
        assert not (there[k] & ~inside).any() and true_of(columns["long"][k], world.rows([k])).all()
