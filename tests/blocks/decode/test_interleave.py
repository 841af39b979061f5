from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from sensorium.blocks.decode import Decoder
from sensorium.blocks.decode.interleave import Part, alone, interleave, next_token
from sensorium.core import Ids, SensoriumError, Tokens


def ids(*rows: list[int], width: int = 0, left: bool = False) -> Ids:
    """Rows of ids padded with -9, which must never be read."""
    width = width or max(map(len, rows))
    padded = [[-9] * (width - len(r)) + r if left else r + [-9] * (width - len(r)) for r in rows]
    found = torch.tensor(padded)
    return Ids(found, found != -9)


def embed(text: Ids) -> Tokens:
    """An id is the vector [id, 1]."""
    x = torch.stack([text.ids, torch.ones_like(text.ids)], -1).float()
    return Tokens(x.masked_fill(~text.mask[..., None], torch.nan), text.mask)


def image(*counts: int) -> Tokens:
    """Vectors [100 + k, 0], as many as each row has, on a grid."""
    t = max(counts)
    x = torch.stack([100.0 + torch.arange(t), torch.zeros(t)], -1).expand(len(counts), -1, -1)
    mask = torch.arange(t) < torch.tensor(counts)[:, None]
    return Tokens(x.masked_fill(~mask[..., None], torch.nan), mask, torch.zeros(len(counts), t, 2))


def test_parts_keep_their_order_and_padding_goes_to_the_right() -> None:
    seq = interleave(
        embed,
        [
            Part(ids([1, 2], [3], left=True)),
            Part(image(2, 0), kind=1),
            Part(ids([], [4, 5])),
            Part(image(0, 1), kind=2),
            Part(ids([6], [7]), kind=5, learn=True),
        ],
    )
    assert seq.tokens.x[..., 0].tolist() == [[1, 2, 100, 101, 6], [3, 4, 5, 100, 7]]
    assert seq.tokens.kind is not None and seq.tokens.kind.tolist() == [[0, 0, 1, 1, 5], [0, 0, 0, 2, 5]]
    assert seq.ids.tolist() == [[1, 2, 0, 0, 6], [3, 4, 5, 0, 7]]
    assert seq.learn.int().tolist() == [[0, 0, 0, 0, 1], [0, 0, 0, 0, 1]]
    assert seq.tokens.mask.all() and seq.tokens.pos is None


def test_padding_is_zero_everywhere() -> None:
    seq = interleave(embed, [Part(image(3, 1), 4), Part(ids([1, 2, 3], []), learn=True)])
    assert seq.tokens.mask.int().tolist() == [[1] * 6, [1, 0, 0, 0, 0, 0]]
    assert seq.tokens.kind is not None
    for value in (seq.tokens.x[..., 0], seq.tokens.kind, seq.ids, seq.learn):
        assert not value[~seq.tokens.mask].any()


def test_one_id_stands_in_the_rows_that_have_it() -> None:
    found = alone(7, torch.tensor([True, False]))
    assert found.ids[0].tolist() == [7] and found.mask.tolist() == [[True], [False]]
    seq = interleave(embed, [Part(ids([1], [2])), Part(found)])
    assert seq.ids.tolist() == [[1, 7], [2, 0]]


def test_a_row_of_nothing_is_empty() -> None:
    seq = interleave(embed, [Part(ids([1, 2], []))])
    assert seq.tokens.mask.tolist() == [[True, True], [False, False]]
    nothing = interleave(embed, [Part(ids([], [], width=2))])
    assert nothing.tokens.x.shape == (2, 0, 2)


def test_parts_that_do_not_fit_are_refused() -> None:
    with pytest.raises(SensoriumError, match=r"parts of \[\] rows"):
        interleave(embed, [])
    with pytest.raises(SensoriumError, match=r"parts of \[1, 2\] rows"):
        interleave(embed, [Part(ids([1])), Part(ids([1], [2]))])
    with pytest.raises(SensoriumError, match="a part of vectors is to be learnt"):
        interleave(embed, [Part(image(1), learn=True)])
    with pytest.raises(SensoriumError, match=r"widths \[2, 3\]"):
        interleave(embed, [Part(ids([1])), Part(Tokens(torch.zeros(1, 1, 3), torch.ones(1, 1).bool()))])


def decoder() -> Decoder:
    torch.manual_seed(0)
    return Decoder(8, 16, 2, 2, 32)


def test_the_loss_is_of_what_is_learnt_from_the_state_before() -> None:
    d = decoder()
    seq = interleave(d.embed, [Part(ids([1, 2], [3])), Part(ids([4, 5], [6]), learn=True)])
    h = d(seq.tokens)
    log = d.logits(h).log_softmax(-1)
    want = -(log[0, 1, 4] + log[0, 2, 5] + log[1, 0, 6]) / 3
    torch.testing.assert_close(next_token(d, h, seq), want)


def test_what_stands_first_is_not_counted() -> None:
    d = decoder()
    seq = interleave(d.embed, [Part(ids([4, 5], [6]), learn=True)])
    h = d(seq.tokens)
    torch.testing.assert_close(next_token(d, h, seq), F.cross_entropy(d.logits(h[:1, 0]), torch.tensor([5])))


def test_padding_of_any_part_changes_no_loss() -> None:
    d, losses = decoder(), []
    for left in (False, True):
        for width in (2, 5):
            parts = [Part(ids([1, 2], [3], width=width, left=left)), Part(ids([4], [6, 7], width=width), learn=True)]
            seq = interleave(d.embed, parts)
            losses.append(next_token(d, d(seq.tokens), seq))
    torch.testing.assert_close(torch.stack(losses), losses[0].expand(4))


def test_nothing_to_learn_is_a_loss_of_zero_with_a_gradient() -> None:
    d = decoder()
    seq = interleave(d.embed, [Part(ids([1, 2], [3]))])
    loss = next_token(d, d(seq.tokens), seq)
    loss.backward()
    assert loss.item() == 0
