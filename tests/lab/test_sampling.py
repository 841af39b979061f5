"""Samples are scored as the metrics score them, and a table says of each number what it is."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torchmetrics.image.fid import _compute_fid

from sensorium.blocks.decode import Prompt
from sensorium.blocks.generators.once import at_once
from sensorium.core import Batch, Method, Rng, SensoriumError, Terms
from sensorium.data.dataset import Dataset
from sensorium.lab import sets
from sensorium.lab.sampling import drawn, features, likelihood, quality, table, valid
from sensorium.lab.sets import Recipe, data_set, recipe
from sensorium.lab.world.facts import facts
from sensorium.lab.world.scene import render
from sensorium.run.ledger import Measured, Row
from sensorium.run.plan import Job, plan
from sensorium.run.tasks import Question, pictures

from ..papers.conftest import SCRATCH

ROWS = 64


class Replays(Method):
    """Paints the same true pictures whatever is asked, and says that each costs as much as fair bytes."""

    def __init__(self, images: np.ndarray, likelihood: str = "exact") -> None:
        super().__init__()
        self.generates: Mapping[str, str] = {"image": "image"}
        self.images, self.likelihood, self.at = torch.from_numpy(images), likelihood, 0

    def losses(self, batch: Batch, rng: Rng) -> Terms:
        return {}

    def prompt(self, batch: Batch, to: str) -> Any:
        n = len(next(iter(batch.values())))
        part = torch.arange(self.at, self.at + n) % len(self.images)
        if set(batch) == {"row"}:
            self.at += n
        signal = (self.images[part].float() - 127) / 128
        return at_once(lambda noise: signal, (n, *self.images.shape[1:]), torch.device("cpu"))  # type: ignore[arg-type]

    def nats(self, batch: Batch, rng: Rng) -> torch.Tensor:
        assert set(batch) == {"image"}
        return torch.full((len(batch["image"]),), 3 * 16 * 16 * math.log(256))


class Speaks(Replays):
    def prompt(self, batch: Batch, to: str) -> Prompt:
        return Prompt(None, None)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Question]:
    """Test rows of scenes of 16 pixels, in a home of their own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SENSORIUM_HOME", str(tmp_path_factory.mktemp("home")))
        small = replace(recipe("world/small"), rows=(200, 20, ROWS))
        patch.setattr(sets, "RECIPES", {"world/small": small})
        data = Dataset(data_set("world/small"))
        job = Job("aigc-survey", str(data.path), SCRATCH, 1e-3, 64, 0, config={"family": "vae"}, batch=16)
        p = plan(job, data)
        yield Question(p, data, p.split.test, torch.device("cpu"))


def of(asked: Question, method: Method) -> Question:
    return replace(asked, plan=replace(asked.plan, method=method))


def scene(n: int, part: str = "train", **changes: Any) -> np.ndarray:
    config = replace(recipe("world/small").config, **changes)
    return render(facts(5, n, config, part=part), 16)


def test_the_true_pictures_are_as_good_as_it_gets(asked: Question) -> None:
    found = quality(of(asked, Replays(pictures(asked)))).scores
    assert found["fid"] == pytest.approx(0, abs=1e-6) and found["precision"] == found["recall"] == 1.0
    assert found["valid"] == found["true valid"] == 1.0
    assert 0.001 < found["true fid"] < 0.2 and found["cpu_s per picture"] >= 0


def test_fid_is_torchmetrics_of_the_same_features(asked: Question) -> None:
    made = scene(ROWS, colours=3)
    found = quality(of(asked, Replays(made))).scores
    a, b = (torch.from_numpy(features(x)) for x in (made, pictures(asked)))
    want = _compute_fid(a.mean(0), a.T.cov(), b.mean(0), b.T.cov())
    assert found["fid"] == pytest.approx(float(want), rel=1e-3, abs=1e-4)
    assert found["fid"] > found["true fid"] * 2 and found["valid"] == 1.0


