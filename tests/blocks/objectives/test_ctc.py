"""CTC: by hand, against a sum over all alignments, against torch.nn.CTCLoss; greedy decoding."""

from __future__ import annotations

from itertools import groupby, product

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from sensorium.blocks.objectives.ctc import collapsed, ctc
from sensorium.core import Ids, Tokens


def tokens(x: Tensor, counts: list[int] | None = None) -> Tokens:
    frames = torch.arange(x.shape[1])
    return Tokens(x, frames < torch.tensor(counts or [x.shape[1]] * len(x))[:, None])


def ids(*rows: list[int]) -> Ids:
    longest = max(map(len, rows))
    padded = torch.tensor([row + [9] * (longest - len(row)) for row in rows])
    return Ids(padded, torch.arange(longest) < torch.tensor([len(row) for row in rows])[:, None])


def said(path: tuple[int, ...]) -> list[int]:
    return [key for key, _ in groupby(path) if key]


def test_two_frames_by_hand() -> None:
    """Of two frames at even odds over blank and one id, three of four paths say the id once: -log 3/4."""
    assert ctc(tokens(torch.zeros(1, 2, 2)), ids([1])).item() == pytest.approx(-torch.tensor(0.75).log().item())


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(1, 2), min_size=1, max_size=3), st.integers(0, 10_000))
def test_equals_the_sum_over_every_alignment(target: list[int], seed: int) -> None:
    logits = torch.randn(1, 5, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    odds = logits[0].softmax(-1)
    total = sum(
        float(torch.stack([odds[t, k] for t, k in enumerate(path)]).prod())
        for path in product(range(3), repeat=5)
        if said(path) == target
    )
    assert ctc(tokens(logits), ids(target)).item() == pytest.approx(-torch.tensor(total).log().item() / len(target))


def test_equals_torch_on_a_padded_batch() -> None:
    logits = torch.randn(3, 9, 6, generator=torch.Generator().manual_seed(1))
    target, frames = ids([1, 2, 2], [5], [3, 4, 1, 2]), [7, 9, 8]
    theirs = torch.nn.CTCLoss(reduction="mean")(
        logits.log_softmax(-1).transpose(0, 1), target.ids, torch.tensor(frames), target.mask.sum(1)
    )
    torch.testing.assert_close(ctc(tokens(logits, frames), target), theirs)


def test_rows_without_a_sound_or_a_text_change_nothing() -> None:
    logits = torch.randn(3, 6, 4, generator=torch.Generator().manual_seed(2))
    one = ctc(tokens(logits[:1]), ids([1, 3]))
    torch.testing.assert_close(ctc(tokens(logits, [6, 0, 6]), ids([1, 3], [2, 2], [])), one)
    logits.requires_grad_()
    ctc(tokens(logits, [0, 0, 0]), ids([1], [2], [3])).backward()
    assert logits.grad is not None and not logits.grad.any()


def test_holes_and_padding_in_front_change_nothing() -> None:
    logits = torch.randn(1, 5, 4, generator=torch.Generator().manual_seed(3))
    apart = torch.full((1, 8, 4), 50.0)
    where = torch.tensor([[False, True, True, False, True, True, True, False]])
    apart[where] = logits[0]
    target = Ids(torch.tensor([[9, 2, 9, 3]]), torch.tensor([[False, True, False, True]]))
    torch.testing.assert_close(ctc(Tokens(apart, where), target), ctc(tokens(logits), ids([2, 3])))
    a, b = collapsed(Tokens(apart, where)), collapsed(tokens(logits))
    assert torch.equal(a.ids, b.ids) and torch.equal(a.mask, b.mask)


def test_a_text_that_does_not_fit_counts_as_0() -> None:
    logits = torch.zeros(2, 3, 4, requires_grad=True)
    loss = ctc(tokens(logits), ids([1, 1, 2], [1, 2]))  # 1 1 2 needs a blank between the equal ones: four frames
    assert loss.item() == pytest.approx(ctc(tokens(torch.zeros(1, 3, 4)), ids([1, 2])).item() / 2)
    loss.backward()
    assert logits.grad is not None and not logits.grad[0].any() and logits.grad[1].any()


def test_greedy_merges_repeats_and_drops_blanks() -> None:
    paths = torch.tensor([[1, 1, 0, 1, 2, 2], [0, 0, 0, 0, 0, 0], [3, 0, 3, 3, 1, 1]])
    found = collapsed(tokens(torch.nn.functional.one_hot(paths, 4).float(), [6, 6, 4]))
    assert [row[real].tolist() for row, real in zip(found.ids, found.mask, strict=True)] == [[1, 1, 2], [], [3, 3]]
    assert not found.ids[~found.mask].any()


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 3), min_size=1, max_size=12))
def test_greedy_says_what_the_path_says(path: list[int]) -> None:
    found = collapsed(tokens(torch.nn.functional.one_hot(torch.tensor([path]), 4).float()))
    assert found.ids[0][found.mask[0]].tolist() == said(tuple(path))


def test_training_on_one_row_makes_greedy_say_it() -> None:
    logits = torch.randn(1, 12, 5, generator=torch.Generator().manual_seed(4), requires_grad=True)
    optimiser = torch.optim.Adam([logits], 0.3)
    for _ in range(60):
        optimiser.zero_grad()
        ctc(tokens(logits), ids([4, 4, 1, 3])).backward()
        optimiser.step()
    found = collapsed(tokens(logits))
    assert found.ids[0][found.mask[0]].tolist() == [4, 4, 1, 3]
