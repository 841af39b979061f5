"""Stored features: computed once, found again, computed anew where a file is damaged."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from sensorium.blocks.towers.frozen import Frozen
from sensorium.core import Field, Ids, Tokens, Value
from sensorium.lab import pretrained
from sensorium.run import features as module
from sensorium.run.features import BLOCK, features


@pytest.fixture(autouse=True)
def fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("SENSORIUM_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(module, "SHIPPED", tmp_path / "shipped")
    yield tmp_path / "home"


class Counting:
    """A tower over content numbers that remembers every row it was run on."""

    def __init__(self, identity: str = "toy-1") -> None:
        self.seen: list[list[int]] = []
        self.tower = Frozen("text", identity, 4, self._load)

    def _load(self) -> Counting:
        return self

    def __call__(self, value: Value) -> Tokens:
        assert isinstance(value, Ids)
        self.seen.append(value.ids[:, 0].tolist())
        return exact(value.ids[:, 0])

    @property
    def rows(self) -> list[int]:
        return sorted(k for block in self.seen for k in block)


def exact(content: Tensor) -> Tokens:
    """1 + content mod 3 real tokens of width 4, padded to the longest of the block."""
    lengths = 1 + content % 3
    mask = torch.arange(int(lengths.max())) < lengths[:, None]
    x = torch.sin(content[:, None, None] + torch.arange(mask.shape[1])[None, :, None] * 0.37 + torch.arange(4.0) * 1.7)
    return Tokens(x.masked_fill(~mask[..., None], 0), mask)


def asked(counting: Counting, content: Sequence[int]) -> Tokens:
    def read(positions: Sequence[int]) -> Ids:
        ids = torch.tensor([content[p] for p in positions])[:, None]
        return Ids(ids, torch.ones_like(ids, dtype=torch.bool))

    return features(counting.tower, keys(content), read).to("cpu")


def keys(content: Sequence[int]) -> NDArray[np.uint64]:
    """Hashes above 2^63 too: they are stored as signed numbers."""
    return np.array([k * 0x9E3779B97F4A7C15 % 2**64 for k in content], dtype=np.uint64)


def equal(a: Tokens, b: Tokens) -> None:
    assert torch.equal(a.mask, b.mask) and torch.equal(a.x, b.x)


def close(found: Tokens, content: Sequence[int]) -> None:
    """Within the rounding of bf16: 8 bits of mantissa, half a unit in the last place."""
    want = exact(torch.tensor(content))
    assert found.x.dtype == torch.float32
    assert torch.equal(found.mask, want.mask)
    assert ((found.x - want.x).abs() <= want.x.abs() * 2**-8).all()


def parts(home: Path, identity: str = "toy-1") -> list[Path]:
    return sorted((home / "features" / identity).glob("*.safetensors"))


CONTENT = [5, 3, 8, 4, 13]


def test_features_are_computed_once_and_then_found(fresh: Path) -> None:
    first, second = Counting(), Counting()
    computed, found = asked(first, CONTENT), asked(second, CONTENT)
    assert first.rows == sorted(CONTENT) and second.seen == []
    equal(computed, found)
    close(found, CONTENT)
    assert len(parts(fresh)) == 1


def test_rows_come_in_the_order_asked_for() -> None:
    counting = Counting()
    asked(counting, CONTENT)
    close(asked(counting, CONTENT[::-1]), CONTENT[::-1])
    close(asked(counting, [4]), [4])
    assert len(counting.rows) == len(CONTENT)


def test_only_unseen_content_is_computed() -> None:
    counting = Counting()
    asked(counting, [3, 6])  # one token each
    mixed = asked(counting, [5, 3, 8, 6])  # three tokens and one
    assert counting.rows == [3, 5, 6, 8]
    close(mixed, [5, 3, 8, 6])
    close(asked(counting, [8, 6, 3, 5]), [8, 6, 3, 5])  # now from two parts of different length
    assert len(counting.rows) == 4


def test_equal_content_is_computed_once() -> None:
    counting = Counting()
    content = [5, 3, 5, 5, 3, 8]
    close(asked(counting, content), content)
    assert counting.rows == [3, 5, 8]


def test_many_rows_go_through_in_blocks() -> None:
    counting = Counting()
    content = list(range(BLOCK + 7))
    said: list[tuple[str, int, int]] = []

    def read(positions: Sequence[int]) -> Ids:
        ids = torch.tensor([content[p] for p in positions])[:, None]
        return Ids(ids, torch.ones_like(ids, dtype=torch.bool))

    found = features(counting.tower, keys(content), read, lambda *line: said.append(line)).to("cpu")
    close(found, content)
    assert [len(b) for b in counting.seen] == [BLOCK, 7]
    assert said == [("features toy (text)", BLOCK, BLOCK + 7), ("features toy (text)", BLOCK + 7, BLOCK + 7)]


def test_towers_do_not_find_each_others_features() -> None:
    one, other = Counting("toy-1"), Counting("toy-2")
    asked(one, CONTENT)
    asked(other, CONTENT)
    assert other.rows == sorted(CONTENT)


@pytest.mark.parametrize("keep", [0, 4, 60, -1])
def test_a_torn_part_is_computed_again(fresh: Path, keep: int) -> None:
    whole = asked(Counting(), CONTENT)
    (part,) = parts(fresh)
    part.write_bytes(part.read_bytes()[:keep])
    again = Counting()
    equal(asked(again, CONTENT), whole)
    assert again.rows == sorted(CONTENT)
    later = Counting()  # and the damaged file was replaced
    equal(asked(later, CONTENT), whole)
    assert later.seen == []


def test_a_tampered_part_is_computed_again(fresh: Path) -> None:
    whole = asked(Counting(), CONTENT)
    (part,) = parts(fresh)
    good = part.read_bytes()
    for at in (len(good) - 3, len(good) // 2, len(good) * 2 // 3):
        part.write_bytes(good[:at] + bytes([good[at] ^ 0x40]) + good[at + 1 :])
        equal(asked(Counting(), CONTENT), whole)


def test_a_strange_file_among_the_parts_is_passed_over(fresh: Path) -> None:
    whole = asked(Counting(), CONTENT)
    parts(fresh)[0].with_name("0.safetensors").write_bytes(b"\x02\0\0\0\0\0\0\0{}")
    equal(asked(Counting(), CONTENT), whole)


def test_shipped_features_are_found_first(fresh: Path, tmp_path: Path) -> None:
    whole = asked(Counting(), CONTENT)
    (tmp_path / "shipped").mkdir()
    parts(fresh)[0].rename(tmp_path / "shipped" / "toy-1.safetensors")
    counting = Counting()
    equal(asked(counting, CONTENT), whole)
    assert counting.seen == [] and parts(fresh) == []


def test_a_tower_is_opened_only_when_something_is_unseen() -> None:
    asked(Counting(), CONTENT)

    def never() -> Counting:
        raise AssertionError("opened")

    counting = Counting()
    counting.tower = Frozen("text", "toy-1", 4, never)
    close(asked(counting, CONTENT), CONTENT)


def test_stored_features_of_a_real_tower_agree_with_the_tower() -> None:
    if pretrained.ALL["efficientnet-lite0"].path() is None:
        pytest.skip("weights efficientnet-lite0 are not installed")
    tower = pretrained.image_tower("tokens")
    draw = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (3, 3, tower.size, tower.size), generator=draw, dtype=torch.uint8)
    direct = tower(Field(pixels))
    numbers = np.arange(3, dtype=np.uint64)
    stored = features(tower, numbers, lambda positions: Field(pixels[list(positions)])).to("cpu")
    assert torch.equal(stored.mask, direct.mask)
    assert ((stored.x - direct.x).abs() <= direct.x.abs() * 2**-8 + 1e-6).all()
    alike = torch.nn.functional.cosine_similarity(stored.x.flatten(1), direct.x.flatten(1))
    assert alike.min() > 0.9999
