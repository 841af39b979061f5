"""The stored data set: opened at once when nothing changed, built anew when anything did."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sensorium.core import SensoriumError
from sensorium.data import dataset, store
from sensorium.data.cache import home
from sensorium.data.dataset import Dataset

from .conftest import folder, png


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """One entry per data set that was read from its files."""
    seen: list[str] = []
    real = dataset._build

    def build(*args: Any) -> Any:
        seen.append(args[4])
        return real(*args)

    monkeypatch.setattr(dataset, "_build", build)
    return seen


def aged(path: Path, seconds: float = 60) -> Path:
    """Every file as if written a while ago: the clock's tick says nothing about what is newer."""
    for p in [path, *path.rglob("*")]:
        at = p.stat().st_mtime - seconds
        os.utime(p, (at, at))
    return path


def rows(n: int = 30) -> list[dict[str, Any]]:
    return [{"text": f"thing {k}"} for k in range(n)]


def test_an_unchanged_data_set_is_not_read_again(tmp_path: Path, built: list[str]) -> None:
    path = aged(folder(tmp_path / "d", [*rows(), {"text": "bad", "file_name": "no.png"}]))
    first, second = Dataset(path), Dataset(path)
    assert len(built) == 1
    assert second.fingerprint == first.fingerprint and second.quarantine == first.quarantine
    assert second.notes == first.notes and list(second.ids) == list(first.ids)
    assert (second.groups == first.groups).all() and second.given.tolist() == first.given.tolist()


def rewrite(path: Path) -> None:
    (path / "3.png").write_bytes(png(999))


def append(path: Path) -> None:
    with (path / "metadata.jsonl").open("a") as out:
        out.write(json.dumps({"file_name": "0.png", "text": "one more"}) + "\n")


def arrive(path: Path) -> None:
    (path / "no.png").write_bytes(png(998))


def describe(path: Path) -> None:
    (path / "dataset.json").write_text('{"name": "Named"}')


@pytest.mark.parametrize("change", [rewrite, append, arrive, describe])
def test_a_change_of_any_file_that_was_named_is_seen(
    tmp_path: Path, built: list[str], change: Callable[[Path], None]
) -> None:
    path = aged(folder(tmp_path / "d", [*rows(), {"text": "bad", "file_name": "no.png"}]))
    before = Dataset(path)
    change(path)
    after = Dataset(path)
    assert len(built) == 2
    assert (after.fingerprint, after.name) != (before.fingerprint, before.name)


def test_files_that_changed_within_the_clocks_tick_are_not_trusted(tmp_path: Path, built: list[str]) -> None:
    path = folder(tmp_path / "d", rows())
    Dataset(path), Dataset(path)
    assert len(built) == 2


@pytest.mark.parametrize("name", ["rows.arrow", "files.arrow", "quarantine.jsonl", "meta.json"])
def test_a_damaged_store_is_built_anew(tmp_path: Path, built: list[str], name: str) -> None:
    path = aged(folder(tmp_path / "d", rows()))
    first = Dataset(path)
    (stored,) = (home() / "decoded" / "sets").glob(f"*/{name}")
    data = bytearray(stored.read_bytes() or b"x")
    data[len(data) // 2] ^= 0x40
    stored.write_bytes(data)
    assert Dataset(path).fingerprint == first.fingerprint and len(built) == 2


def test_other_roles_and_other_limits_are_other_stores(tmp_path: Path, built: list[str]) -> None:
    path = aged(folder(tmp_path / "d", [{"text": f"a {k}", "other": f"b {k}"} for k in range(30)]))
    assert Dataset(path).texts("text")[0] == "a 0"
    assert Dataset(path, {"text": "other"}).texts("text")[0] == "b 0"
    assert Dataset(path, limits=dataset.Limits(text=100)).texts("text")[0] == "a 0" and len(built) == 3
    assert len(list((home() / "decoded" / "sets").glob("*.current"))) == 3


def test_the_store_before_is_cleared_away_and_a_failed_one_leaves_nothing(tmp_path: Path) -> None:
    path = folder(tmp_path / "d", rows())
    Dataset(path), Dataset(path)
    (path / "metadata.jsonl").write_text('{"file_name": "no.png", "text": "x"}\n' * 30)
    with pytest.raises(SensoriumError, match="30 of 30 rows are bad"):
        Dataset(path)
    assert len([p for p in (home() / "decoded" / "sets").iterdir() if p.is_dir()]) == 1


def test_an_open_data_set_outlives_its_successor(tmp_path: Path) -> None:
    path = folder(tmp_path / "d", rows())
    first = Dataset(path)
    append(path)
    assert len(Dataset(path)) == 31 and first.texts("text")[29] == "thing 29" and len(first) == 30


def test_a_home_that_cannot_be_written_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("SENSORIUM_HOME", str(tmp_path / "file" / "home"))
    with pytest.raises(SensoriumError, match=r"cannot write .*file/home"):
        Dataset(folder(tmp_path / "d", rows()))


def test_names_that_repeat_are_numbered(tmp_path: Path) -> None:
    found = Dataset(
        folder(tmp_path / "d", [{"file_name": "0.png", "text": f"t{k}"} for k in range(25)], {"0.png": png(1)})
    )
    assert found.ids[:3] == ["0.png", "0.png#2", "0.png#3"] and len(set(found.ids)) == 25


def test_strings_are_a_sequence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "BATCH", 7)
    texts = Dataset(folder(tmp_path / "d", rows())).texts("text")
    want = [f"thing {k}" for k in range(30)]
    assert list(texts) == want == [texts[k] for k in range(30)] and texts[5:20:3] == want[5:20:3]
    assert texts[-1] == want[-1] and texts[np.int64(8)] == want[8] and texts == want
    with pytest.raises(IndexError, match="row 30 of 30"):
        texts[30]


def test_a_relative_path_is_read_again_from_another_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = pa.table({"image": [png(k) for k in range(24)], "text": [f"t{k}" for k in range(24)]})
    (tmp_path / "inner").mkdir()
    pq.write_table(table, tmp_path / "inner" / "rows.parquet")
    monkeypatch.chdir(tmp_path)
    first = Dataset("inner/rows.parquet").image("image", 3)
    monkeypatch.chdir(tmp_path / "inner")
    again = Dataset("rows.parquet")
    assert again.image("image", 3).tobytes() == first.tobytes()
