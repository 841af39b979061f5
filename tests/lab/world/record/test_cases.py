"""A label told by four modalities: each as reliably as it is said, together as well as Bayes allows."""

from __future__ import annotations

import numpy as np
import pytest

from sensorium.core import SensoriumError
from sensorium.lab.world.facts import SHAPES
from sensorium.lab.world.guards import balanced, blind
from sensorium.lab.world.reader import read as read_picture
from sensorium.lab.world.record.cases import MODALITIES, Config, best_guess, cases, ceiling
from sensorium.lab.world.record.missing import missing
from sensorium.lab.world.record.series import read as read_series
from sensorium.lab.world.record.series import values
from sensorium.lab.world.record.table import used
from sensorium.lab.world.scene import render


def test_what_is_rendered_says_the_bit() -> None:
    rows = cases(0, 60)
    pictures = read_picture(render(rows.picture), rows.picture.config)
    assert np.array_equal(pictures.colour[:, 0] >= 4, rows.bits[:, 0])
    told = [[name for name in SHAPES if name in text.split()] for text in rows.text]
    assert [SHAPES.index(names[0]) >= 3 for names in told] == rows.bits[:, 1].tolist()
    assert np.array_equal(rows.table.high()[:, used(rows.table.config)[0]], rows.bits[:, 2])
    assert np.array_equal(read_series(values(rows.series), rows.series.config).trend == 2, rows.bits[:, 3])


@pytest.mark.parametrize("reliable", [(0.8, 0.8, 0.8, 0.8), (1.0, 0.5, 0.7, 0.9), (0.5, 0.5, 0.5, 0.5)])
def test_each_modality_is_as_reliable_as_it_is_said(reliable: tuple[float, float, float, float]) -> None:
    rows = cases(0, 8000, Config(reliable))
    share = (rows.bits == rows.label[:, None]).mean(0)
    assert np.abs(share - reliable).max() < 0.02 and balanced(rows.label.tolist(), 2).ok
    wrong = rows.bits != rows.label[:, None]
    if reliable[0] == 0.8:
        assert np.abs(np.corrcoef(wrong.T) - np.eye(4)).max() < 0.05


def test_ceilings_are_counted_by_hand() -> None:
    config = Config((0.8, 0.8, 0.8, 0.5))
    assert ceiling(config, ()) == 0.5 and ceiling(config, ("picture",)) == 0.8
    assert np.isclose(ceiling(config, MODALITIES[:2]), 0.8)
    assert np.isclose(ceiling(config, MODALITIES[:3]), 0.8**3 + 3 * 0.8**2 * 0.2) and np.isclose(ceiling(config), 0.896)


def test_the_best_guess_reaches_the_ceiling_and_no_more() -> None:
    config = Config((0.9, 0.75, 0.7, 0.6))
    rows = cases(0, 10_000, config)
    for kept in ((0, 1, 2, 3), (1, 2, 3), (0,), ()):
        mask = np.isin(np.arange(4), kept) & np.ones((10_000, 1), bool)
        score = (best_guess(rows, mask) == rows.label).mean()
        assert abs(score - ceiling(config, [MODALITIES[k] for k in kept])) < 0.018


def test_a_hole_that_knows_the_label_gives_it_away() -> None:
    rows = cases(0, 5000, Config((0.5, 0.5, 0.5, 0.5)))
    told = missing(rows.bits, rows.index, "label", 0.4, label=rows.label).mask[:, 0]
    fair = missing(rows.bits, rows.index, "mcar", 0.4).mask[:, 0]
    assert not blind(told.tolist(), rows.label.tolist()).ok and blind(fair.tolist(), rows.label.tolist()).ok


def test_in_a_null_world_nothing_tells() -> None:
    rows = cases(0, 4000, Config((0.5, 0.5, 0.5, 0.5)))
    for at in range(4):
        assert blind(rows.bits[:, at].tolist(), rows.label.tolist()).ok
    assert ceiling(rows.config) == 0.5


def test_rows_are_pure_under_chunking() -> None:
    whole, part = cases(0, 40), cases(0, 10, start=15)
    assert np.array_equal(part.bits, whole.bits[15:25]) and part.text == whole.text[15:25]
    assert np.array_equal(part.picture.colour, whole.picture.colour[15:25])
    assert np.array_equal(part.table.numeric, whole.table.numeric[15:25])
    assert np.array_equal(values(part.series), values(whole.series)[15:25])


def test_mistakes_are_named() -> None:
    with pytest.raises(SensoriumError, match=r"expected a share from 0\.5 to 1"):
        Config((0.4, 0.8, 0.8, 0.8))
    with pytest.raises(SensoriumError, match="did you mean 'picture'"):
        ceiling(Config(), ("pictur",))
