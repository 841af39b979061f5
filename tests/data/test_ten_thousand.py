"""Ten thousand rows, five hundred of them bad in every way an image-text set can be: the rest is used, none lost."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sensorium.core import SensoriumError
from sensorium.data.dataset import Dataset

from .conftest import png
from .test_bad_rows import LINES, PICTURES

ROWS, BAD = 10_000, 500
Line = bytes
"""What stands in metadata.jsonl, without its newline."""


def good(folder: Path, k: int) -> Line:
    """Pictures are shared by twenty rows each, as captions share theirs."""
    (folder / f"{k // 20}.png").write_bytes(png(k // 20))
    return json.dumps({"file_name": f"{k // 20}.png", "text": f"thing number {k}"}).encode()


def picture(data: bytes) -> Callable[[Path, int], Line]:
    def make(folder: Path, k: int) -> Line:
        (folder / f"bad{k}.png").write_bytes(data)
        return json.dumps({"file_name": f"bad{k}.png", "text": f"bad {k}"}).encode()

    return make


def cells(**values: Any) -> Callable[[Path, int], Line]:
    return lambda folder, k: json.dumps({"file_name": "0.png", "text": f"bad {k}"} | values).encode()


def raw(line: bytes) -> Callable[[Path, int], Line]:
    return lambda folder, k: line.rstrip(b"\n")


KINDS: dict[str, tuple[Callable[[Path, int], Line], str]] = {
    **{f"picture {name}": (picture(data), reason) for name, (data, reason) in PICTURES.items()},
    "missing": (cells(file_name="nowhere.png"), "file is missing"),
    "outside": (cells(file_name="../../outside.png"), "path outside the folder"),
    "absolute": (cells(file_name="/etc/hostname"), "path outside the folder"),
    "url": (cells(file_name="http://x.org/a.png"), "nothing is fetched"),
    "null picture": (cells(file_name=None), "no picture"),
    "folder": (cells(file_name="."), "is not a file"),
    "number for a picture": (cells(file_name=7), "not a picture but a int"),
    "empty text": (cells(text=" "), "empty text"),
    "nul": (cells(text="a\0b"), "NUL"),
    "surrogate": (cells(text="\ud800"), "lone surrogate"),
    "number for a text": (cells(text=7), "not a text but a int"),
    "long text": (cells(text="x" * 1_000_001), "1,000,001 characters"),
    **{f"line {name}": (raw(line), reason) for name, (line, reason) in LINES.items() if name != "cut off"},
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """The folder, and per place ("train/metadata.jsonl:12") the kind of each bad row; first and last rows are bad."""
    path = tmp_path_factory.mktemp("ten") / "thousand"
    draw = np.random.default_rng(0)
    places = {0, ROWS // 2 - 1, ROWS // 2, ROWS - 1}
    places |= set(draw.choice(np.setdiff1d(np.arange(ROWS), sorted(places)), BAD - len(places), False).tolist())
    names = [list(KINDS)[k % len(KINDS)] for k in draw.permutation(BAD)]
    kinds = dict(zip(sorted(places), names, strict=True))
    bad = {}
    for part, name in enumerate(("train", "test")):
        folder = path / name
        folder.mkdir(parents=True)
        lines = []
        for line in range(ROWS // 2):
            k = part * (ROWS // 2) + line
            if k in kinds:
                lines.append(KINDS[kinds[k]][0](folder, k))
                bad[f"{name}/metadata.jsonl:{line + 1}"] = kinds[k]
            else:
                lines.append(good(folder, k))
        (folder / "0.png").write_bytes(png(0))
        (folder / "metadata.jsonl").write_bytes(b"\n".join(lines) + b"\n")
    return path, bad


def test_every_bad_row_is_set_aside_with_its_reason_and_no_other(made: tuple[Path, dict[str, str]]) -> None:
    path, bad = made
    found = Dataset(path)
    assert len(KINDS) >= 20 and min(Counter(bad.values()).values()) >= 10
    assert (len(found), len(found.quarantine)) == (ROWS - BAD, BAD)
    aside = {b.source: b for b in found.quarantine}
    assert aside.keys() == bad.keys()
    for place, kind in bad.items():
        assert KINDS[kind][1] in aside[place].reason, (place, kind)
    used = {int(text.rpartition(" ")[2]) for text in found.texts("text")}
    lost = {(0 if p.startswith("train") else ROWS // 2) + int(p.rpartition(":")[2]) - 1 for p in bad}
    assert used | lost == set(range(ROWS)) and not used & lost


def test_above_the_rate_that_was_set_it_stops(made: tuple[Path, dict[str, str]]) -> None:
    with pytest.raises(
        SensoriumError, match=r"^500 of 10000 rows are bad \(limit 4\.9%\): first test/metadata.jsonl:1 image: "
    ):
        Dataset(made[0], max_bad=0.049)


@pytest.mark.parametrize("share", [-0.1, 1.5, 7])
def test_a_rate_that_is_no_share_is_refused(made: tuple[Path, dict[str, str]], share: float) -> None:
    with pytest.raises(SensoriumError, match=f"max_bad {share:g}; expected a share of the rows from 0 to 1"):
        Dataset(made[0], max_bad=share)
