from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from sensorium.blocks.decode import Cache, Decoder, Tap
from sensorium.blocks.decode.decoder import attend, visible
from sensorium.core import Ids, SensoriumError, Tokens


def small(**options: Any) -> Decoder:
    torch.manual_seed(1)
    return Decoder(10, 8, 2, 2, 16, **options).eval()


def vectors(b: int = 3, t: int = 5, seed: int = 0) -> Tokens:
    g = torch.Generator().manual_seed(seed)
    return Tokens(torch.randn(b, t, 8, generator=g), torch.ones(b, t, dtype=torch.bool))


def padded(t: Tokens, left: int, right: int, fill: float = float("nan")) -> Tokens:
    mask = F.pad(t.mask, (left, right))
    return Tokens(F.pad(t.x, (0, 0, left, right)).masked_fill(~mask[..., None], fill), mask)


def test_attend_by_hand() -> None:
    """Two query heads of one key head; keys 0 and log 3 weigh 1/4 and 3/4; the second row of heads sees one or none."""
    q = torch.ones(1, 2, 2, 1)
    k = torch.tensor([0.0, 3.0]).add(torch.tensor([1.0, 0.0])).log().view(1, 1, 2, 1)
    v = torch.tensor([4.0, 8.0]).view(1, 1, 2, 1)
    seen = torch.tensor([[[[True, True], [False, False]]]])
    assert attend(q, k, v, seen).flatten().tolist() == [pytest.approx(7.0), 0.0, pytest.approx(7.0), 0.0]


def test_attend_agrees_with_torch_where_key_heads_are_shared() -> None:
    g = torch.Generator().manual_seed(0)
    q = torch.randn(3, 6, 5, 4, generator=g)
    k, v = torch.randn(2, 3, 2, 7, 4, generator=g)
    seen = torch.rand(3, 2, 5, 7, generator=g) < 0.6
    seen[..., 0] = True
    want = F.scaled_dot_product_attention(q, k, v, seen.repeat_interleave(3, 1), enable_gqa=True)
    torch.testing.assert_close(attend(q, k, v, seen), want)