def test_one_picture_again_and_again_is_precise_and_recalls_nothing(asked: Question) -> None:
    one = np.repeat(pictures(asked)[:1], ROWS, 0)
    found = quality(of(asked, Replays(one))).scores
    assert found["precision"] == 1.0 and found["recall"] < 0.1 and found["valid"] == 1.0


def test_noise_is_far_off_and_never_valid(asked: Question) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (ROWS, 3, 16, 16), dtype=np.uint8)
    found = quality(of(asked, Replays(noise))).scores
    assert found["recall"] == 0 and found["valid"] == 0 and found["fid"] > 0.3


def test_pictures_with_too_many_objects_are_not_valid() -> None:
    assert valid(scene(40), "world/small") == 1.0
    assert valid(scene(40, fewest=2, most=2), "world/small") == 0.0
    assert valid(np.full((3, 3, 16, 16), 255, np.uint8), "world/small") == 0.0


def test_bits_are_by_number_of_the_pictures_in_the_size_of_the_method(asked: Question) -> None:
    found = likelihood(of(asked, Replays(pictures(asked), "bound"))).scores
    assert found == {"bits per dimension": pytest.approx(8.0), "likelihood bound": 1.0}


def test_who_has_no_likelihood_gets_no_number(asked: Question) -> None:
    assert likelihood(of(asked, Replays(pictures(asked), "none"))).scores == {}


def test_the_seed_decides_what_is_drawn(asked: Question) -> None:
    asked.plan.method.eval()
    first, again = drawn(asked), drawn(asked)
    other = drawn(replace(asked, plan=replace(asked.plan, job=replace(asked.plan.job, seed=1))))
    assert first.shape == (ROWS, 3, 16, 16) and np.array_equal(first, again) and not np.array_equal(first, other)


def test_of_too_few_rows_nothing_is_said(asked: Question) -> None:
    few = replace(asked, index=asked.index[:3])
    assert quality(of(few, Replays(pictures(few)))).scores == {}
    assert "recall" in quality(replace(asked, index=asked.index[:4])).scores


def test_who_gives_no_canvas_is_named(asked: Question) -> None:
    with pytest.raises(SensoriumError, match="expected a Canvas"):
        drawn(of(asked, Speaks(pictures(asked))))


def test_features_do_not_ask_for_a_size() -> None:
    large = scene(4).repeat(2, 2).repeat(2, 3)
    assert features(large).shape == features(scene(4)).shape == (4, 64)


# The table


def measured(*scores: Mapping[str, float]) -> Measured:
    return Measured("key", 1e-3, scores, [{}] * len(scores))


def row(arms: Mapping[str, Measured]) -> Row:
    empty: dict[str, str] = {}
    return Row(
        "aigc-survey", "families", "lab", [], arms, 1, [0], empty, empty, empty, "", "2026-01-01T00:00:00+00:00", 1
    )


def test_the_table_has_means_and_says_what_has_no_likelihood() -> None:
    flow = [{"fid": f, "bits per dimension": b, "likelihood dequantised": 1.0} for f, b in ((0.2, 5.0), (0.4, 5.5))]
    found = table(row({"flow": measured(*flow), "gan": measured({"fid": 0.123456, "valid": 0.5})}))
    head, rule, first, second = found.splitlines()
    assert head.split("|")[1:3] == [" arm ", " fid "] and rule.count("---") == head.count("|") - 1
    assert first == "| flow | 0.3 ± 0.14 | none | none | none | 5.25 ± 0.35 | none | dequantised |"
    assert second == "| gan | 0.123 | none | none | 0.5 | none | none | none |"


def test_a_row_of_something_else_is_named() -> None:
    with pytest.raises(SensoriumError, match="holds no fid"):
        table(row({"clip": measured({"r@1": 0.5})}))


def test_the_set_is_small_and_its_scenes_have_one_object() -> None:
    made = recipe("world/small")
    assert isinstance(made, Recipe) and made.size == 16 and made.config.most == 1
