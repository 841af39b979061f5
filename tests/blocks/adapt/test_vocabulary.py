"""New ids of a decoder: the old ones as before, the new ones said and read, frozen or not."""

from __future__ import annotations

import pytest
import torch

from sensorium.blocks.adapt.vocabulary import extended
from sensorium.blocks.decode import Decoder, Prompt, decode
from sensorium.blocks.shared import shared
from sensorium.core import Ids, Method, Rng, SensoriumError, Terms

VOCAB, DIM = 20, 16


class Lm(Method):
    def __init__(self) -> None:
        super().__init__()
        self.decoder = Decoder(VOCAB, DIM, 2, 2, 32)

    def losses(self, batch: object, rng: Rng) -> Terms:
        return {}


def made() -> Decoder:
    torch.manual_seed(0)
    return Lm().decoder


def text() -> Ids:
    ids = torch.randint(0, VOCAB + 2, (3, 5), generator=torch.Generator().manual_seed(1))
    return Ids(ids, torch.arange(5) < torch.tensor([[5], [3], [1]]))


def test_the_old_ids_are_read_and_scored_exactly_as_before() -> None:
    plain, more = made(), made()
    assert extended(more, 3) == range(VOCAB + 2, VOCAB + 5)
    assert (more.begin, more.end) == (plain.begin, plain.end)
    before, after = plain(plain.embed(text())), more(more.embed(text()))
    assert torch.equal(before, after)
    assert torch.equal(more.logits(after)[..., : VOCAB + 2], plain.logits(before))
    assert more.logits(after).shape[-1] == VOCAB + 5 == len(more.words.weight) == len(more.says.weight)


def test_new_ids_are_read_as_their_own_vectors() -> None:
    more = made()
    new = extended(more, 2)
    ids = torch.tensor([[0, new[1], new[0], more.end]])
    found = more.embed(Ids(ids, torch.ones_like(ids, dtype=torch.bool))).x[0]
    assert torch.equal(found, more.words.weight[ids[0]])
    assert not torch.equal(found[1], found[2])


def test_a_new_id_is_said_once_its_score_is_the_highest() -> None:
    more = made()
    new = extended(more, 2)
    tokens = more.embed(text())
    h = more(tokens)[torch.arange(3), text().mask.sum(1) - 1]
    with torch.no_grad():
        dict(more.named_parameters())["says.new"][1] = 100 * h.mean(0)
    said = decode(Prompt(more, tokens), 1)
    assert said.ids.tolist() == [[new[1]]] * 3


def test_only_the_new_vectors_of_a_frozen_decoder_learn_and_are_saved() -> None:
    torch.manual_seed(0)
    method = shared(Lm())
    assert isinstance(method, Lm)
    new = extended(method.decoder, 2)
    ids = torch.tensor([[1, new[0], new[1], 2]])
    h = method.decoder(method.decoder.embed(Ids(ids, torch.ones_like(ids, dtype=torch.bool))))
    method.decoder.logits(h).logsumexp(-1).sum().backward()  # type: ignore[no-untyped-call]
    learnt = {name: p.grad for name, p in method.named_parameters()}
    assert set(learnt) == set(method.state_dict()) == {"decoder.words.new", "decoder.says.new"}
    assert all(g is not None and g.abs().amin(-1).gt(0).all() for g in learnt.values())


def test_no_new_id_is_an_error() -> None:
    with pytest.raises(SensoriumError, match="0 new ids; expected 1 or more"):
        extended(made(), 0)


def test_a_decoder_that_scores_other_ids_than_it_reads_is_refused() -> None:
    odd = made()
    odd.says = torch.nn.Linear(DIM, VOCAB)
    with pytest.raises(SensoriumError, match=f"reads {VOCAB + 2} ids and scores {VOCAB}; expected as many"):
        extended(odd, 1)
