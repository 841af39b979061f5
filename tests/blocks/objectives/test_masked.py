"""Spans that are hidden, and the contrast over them, against wav2vec 2.0's of transformers."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from transformers.models.wav2vec2.modeling_wav2vec2 import Wav2Vec2ForPreTraining

from sensorium.blocks.objectives.masked import Spans, distracted, drawn, speech_spans, text_spans


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def real(counts: list[int], longest: int) -> Tensor:
    return torch.arange(longest) < torch.tensor(counts)[:, None]


MAKERS: list[Callable[[Tensor, torch.Generator], Spans]] = [speech_spans, text_spans]


@pytest.mark.parametrize("make", MAKERS)
def test_only_real_tokens_are_hidden_and_some_of_every_row(make: Callable[[Tensor, torch.Generator], Spans]) -> None:
    mask = real([50, 3, 1, 0], 60)
    for seed in range(20):
        hidden = make(mask, rng(seed)).hidden
        assert not (hidden & ~mask).any()
        assert hidden.any(1).tolist() == [True, True, True, False]
        assert not hidden[0].all()


@pytest.mark.parametrize("make", MAKERS)
def test_a_wider_batch_hides_the_same(make: Callable[[Tensor, torch.Generator], Spans]) -> None:
    counts = [30, 12, 5]
    narrow, wide = (make(real(counts, n), rng(3)) for n in (30, 41))
    assert torch.equal(narrow.hidden, wide.hidden[:, :30]) and not wide.hidden[:, 30:].any()


@pytest.mark.parametrize("make", MAKERS)
def test_begin_is_where_a_span_starts(make: Callable[[Tensor, torch.Generator], Spans]) -> None:
    found = make(real([200] * 4, 200), rng(1))
    for hidden, begin in zip(found.hidden.tolist(), found.begin.tolist(), strict=True):
        for t in (t for t, yes in enumerate(hidden) if yes):
            assert begin[t] <= t and begin[t] > t - 10 and all(hidden[begin[t] : t + 1])


def test_speech_hides_ten_frames_for_each_start() -> None:
    """100 frames: round(6.5) starts, so 10 to 60 hidden, in runs of at least 10 but at the end."""
    for seed in range(10):
        hidden = speech_spans(real([100], 100), rng(seed), start=0.065).hidden[0].tolist()
        assert 1 <= sum(hidden) <= 60
        runs = "".join("x" if h else "." for h in hidden).rstrip("x").split(".")
        assert all(len(run) >= 10 for run in runs if run)
    alone = speech_spans(real([6], 6), rng(0)).hidden
    assert 1 <= alone.sum() <= 3  # half of a short sound at most


def test_text_hides_about_its_share_in_geometric_spans() -> None:
    found = text_spans(real([400] * 50, 400), rng(2), share=0.15)
    share = 1 - torch.tensor(-0.15).exp().item()  # some spans lie on others
    assert found.hidden.float().mean().item() == pytest.approx(share, abs=0.01)
    runs = [len(r) for row in found.hidden.tolist() for r in "".join(".x"[h] for h in row).split(".") if r]
    ones = sum(r == 1 for r in runs) / len(runs)
    assert ones == pytest.approx(0.2, abs=0.05)  # the chance to stop after the first


def test_more_positions_leave_the_first_draws_as_they_are() -> None:
    assert torch.equal(drawn((3, 5, 2), rng()), drawn((3, 9, 2), rng())[:, :5])


def case() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    torch.manual_seed(5)
    ids = torch.randint(0, 6, (2, 7, 1))
    return torch.randn(2, 7, 4), torch.randn(6, 4)[ids[..., 0]], ids, real([7, 5], 7) & (torch.arange(7) % 3 != 1)


def test_against_every_other_hidden_frame_it_equals_transformers() -> None:
    context, target, ids, hidden = case()
    losses = []
    for row in range(2):
        at = hidden[row].nonzero()[:, 0].tolist()
        for t in at:
            others = [s for s in at if ids[row, s, 0] != ids[row, t, 0]]
            logits = Wav2Vec2ForPreTraining.compute_contrastive_logits(
                target[row, t][None, None], target[row, others][:, None], context[row, t][None, None], 0.1
            )
            losses.append(-logits[:, 0].log_softmax(0)[0])
    found = distracted(context, target, ids, hidden, rng(), most=100)
    torch.testing.assert_close(found, torch.stack(losses).mean())


def test_fewer_distractors_are_some_of_them() -> None:
    """With one distractor a loss is log(1 + e^d), and over many draws every other frame is drawn."""
    context, target = torch.eye(4)[None], torch.eye(4)[None]
    ids, hidden = torch.arange(4)[None, :, None], torch.ones(1, 4, dtype=torch.bool)
    one = distracted(context, target, ids, hidden, rng(), most=1, heat=1.0)
    assert one.item() == pytest.approx(torch.tensor(-1.0).exp().log1p().item())
    uneven = target + torch.tensor([0.0, 0.5, 1.0, 2.0])[None, :, None]
    found = {round(distracted(context, uneven, ids, hidden, rng(s), most=1).item(), 4) for s in range(40)}
    assert len(found) == 6  # the rounds of four


def test_equal_ids_are_no_distractors_and_padding_is_not_read() -> None:
    context, target, ids, hidden = case()
    same = torch.zeros_like(ids)
    assert distracted(context, target, same, hidden, rng()).item() == pytest.approx(0)
    before = distracted(context, target, ids, hidden, rng(1), most=2)
    wide = [torch.nn.functional.pad(v, (0, 0, 0, 3), value=7) for v in (context, target, ids)]
    after = distracted(wide[0], wide[1], wide[2], torch.nn.functional.pad(hidden, (0, 3)), rng(1), most=2)
    torch.testing.assert_close(before, after)
    nothing = distracted(context.requires_grad_(), target, ids, hidden & False, rng())
    nothing.backward()
    assert nothing.item() == 0 and context.grad is not None and not context.grad.any()
