"""What is derived from pictures, against scipy and the generated world's own."""

from __future__ import annotations

import numpy as np
import torch
from scipy.ndimage import sobel

from sensorium.blocks.codecs.derived import STEEP, brightness, colourfulness, contrast, edges, palette
from sensorium.core import Field
from sensorium.lab.world import scene
from sensorium.lab.world.facts import Config, facts

WORLD = facts(0, 40, Config(fewest=1, most=2))
IMAGES = scene.render(WORLD, 16, scene.Style(noise=2.0))
FIELD = Field(torch.from_numpy(IMAGES), torch.arange(40) > 0)


def test_edges_are_where_sobels_slope_is_steep() -> None:
    found = edges(FIELD)
    for image, mine in zip(IMAGES.astype(float), found.data.numpy(), strict=True):
        slope = np.max([np.hypot(*(sobel(c, axis, mode="nearest") / 8 for axis in (0, 1))) for c in image], 0)
        unsure = np.abs(slope - STEEP) < 1e-3
        assert ((mine[0] == 255) == (slope >= STEEP))[~unsure].all() and (mine == mine[:1]).all()
    assert found.mask is FIELD.mask
    assert not edges(Field(torch.full((1, 3, 8, 8), 90, dtype=torch.uint8))).data.any()


def test_edges_lie_about_the_objects() -> None:
    near = edges(FIELD).data[:, 0].numpy() > 0
    true = scene.edges(WORLD, 16)
    assert near[true].mean() > 0.8 and near.mean() < 0.5


def test_numbers_are_those_of_the_world() -> None:
    theirs = scene.metadata(IMAGES, WORLD)
    for name, f in (("brightness", brightness), ("contrast", contrast), ("colourfulness", colourfulness)):
        np.testing.assert_allclose(f(FIELD).data.numpy(), theirs[name], rtol=1e-4, atol=1e-4)


def test_main_colours_of_flat_pictures_by_hand() -> None:
    image = torch.zeros(1, 3, 8, 8, dtype=torch.uint8)
    image[0, 0, :5], image[0, 1, 5:7], image[0, 2, 7] = 200, 100, 50
    assert palette(Field(image), 3).data.tolist() == [[[200, 0, 0], [0, 100, 0], [0, 0, 50]]]
    assert palette(Field(image), 4).data.tolist()[0][:3] == [[200, 0, 0], [0, 100, 0], [0, 0, 50]]


def test_main_colours_are_near_those_of_the_world() -> None:
    theirs = scene.palette(IMAGES, 2)[0].astype(int)
    mine = palette(FIELD, 2).data.int().numpy()
    assert (np.abs(mine - theirs).max((1, 2)) < 12).mean() > 0.8
