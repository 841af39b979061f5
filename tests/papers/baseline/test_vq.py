from __future__ import annotations

import pytest
import torch

from sensorium.core import Batch, Budget, Field, Predicts, Rng, SensoriumError, Trial
from sensorium.papers.baseline import vq
from sensorium.run.fit import Fit, Stage


def pictures() -> Batch:
    """Four grounds, each with a square of another colour at another place."""
    image = torch.empty(4, 3, 16, 16, dtype=torch.uint8)
    for k, (y, x) in enumerate(((0, 0), (0, 8), (8, 0), (8, 8))):
        image[k] = 60 * k
        image[k, k % 3, y : y + 8, x : x + 8] = 220
    rows = Field(torch.arange(4))
    return {"image": Field(image), "row": rows, "group": rows}


class Same:
    def batch(self, step: int) -> Batch:
        return pictures()


def made() -> vq.VQ:
    torch.manual_seed(0)
    return vq.build(vq.Config(codes=16, width=8), {}, None)  # type: ignore[arg-type]


def off(method: vq.VQ) -> float:
    batch = pictures()
    image = batch["image"]
    assert isinstance(image, Field)
    found = method.eval().predict({"image": image}, "image/rebuilt").data
    assert found.shape == image.data.shape and found.dtype == torch.uint8
    return float((found.float() - image.data.float()).square().mean())


def test_pictures_come_back_after_training() -> None:
    method = made()
    before = off(method)
    trial = Trial(1e-2, Budget(4 * 250), 0, 4)
    for _ in Fit(method, [Stage(Same(), trial.budget, 4)], trial):
        pass
    assert off(method) < 0.05 * before
    image = pictures()["image"]
    assert isinstance(image, Field)
    assert 4 <= len(set(method.tokeniser.encode(image).flatten().tolist())) <= 16


def test_rows_without_a_picture_are_no_part_of_the_loss() -> None:
    method, image = made().eval(), pictures()["image"]
    assert isinstance(image, Field)
    there = torch.tensor([True, False, True, True])
    a, b = (
        method.losses({"image": Field(data, there)}, Rng(0))["rebuild"]
        for data in (image.data, image.data * there[:, None, None, None])
    )
    assert torch.equal(a, b)


def test_what_is_not_predicted_is_refused() -> None:
    assert isinstance(made(), Predicts)
    with pytest.raises(SensoriumError, match="predicts no 'image'; did you mean 'image/rebuilt'"):
        made().predict(pictures(), "image")
