"""Tables: targets by their rule, columns that tell nothing beside, texts that give the values back."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sensorium.core import SensoriumError
from sensorium.lab.world.guards import balanced, blind
from sensorium.lab.world.record.table import (
    DOMAINS,
    LEVELS,
    RULES,
    TEMPLATES,
    Check,
    Config,
    check,
    linearised,
    parse,
    table,
    text,
    used,
)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("columns", [0, 1, 5])
def test_targets_follow_their_rule(rule: str, columns: int) -> None:
    config = Config(numeric=5, levelled=3, rule=rule, columns=columns)
    rows = table(0, 4000, config)
    high, own = rows.high(), used(config)
    assert balanced(rows.target.tolist(), 2).ok
    if rule == "single":
        assert np.array_equal(rows.target, high[:, own[0]])
    elif rule == "sum":
        assert np.array_equal(rows.target, high[:, list(own)].sum(1) >= 2) and len(own) == 3
    elif rule == "interaction":
        assert np.array_equal(rows.target, ~(high[:, own[0]] ^ high[:, own[1]]))
    else:
        assert own == ()
    for column in range(8):
        told = blind(high[:, column].tolist(), rows.target.tolist()).ok
        assert told == (rule in ("interaction", "null") or column not in own)


def test_noise_flips_the_share_that_is_asked() -> None:
    clean, loud = table(0, 5000), table(0, 5000, Config(noise=0.2))
    assert abs((clean.target != loud.target).mean() - 0.2) < 4 * np.sqrt(0.16 / 5000)
    assert np.array_equal(clean.numeric, loud.numeric)


def test_columns_are_standard_and_never_zero() -> None:
    rows = table(0, 5000, Config(numeric=8, levelled=4))
    assert np.abs(rows.numeric.mean(0)).max() < 0.06 and np.abs(rows.numeric.std(0) - 1).max() < 0.04
    assert (np.abs(rows.numeric) >= 0.01).all() and np.array_equal(rows.numeric, rows.numeric.round(2))
    assert all(balanced(rows.level[:, q].tolist(), LEVELS).ok for q in range(4))
    assert np.abs(np.corrcoef(rows.numeric.T) - np.eye(8)).max() < 0.06


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 99), st.sampled_from(sorted(DOMAINS)), st.integers(0, len(TEMPLATES) - 1), st.integers(0, 12))
def test_texts_give_the_values_back(seed: int, domain: str, template: int, start: int) -> None:
    config = Config(numeric=8, levelled=4, domain=domain)
    rows, whole = table(seed, 8, config, start), table(seed, 20, config)
    assert np.array_equal(rows.target, whole.target[start : start + 8])
    texts = text(rows, template=template)
    assert texts == text(whole, template=template)[start : start + 8]
    for written in (texts, linearised(rows)):
        assert check(written, rows) == Check(8 * 12, 0, 0)


def test_missing_columns_are_left_out_and_made_up_ones_are_wrong() -> None:
    rows = table(0, 50)
    mask = np.random.default_rng(0).random((50, 6)) < 0.5
    texts = text(rows, mask)
    assert check(texts, rows, mask) == Check(int(mask.sum()), 0, 0)
    assert check(texts, rows) == Check(int(mask.sum()), 0, int((~mask).sum()))
    assert check(text(rows), rows, mask) == Check(int(mask.sum()), int((~mask).sum()), 0)
    assert set(text(rows, np.zeros((50, 6), bool))) == {"nothing is known"}
    assert check(text(table(1, 50)), rows).wrong > 150


def test_a_text_by_hand() -> None:
    assert parse("length is -1.20, metal is gold; age: 0.05") == {"length": "-1.20", "metal": "gold", "age": "0.05"}
    assert parse("it has 0.31 as its price and it has tin as its metal") == {"price": "0.31", "metal": "tin"}
    assert parse("length is 1.2, metal is lead, colour is red, grade: goodness") == {}
    assert linearised(replace(table(0, 1), numeric=np.array([[0.5, -1.0, 2.0, 0.01]]), level=np.array([[2, 0]]))) == [
        "length[0.50], weight[-1.00], age[2.00], price[0.01], metal[tin], grade[poor]"
    ]


def test_mistakes_are_named() -> None:
    rows = table(0, 3)
    for call, message in (
        (lambda: Config(rule="sums"), "did you mean 'sum'"),
        (lambda: Config(domain="thing"), "did you mean 'things'"),
        (lambda: Config(numeric=1, levelled=0), "columns 1; expected 2"),
        (lambda: Config(noise=0.7), "noise 0.7"),
        (lambda: text(rows, template=9), "template 9; expected 0 to 2"),
        (lambda: text(rows, np.ones((3, 2), bool)), r"mask \[3, 2\]; expected \[3, 6\]"),
        (lambda: check([], rows), "0 texts for 3 rows"),
        (lambda: table(0, 1, part="trian"), "did you mean 'train'"),
    ):
        with pytest.raises(SensoriumError, match=message):
            call()
