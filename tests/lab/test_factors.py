"""Probes read what features hold of a world, and nothing that is not there."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from sensorium.core import Batch, Field, Method, SensoriumError, Space, Tokens, pooled
from sensorium.data.dataset import Dataset
from sensorium.lab import sets
from sensorium.lab.factors import factors, factors_of, labels, said_of, segments, world_of
from sensorium.lab.world.facts import Config, facts
from sensorium.lab.world.scene import Style
from sensorium.run.plan import Job, plan
from sensorium.run.tasks import Question

from ..papers.conftest import SCRATCH, squares

WORLD = Config(fewest=1, most=1, sizes=("small", "large"), textures=("plain", "striped"), grounds=("white", "black"))
RECIPE = sets.Recipe(rows=(300, 30, 120), config=WORLD, form="short", style=Style(noise=0.0), size=16)
CPU = torch.device("cpu")


@pytest.fixture(autouse=True, scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SENSORIUM_HOME", str(tmp_path_factory.mktemp("home")))
        patch.setattr(sets, "RECIPES", {"world/one": RECIPE, "world/two": replace(RECIPE, config=Config())})
        yield tmp_path_factory.mktemp("data")


def question(data: Dataset, method: object = None) -> Question:
    p = plan(Job("baseline/clip", "", SCRATCH, 1e-3, 24, 0, batch=12), data)
    if method is not None:
        p = replace(p, method=cast(Method, method))
    return Question(p, data, p.split.test, CPU)


@pytest.fixture(scope="module")
def asked(home: Path) -> Question:
    return question(Dataset(sets.data_set("world/one")))


def told(asked: Question, *names: str) -> SimpleNamespace:
    """A method whose embedding is the one-hot value of these factors, and nothing else."""
    found = {}
    for part in ("train", "test"):
        q = replace(asked, index=getattr(asked.plan.split, part))
        found |= {int(i): (part, k) for k, i in enumerate(q.index)}
    of = {
        part: factors_of(world_of(replace(asked, index=getattr(asked.plan.split, part)))) for part in ("train", "test")
    }

    def embed(batch: Batch, key: str) -> Tokens:
        """The batches come in order: the first train rows, then the test rows."""
        n = len(batch[key])
        rows = [next(order) for _ in range(n)]
        x = torch.tensor([[float(of[p][name][k] == v) for name in names for v in range(8)] for p, k in rows])
        return pooled(x)

    order = iter([found[int(i)] for i in [*asked.plan.split.train, *asked.index]])
    return SimpleNamespace(spaces={"image": Space(8)}, embed=embed)


def with_method(asked: Question, method: object) -> Question:
    return replace(asked, plan=replace(asked.plan, method=cast(Method, method)))


def test_the_world_of_rows_is_the_one_that_was_drawn(asked: Question) -> None:
    want, found = facts(0, 120, WORLD, part="test"), world_of(asked)
    assert np.array_equal(found.colour, want.colour) and np.array_equal(found.ground, want.ground)
    colours = [text.split()[1] for text in asked.texts("text")]
    assert len(set(zip(colours, factors_of(found)["colour"].tolist(), strict=True))) == len(set(colours))


def test_captions_say_some_factors_and_not_others(asked: Question) -> None:
    world = world_of(asked)
    assert set(factors_of(world)) == {"colour", "shape", "size", "texture", "place", "ground"}
    assert said_of(world, "short") == said_of(world, "list") == {"colour", "shape"}
    assert said_of(world, "long") == set(factors_of(world))


def test_what_an_embedding_holds_is_found_and_nothing_else(asked: Question) -> None:
    scores = factors(with_method(asked, told(asked, "ground", "colour"))).scores
    assert scores["auroc ground"] == scores["auroc colour"] == pytest.approx(1.0)
    for name in ("size", "texture", "place"):
        assert scores[f"auroc {name}"] == pytest.approx(0.5, abs=0.15)
    unsaid = [scores[f"auroc {n}"] for n in ("ground", "size", "texture", "place")]
    assert scores["auroc unsaid"] == pytest.approx(np.mean(unsaid))
    assert scores["auroc said"] == pytest.approx((1 + scores["auroc shape"]) / 2)
    said = factors(with_method(asked, told(asked, "colour", "shape"))).scores
    assert said["knn said"] == 1 and said["knn unsaid"] < 0.6


def patches_of(batch: Batch, key: str, *, seen: bool) -> Tokens:
    """Of each 2 x 2 pixels the share that differs from the picture's ground, or nothing."""
    image = batch[key]
    assert isinstance(image, Field)
    pixels = image.data.float()
    ground = pixels.flatten(2).median(2).values[..., None, None]
    here = F.avg_pool2d(((pixels - ground).abs() > 20).any(1, keepdim=True).float(), 2).flatten(1)
    pos = torch.cartesian_prod(torch.arange(8), torch.arange(8)).float().expand(len(here), -1, -1)
    return Tokens((here * seen)[..., None], torch.ones(here.shape, dtype=torch.bool), pos)


@pytest.mark.parametrize(("seen", "low", "high"), [(True, 0.97, 1.0), (False, 0.45, 0.55)])
def test_objects_are_drawn_from_patches_that_hold_them(asked: Question, seen: bool, low: float, high: float) -> None:
    method = SimpleNamespace(latent=lambda batch, key: patches_of(batch, key, seen=seen))
    assert low <= segments(with_method(asked, method)).scores["pixel auroc"] <= high


def test_trained_towers_are_probed_by_their_capabilities(asked: Question) -> None:
    asked.plan.method.eval()
    scores = factors(asked).scores | segments(asked).scores
    assert scores["auroc ground"] > 0.9 and 0.6 < scores["pixel auroc"] < 1


def mean_colour(batch: Batch, key: str) -> Tokens:
    """Of the pixels that are no noise of the ground: the square's."""
    image = batch[key]
    assert isinstance(image, Field)
    pixels = image.data.float() / 255
    square = (pixels.amin(1, keepdim=True) < 0.55).float()
    return pooled((pixels * square).sum((2, 3)) / square.sum((2, 3)).clamp(min=1))


def test_labels_of_a_persons_own_data_are_probed(home: Path) -> None:
    data = Dataset(squares(home / "squares", 80), {"label.colour": "label"})
    asked = question(data, SimpleNamespace(spaces={"image": Space(3)}, embed=mean_colour))
    found = labels(asked).scores
    assert set(found) == {"auroc label.colour", "knn label.colour"}
    assert found["auroc label.colour"] > 0.8 and found["knn label.colour"] > 0.5


def test_what_cannot_be_probed_is_one_clear_line(asked: Question, home: Path) -> None:
    blind = with_method(asked, SimpleNamespace())
    for measure, why in ((factors, "embeds nothing"), (segments, "shows no patches"), (labels, "embeds nothing")):
        with pytest.raises(SensoriumError, match=why):
            measure(blind)
    with pytest.raises(SensoriumError, match="has no label to probe"):
        labels(asked)
    two = question(Dataset(sets.data_set("world/two")))
    with pytest.raises(SensoriumError, match="expected one object per scene"):
        factors(two)
    with pytest.raises(SensoriumError, match="expected those of one part"):
        world_of(replace(asked, index=np.arange(len(asked.data))))
