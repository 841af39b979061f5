from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from sensorium.blocks.decode import Canvas, Generates
from sensorium.core import FieldInfo, Ids, SensoriumError
from sensorium.papers.baseline import denoiser

FIELDS = {"image": FieldInfo("image", shape=(3, 32, 48)), "text": FieldInfo("text", vocab=12, length=8)}
CONFIG = denoiser.Config(dim=32, layers=1, heads=2, width=8)


def test_pictures_have_the_shape_of_the_data() -> None:
    method = denoiser.build(CONFIG, FIELDS, None).eval()  # type: ignore[arg-type]
    assert isinstance(method, Generates) and method.generates == {"image": "image"}
    text = Ids(torch.zeros(2, 3, dtype=torch.long), torch.ones(2, 3, dtype=torch.bool))
    canvas = method.prompt({"text": text}, "image")
    assert isinstance(canvas, Canvas) and canvas.shape == (2, 3, 32, 48)
    x = torch.zeros(canvas.shape)
    assert canvas.field(x, torch.ones(2)).shape == x.shape


@pytest.mark.parametrize(
    ("side", "message"), [(6, "side 6; a U-Net halves"), (32, "32 x 48 does not split into patches of 32")]
)
def test_patches_that_do_not_fit_are_refused(side: int, message: str) -> None:
    with pytest.raises(SensoriumError, match=message):
        denoiser.build(replace(CONFIG, side=side), FIELDS, None)  # type: ignore[arg-type]
