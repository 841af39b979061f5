"""A slip in a name is told with the name that was meant."""

from __future__ import annotations

import pytest

from sensorium.core import SensoriumError, choice, nearest


def test_the_nearest_name_is_told_and_all_where_none_is_near() -> None:
    assert nearest("filp", ["filip", "clip"]) == "; did you mean 'filip'?"
    assert nearest("zzz", ["b", "a"]) == "; expected one of a, b" and nearest("x", []) == ""
    assert nearest("zzz", [f"n{k:02}" for k in range(20)]).endswith("n11, …")


def test_a_setting_gives_what_it_names() -> None:
    assert choice("merge", "ema", {"ema": 1, "none": 2}) == 1
    with pytest.raises(SensoriumError, match="merge 'emma'; did you mean 'ema'"):
        choice("merge", "emma", {"ema": 1, "none": 2})