def test_equals_llama(theirs: Any, ours: Decoder) -> None:
    ids = torch.randint(0, 20, (4, 11), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        want = theirs(ids).logits
        found = ours.logits(ours(ours.embed(Ids(ids, torch.ones_like(ids, dtype=torch.bool)))))
    assert want.std() > 0.5
    torch.testing.assert_close(found, want, atol=1e-4, rtol=0)


def test_equals_llama_under_left_padding(theirs: Any, ours: Decoder) -> None:
    ids = torch.randint(0, 20, (3, 9), generator=torch.Generator().manual_seed(1))
    mask = torch.arange(9) >= torch.tensor([0, 3, 6])[:, None]
    with torch.no_grad():
        pos = (mask.long().cumsum(1) - 1).clamp(min=0)
        want = theirs(ids, attention_mask=mask.long(), position_ids=pos).logits
        found = ours.logits(ours(ours.embed(Ids(ids, mask))))
    torch.testing.assert_close(found[mask], want[mask], atol=1e-4, rtol=0)


@pytest.mark.parametrize("see", [True, False])
@pytest.mark.parametrize(("left", "right"), [(3, 0), (0, 4), (2, 1)])
def test_padding_on_either_side_changes_nothing(see: bool, left: int, right: int) -> None:
    decoder, t = small(), vectors()
    out = decoder(padded(t, left, right), see=see)
    torch.testing.assert_close(out[:, left : left + 5], decoder(t, see=see))
    assert not out[:, :left].any() and not out[:, left + 5 :].any()


def test_holes_in_the_middle_change_nothing() -> None:
    decoder, t = small(), vectors()
    at = torch.tensor([0, 2, 3, 6, 7])
    x, mask = torch.full((3, 8, 8), torch.nan), torch.zeros(3, 8, dtype=torch.bool)
    x[:, at], mask[:, at] = t.x, True
    torch.testing.assert_close(decoder(Tokens(x, mask))[:, at], decoder(t))


def test_a_row_without_tokens_is_zero_and_gives_no_gradient() -> None:
    decoder, t = small(), vectors()
    t.mask[1] = False
    t.x.requires_grad_()
    out = decoder(t)
    out.square().sum().backward()
    assert not out[1].any() and out[0].any()
    assert t.x.grad is not None and t.x.grad.isfinite().all() and not t.x.grad[1].any()
    assert all(p.grad is None or p.grad.isfinite().all() for p in decoder.parameters())


def test_a_token_that_sees_nothing_is_finite() -> None:
    decoder, t = small(), vectors()
    see = torch.ones(3, 5, 5, dtype=torch.bool)
    see[:, 2] = False
    assert decoder(t, see=see).isfinite().all()


def depends(decoder: Decoder, t: Tokens, see: bool | Tensor) -> Tensor:
    """[T T] bool: which output moves with which input."""
    base, rows = decoder(t, see=see), []
    for j in range(t.x.shape[1]):
        x = t.x.clone()
        x[:, j] += 1
        rows.append((decoder(Tokens(x, t.mask), see=see) - base).abs().amax((0, 2)) > 1e-6)
    return torch.stack(rows, 1)


def test_see_says_who_sees_whom() -> None:
    torch.manual_seed(1)
    decoder, t = Decoder(10, 8, 1, 2, 16), vectors()  # one layer: through two a token sees what its neighbours saw
    assert torch.equal(depends(decoder, t, True), torch.ones(5, 5).tril().bool())
    assert depends(decoder, t, False).all()
    see = torch.rand(5, 5, generator=torch.Generator().manual_seed(3)) < 0.4
    own = see | torch.eye(5, dtype=torch.bool)  # its own vector reaches a token by the residual
    assert torch.equal(depends(decoder, t, see.expand(3, 5, 5)), own) and not own.all()


def test_see_true_and_the_triangle_agree() -> None:
    decoder, t = small(), vectors()
    triangle = torch.ones(3, 5, 5, dtype=torch.bool).tril()
    assert torch.equal(decoder(t, see=triangle), decoder(t))


@pytest.mark.parametrize("cuts", [(1, 1, 1, 1, 1), (3, 2), (2, 1, 2)])
@pytest.mark.parametrize("memory", [False, True])
def test_cached_and_whole_passes_agree(cuts: tuple[int, ...], memory: bool) -> None:
    decoder, t = small(memory=memory, groups=1), vectors()
    read = vectors(t=3, seed=5) if memory else None
    cache, parts, start = Cache(), [], 0
    for n in cuts:
        part = Tokens(t.x[:, start : start + n], t.mask[:, start : start + n])
        parts.append(decoder(part, memory=read, cache=cache))
        start += n
    torch.testing.assert_close(torch.cat(parts, 1), decoder(t, memory=read))
    assert cache.next is not None and cache.next.tolist() == [5, 5, 5] and cache.length == 5


def test_cached_passes_agree_under_ragged_padding() -> None:
    """Prompts of 4, 2 and 3 tokens, padded right; then two tokens each, one of them missing in the last row."""
    decoder, t = small(), vectors(t=6)
    first = Tokens(t.x[:, :4], torch.arange(4) < torch.tensor([4, 2, 3])[:, None])
    later = Tokens(t.x[:, 4:], torch.tensor([[True, True], [True, True], [False, True]]))
    cache = Cache()
    decoder(first, cache=cache)
    found = decoder(later, cache=cache)
    for row in range(3):
        x = torch.cat([first.x[row][first.mask[row]], later.x[row][later.mask[row]]])[None]
        whole = decoder(Tokens(x, torch.ones(1, x.shape[1], dtype=torch.bool)))[0]
        torch.testing.assert_close(found[row][later.mask[row]], whole[-int(later.mask[row].sum()) :])
    assert cache.next is not None and cache.next.tolist() == [6, 4, 4]


def test_a_call_without_a_token_of_a_row_moves_it_nowhere() -> None:
    decoder, t, cache = small(), vectors(t=6), Cache()
    decoder(Tokens(t.x[:, :4], t.mask[:, :4]), cache=cache)
    decoder(Tokens(t.x[:, 4:5], torch.tensor([[True], [False], [True]])), cache=cache)
    assert cache.next is not None and cache.next.tolist() == [5, 4, 5]
    found = decoder(Tokens(t.x[:, 5:], t.mask[:, 5:]), cache=cache)
    x = torch.cat([t.x[1:2, :4], t.x[1:2, 5:]], 1)
    torch.testing.assert_close(found[1, 0], decoder(Tokens(x, torch.ones(1, 5, dtype=torch.bool)))[0, -1])


def test_what_is_cached_is_seen_whatever_see_says() -> None:
    decoder, t = small(), vectors()
    cache = Cache()
    decoder(Tokens(t.x[:, :2], t.mask[:, :2]), cache=cache)
    found = decoder(Tokens(t.x[:, 2:], t.mask[:, 2:]), cache=cache, see=False)
    see = torch.ones(5, 5, dtype=torch.bool).tril()
    see[2:, 2:] = True
    torch.testing.assert_close(found, decoder(t, see=see.expand(3, 5, 5))[:, 2:])


def test_given_positions_stand_in_for_the_count() -> None:
    decoder, t = small(), vectors()
    count = torch.arange(5).expand(3, 5)[..., None]
    torch.testing.assert_close(decoder(Tokens(t.x, t.mask, count)), decoder(t))
    torch.testing.assert_close(decoder(Tokens(t.x, t.mask, count + 7)), decoder(t), msg="only differences count")
    assert not torch.allclose(decoder(Tokens(t.x, t.mask, 2 * count)), decoder(t))


def test_memory_is_read_without_its_padding() -> None:
    decoder, t, read = small(memory=True), vectors(), vectors(t=4, seed=6)
    base = decoder(t, memory=read)
    torch.testing.assert_close(decoder(t, memory=padded(read, 1, 2)), base)
    assert not torch.allclose(decoder(t, memory=vectors(t=4, seed=7)), base)


def test_rows_permute() -> None:
    decoder, t, order = small(), vectors(), torch.tensor([2, 0, 1])
    torch.testing.assert_close(decoder(t.rows(order)), decoder(t)[order])


def test_every_weight_gets_gradient() -> None:
    decoder = small(memory=True)
    ids = Ids(torch.arange(12).view(1, 12), torch.ones(1, 12, dtype=torch.bool))
    decoder.logits(decoder(decoder.embed(ids), memory=vectors(1))).square().sum().backward()
    assert [n for n, p in decoder.named_parameters() if p.grad is None or not p.grad.any()] == []


def test_gradients() -> None:
    decoder, t = small().double(), vectors(1, 3)
    x = t.x.double().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: decoder(Tokens(x, t.mask)), (x,))


