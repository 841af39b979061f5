from __future__ import annotations

from collections.abc import Collection
from copy import deepcopy
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from sensorium.blocks.decode import Decoder, Prompt, Tap, decode
from sensorium.blocks.decode.capture import matrices
from sensorium.blocks.decode.decoder import Layer
from sensorium.blocks.decode.sparse import ATTENTION, FFN, SKIPS, masked, pass_flops, skipping
from sensorium.blocks.shared import shared
from sensorium.core import SensoriumError, Tokens
from sensorium.papers.baseline.causal_lm import CausalLM

B, T, DIM, HIDDEN = 2, 8, 32, 40


def prompt(seed: int = 0) -> tuple[Tokens, Tensor]:
    """Tokens of which row 0 has 8 and row 1 has 6, and which are skipped: the first four."""
    x = torch.randn(B, T, DIM, generator=torch.Generator().manual_seed(seed))
    mask = torch.arange(T) < torch.tensor([8, 6])[:, None]
    return Tokens(x, mask), (torch.arange(T) < 4).expand(B, -1)


class Skips(Tap):
    """The same by a tap, which computes everything and then puts the stream back."""

    def __init__(self, decoder: Decoder, skip: Tensor, layers: Collection[int], parts: Collection[str]) -> None:
        self.decoder, self.skip_at, self.chosen, self.parts = decoder, skip[..., None], layers, parts
        self.before: Tensor | None = None

    def stream(self, layer: int, h: Tensor, at: int) -> Tensor:
        if layer - 1 in self.chosen and FFN in self.parts:
            assert self.before is not None
            h = torch.where(self.skip_at, self.before, h)
        self.before = h
        return h

    def heads(self, layer: int, o: Tensor, at: int) -> Tensor:
        if layer not in self.chosen:
            return o
        if ATTENTION in self.parts:
            o = o.masked_fill(self.skip_at[:, None], 0)
        own = self.decoder.layers[layer]
        assert self.before is not None and isinstance(own, Layer)
        self.before = self.before + own.out(o.transpose(1, 2).flatten(2))
        return o


@pytest.mark.parametrize("parts", [(FFN,), (ATTENTION,), SKIPS], ids="+".join)
@pytest.mark.parametrize("layers", [(0,), (1,), (0, 1)], ids=str)
def test_skipping_is_what_a_tap_does(ours: Decoder, parts: tuple[str, ...], layers: tuple[int, ...]) -> None:
    t, skip = prompt()
    found = skipping(ours, skip, layers, parts)(t)
    torch.testing.assert_close(found, ours(t, tap=Skips(ours, skip, layers, parts)))
    assert (found - ours(t)).abs().max() > 1e-2


def test_nothing_is_skipped_where_nothing_is_chosen(ours: Decoder) -> None:
    t, skip = prompt()
    for sparse in (skipping(ours, skip, (), SKIPS), skipping(ours, skip, (0, 1), ())):
        assert torch.equal(sparse(t), ours(t))
    torch.testing.assert_close(skipping(ours, torch.zeros_like(skip), (0, 1), SKIPS)(t), ours(t))


def test_flops_saved_are_those_of_the_matrices(ours: Decoder) -> None:
    t, skip = prompt()
    whole, tokens = pass_flops(ours, t), int(skip.sum())
    ffn, attention = tokens * 2 * 3 * DIM * HIDDEN, tokens * 2 * 2 * DIM * DIM
    assert whole - pass_flops(skipping(ours, skip, (0, 1), (FFN,)), t) == 2 * ffn
    assert whole - pass_flops(skipping(ours, skip, (1,), (ATTENTION,)), t) == attention
    assert whole - pass_flops(skipping(ours, skip, (0, 1), SKIPS), t) == 2 * (ffn + attention)


def test_flops_of_a_pass_are_counted_in_full(ours: Decoder) -> None:
    t, _ = prompt()
    projections, mlp = 2 * DIM * DIM * (1 + 0.5 + 0.5 + 1), 2 * 3 * DIM * HIDDEN  # half as many key heads
    attention = 2 * 2 * T * DIM
    assert pass_flops(ours, t) == 2 * B * T * (projections + mlp + attention)


