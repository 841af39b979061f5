"""A shared start moves, is read and passes gradients on, and is never trained, saved or put into another mode."""

from __future__ import annotations

from copy import deepcopy

import pytest
import torch
from torch import Tensor, nn

from sensorium.blocks.decode import Decoder
from sensorium.blocks.shared import decoder_of, shared
from sensorium.core import Batch, Method, Rng, SensoriumError, Terms, Tokens


class Start(Method):
    """A decoder, dropout and a running mean."""

    def __init__(self, decoders: int = 1) -> None:
        super().__init__()
        self.decoders = nn.ModuleList(Decoder(7, 8, 1, 2, 16) for _ in range(decoders))
        self.drop, self.norm = nn.Dropout(0.5), nn.BatchNorm1d(8)

    def losses(self, batch: Batch, rng: Rng) -> Terms:
        return {}


class Holder(Method):
    """What begins from it: one layer of its own."""

    def __init__(self, start: Method) -> None:
        super().__init__()
        self.mine, self.start = nn.Linear(8, 8), start

    def losses(self, batch: Batch, rng: Rng) -> Terms:
        x = self.mine(torch.ones(2, 3, 8))
        h = decoder_of(self.start)(Tokens(x, torch.ones(2, 3, dtype=torch.bool)))
        return {"states": h.sum()}


def held() -> tuple[Holder, Method]:
    torch.manual_seed(0)
    start = Start()
    return Holder(shared(deepcopy(start))), start


def test_the_one_who_holds_it_saves_and_trains_only_what_is_its_own() -> None:
    holder, _ = held()
    assert set(holder.state_dict()) == {"mine.weight", "mine.bias"}
    assert [name for name, _ in holder.named_parameters()] == ["mine.weight", "mine.bias"]
    other, _ = held()
    assert other.load_state_dict(holder.state_dict()) is not None


def test_it_computes_what_it_computed_before() -> None:
    holder, start = held()
    t = Tokens(torch.randn(2, 4, 8), torch.ones(2, 4, dtype=torch.bool))
    assert torch.equal(decoder_of(holder.start)(t), decoder_of(start)(t))


def test_gradients_pass_through_to_what_is_before_it() -> None:
    holder, _ = held()
    holder.losses({}, Rng(0))["states"].backward()
    assert holder.mine.weight.grad is not None and holder.mine.weight.grad.abs().sum() > 0
    assert not any(b.requires_grad for b in holder.buffers())


def test_training_leaves_it_in_eval_mode_and_its_copies_too() -> None:
    holder, _ = held()
    for one in (holder, deepcopy(holder)):
        one.train()
        assert one.training and one.mine.training
        assert not any(part.training for part in one.start.modules())


def test_a_copy_is_on_its_own() -> None:
    holder, _ = held()
    copy = deepcopy(holder)
    decoder_of(copy.start).words.weight.zero_()
    assert decoder_of(holder.start).words.weight.abs().sum() > 0


def test_it_moves_with_what_holds_it() -> None:
    holder = held()[0].to(torch.float64)
    tensors: list[Tensor] = [b for b in holder.start.buffers() if b.is_floating_point()]
    assert tensors and all(b.dtype == torch.float64 for b in tensors)
    holder.to("meta")
    assert all(b.is_meta for b in holder.start.buffers())


@pytest.mark.parametrize("decoders", [0, 2])
def test_one_decoder_is_found_and_no_other_number(decoders: int) -> None:
    start = Start()
    assert decoder_of(start) is start.decoders[0]
    with pytest.raises(SensoriumError, match=f"Start holds {decoders} decoders; expected one"):
        decoder_of(Start(decoders))