def test_bfloat16_stays_close() -> None:
    decoder, t = small(), vectors()
    exact = decoder(t)
    close = decoder.to(torch.bfloat16)(Tokens(t.x.bfloat16(), t.mask))
    assert close.dtype == torch.bfloat16
    torch.testing.assert_close(close.float(), exact, atol=0.15, rtol=0)


class Spy(Tap):
    def __init__(self, layers: Any = None, skipped: tuple[int, ...] = ()) -> None:
        self.layers, self.skipped = layers, skipped
        self.asked: list[tuple[str, int, tuple[int, ...], int]] = []

    def stream(self, layer: int, h: Tensor, at: int) -> Tensor:
        self.asked.append(("stream", layer, tuple(h.shape), at))
        return h

    def heads(self, layer: int, o: Tensor, at: int) -> Tensor:
        self.asked.append(("heads", layer, tuple(o.shape), at))
        return o

    def skip(self, layer: int) -> bool:
        return layer in self.skipped


def test_a_tap_is_asked_at_its_layers_and_told_where_it_is() -> None:
    decoder, t, spy, cache = small(), vectors(), Spy(), Cache()
    assert torch.equal(decoder(t, tap=spy, cache=cache), decoder(t))
    assert [a[:3] for a in spy.asked] == [
        ("stream", 0, (3, 5, 8)), ("heads", 0, (3, 2, 5, 4)), ("stream", 1, (3, 5, 8)), ("heads", 1, (3, 2, 5, 4)),
        ("stream", 2, (3, 5, 8)),
    ]  # fmt: skip
    decoder(vectors(t=1), tap=spy, cache=cache)
    assert [a[3] for a in spy.asked] == [0] * 5 + [5] * 5
    few = Spy(layers={1})
    decoder(t, tap=few)
    assert [a[:2] for a in few.asked] == [("stream", 1), ("heads", 1)]


def test_a_tap_edits_the_pass() -> None:
    class Patch(Tap):
        layers = (1,)

        def stream(self, layer: int, h: Tensor, at: int) -> Tensor:
            return torch.zeros_like(h)

        def heads(self, layer: int, o: Tensor, at: int) -> Tensor:
            return torch.zeros_like(o)

    decoder = small()
    assert not decoder(vectors(), tap=Patch()).any()  # nothing in, nothing found: the mlp of 0 is 0


def test_a_skipped_layer_is_left_out() -> None:
    decoder, t = small(), vectors()
    found = decoder(t, tap=Spy(skipped=(1,)))
    del decoder.layers[1]
    assert torch.equal(found, decoder(t))


def test_bad_shapes_are_named() -> None:
    decoder, t = small(), vectors()
    with pytest.raises(SensoriumError, match=r"see is torch.bool \(3, 4, 4\); expected bool \[B 5 5\]"):
        decoder(t, see=torch.ones(3, 4, 4, dtype=torch.bool))
    with pytest.raises(SensoriumError, match=r"see is torch.float32"):
        visible(torch.ones(3, 5, 5), t.mask)
    with pytest.raises(SensoriumError, match=r"17 tokens; this decoder was made for at most 16"):
        decoder(vectors(1, 17))
    with pytest.raises(SensoriumError, match="2 coordinates"):
        decoder(Tokens(t.x, t.mask, torch.zeros(3, 5, 2)))
    with pytest.raises(SensoriumError, match="without memory was given one"):
        decoder(t, memory=t)
    with pytest.raises(SensoriumError, match="with memory was given none"):
        small(memory=True)(t)
    with pytest.raises(SensoriumError, match="width 8 does not split into 8 heads of even width"):
        Decoder(10, 8, 1, 8, 16)
    with pytest.raises(SensoriumError, match="4 heads do not share 3 key heads"):
        Decoder(10, 16, 1, 4, 16, groups=3)


def test_the_length_counts_real_tokens_across_calls() -> None:
    decoder, cache = small(), Cache()
    decoder(padded(vectors(1, 12), 8, 8), cache=cache)
    decoder(vectors(1, 4), cache=cache)
    with pytest.raises(SensoriumError, match="17 tokens"):
        decoder(vectors(1, 1), cache=cache)