def test_decoding_skips_in_the_prompt_alone(ours: Decoder) -> None:
    t, skip = prompt()
    said = decode(Prompt(skipping(ours, skip, (0, 1), SKIPS), t), 5)
    plain = decode(Prompt(ours, t), 5)
    assert said.ids.shape != plain.ids.shape or not torch.equal(said.ids, plain.ids)
    words = ours.embed(said)
    longer = Tokens(torch.cat([t.x, words.x], 1), torch.cat([t.mask, words.mask], 1))
    further = torch.cat([skip, torch.zeros_like(said.mask)], 1)
    at_once = skipping(ours, further, (0, 1), SKIPS)
    best = at_once.logits(at_once(longer)).argmax(-1)
    for row, n in enumerate(t.mask.sum(1).tolist()):
        given = int(said.mask[row].sum())
        places = [n - 1, *range(T, T + given - 1)]  # each word is foreseen from the token before
        assert given and best[row, places].tolist() == said.ids[row, :given].tolist()


def test_what_is_not_there_is_not_skipped(ours: Decoder) -> None:
    _, skip = prompt()
    with pytest.raises(SensoriumError, match="layer 2 is skipped; this decoder has layers 0 to 1"):
        skipping(ours, skip, (1, 2), (FFN,))
    with pytest.raises(SensoriumError, match=r"'attentoin'.*attention"):
        skipping(ours, skip, (1,), ("attentoin",))


def halves(decoder: Decoder) -> dict[str, Tensor]:
    g = torch.Generator().manual_seed(0)
    return {name: torch.rand(m.weight.shape, generator=g) < 0.5 for name, m in matrices(decoder).items()}


def test_masked_is_a_decoder_with_those_weights_at_zero(ours: Decoder) -> None:
    t, _ = prompt()
    masks, zeroed = halves(ours), deepcopy(ours)
    with torch.no_grad():
        for name, m in matrices(zeroed).items():
            m.weight.mul_(masks[name])
    torch.testing.assert_close(masked(ours, masks)(t), zeroed(t))
    assert (zeroed(t) - ours(t)).abs().max() > 1e-2


def test_copies_leave_the_whole_one_as_it_is(ours: Decoder) -> None:
    t, skip = prompt()
    before, state = ours(t), {k: v.clone() for k, v in ours.state_dict().items()}
    other = masked(skipping(ours, skip, (0,), SKIPS), {})
    other(t)
    masked(ours, halves(ours))(t)
    assert torch.equal(ours(t), before) and all(torch.equal(v, state[k]) for k, v in ours.state_dict().items())
    assert other.words is ours.words and other.layers[1] is not None


def test_masks_of_a_part_leave_the_rest_whole(ours: Decoder) -> None:
    t, _ = prompt()
    assert torch.equal(masked(ours, {})(t), ours(t))
    every = {name: torch.ones_like(m.weight, dtype=torch.bool) for name, m in matrices(ours).items()}
    torch.testing.assert_close(masked(ours, every)(t), ours(t))


def test_masks_that_do_not_fit_are_named(ours: Decoder) -> None:
    with pytest.raises(SensoriumError, match=r"'0\.mlp\.gat'.*0\.mlp\.gate"):
        masked(ours, {"0.mlp.gat": torch.ones(1)})
    with pytest.raises(SensoriumError, match=r"shape \(2, 3\); expected \(32, 32\)"):
        masked(ours, {"0.q": torch.ones(2, 3)})


def test_a_shared_decoder_can_be_made_sparse() -> None:
    torch.manual_seed(0)
    method = CausalLM(Decoder(10, DIM, 2, 2, 32).eval(), False)
    t, skip = prompt()
    want = skipping(method.decoder, skip, (0, 1), SKIPS)(t)
    half = masked(method.decoder, halves(method.decoder))(t)
    shared(method)
    assert torch.equal(skipping(method.decoder, skip, (0, 1), SKIPS)(t), want)
    sparse = masked(method.decoder, halves(method.decoder)).eval()
    assert torch.equal(sparse(t), half)
    x = t.x.clone().requires_grad_()
    sparse(replace(t, x=x)).sum().backward()
    assert x.grad is not None and x.grad.any()
