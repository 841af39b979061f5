"""The grounding sets name what lies in their boxes, and recall is split by how common a phrase is."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from sensorium.core import Batch, Field, Method, Rng, SensoriumError, Terms
from sensorium.data.dataset import Dataset
from sensorium.lab import sets
from sensorium.lab.grounding import RARE, inside, rare, segmented
from sensorium.lab.sets import RECIPES, Recipe, data_set, scenes
from sensorium.lab.world.facts import COLOURS, SHAPES, facts, shown
from sensorium.lab.world.scene import boxes
from sensorium.run.plan import Job, plan
from sensorium.run.tasks import Question


def agreement(recipe: Recipe, n: int, part: str = "train") -> float:
    """Share of the named boxes in which an object of that colour and shape is shown."""
    columns, world = scenes(recipe, part, n), facts(recipe.seed, n, recipe.config, part=part)
    seen, where = shown(world), boxes(world, recipe.size, recipe.style)
    right = []
    for k in range(n):
        text, found, said = columns["text"][k], columns["boxes"][k], columns["spans"][k]
        assert len(found) == len(said) > 0
        kinds = {
            tuple(where[k, s].tolist()): f"{COLOURS[seen.colour[k, s]]} {SHAPES[seen.shape[k, s]]}"
            for s in range(int(seen.n[k]))
        }
        for box, (start, end) in zip(found, said, strict=True):
            phrase = text[start:end]
            assert phrase.split()[0] in ("a", "an") and len(phrase.split()) == 3
            right.append(phrase.split(maxsplit=1)[1] == kinds[tuple(box)])
    return float(np.mean(right))


def test_each_phrase_names_what_lies_in_its_box() -> None:
    recipe = RECIPES["world/grounding"]
    assert agreement(recipe, 200) == agreement(recipe, 100, "test") == 1.0
    world = facts(recipe.seed, 100, recipe.config)
    assert [len(b) for b in scenes(recipe, "train", 100)["boxes"]] == world.n.tolist()


def test_in_the_null_set_a_phrase_says_nothing_of_its_box() -> None:
    recipe = RECIPES["world/grounding-null"]
    columns = scenes(recipe, "train", 400)
    pairs = zip(columns["text"], columns["spans"], strict=True)
    found = [text[a:b] for text, said in pairs for a, b in said]
    share = np.array(list(Counter(found).values())) / len(found)
    assert agreement(recipe, 400) == pytest.approx(float((share**2).sum()), abs=0.05)


def test_kinds_have_a_long_tail_in_train_that_test_fills() -> None:
    recipe = RECIPES["world/grounding"]

    def counts(part: str, n: int) -> Counter[tuple[int, int]]:
        world = facts(recipe.seed, n, recipe.config, part=part)
        kinds = zip(world.colour[world.real()].tolist(), world.shape[world.real()].tolist(), strict=True)
        return Counter(kinds)

    train, test = counts("train", 4000), counts("test", 1000)
    few = {kind for kind, n in train.items() if n < RARE * train.total()}
    assert len(train) == 48 and 20 <= len(few) <= 42
    assert sum(test[k] for k in few) / test.total() > 0.2 > 1.3 * sum(train[k] for k in few) / train.total()


class Known(Method):
    """Answers the phrases of `known` (token ids) with their true boxes and all others with a corner."""

    def __init__(self, answers: list[Field]) -> None:
        super().__init__()
        self.answers, self.asked = answers, 0
        self.predicts = {"boxes": "boxes"}

    def losses(self, batch: Batch, rng: Rng) -> Terms:
        return {}

    def predict(self, batch: Batch, of: str) -> Field:
        assert set(batch) == {"image", "text", "spans"}  # never the boxes
        self.asked += 1
        return self.answers[self.asked - 1]


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Dataset:
    monkeypatch.setenv("SENSORIUM_HOME", str(tmp_path))
    few = replace(RECIPES["world/grounding"], rows=(200, 30, 150))
    monkeypatch.setattr(sets, "RECIPES", {"world/grounding": few})
    return Dataset(data_set("world/grounding"))


SCRATCH = {"image": "scratch", "text": "scratch"}


def test_recall_is_split_by_how_common_a_phrase_is(small: Dataset) -> None:
    """A method that knows the common phrases alone scores 1 on them and 0 on the rare ones."""
    p = plan(Job("baseline/detector", "", SCRATCH, 1e-3, 60, 0, config={"least": RARE}, batch=12), small)
    texts, spans = small.texts("text"), small.texts("spans")

    def said(row: int) -> list[str]:
        return [texts[row][a:b] for ((a, b),) in json.loads(spans[row])]

    seen = Counter(phrase for row in p.split.train.tolist() for phrase in said(row))
    common = {phrase for phrase, n in seen.items() if n >= RARE * seen.total()}
    truth = p.rows.columns["boxes"].to("cpu")
    assert isinstance(truth, Field)
    answers = truth.data.clone()
    for row in p.split.test.tolist():
        for k, phrase in enumerate(said(row)):
            if phrase not in common:
                answers[row, k] = torch.tensor([0.0, 0.0, 0.01, 0.01])
    test = torch.from_numpy(p.split.test)
    method = Known([Field(answers[part], None) for part in test.split(128)])
    asked = Question(replace(p, method=method), small, p.split.test, torch.device("cpu"))
    assert rare(asked).scores == {"recall@1 rare": 0.0, "recall@1 common": 1.0}


def test_a_method_without_boxes_is_told(small: Dataset) -> None:
    p = plan(Job("baseline/clip", "", SCRATCH, 1e-3, 60, 0, batch=12), small)
    with pytest.raises(SensoriumError, match="baseline/clip predicts no boxes"):
        rare(Question(p, small, p.split.test, torch.device("cpu")))


class Drawn(Known):
    """Answers with the boxes and masks that it is given for all rows."""

    def __init__(self, boxes: torch.Tensor, masks: torch.Tensor | None) -> None:
        super().__init__([])
        self.boxes, self.masks = boxes, masks
        self.predicts = {"boxes": "boxes"} | ({} if masks is None else {"mask": "mask"})

    def predict(self, batch: Batch, of: str) -> Field:
        assert set(batch) == {"image", "text", "spans"}
        found = self.boxes if of == "boxes" else self.masks
        assert found is not None
        rows = found[self.asked : self.asked + len(batch["image"])]
        return Field(rows)


def test_masks_are_measured_pixel_by_pixel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SENSORIUM_HOME", str(tmp_path))
    made = replace(RECIPES["world/segmentation"], rows=(60, 20, 30))
    monkeypatch.setattr(sets, "RECIPES", {"world/segmentation": made})
    data = Dataset(data_set("world/segmentation"))
    p = plan(Job("mdetr", "", SCRATCH, 1e-3, 60, 0, batch=12), data)
    truth, boxes_of = (p.rows.columns[key].rows(torch.from_numpy(p.split.test)) for key in ("mask", "boxes"))
    assert isinstance(truth, Field) and isinstance(boxes_of, Field) and truth.mask is not None

    def scores(masks: torch.Tensor | None) -> dict[str, float]:
        asked = Question(replace(p, method=Drawn(boxes_of.data, masks)), data, p.split.test, torch.device("cpu"))
        found = segmented(asked)
        assert all(len(values) == 30 for values in found.items.values())
        return dict(found.scores)

    filled = inside(boxes_of.data, 32)
    area, whole = (x.flatten(2).sum(-1).double() / 1024 for x in (truth.data, filled))
    share = torch.where(truth.mask, area / whole, torch.nan).nanmean(1).mean()
    assert scores(truth.data.float()) == pytest.approx({"mean iou": 1.0, "box iou": float(share)}, abs=5e-3)
    assert scores(None)["mean iou"] == scores(None)["box iou"] < 0.9
    assert scores(torch.zeros(truth.data.shape))["mean iou"] == 0.0


def test_a_filled_box_holds_the_pixels_whose_centre_lies_in_it() -> None:
    found = inside(torch.tensor([[[0.25, 0.0, 0.7, 0.5]]]), 4)[0, 0]
    assert found.long().tolist() == [[0, 1, 1, 0], [0, 1, 1, 0], [0, 0, 0, 0], [0, 0, 0, 0]]


def test_rows_without_masks_have_no_score(small: Dataset) -> None:
    p = plan(Job("mdetr", "", SCRATCH, 1e-3, 60, 0, batch=12), small)
    assert segmented(Question(p, small, p.split.test, torch.device("cpu"))).scores == {}
