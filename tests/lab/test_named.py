"""What texts name lies where their boxes and masks say."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from sensorium.data.media import masks as rle
from sensorium.lab.named import Named, few, located, mentioned, questioned
from sensorium.lab.sets import RECIPES, scenes
from sensorium.lab.world.facts import COLOURS, SHAPES, Config, Facts, combinations, facts
from sensorium.lab.world.scene import STYLE, masks

WORLD = Config(cells=3, fewest=3, most=4)
KINDS = ("colour", "shape", "where", "exists")


def kind(world: Facts, scene: int, slot: int) -> tuple[str, str]:
    return COLOURS[world.colour[scene, slot]], SHAPES[world.shape[scene, slot]]


def test_each_phrase_of_a_caption_is_its_object() -> None:
    world = facts(0, 100, WORLD)
    for scene, one in enumerate(mentioned(world, "list", "en", 0)):
        assert sorted(slot for *_, slot in one.phrases) == list(range(world.n[scene]))
        assert [one.text[a:b].split()[1:] for a, b, _ in one.phrases] == [
            list(kind(world, scene, slot)) for *_, slot in one.phrases
        ]
        assert one.text == " and ".join(one.text[a:b] for a, b, _ in one.phrases)


def test_a_question_names_the_object_that_it_is_about() -> None:
    world = facts(0, 400, WORLD)
    asked = questioned(world, KINDS, 0)
    assert set(asked.kind) == set(KINDS) and len(asked.named) == 400
    for scene, (one, answer, what) in enumerate(zip(asked.named, asked.answer, asked.kind, strict=True)):
        assert bool(one.phrases) == (what != "exists" or answer == "yes")
        for a, b, slot in one.phrases:
            colour, shape = kind(world, scene, slot)
            meant = {"colour": shape, "shape": f"{colour} shape"}.get(what, f"{colour} {shape}")
            assert one.text[a:b] == meant
            assert answer == {"colour": colour, "shape": shape}.get(what, answer)


def test_boxes_and_masks_are_those_of_the_picture() -> None:
    world = facts(3, 40, WORLD)
    named = mentioned(world, "list", "en", 0)
    columns, shown = located(world, named, 32, STYLE, masked=True), masks(world, 32)
    for scene, one in enumerate(named):
        found = [rle.pixels(mask) for mask in rle.load(columns["mask"][scene])]
        assert len(found) == len(columns["boxes"][scene]) == len(columns["spans"][scene]) == world.n[scene]
        for pixels, box, (*_, slot) in zip(found, columns["boxes"][scene], one.phrases, strict=True):
            assert np.array_equal(pixels, shown[scene] == slot + 1)
            down, across = np.nonzero(pixels)
            edges = [across.min(), down.min(), across.max() + 1, down.max() + 1]
            assert box == pytest.approx(np.array(edges) / 32)
    assert "mask" not in located(world, named, 32, STYLE, masked=False)


def test_what_is_not_seen_has_no_box() -> None:
    world = facts(0, 1, WORLD)
    hidden = replace(world, n=np.ones_like(world.n), row=np.where(np.arange(4) < 1, world.row, -1).astype(np.int8))
    columns = located(hidden, [Named("a b", [(0, 1, 0), (2, 3, 1)])], 32, STYLE, masked=True)
    assert columns["spans"] == [[[0, 1]]] and len(columns["mask"][0]) == len(columns["boxes"][0]) == 1


@pytest.mark.parametrize("shots", [1, 4])
def test_few_scenes_bring_each_kind_that_train_lacks(shots: int) -> None:
    config = replace(WORLD, held=0.5)
    world = few(config, shots, 0)
    seen = Counter(kind(world, s, k) for s in range(len(world)) for k in range(world.n[s]))
    train, test = (combinations(config, part) > 0 for part in ("train", "test"))
    assert set(seen) == {(COLOURS[c], SHAPES[s]) for c, s in np.argwhere(test).tolist()} and not (train & test).any()
    assert min(seen.values()) == shots and sum(seen.values()) < 3 * shots * len(seen)


def test_rows_of_the_second_stage_show_what_test_shows() -> None:
    recipe = replace(RECIPES["world/few-shot"], rows=(60, 20, 20))
    parts = {
        part: scenes(recipe, part, n) for part, n in zip(("train", "validation", "test"), recipe.rows, strict=True)
    }

    def phrases(part: str, stage: str) -> set[str]:
        of = parts[part]
        rows = zip(of["stage"], of["text"], of["spans"], strict=True)
        return {text[a:b] for at, text, said in rows if at == stage for a, b in said}

    first, second = phrases("train", "1"), phrases("train", "2")
    assert len(second) == 24 and not first & second
    assert phrases("test", "2") <= second and phrases("validation", "2") <= second
    assert set(parts["test"]["stage"]) == {"2"} and parts["train"]["stage"].count("1") == 60
    names = [name for of in parts.values() for name in of["scene"]]
    assert len(set(names)) == len(names)
    alone = scenes(replace(RECIPES["world/few-shot-alone"], rows=(0, 20, 20)), "train", 0)
    assert alone["text"] == parts["train"]["text"][60:] and set(alone["stage"]) == {"2"}
