from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from transformers import IdeficsConfig
from transformers.models.idefics.modeling_idefics import IdeficsGatedCrossAttentionLayer

from sensorium.blocks.decode import Cache, Decoder, Prompt, decode
from sensorium.blocks.decode.decoder import GatedMlp
from sensorium.blocks.fusion.experts import Dense
from sensorium.blocks.fusion.gated import Gated, GatedCross, TanhGate
from sensorium.core import Ids, SensoriumError, Tokens

DIM, HEADS, READS, VOCAB, LAYERS = 16, 2, 12, 11, 2
B, T = 3, 6
SIZES = (4, 3)
"""Vectors of the first and of the second picture of a row."""


def memory(seed: int = 0, dim: int = READS) -> Tokens:
    """Two pictures per row, of which the last row lacks the second."""
    x = torch.randn(B, sum(SIZES), dim, generator=torch.Generator().manual_seed(seed))
    mask = torch.ones(B, sum(SIZES), dtype=torch.bool)
    mask[-1, SIZES[0] :] = False
    return Tokens(x, mask)


def layer(open_to: float | None = None, dim: int = READS) -> GatedCross:
    cross = GatedCross(DIM, HEADS, dim, Dense)
    for gate in (cross.looks, cross.thinks) if open_to is not None else ():
        assert isinstance(gate, TanhGate)
        nn.init.constant_(gate.openness, open_to)
    return cross


def text(seed: int = 1) -> Ids:
    """Rows of 6, 4 and 5 tokens."""
    ids = torch.randint(0, VOCAB, (B, T), generator=torch.Generator().manual_seed(seed))
    return Ids(ids, torch.arange(T) < torch.tensor([6, 4, 5])[:, None])


KIND = torch.tensor([1, 2, 0, 0, 0, 0]).expand(B, T)


class Model:
    """A decoder and what reads pictures before each of its layers."""

    def __init__(self, open_to: float | None) -> None:
        torch.manual_seed(0)
        self.decoder = Decoder(VOCAB, DIM, LAYERS, HEADS, 32)
        self.crosses = nn.ModuleList(layer(open_to) for _ in range(LAYERS))

    def tap(self, seen: Tokens, rows: int | slice = slice(None)) -> Gated:
        crosses = {n: c for n, c in enumerate(self.crosses) if isinstance(c, GatedCross)}
        part = Tokens(seen.x[rows], seen.mask[rows])
        parts = torch.tensor([1] * SIZES[0] + [2] * SIZES[1])
        held = {n: c.hold(part) for n, c in crosses.items()}
        return Gated(crosses, held, parts, KIND[rows], text().mask[rows])

    def __call__(self, seen: Tokens) -> Tensor:
        return self.decoder(self.decoder.embed(text()), tap=self.tap(seen))  # type: ignore[no-any-return]


def test_it_is_the_gated_layer_of_idefics() -> None:
    torch.manual_seed(0)
    config = IdeficsConfig(
        hidden_size=DIM, intermediate_size=40, num_attention_heads=HEADS, hidden_act="silu", dropout=0.0,
        alpha_initializer="ones", alpha_type="float", qk_layer_norms=False, rms_norm_eps=1e-6,
    )  # fmt: skip
    config.vision_config.embed_dim = DIM
    config._attn_implementation = "eager"
    theirs, ours = IdeficsGatedCrossAttentionLayer(config, 0).eval(), layer(0.7, DIM)
    ours.ahead, ours.mlp = nn.Identity(), Dense(DIM, 40)
    mlp = ours.mlp.mlp
    assert isinstance(mlp, GatedMlp)
    with torch.no_grad():
        theirs.alpha_cross_attn.fill_(0.7)
        theirs.alpha_dense.fill_(0.7)
        k, v = ours.kv.weight.chunk(2)
        for to, of in (
            (theirs.cross_attn.q_proj, ours.q.weight), (theirs.cross_attn.k_proj, k), (theirs.cross_attn.v_proj, v),
            (theirs.cross_attn.o_proj, ours.out.weight), (theirs.mlp.gate_proj, mlp.gate.weight),
            (theirs.mlp.up_proj, mlp.up.weight), (theirs.mlp.down_proj, mlp.down.weight),
        ):  # fmt: skip
            to.weight.copy_(of)
        x, seen = torch.randn(B, T, DIM), memory(dim=DIM)
        hidden = torch.zeros(B, 1, T, sum(SIZES)).masked_fill(~seen.mask[:, None, None], torch.finfo().min)
        want = theirs(x, image_hidden_states=seen.x, image_attention_mask=hidden, cross_attention_gate=torch.ones(B, T))
        every = torch.ones(B, T, sum(SIZES), dtype=torch.bool)
        found, _ = ours(x, ours.hold(seen), every, every[..., 0])
    torch.testing.assert_close(found, want[0] if isinstance(want, tuple) else want, atol=1e-5, rtol=0)


