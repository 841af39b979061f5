"""Probes find a binding that is there and no other."""

from __future__ import annotations

import numpy as np
import pytest

from sensorium.lab.probes import _probed, colour_of
from sensorium.lab.world.facts import COLOURS, SHAPES, Config, facts
from sensorium.lab.world.lang import caption


def test_captions_say_which_colour_a_shape_has() -> None:
    found = colour_of(["a red circle and a blue square", "a green star", "nothing", "a red circle, a blue circle"])
    circle, square, star = (list(SHAPES).index(s) for s in ("circle", "square", "star"))
    red, blue, green = (list(COLOURS).index(c) for c in ("red", "blue", "green"))
    assert found[0, circle] == red and found[0, square] == blue and (found[0] >= 0).sum() == 2
    assert found[1, star] == green and (found[2] == -1).all() and (found[3] == -1).all()


@pytest.mark.parametrize(("bound", "low", "high"), [(True, 0.99, 1.0), (False, 0.1, 0.5)])
def test_a_bound_feature_is_read_and_a_bag_gives_the_guess(bound: bool, low: float, high: float) -> None:
    world = facts(0, 3000, Config(fewest=3, most=3))
    truth = colour_of(caption(world, "list"))
    shapes, colours = (truth >= 0).astype(float), np.zeros((len(truth), len(COLOURS)))
    for row, said in enumerate(truth):
        colours[row, said[said >= 0]] = 1
    one_hot = np.eye(len(COLOURS) + 1)[truth].reshape(len(truth), -1)
    x = one_hot if bound else np.hstack([shapes, colours])
    found = np.mean([_probed(x, truth, s, len(truth) // 2) for s in range(6)])
    assert low <= found <= high
