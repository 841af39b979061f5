"""One tokeniser's ids as another's: the same words, wherever padding stands."""

from __future__ import annotations

import pytest
import torch

from sensorium.core import Ids, SensoriumError
from sensorium.data.tokenise import encode
from sensorium.lab import starts
from sensorium.lab.bases import open_bases
from sensorium.lab.retell import retold
from sensorium.lab.world.facts import Config, facts
from sensorium.lab.world.lang import caption


def test_captions_are_told_as_the_other_tokeniser_tells_them() -> None:
    texts = [*caption(facts(0, 20, Config(fewest=1, most=1)), "long"), "", "a zebra; \n née?"]
    ids = encode(starts.opened("causal-lm").words(), texts, 64)
    retell = retold(open_bases({}, {}), "causal-lm", "denoiser")
    found, want = retell(ids), encode(starts.opened("denoiser").words(), texts, 64)
    wide = found.ids.shape[1]
    assert wide == int(want.mask.sum(1).max()) and not found.mask[20].any()
    assert torch.equal(found.ids, want.ids[:, :wide]) and torch.equal(found.mask, want.mask[:, :wide])
    pad = torch.nn.functional.pad
    moved = Ids(pad(ids.ids, (2, 3), value=9), pad(ids.mask, (2, 3)))
    assert torch.equal(retell(moved).ids, found.ids)


def test_an_unknown_start_is_refused_with_the_nearest() -> None:
    with pytest.raises(SensoriumError, match=r"unknown base 'denoisr'.*denoiser"):
        retold(open_bases({}, {}), "causal-lm", "denoisr")
