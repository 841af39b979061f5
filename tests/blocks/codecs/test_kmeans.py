"""Codebooks against scikit-learn, and what they give back."""

from __future__ import annotations

import pytest
import torch
from sklearn.cluster import KMeans

from sensorium.blocks.codecs.kmeans import Codes, PatchCodes, VectorCodes, cut, glued
from sensorium.core import Field, SensoriumError


def blobs(n: int = 600, seed: int = 0) -> torch.Tensor:
    g = torch.Generator().manual_seed(seed)
    centres = 10 * torch.randn(6, 5, generator=g)
    return centres[torch.arange(n) % 6] + torch.randn(n, 5, generator=g)


def test_codes_are_those_of_scikit_learn() -> None:
    x, book = blobs(), Codes(6, 5)
    book.fit(x)
    theirs = KMeans(6, n_init=5, random_state=0).fit(x.numpy())
    off = (x - book.codes[book.ids(x)]).square().sum().item()
    assert off == pytest.approx(theirs.inertia_, rel=1e-4)
    assert len({tuple(p) for p in zip(book.ids(x).tolist(), theirs.labels_.tolist(), strict=True)}) == 6


def test_fewer_vectors_than_codes_are_kept_exactly() -> None:
    x, book = torch.tensor([[0.0, 1], [2, 3], [5, 5]]).repeat(4, 1), Codes(8, 2)
    book.fit(x)
    assert torch.equal(book.codes[book.ids(x)], x)


def test_fitting_is_the_same_each_time() -> None:
    a, b = Codes(6, 5), Codes(6, 5)
    a.fit(blobs())
    torch.manual_seed(5)
    b.fit(blobs())
    assert torch.equal(a.codes, b.codes)


def test_cutting_and_glueing_are_inverse() -> None:
    x = torch.arange(2 * 3 * 8 * 12).float().view(2, 3, 8, 12)
    patches = cut(x, 4)
    assert patches.shape == (2, 6, 48) and torch.equal(glued(patches, (8, 12), 4), x)
    assert torch.equal(patches[1, 4].view(3, 4, 4), x[1, :, 4:, 4:8])
    with pytest.raises(SensoriumError, match="pictures of 8 x 12; expected multiples of 5"):
        cut(x, 5)


def test_pictures_of_few_patches_come_back_as_they_were() -> None:
    g = torch.Generator().manual_seed(0)
    patches = torch.randint(0, 256, (7, 3, 4, 4), generator=g, dtype=torch.uint8)
    which = torch.randint(0, 7, (20, 6), generator=g)
    image = glued(patches[which].flatten(2).float(), (8, 12), 4).to(torch.uint8)
    codec = PatchCodes((8, 12), 16)
    codec.solve([Field(image[:10]), Field(image[10:], torch.arange(10) < 9)])
    found = codec.encode(Field(image, torch.arange(20) > 0))
    assert found.ids.shape == (20, 6) and codec.shape == (2, 3) and found.mask.sum() == 19 * 6
    assert torch.equal(codec.decode(found.ids).data, image)


def test_vectors_come_back_by_groups() -> None:
    g = torch.Generator().manual_seed(0)
    halves = torch.randn(2, 4, 3, generator=g)
    which = torch.randint(0, 4, (200, 2), generator=g)
    x = torch.cat([halves[0][which[:, 0]], halves[1][which[:, 1]]], 1)
    codec = VectorCodes(6, 2, 8)
    codec.solve([Field(x)])
    ids = codec.encode(Field(x)).ids
    torch.testing.assert_close(codec.decode(ids).data, x)
    odds = torch.zeros(1, 2, 8)
    odds[0, 0, ids[0, 0]], odds[0, 0, ids[1, 0]], odds[0, 1, ids[0, 1]] = 0.25, 0.75, 1
    if ids[0, 0] == ids[1, 0]:
        odds[0, 0, ids[0, 0]] = 1
    expected = torch.cat([0.25 * x[0, :3] + 0.75 * x[1, :3], x[0, 3:]])[None]
    torch.testing.assert_close(codec.expected(odds), expected)
    with pytest.raises(SensoriumError, match="width 6 does not split into 4 groups"):
        VectorCodes(6, 4, 8)