def test_at_the_start_the_decoder_does_what_it_did() -> None:
    model = Model(None)
    with torch.no_grad():
        assert torch.equal(model(memory()), model.decoder(model.decoder.embed(text())))
        assert not torch.equal(Model(0.5)(memory()), model(memory()))


def test_the_gates_open_first_and_then_all_learns() -> None:
    model = Model(None)
    parameters = dict(model.crosses.named_parameters())
    optim = torch.optim.SGD(parameters.values(), 0.1)

    def moved() -> set[str]:
        optim.zero_grad()
        model(memory()).square().sum(-1).pow(2).sum().backward()
        return {name for name, p in parameters.items() if p.grad is not None and p.grad.any()}

    first = moved()
    assert first == {name for name in parameters if name.endswith("openness")}
    optim.step()
    assert moved() == set(parameters)


@pytest.mark.parametrize("junk", [1e4, float("nan")])
def test_what_is_masked_in_the_memory_is_not_read(junk: float) -> None:
    model, seen = Model(0.5), memory()
    with torch.no_grad():
        dirty = Tokens(seen.x.masked_fill(~seen.mask[..., None], junk), seen.mask)
        torch.testing.assert_close(model(dirty), model(seen), atol=1e-6, rtol=0)


def test_without_a_memory_nothing_is_read() -> None:
    cross, nothing = layer(0.5), Tokens(torch.randn(B, 4, READS), torch.zeros(B, 4, dtype=torch.bool))
    x, every = torch.randn(B, T, DIM), torch.ones(B, T, 4, dtype=torch.bool)
    with torch.no_grad():
        found, _ = cross(x, cross.hold(nothing), every, every[..., 0])
        assert torch.equal(found, x + cross.thinks(cross.mlp(cross.between(x), every[..., 0])[0]))


def test_a_media_token_reads_its_own_picture_and_text_reads_all() -> None:
    """Of the first layer alone, so that nothing comes by self-attention."""
    model, seen = Model(0.5), memory()
    changed = Tokens(seen.x.clone(), seen.mask)
    changed.x[:, SIZES[0] :] = changed.x[:, SIZES[0] :].flip(-1)
    h = model.decoder.embed(text()).x
    with torch.no_grad():
        before, after = (model.tap(m).stream(0, h, 0) for m in (seen, changed))
    moved = (after - before).abs().amax(-1) > 1e-6
    assert moved[0].tolist() == [False, True, True, True, True, True]
    assert not moved[2].any(), "the last row has no second picture"


def test_layers_that_read_nothing_are_left_alone() -> None:
    model = Model(0.5)
    tap = model.tap(memory())
    only = Gated({1: tap.crosses[1]}, tap.held, tap.parts, tap.kind, tap.mask)
    h = model.decoder.embed(text()).x
    assert 0 not in (only.layers or ()) and only.stream(0, h, 0) is h and not only.balances
    only.stream(1, h, 0)
    assert len(only.balances) == 1


def prompt(model: Model, rows: int | slice = slice(None)) -> Prompt:
    t = model.decoder.embed(text())
    return Prompt(model.decoder, Tokens(t.x[rows], t.mask[rows]), tap=model.tap(memory(), rows))


@torch.no_grad()
def test_token_by_token_is_as_at_once() -> None:
    model, cache = Model(0.5), Cache()
    t, tap = model.decoder.embed(text()), model.tap(memory())
    pieces = [
        model.decoder(Tokens(t.x[:, a:b], t.mask[:, a:b]), cache=cache, tap=tap) for a, b in ((0, 1), (1, 4), (4, 6))
    ]
    torch.testing.assert_close(torch.cat(pieces, 1), model(memory()), atol=1e-5, rtol=0)


@torch.no_grad()
@pytest.mark.parametrize("beams", [1, 3])
def test_rows_are_decoded_as_each_alone(beams: int) -> None:
    model = Model(0.8)
    together = decode(prompt(model), 5, beams=beams, stop=(model.decoder.end,))
    for n in range(B):
        alone = decode(prompt(model, slice(n, n + 1)), 5, beams=beams, stop=(model.decoder.end,))
        assert together.ids[n][together.mask[n]].tolist() == alone.ids[0][alone.mask[0]].tolist()
    assert together.mask.any()


def test_it_counts_what_it_holds() -> None:
    assert Model(None).tap(memory()).numbers() == LAYERS * 2 * B * sum(SIZES) * DIM


def test_heads_must_divide_the_width() -> None:
    with pytest.raises(SensoriumError, match="width 16 does not split into 3 heads"):
        GatedCross(DIM, 3, READS, Dense)
