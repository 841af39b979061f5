"""Scores of modalities by hand, and on a painter that knows the answers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from sensorium.blocks.decode import Canvas
from sensorium.blocks.decode.masked import from_luck
from sensorium.core import Batch, Field, Method, Rng, SensoriumError, Space, Terms, Tokens, pooled
from sensorium.data.columns import box_column, pixel_column
from sensorium.data.dataset import Dataset
from sensorium.data.rows import Rows
from sensorium.lab import modalities, sets
from sensorium.lab.modalities import boxes_right, depth_right, edge_f1, kinds_right
from sensorium.lab.sets import RECIPES, Recipe, data_set
from sensorium.run.tasks import Question

N = 20


def test_depth_counts_pixels_nearer_than_the_ground() -> None:
    true = np.array([[[255, 255], [204, 51]], [[255, 255], [255, 255]]])
    made = np.array([[[255, 100], [210, 100]], [[255, 255], [255, 255]]])
    assert depth_right(made, true).tolist() == [1 / 3, 1.0]


def test_edges_by_f1() -> None:
    true = np.array([[[255, 255, 0, 0]], [[0, 0, 0, 0]], [[0, 255, 0, 0]]])
    made = np.array([[[255, 0, 130, 120]], [[0, 0, 0, 0]], [[0, 0, 0, 0]]])
    assert edge_f1(made, true).tolist() == [0.5, 1.0, 0.0]


def test_kinds_by_pixels_that_are_no_ground_in_either() -> None:
    true = np.array([[[0, 42, 42, 84]], [[0, 0, 0, 0]]])
    made = np.array([[[42, 42, 50, 42]], [[0, 5, 0, 0]]])
    assert kinds_right(made, true).tolist() == [0.5, 1.0]


def test_boxes_by_their_best_pairs() -> None:
    true = Field(
        torch.tensor([[[0, 0, 0.5, 0.5], [0.5, 0.5, 1, 1]], [[0.0, 0, 1, 1], [0, 0, 0, 0]]]),
        torch.tensor([[True, True], [True, False]]),
    )
    made = Field(
        torch.tensor([[[0.5, 0.5, 1, 1], [0, 0, 0.5, 0.25]], [[0, 0, 1, 0.5], [0, 0, 0.1, 0.1]]]),
        torch.ones(2, 2).bool(),
    )
    np.testing.assert_allclose(boxes_right(made, true), [(1 + 0.5) / 2, 0.5 / 2])
    none = Field(torch.zeros(1, 2, 4), torch.zeros(1, 2).bool())
    assert boxes_right(none, none).tolist() == [1.0]


class Knowing(Method):
    """Gives each row's own value, of the rows in order, or those of the row before."""

    def __init__(self, truth: Mapping[str, Tensor], masks: Mapping[str, Tensor], shift: int) -> None:
        super().__init__()
        self.reads = self.writes = tuple(truth)
        self.generates = {k: "image" for k in truth}
        self.truth, self.masks, self.shift = truth, masks, shift
        self.spaces = {"image": Space(N), "image.depth": Space(N)}

    def losses(self, batch: Batch, rng: Rng) -> Terms:
        return {}

    def prompt(self, batch: Batch, to: str) -> Canvas:
        mask = self.masks.get(to)
        value = self.truth[to].roll(self.shift, 0)
        return from_luck(lambda luck: Field(value, None if mask is None else mask.roll(self.shift, 0)), (N, 1), "cpu")

    def embed(self, batch: Batch, of: str) -> Tokens:
        return pooled(torch.eye(N).roll(self.shift if of == "image" else 0, 0))


@pytest.fixture
def found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Dataset, dict[str, Any]]:
    monkeypatch.setenv("SENSORIUM_HOME", str(tmp_path))
    recipe = RECIPES["world/modalities"]
    monkeypatch.setattr(sets, "RECIPES", {"world/modalities": Recipe(**{**vars(recipe), "rows": (N, 5, 5)})})
    data = Dataset(data_set("world/modalities"))
    keys = ("image", "image.depth", "image.edges", "image.mask")
    columns: dict[str, Any] = {k: pixel_column(data, k, 16) for k in keys}
    return data, columns | {"boxes": box_column(data, "boxes")}


def asked(found: tuple[Dataset, dict[str, Any]], shift: int) -> Question:
    data, columns = found
    index = np.flatnonzero(data.given == "train")
    at = torch.from_numpy(index)
    values = {k: c.rows(at) for k, c in columns.items()}
    method = Knowing({k: v.data for k, v in values.items()}, {"boxes": values["boxes"].mask}, shift)
    rows = Rows(columns | {"text": columns["image"]}, np.arange(len(data)), {}, data.groups)
    plan = SimpleNamespace(method=method, rows=rows, job=SimpleNamespace(paper="mine", seed=0), tokenizer=None)
    return Question(plan, data, index, torch.device("cpu"))  # type: ignore[arg-type]


def test_who_knows_is_right_and_who_gives_another_rows_is_not(found: tuple[Dataset, dict[str, Any]]) -> None:
    right, wrong = (modalities.own(asked(found, shift)).scores for shift in (0, 1))
    assert right == dict.fromkeys(("depth", "edges", "mask", "boxes", "score"), 1.0)
    assert all(value < 0.7 for value in wrong.values())
    assert [modalities.masks(asked(found, k)).scores["mask"] for k in (0, 1)] == [1.0, wrong["mask"]]


def test_pictures_are_read_by_the_exact_reader(found: tuple[Dataset, dict[str, Any]]) -> None:
    assert modalities.right(asked(found, 0), "image", "image").mean() == 1
    assert modalities.right(asked(found, 1), "image", "image").mean() < 0.3


def test_retrieval_counts_rows_that_lie_nearest(found: tuple[Dataset, dict[str, Any]]) -> None:
    assert modalities.retrieved(asked(found, 0)).scores == {
        "image.depth to image r@1": 1.0, "image.depth to image r@10": 1.0, "found": 1.0, "guessed": 1 / N,
    }  # fmt: skip
    assert modalities.retrieved(asked(found, 1)).scores["found"] == 0


def test_what_has_no_score_is_refused(found: tuple[Dataset, dict[str, Any]]) -> None:
    with pytest.raises(SensoriumError, match="'palette' has no score; expected text, boxes or one of image"):
        modalities.right(asked(found, 0), "image", "palette")
    other = asked(found, 0)
    other.plan.method.writes = ()  # type: ignore[assignment]
    with pytest.raises(SensoriumError, match=r"mine generates none of image.depth"):
        modalities.own(other)
