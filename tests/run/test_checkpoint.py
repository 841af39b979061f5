"""Checkpoints: whole or not at all, found damaged when damaged, strict when loaded."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save
from torch import Tensor, nn

from sensorium.core import Batch, Method, Rng, SensoriumError, Terms
from sensorium.run import checkpoint
from sensorium.run.checkpoint import (
    damage,
    found,
    load_weights,
    newest,
    prune,
    publish,
    tidy,
    to_json,
    verified,
    weights,
    write_json,
)

FILES = {"model.safetensors": bytes(range(200)), "state.json": b'{"step": 3}\n'}


class Killed(BaseException):
    """What no handler catches."""


class Data(Method):
    """A weight, a constant buffer, and a buffer that the data sizes."""

    def __init__(self, wide: int = 3) -> None:
        super().__init__()
        self.layer = nn.Linear(wide, 2)
        self.register_buffer("fixed", torch.arange(2.0))
        self.inner = nn.Module()
        self.inner.register_buffer("anchors", torch.empty(0))

    def losses(self, batch: Batch, rng: Rng) -> Terms:
        return {}


def contents(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in folder.iterdir()}


# Publishing


def test_published_files_are_there_and_verified(tmp_path: Path) -> None:
    folder = tmp_path / "checkpoints" / "3"
    publish(folder, FILES)
    assert {k: v for k, v in contents(folder).items() if k != "manifest.json"} == FILES
    assert verified(folder)
    assert [p.name for p in folder.parent.iterdir()] == ["3"]


def raising(after: int, name: str) -> Callable[..., None]:
    """The `after`-th call of os.`name` dies; the ones before go through."""
    real, calls = getattr(os, name), [0]

    def call(*args: object) -> None:
        calls[0] += 1
        if calls[0] > after:
            raise Killed(name)
        real(*args)

    return call


WRITES = len(FILES) + 1
KILLS = [("replace", 0), *(("fsync", k) for k in range(WRITES + 1))]


@pytest.mark.parametrize(("name", "after"), KILLS)
def test_killed_before_the_rename_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, after: int
) -> None:
    run = tmp_path / "run"
    publish(run / "checkpoints" / "1", FILES)
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(os, name, raising(after, name))
        publish(run / "checkpoints" / "2", FILES)
    assert not (run / "checkpoints" / "2").exists()
    assert newest(run).name == "1"
    publish(run / "checkpoints" / "2", FILES)  # what the dead one left is in nobody's way
    assert newest(run).name == "2"
    assert sorted(p.name for p in (run / "checkpoints").iterdir()) == ["1", "2"]


@pytest.mark.parametrize(("name", "after"), KILLS)
def test_killed_over_an_older_folder_keeps_the_older_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, after: int
) -> None:
    folder = tmp_path / "checkpoints" / "1"
    publish(folder, FILES)
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(os, name, raising(after, name))
        publish(folder, {**FILES, "state.json": b"{}"})
    assert (folder / "state.json").read_bytes() == FILES["state.json"]
    assert verified(folder)


def test_publishing_again_replaces_every_file(tmp_path: Path) -> None:
    folder = tmp_path / "1"
    publish(folder, FILES)
    publish(folder, {"other.json": b"{}"})
    assert set(contents(folder)) == {"other.json", "manifest.json"} and verified(folder)
    assert [p.name for p in tmp_path.iterdir()] == ["1"]


def test_every_file_and_folder_is_synced_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    events: list[str] = []
    fsync, replace = os.fsync, os.replace

    def synced(descriptor: int) -> None:
        fsync(descriptor)
        events.append(Path(os.readlink(f"/proc/self/fd/{descriptor}")).name)

    def renamed(a: Path, b: Path) -> None:
        replace(a, b)
        events.append(f"-> {Path(b).name}")

    if not Path("/proc/self/fd").exists():
        pytest.skip("names of open files are read from /proc")
    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "replace", renamed)
    publish(tmp_path / "checkpoints" / "3", FILES)
    assert sorted(events[:WRITES]) == sorted([*FILES, "manifest.json"])
    assert events[WRITES].startswith(".3.")
    assert events[WRITES + 1 :] == ["-> 3", "checkpoints"]


def test_json_is_replaced_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "scores.json"
    write_json(path, {"r@1": 0.5, "mrr": float("nan"), "curve": [float("inf"), 1.0]})
    assert json.loads(path.read_text()) == {"r@1": 0.5, "mrr": None, "curve": [None, 1.0]}
    for name in ("replace", "fsync"):
        with monkeypatch.context() as patch, pytest.raises(Killed):
            patch.setattr(os, name, raising(0, name))
            write_json(path, {"r@1": 0.9})
        assert json.loads(path.read_text())["r@1"] == 0.5


def test_json_of_a_number_that_is_none_is_valid() -> None:
    assert to_json((float("nan"), float("-inf"), 1)) == b"[\n null,\n null,\n 1\n]\n"


# A disk that fails


def failing(after: int, number: int, name: str) -> Callable[..., None]:
    """The `after`-th call of os.`name` fails as the operating system would."""
    real, calls = getattr(os, name), [0]

    def call(*args: object) -> None:
        calls[0] += 1
        if calls[0] > after:
            raise OSError(number, os.strerror(number))
        real(*args)

    return call


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EROFS, errno.EACCES])
@pytest.mark.parametrize(("name", "after"), KILLS)
@pytest.mark.parametrize("there", [False, True], ids=["new", "again"])
def test_what_cannot_be_written_is_one_line_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, after: int, number: int, there: bool
) -> None:
    folder = tmp_path / "checkpoints" / "7"
    publish(tmp_path / "checkpoints" / "3", FILES)
    if there:
        publish(folder, FILES)
    with monkeypatch.context() as patch, pytest.raises(SensoriumError) as refused:
        patch.setattr(os, name, failing(after, number, name))
        publish(folder, {**FILES, "more": bytes(5000)})
    size = int(str(refused.value).partition("needs ")[2].partition(" bytes")[0].replace(",", ""))
    assert 5200 < size < 6500
    assert str(refused.value).startswith(f"cannot write {folder}, which needs ")
    assert str(refused.value).endswith(os.strerror(number))
    assert sorted(p.name for p in folder.parent.iterdir()) == (["3", "7"] if there else ["3"])
    assert newest(tmp_path).name == ("7" if there else "3")


# Finding, keeping, tidying


def test_one_that_was_being_replaced_is_found_where_it_was_put_aside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SIGKILL between the two renames runs no handler: the old one stays under its other name."""
    folder = tmp_path / "checkpoints" / "7"
    publish(tmp_path / "checkpoints" / "3", FILES)
    publish(folder, FILES)
    folder.rename(folder.with_name(".7.old"))
    (tmp_path / "checkpoints" / ".7.99.tmp").mkdir()
    assert newest(tmp_path).name == ".7.old"
    tidy(tmp_path)
    assert newest(tmp_path) == folder and verified(folder)
    assert sorted(p.name for p in folder.parent.iterdir()) == ["3", "7"]


