"""Tar shards: read as streams, grouped by key, nothing extracted, hostile archives refused."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import pytest

from sensorium.core import SensoriumError
from sensorium.data.dataset import Dataset
from sensorium.data.limits import Limits

from ..conftest import png

Member = tuple[str, bytes]


def shard(path: Path, members: list[Member | tarfile.TarInfo], mode: str = "w") -> Path:
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for member in members:
            if isinstance(member, tarfile.TarInfo):
                archive.addfile(member)
                continue
            info = tarfile.TarInfo(member[0])
            info.size = len(member[1])
            archive.addfile(info, io.BytesIO(member[1]))
    return path


def pairs(n: int, start: int = 0) -> list[Member | tarfile.TarInfo]:
    return [m for k in range(start, start + n) for m in ((f"{k:04d}.png", png(k)), (f"{k:04d}.txt", b"thing %d" % k))]


@pytest.mark.parametrize(("ending", "mode"), [("tar", "w"), ("tar.gz", "w:gz"), ("tgz", "w:gz"), ("tar.xz", "w:xz")])
def test_pairs_become_rows_and_pictures_are_read_again_from_where_they_lie(
    tmp_path: Path, ending: str, mode: str
) -> None:
    found = Dataset(shard(tmp_path / f"d.{ending}", pairs(30), mode))
    assert found.kinds == {"image": "image", "text": "text"}
    assert (found.ids[3], found.texts("text")[3]) == ("0003", "thing 3")
    assert found.image("image", 3).size == (24, 24) and found.pixels("image", 8).shape == (30, 3, 8, 8)


def test_shards_of_one_folder_are_one_set_and_names_say_the_split(tmp_path: Path) -> None:
    (tmp_path / "plain").mkdir()
    shard(tmp_path / "plain" / "shard-000.tar", pairs(15))
    shard(tmp_path / "plain" / "shard-001.tar", pairs(15, 15))
    assert len(Dataset(tmp_path / "plain")) == 30
    shard(tmp_path / "train-000.tar", pairs(20))
    shard(tmp_path / "test-000.tar", pairs(10, 20))
    assert (Dataset(tmp_path).given == "test").sum() == 10


def test_json_members_give_columns(tmp_path: Path) -> None:
    members: list[Member | tarfile.TarInfo] = []
    for k in range(25):
        members += [(f"a/{k}.jpg", png(k, kind="JPEG")), (f"a/{k}.json", json.dumps({"caption": f"c{k}"}).encode())]
        members.append((f"a/{k}.cls", b"%d" % (k % 3)))
    found = Dataset(shard(tmp_path / "d.tar", members))
    assert found.ids[0] == "a/0" and found.texts("text")[1] == "c1" and found.texts("label")[4] == "1"


def link(name: str, target: str, kind: bytes) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


HOSTILE: dict[str, tuple[list[Member | tarfile.TarInfo], str, str]] = {
    "parent": ([("../x.png", png(99))], "../x", "path outside the archive"),
    "absolute": ([("/nobodys-x.png", png(99))], "/nobodys-x", "path outside the archive"),
    "symlink": ([link("l.png", "/etc/hostname", tarfile.SYMTYPE)], "l", "a link or a device"),
    "hardlink": ([link("h.png", "0000.png", tarfile.LNKTYPE)], "h", "a link or a device"),
    "device": ([link("d.png", "", tarfile.CHRTYPE)], "d", "a link or a device"),
    "fifo": ([link("f.png", "", tarfile.FIFOTYPE)], "f", "a link or a device"),
    "pickle": ([("p.png", png(98)), ("p.pkl", b"\x80\x04.")], "p", ".pkl may hold code"),
    "torch": ([("t.png", png(98)), ("t.image.pt", b"PK")], "t", "may hold code"),
    "duplicate": ([("0000.png", png(97)), ("0000.txt", b"again")], "0000", "a second row with this key"),
    "twice": ([("w.png", png(96)), ("w.png", png(95)), ("w.txt", b"w")], "w", "two members named 'image'"),
    "lonely picture": ([("o.png", png(94))], "o", "empty text"),
    "lonely text": ([("q.txt", b"no picture")], "q", "no picture"),
    "json": ([("j.png", png(93)), ("j.json", b'{"a": NaN}')], "j", "NaN is not JSON"),
    "not utf-8": ([("u.png", png(92)), ("u.txt", b"\xff\xfe")], "u", "invalid UTF-8"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_member_sets_its_row_aside_and_writes_nothing(tmp_path: Path, name: str) -> None:
    members, key, reason = HOSTILE[name]
    before = Path("/nobodys-x.png").exists()
    (tmp_path / "in").mkdir()
    found = Dataset(shard(tmp_path / "in" / "d.tar", [*pairs(40), *members]))
    assert len(found) == 40
    (bad,) = found.quarantine
    assert bad.source == f"d.tar:{key}" and reason in bad.reason
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["d.tar", "in"] and Path("/nobodys-x.png").exists() == before


@pytest.mark.parametrize("cut", [100, 512, 700, 1500])
def test_a_truncated_shard_gives_what_came_before(tmp_path: Path, cut: int) -> None:
    path = shard(tmp_path / "d.tar", pairs(40))
    whole = 40 * (2 * 512 + 512 * -(-len(png(0)) // 512) + 512)
    path.write_bytes(path.read_bytes()[: whole - cut])
    found = Dataset(path)
    assert len(found) == 39 and [b.source for b in found.quarantine] == ["d.tar:0039"]


def test_a_gzip_bomb_stops_at_the_limit(tmp_path: Path) -> None:
    path = shard(tmp_path / "d.tar.gz", [*pairs(20), ("z.txt", b"0" * (64 << 20))], "w:gz")
    assert path.stat().st_size < 200_000
    with pytest.raises(SensoriumError, match=r"d\.tar\.gz unpacks to more than 8,388,608 bytes"):
        Dataset(path, limits=Limits(table=8 << 20))


def test_what_is_no_archive_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "d.tar").write_bytes(b"no archive at all" * 100)
    with pytest.raises(SensoriumError, match=r"d\.tar is not readable as tar"):
        Dataset(tmp_path / "d.tar")
