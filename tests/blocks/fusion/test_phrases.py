"""Phrases cut out of texts, against loops."""

from __future__ import annotations

import torch

from sensorium.blocks.fusion.phrases import counted, likeness, objects, phrases, same_phrase, spread
from sensorium.core import Batch, Field, Ids

TEXT = Ids(
    torch.tensor([[5, 6, 7, 8, 9], [4, 5, 6, 0, 0]]),
    torch.tensor([[True] * 5, [True, True, True, False, False]]),
)
SPANS = Field(
    torch.tensor([[[0, 2], [2, 5]], [[1, 3], [0, 3]]]),
    torch.tensor([[True, True], [True, False]]),
)
BATCH: Batch = {"text": TEXT, "spans": SPANS}


def test_spans_are_cut_out() -> None:
    assert phrases(BATCH, 4).tolist() == [[[5, 6, -1, -1], [7, 8, 9, -1]], [[5, 6, -1, -1], [-1] * 4]]
    assert phrases(BATCH, 2).tolist() == [[[5, 6], [7, 8]], [[5, 6], [-1, -1]]]


def test_padding_on_either_side_changes_nothing() -> None:
    pad = torch.nn.functional.pad
    for side in ((2, 0), (0, 3), (1, 1)):
        wider = Ids(pad(TEXT.ids, side, value=7), pad(TEXT.mask, side))
        assert torch.equal(phrases({"text": wider, "spans": SPANS}), phrases(BATCH))
        assert SPANS.mask is not None
        inside = spread(SPANS.data, SPANS.mask, wider.mask)
        assert inside.sum(-1).tolist() == [[2, 3], [2, 0]] and not inside[~wider.mask[:, None].expand_as(inside)].any()


def test_phrases_are_counted_and_known_again() -> None:
    found = phrases(BATCH, 3)
    assert counted(found) == {(5, 6, -1): 2, (7, 8, 9): 1}
    known = torch.tensor([[5, 6, -1], [7, 8, -1], [-1, -1, -1]])
    assert same_phrase(found, known).tolist() == [[[1, 0, 0], [0, 0, 0]], [[1, 0, 0], [0, 0, 0]]]


def test_likeness_is_shared_words_over_all() -> None:
    found = torch.tensor([[[5, 6, -1], [7, 8, 9]], [[-1, -1, -1], [9, 5, -1]]])
    known = torch.tensor([[5, 6, -1], [6, 7, 8]])
    want = [[[1, 1 / 4], [0, 2 / 4]], [[0, 0], [1 / 3, 0]]]
    torch.testing.assert_close(likeness(found, known), torch.tensor(want))


def test_an_object_needs_a_box_and_a_span() -> None:
    boxes = Field(torch.rand(2, 3, 4), torch.tensor([[True, False, True], [True, True, True]]))
    truth, spans, there = objects({**BATCH, "boxes": boxes})
    assert truth.shape == (2, 2, 4) and spans.shape == (2, 2, 2)
    assert there.tolist() == [[True, False], [True, False]]
