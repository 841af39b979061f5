from __future__ import annotations

from typing import Any

import pytest
import torch

from sensorium.blocks.decode import Decoder, Tap
from sensorium.blocks.decode.capture import input_norms, matrices, of_kind, streams
from sensorium.blocks.decode.decoder import Layer
from sensorium.blocks.shared import shared
from sensorium.core import Ids, SensoriumError, Tokens
from sensorium.papers.baseline.causal_lm import CausalLM

TEXT, IMAGE = 0, 1


def sequence(decoder: Decoder, b: int = 3, t: int = 7, seed: int = 0) -> Tokens:
    """Vectors of which the first three are a picture's; rows of 7, 6 and 5 real tokens."""
    x = torch.randn(b, t, decoder.dim, generator=torch.Generator().manual_seed(seed))
    mask = torch.arange(t) < torch.tensor([7, 6, 5])[:b, None]
    return Tokens(x, mask, kind=(torch.arange(t) < 3).long().expand(b, -1))


def test_streams_are_the_hidden_states_of_transformers(ours: Decoder, theirs: Any) -> None:
    ids = torch.randint(0, 18, (2, 9), generator=torch.Generator().manual_seed(0))
    states = theirs(input_ids=ids, output_hidden_states=True).hidden_states
    found = streams(ours, ours.embed(Ids(ids, torch.ones_like(ids, dtype=torch.bool))))
    assert len(found) == len(states) == len(ours.layers) + 1
    for mine, other in zip(found[:-1], states[:-1], strict=True):
        torch.testing.assert_close(mine.x, other, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(ours.norm(found[-1].x), states[-1], atol=1e-4, rtol=1e-4)  # theirs is after the norm


def test_streams_keep_mask_and_kinds_and_no_graph(ours: Decoder) -> None:
    t = sequence(ours)
    for one in streams(ours, t):
        assert one.mask is t.mask and one.kind is t.kind and not one.x.requires_grad


def test_a_kind_alone_is_real() -> None:
    t = Tokens(torch.zeros(1, 4, 2), torch.tensor([[True, True, True, False]]), kind=torch.tensor([[1, 0, 0, 0]]))
    assert of_kind(t, IMAGE).mask.tolist() == [[True, False, False, False]]
    assert of_kind(t, TEXT).mask.tolist() == [[False, True, True, False]]
    with pytest.raises(SensoriumError, match="no kinds"):
        of_kind(Tokens(t.x, t.mask), TEXT)


def test_matrices_are_those_of_the_layers(ours: Decoder) -> None:
    names = [f"{n}.{m}" for n in range(2) for m in ("q", "k", "v", "out", "mlp.gate", "mlp.up", "mlp.down")]
    assert sorted(matrices(ours)) == sorted(names)
    assert matrices(ours)["1.mlp.down"].weight.shape == (32, 40)


def gates(decoder: Decoder, n: int, t: Tokens) -> torch.Tensor:
    """What the mlp of layer n reads: a decoder that ends after this layer's attention, by adding its parts again."""
    layer, seen = decoder.layers[n], {}
    assert isinstance(layer, Layer)

    class Heads(Tap):
        def heads(self, number: int, o: torch.Tensor, at: int) -> torch.Tensor:
            seen[number] = o
            return o

    decoder(t, tap=Heads())
    stream = streams(decoder, t)[n].x + layer.out(seen[n].transpose(1, 2).flatten(2))
    return layer.between(stream)  # type: ignore[no-any-return]


@pytest.mark.parametrize("kind", [None, IMAGE, TEXT])
def test_norms_are_those_of_what_matrices_read(ours: Decoder, kind: int | None) -> None:
    t = sequence(ours)
    where = t.mask if kind is None else of_kind(t, kind).mask
    found, before = input_norms(ours, [t], kind), streams(ours, t)
    for n, layer in enumerate(ours.layers):
        assert isinstance(layer, Layer)
        read = layer.before(before[n].x)[where].square().sum(0).sqrt()
        for name in ("q", "k", "v"):
            torch.testing.assert_close(found[f"{n}.{name}"], read)
        torch.testing.assert_close(found[f"{n}.mlp.gate"], gates(ours, n, t)[where].square().sum(0).sqrt())
    assert found["1.mlp.gate"].shape == (32,) and torch.equal(found["1.mlp.gate"], found["1.mlp.up"])
    assert found["1.mlp.down"].shape == (40,)


def test_squares_of_kinds_and_of_sequences_add_up(ours: Decoder) -> None:
    a, b = sequence(ours), sequence(ours, seed=1)
    both, one, other = (input_norms(ours, ts) for ts in ([a, b], [a], [b]))
    image, text = input_norms(ours, [a], IMAGE), input_norms(ours, [a], TEXT)
    for name, norm in both.items():
        torch.testing.assert_close(norm.square(), one[name].square() + other[name].square())
        torch.testing.assert_close(one[name].square(), image[name].square() + text[name].square())


def test_padding_is_not_counted(ours: Decoder) -> None:
    t = sequence(ours)
    assert t.kind is not None
    wide = Tokens(
        torch.cat([t.x, torch.full((3, 2, ours.dim), 9.0)], 1),
        torch.nn.functional.pad(t.mask, (0, 2)),
        kind=torch.nn.functional.pad(t.kind, (0, 2)),
    )
    for name, norm in input_norms(ours, [wide]).items():
        torch.testing.assert_close(norm, input_norms(ours, [t])[name])


def test_nothing_stays_behind(ours: Decoder) -> None:
    input_norms(ours, [sequence(ours)])
    with pytest.raises(SensoriumError):
        input_norms(ours, [Tokens(torch.zeros(1, 65, 32), torch.ones(1, 65, dtype=torch.bool))])  # too long
    assert not any(m._forward_pre_hooks for m in matrices(ours).values())
    with pytest.raises(SensoriumError, match="no sequence"):
        input_norms(ours, [])


def test_a_shared_decoder_is_read_alike() -> None:
    torch.manual_seed(0)
    method = CausalLM(Decoder(10, 16, 2, 2, 32).eval(), False)
    t = sequence(method.decoder)
    before = input_norms(method.decoder, [t])
    shared(method)
    after = input_norms(method.decoder, [t])
    assert all(torch.equal(after[name], norm) for name, norm in before.items()) and len(before) == 14