def test_what_was_put_aside_goes_where_it_was_replaced_or_is_damaged(tmp_path: Path) -> None:
    for step in (3, 7, 9):
        publish(tmp_path / "checkpoints" / str(step), FILES)
    shutil.copytree(tmp_path / "checkpoints" / "7", tmp_path / "checkpoints" / ".7.old")
    (tmp_path / "checkpoints" / "9").rename(tmp_path / "checkpoints" / ".9.old")
    (tmp_path / "checkpoints" / ".9.old" / "state.json").write_bytes(b"torn")
    tidy(tmp_path)
    assert sorted(p.name for p in (tmp_path / "checkpoints").iterdir()) == ["3", "7"]


def test_tidying_takes_what_is_temporary_and_nothing_else(tmp_path: Path) -> None:
    kept = ["run.json", "notes.tmp", ".hidden"]
    for name in [*kept, ".run.json.12.ab.tmp"]:
        (tmp_path / name).write_text("x")
    publish(tmp_path / "checkpoints" / "3", FILES)
    (tmp_path / "checkpoints" / ".4.12.tmp").mkdir()
    (tmp_path / "checkpoints" / ".4.12.tmp" / "model.safetensors").write_bytes(b"x")
    tidy(tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted([*kept, "checkpoints"])
    assert [p.name for p in (tmp_path / "checkpoints").iterdir()] == ["3"]


def steps(run: Path) -> list[str]:
    return [c.name for c in found(run)]


def test_pruning_keeps_the_newest_two_good_ones(tmp_path: Path) -> None:
    for step in (9, 10, 100, 101):
        publish(tmp_path / "checkpoints" / str(step), FILES)
    (tmp_path / "checkpoints" / "100" / "state.json").write_bytes(b"torn")
    assert steps(tmp_path) == ["101", "100", "10", "9"]
    prune(tmp_path)
    assert steps(tmp_path) == ["101", "10"]
    prune(tmp_path, keep=1)
    assert steps(tmp_path) == ["101"]
    prune(tmp_path)
    assert steps(tmp_path) == ["101"]


def test_pruning_removes_nothing_where_the_newest_is_damaged(tmp_path: Path) -> None:
    for step in (1, 2, 3):
        publish(tmp_path / "checkpoints" / str(step), FILES)
    (tmp_path / "checkpoints" / "3" / "state.json").write_bytes(b"torn")
    prune(tmp_path)
    assert steps(tmp_path) == ["3", "2", "1"]
    prune(tmp_path / "nowhere")


def test_what_is_damaged_is_said_with_the_one_that_is_used(tmp_path: Path) -> None:
    for step in (300, 400, 500):
        publish(tmp_path / "checkpoints" / str(step), FILES)
    (tmp_path / "checkpoints" / "500" / "state.json").unlink()
    (tmp_path / "checkpoints" / "400" / "model.safetensors").write_bytes(b"torn")
    said: list[str] = []
    assert newest(tmp_path, said.append).name == "300"
    assert said == [
        "checkpoint 500 is damaged (state.json: No such file or directory); going on from 300",
        "checkpoint 400 is damaged (model.safetensors does not match its checksum); going on from 300",
    ]
    with pytest.warns(UserWarning, match="checkpoint [45]00 is damaged") as warned:
        newest(tmp_path)
    assert [str(w.message) for w in warned] == said
    assert damage(tmp_path / "checkpoints" / "300") == ""
    assert damage(tmp_path / "nowhere") == "manifest.json: No such file or directory"


# Damage


@pytest.mark.parametrize("name", [*FILES, "manifest.json"])
def test_every_flipped_bit_is_found(tmp_path: Path, name: str) -> None:
    publish(tmp_path / "1", FILES)
    path = tmp_path / "1" / name
    good = path.read_bytes()
    unseen = []
    for k in range(len(good)):
        for bit in range(8) if name == "manifest.json" else (k % 8,):
            path.write_bytes(good[:k] + bytes([good[k] ^ 1 << bit]) + good[k + 1 :])
            if verified(tmp_path / "1"):
                unseen.append((k, bit, good[max(0, k - 12) : k + 1]))
    assert unseen == []
    path.write_bytes(good)
    assert verified(tmp_path / "1")


@pytest.mark.parametrize("name", [*FILES, "manifest.json"])
def test_every_truncation_is_found(tmp_path: Path, name: str) -> None:
    publish(tmp_path / "1", FILES)
    path = tmp_path / "1" / name
    good = path.read_bytes()
    for k in range(len(good)):
        path.write_bytes(good[:k])
        assert not verified(tmp_path / "1"), k
    path.write_bytes(good + b"\0")
    assert not verified(tmp_path / "1")
    path.unlink()
    assert not verified(tmp_path / "1")


@pytest.mark.parametrize("manifest", [b"", b"[]", b"3", b"null", b'{"model.safetensors": 3}', b"\xff\xfe", b"{}"])
def test_a_manifest_of_another_shape_is_not_verified(tmp_path: Path, manifest: bytes) -> None:
    publish(tmp_path / "1", FILES)
    (tmp_path / "1" / "manifest.json").write_bytes(manifest)
    assert not verified(tmp_path / "1")


def test_a_folder_without_manifest_is_not_verified(tmp_path: Path) -> None:
    (tmp_path / "1").mkdir()
    assert not verified(tmp_path / "1") and not verified(tmp_path / "2")


def test_newest_counts_numbers_and_falls_back_to_the_older_good_one(tmp_path: Path) -> None:
    for step in (9, 10, 100):
        publish(tmp_path / "checkpoints" / str(step), FILES)
    assert newest(tmp_path).name == "100"
    for step, older in ((100, "10"), (10, "9")):
        (tmp_path / "checkpoints" / str(step) / "model.safetensors").write_bytes(b"torn")
        assert newest(tmp_path, lambda _: None).name == older
    (tmp_path / "checkpoints" / "9" / "manifest.json").unlink()
    with pytest.raises(SensoriumError, match="no checkpoint whose checksums hold"):
        newest(tmp_path)


def test_newest_of_a_race_is_that_of_its_best_run(tmp_path: Path) -> None:
    publish(tmp_path / "checkpoints" / "5", FILES)
    publish(tmp_path / "best" / "checkpoints" / "4", FILES)
    (tmp_path / "race.json").write_text("{}")
    assert newest(tmp_path) == tmp_path / "best" / "checkpoints" / "4"


def test_newest_of_nothing_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(SensoriumError, match="no checkpoint"):
        newest(tmp_path / "nowhere")


def test_a_checkpoint_that_was_moved_still_holds(tmp_path: Path) -> None:
    publish(tmp_path / "a" / "checkpoints" / "3", FILES)
    os.rename(tmp_path / "a", tmp_path / "b")
    assert newest(tmp_path / "b").name == "3"


# Loading


def stored(path: Path, method: nn.Module, drop: str = "", **more: Tensor) -> Path:
    state = {k: v for k, v in method.state_dict().items() if v.numel() and k != drop}
    path.write_bytes(save({**state, **more}))
    return path


def test_weights_come_back_equal_and_data_sized_buffers_take_their_shape(tmp_path: Path) -> None:
    ours, fresh = Data(), Data()
    ours.inner.anchors = torch.randn(5, 4)
    ours.fixed.add_(3)
    path = tmp_path / "model.safetensors"
    path.write_bytes(weights(ours))
    load_weights(fresh, path)
    assert all(torch.equal(v, fresh.state_dict()[k]) for k, v in ours.state_dict().items())
    assert fresh.inner.get_buffer("anchors").shape == (5, 4)


def test_a_buffer_that_stayed_empty_is_neither_written_nor_missed(tmp_path: Path) -> None:
    ours, fresh = Data(), Data()
    path = tmp_path / "model.safetensors"
    path.write_bytes(weights(ours))
    load_weights(fresh, path)
    assert torch.equal(fresh.layer.weight, ours.layer.weight)


@pytest.mark.parametrize("name", ["layer.weight", "layer.bias", "fixed"])
def test_a_missing_name_is_refused_by_name(tmp_path: Path, name: str) -> None:
    with pytest.raises(SensoriumError, match=name):
        load_weights(Data(), stored(tmp_path / "m", Data(), drop=name))


def test_an_unknown_name_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(SensoriumError, match=r"layer\.more"):
        load_weights(Data(), stored(tmp_path / "m", Data(), **{"layer.more": torch.ones(1)}))


def test_another_shape_is_refused_in_one_line_by_name(tmp_path: Path) -> None:
    with pytest.raises(SensoriumError, match=r"layer\.weight") as refused:
        load_weights(Data(4), stored(tmp_path / "m", Data(3)))
    assert "\n" not in str(refused.value)


def test_what_is_refused_changes_no_weight(tmp_path: Path) -> None:
    method = Data()
    before = {k: v.clone() for k, v in method.state_dict().items()}
    for path in (
        stored(tmp_path / "a", Data(), drop="layer.bias"),
        stored(tmp_path / "b", Data(), more=torch.ones(1)),
    ):
        with pytest.raises(SensoriumError):
            load_weights(method, path)
    assert all(torch.equal(v, before[k]) for k, v in method.state_dict().items())


@pytest.mark.parametrize("damage", [b"", b"torn", None])
def test_a_file_that_is_no_safetensors_is_one_clear_line(tmp_path: Path, damage: bytes | None) -> None:
    path = tmp_path / "model.safetensors"
    whole = weights(Data())
    path.write_bytes(whole[: len(whole) // 2] if damage is None else damage)
    with pytest.raises(SensoriumError, match=r"model\.safetensors is not a readable safetensors file"):
        load_weights(Data(), path)


def test_a_pickle_never_runs(tmp_path: Path) -> None:
    path, canary = tmp_path / "model.safetensors", tmp_path / "ran"

    class Bomb:
        def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
            return os.system, (f"touch {canary}",)

    torch.save({"layer.weight": Bomb()}, path)
    with pytest.raises(SensoriumError):
        load_weights(Data(), path)
    assert not canary.exists()


def test_nothing_here_reads_pickles() -> None:
    source = Path(checkpoint.__file__).read_text()
    assert "import pickle" not in source and "torch.load" not in source
