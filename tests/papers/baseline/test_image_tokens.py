"""What image-tokens does with a shared codebook; its own is tested beside Transfusion."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from sensorium.blocks.decode import decode
from sensorium.blocks.mixed import Mosaic, laid
from sensorium.core import Batch, Budget, Field, FieldInfo, Ids, Rng, SensoriumError, Trial
from sensorium.lab.bases import hashes, open_bases
from sensorium.lab.starts import opened
from sensorium.lab.world.facts import facts
from sensorium.lab.world.scene import render
from sensorium.papers.baseline import image_tokens
from sensorium.papers.baseline.vq import VQ
from sensorium.run.fit import Fit

VOCAB, N = 12, 8
FIELDS = {"image": FieldInfo("image", shape=(3, 32, 32)), "text": FieldInfo("text", vocab=VOCAB, length=8)}
CONFIG = image_tokens.Config(dim=32, layers=1, heads=2, start="vq")


def made(config: image_tokens.Config = CONFIG) -> image_tokens.ImageTokens:
    torch.manual_seed(0)
    return image_tokens.build(config, FIELDS, open_bases({}, FIELDS, hashes(image_tokens.BASES, {})))


def scenes() -> Batch:
    image = Field(torch.from_numpy(render(facts(0, N), 32)))
    ids = torch.randint(0, VOCAB, (N, 5), generator=torch.Generator().manual_seed(0))
    rows = Field(torch.arange(N))
    return {"image": image, "text": Ids(ids, torch.ones_like(ids).bool()), "row": rows, "group": rows}


class Rowed:
    """As many rows as a batch."""

    def __len__(self) -> int:
        return N

    def batch(self, positions: object) -> Batch:
        return scenes()


def test_the_codebook_is_the_start_s_and_rests_from_the_first_step() -> None:
    method = made()
    start = opened("vq").method
    assert isinstance(start, VQ)
    image = scenes()["image"]
    assert isinstance(image, Field)
    ids = start.tokeniser.encode(image)
    assert torch.equal(method.ids(image).ids - VOCAB, ids.flatten(1)) and method.codes == 128
    trial = Trial(1e-3, Budget(3 * N), 0, N)
    stages = image_tokens.stages(CONFIG, method, Rowed(), trial)  # type: ignore[arg-type]
    seen = [sorted(step.terms) for step in Fit(method, stages, trial)]
    assert seen == [["picture", "text"]] * 3  # no step goes to the tokeniser
    assert torch.equal(method.tokeniser.encode(image), ids)
    assert not [name for name in method.state_dict() if name.startswith("tokeniser")]


def test_pictures_are_codes_of_the_start() -> None:
    method, batch = made().eval(), scenes()
    canvas = method.prompt({"text": batch["text"]}, "image")
    assert isinstance(canvas, Mosaic) and canvas.codes == range(VOCAB, VOCAB + 128) and canvas.n == 64
    assert laid(canvas, Rng(0)).data.shape == (N, 3, 32, 32)
    assert len(decode(method.prompt({"image": batch["image"]}, "text"), 3, stop=()).ids) == N


def test_a_start_that_has_no_codebook_is_refused() -> None:
    with pytest.raises(SensoriumError, match="start 'vk'; did you mean 'vq'"):
        made(replace(CONFIG, start="vk"))
