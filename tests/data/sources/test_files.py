"""Folders of files: classes, sidecar texts, several kinds under one stem."""

from __future__ import annotations

from pathlib import Path

import pytest

from sensorium.core import SensoriumError
from sensorium.data.dataset import Dataset
from sensorium.data.sources.folder import data_sets

from ..conftest import folder, png


def write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def test_folder_names_are_labels_and_a_first_folder_may_be_the_split(tmp_path: Path) -> None:
    for k in range(30):
        part, label = ("train", "test")[k % 5 == 0], ("cat", "dog/small")[k % 2]
        write(tmp_path / part / label / f"{k}.png", png(k))
    found = Dataset(tmp_path)
    assert found.kinds == {"image": "image", "text": "text", "label": "label"}
    assert set(found.texts("label")) == {"cat", "dog/small"} and (found.given == "test").sum() == 6
    assert found.ids[0] == "test/cat/0.png"


def test_a_text_beside_a_picture_is_its_text(tmp_path: Path) -> None:
    for k in range(25):
        write(tmp_path / f"{k}.jpg", png(k, kind="JPEG"))
        write(tmp_path / f"{k}.txt", b"\xef\xbb\xbfcaption %d\n" % k)
    found = Dataset(tmp_path)
    assert found.kinds == {"image": "image", "text": "text"}
    assert dict(zip(found.ids, found.texts("text"), strict=True))["7.jpg"] == "caption 7"


def test_a_sidecar_that_is_no_text_sets_its_row_aside(tmp_path: Path) -> None:
    for k in range(25):
        write(tmp_path / f"{k}.png", png(k))
        write(tmp_path / f"{k}.txt", b"\xff\xfe" if k == 3 else b"caption %d" % k)
    write(tmp_path / "4.jpg", png(4, kind="JPEG"))
    found = Dataset(tmp_path)
    assert sorted((b.source, b.reason) for b in found.quarantine) == [
        ("3.png", "invalid UTF-8"),
        ("4.png", "a second file of this name and kind"),
    ]


def test_hidden_folders_and_other_files_are_left_alone(tmp_path: Path) -> None:
    for k in range(25):
        write(tmp_path / "a" / f"{k}.png", png(k))
    write(tmp_path / ".git" / "x.png", png(99))
    write(tmp_path / "a" / "notes.doc", b"x")
    assert len(Dataset(tmp_path)) == 25


def test_a_new_file_is_seen_at_the_next_start(tmp_path: Path) -> None:
    for k in range(25):
        write(tmp_path / "a" / f"{k}.png", png(k))
    assert len(Dataset(tmp_path)) == 25
    write(tmp_path / "a" / "new.png", png(99))
    assert len(Dataset(tmp_path)) == 26


def test_data_sets_below_a_folder_are_found_and_told_apart(tmp_path: Path) -> None:
    folder(tmp_path / "a" / "pictures", [{"text": f"t{k}"} for k in range(25)])
    for name in ("gun_train", "gun_test", "motion_train"):
        write(tmp_path / "b" / f"{name}.csv", b"text\n" + b"".join(b"line %d\n" % k for k in range(30)))
    found = data_sets(tmp_path)
    assert [str(p.relative_to(tmp_path)) for p in found] == ["a/pictures", "b/gun", "b/motion_train.csv"]
    assert (Dataset(tmp_path / "b" / "gun").given == "test").sum() == 30
    with pytest.raises(SensoriumError, match=r"holds 2 data sets: gun, motion; name one, such as .*/b/gun"):
        Dataset(tmp_path / "b")
