from __future__ import annotations

from dataclasses import replace

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from sensorium.blocks.decode import Decoder, Prompt
from sensorium.blocks.mixed import Mosaic, both_ways, following, framed, laid, mixed, opened, packed, taken
from sensorium.core import Field, Ids, Rng, Tokens


def tokens(values: list[list[float]], mask: list[list[int]] | None = None) -> Tokens:
    x = torch.tensor(values)
    there = torch.ones_like(x).bool() if mask is None else torch.tensor(mask).bool()
    return Tokens(x[..., None], there, kind=torch.zeros_like(there, dtype=torch.long))


OPENING, CLOSING, THERE = torch.tensor([8.0]), torch.tensor([9.0]), torch.tensor([True, True])


def test_packing_by_hand() -> None:
    text = Ids(torch.tensor([[7, 1, 7, 2]]), torch.tensor([[0, 1, 0, 1]]).bool())
    assert packed(text).ids[0, :2].tolist() == [1, 2] and packed(text).mask.tolist() == [[True, True, False, False]]


@given(st.lists(st.lists(st.booleans(), min_size=4, max_size=4), min_size=1, max_size=5))
@settings(deadline=None)
def test_packing_keeps_the_real_tokens_and_their_order(mask: list[list[bool]]) -> None:
    text = Ids(torch.arange(4 * len(mask)).view(-1, 4), torch.tensor(mask))
    found = packed(text)
    for k in range(len(mask)):
        assert found.ids[k][found.mask[k]].tolist() == text.ids[k][text.mask[k]].tolist()
    assert not (found.mask[:, 1:] & ~found.mask[:, :-1]).any()


def test_what_follows_by_hand() -> None:
    text = Ids(torch.tensor([[4, 5, 0], [0, 0, 0]]), torch.tensor([[1, 1, 0], [0, 0, 0]]).bool())
    found = following(text, 9)
    assert found.ids[0, :3].tolist() == [4, 5, 9]
    assert found.mask.int().tolist() == [[1, 1, 1, 0], [0, 0, 0, 0]]


def test_a_text_is_opened_whether_it_has_words_or_not() -> None:
    found = opened(tokens([[1, 2], [1, 2]], [[1, 0], [0, 0]]), torch.tensor([7.0]))
    assert found.x[..., 0].tolist() == [[7, 1, 2], [7, 1, 2]]
    assert found.mask.int().tolist() == [[1, 1, 0], [1, 0, 0]]


def test_who_sees_whom_by_hand() -> None:
    """Text, two patches of picture 1, text, two patches of picture 2."""
    seen = both_ways(torch.tensor([[0, 1, 1, 0, 2, 2]]))[0].int().tolist()
    assert seen == [
        [1, 0, 0, 0, 0, 0],
        [1, 1, 1, 0, 0, 0],
        [1, 1, 1, 0, 0, 0],
        [1, 1, 1, 1, 0, 0],
        [1, 1, 1, 1, 1, 1],
        [1, 1, 1, 1, 1, 1],
    ]


def test_text_alone_is_causal() -> None:
    assert torch.equal(both_ways(torch.zeros(2, 5).long()), torch.ones(2, 5, 5).bool().tril())


def test_either_order_by_hand() -> None:
    words, patches = tokens([[1, 2], [1, 2]]), tokens([[5, 6, 7], [5, 6, 7]])
    found = mixed(words, framed(patches, THERE, OPENING, CLOSING), torch.tensor([True, False]))
    assert found.tokens.x[..., 0].tolist() == [[1, 2, 8, 5, 6, 7, 9], [8, 5, 6, 7, 9, 1, 2]]
    assert found.tokens.kind is not None
    assert found.tokens.kind.tolist() == [[0, 0, 0, 1, 1, 1, 0], [0, 1, 1, 1, 0, 0, 0]]
    assert taken(found.tokens.x, found.words)[..., 0].tolist() == [[1, 2], [1, 2]]
    assert taken(found.tokens.x, found.picture[:, 1:-1])[..., 0].tolist() == [[5, 6, 7], [5, 6, 7]]


def test_padding_and_missing_pictures_keep_their_masks() -> None:
    words = tokens([[1, 2], [1, 2]], [[1, 0], [1, 1]])
    picture = framed(tokens([[5, 6], [5, 6]]), torch.tensor([True, False]), OPENING, CLOSING)
    found = mixed(words, picture, torch.tensor([True, False]))
    assert found.tokens.mask.int().tolist() == [[1, 0, 1, 1, 1, 1], [0, 0, 0, 0, 1, 1]]


def test_gradients_reach_words_patches_and_marks() -> None:
    parts: list[Tensor] = [torch.randn(2, 3, 4), torch.randn(2, 2, 4), torch.randn(4), torch.randn(4)]
    for p in parts:
        p.requires_grad_()
    words, patches = (Tokens(p, torch.ones(p.shape[:2]).bool()) for p in parts[:2])
    found = mixed(opened(words, parts[2]), framed(patches, THERE, parts[2], parts[3]), torch.tensor([True, False]))
    found.tokens.x.sum().backward()
    assert [p.grad.unique().tolist() for p in parts if p.grad is not None] == [[1], [1], [4], [2]]


def mosaic(guidance: float = 1.0) -> Mosaic:
    torch.manual_seed(0)
    decoder = Decoder(10, 16, 1, 2, 20)
    one, other = (Prompt(decoder, Tokens(x, torch.ones(3, 2).bool())) for x in torch.randn(2, 3, 2, 16))
    return Mosaic(
        decoder=decoder,
        tokens=one.tokens,
        n=4,
        codes=range(6, 10),
        finish=lambda ids: Field(ids.ids),
        unlike=other,
        guidance=guidance,
    )


def test_only_codes_are_laid_and_as_many_as_there_are_cells() -> None:
    found = laid(mosaic(), Rng(0)).data
    assert found.shape == (3, 4) and found.min() >= 6 and found.max() < 10
    assert torch.equal(laid(mosaic(), Rng(0)).data, found) and not torch.equal(laid(mosaic(), Rng(1)).data, found)


def test_a_mosaic_is_led_away_from_what_it_is_unlike() -> None:
    """Cold, the first code of each row is the best of the guided scores: other + 3 (one - other)."""
    m = mosaic(guidance=3.0)
    one, other = (p.decoder.logits(p.decoder(p.tokens)[:, -1]).log_softmax(-1)[:, 6:10] for p in (m, m.unlike))
    want = (other + 3 * (one - other)).argmax(1) + 6
    assert torch.equal(laid(replace(m, temperature=1e-4), Rng(0)).data[:, 0], want)
    assert not torch.equal(want, one.argmax(1) + 6)
