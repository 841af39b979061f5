"""Comparing embeddings gives what the method would."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sensorium.apps.server import compare as comparing
from sensorium.apps.server.compare import agrees, can, compare, late_from, must_embed, must_paint, must_rank, must_write
from sensorium.apps.server.state import Served
from sensorium.blocks.similarity import late, unit
from sensorium.core import SensoriumError, Space, Tokens


def tokens(rows: int, longest: int, seed: int) -> Tokens:
    """Unit vectors [rows longest 4] with garbage under the padding, which is not always at the end."""
    g = torch.Generator().manual_seed(seed)
    mask = torch.rand(rows, longest, generator=g) < 0.6
    x = unit(torch.randn(rows, longest, 4, generator=g))
    return Tokens(torch.where(mask[..., None], x, torch.inf), mask)


@settings(deadline=None, derandomize=True)
@given(st.integers(1, 6), st.integers(1, 5), st.integers(1, 9), st.integers(1, 5), st.integers(0, 999))
def test_late_from_is_the_first_half_of_late(q: int, t: int, i: int, s: int, seed: int) -> None:
    queries, items = tokens(q, t, seed), tokens(i, s, seed + 1000)
    torch.testing.assert_close(late_from(queries, items), late(queries, items)[0], atol=1e-5, rtol=0)


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    queries, items = tokens(5, 4, 1), tokens(23, 6, 2)
    whole = late_from(queries, items)
    monkeypatch.setattr(comparing, "CHUNK", 100)
    torch.testing.assert_close(late_from(queries, items), whole)


def test_one_vector_each_is_a_product() -> None:
    x, y = unit(torch.randn(3, 1, 8)), unit(torch.randn(5, 1, 8))
    ones = [torch.ones(n, 1, dtype=torch.bool) for n in (3, 5)]
    got = compare(Space(8), Tokens(x, ones[0]), Tokens(y, ones[1]))
    torch.testing.assert_close(got, torch.cosine_similarity(x, y[:, 0], dim=-1))


def test_a_run_with_a_ranking_of_its_own_is_found_out(there: Served) -> None:
    assert {name: agrees(model) for name, model in there.models.items()} == {
        "clip": True,
        "filip": True,
        "odd": False,
        "colours": False,
        "sides": False,
    }


def test_what_a_run_can_do_is_in_every_refusal(there: Served) -> None:
    clip, sides = there.models["clip"], there.models["sides"]
    assert can("clip", clip) == "clip embeds image and text, ranks"
    assert can("sides", sides) == "sides predicts value and boxes and mask and spans"
    must_embed("clip", clip, "text")
    must_rank("clip", clip)
    with pytest.raises(SensoriumError, match="clip does not embed audio; clip embeds image and text, ranks"):
        must_embed("clip", clip, "audio")
    with pytest.raises(SensoriumError, match="sides does not rank; sides predicts value"):
        must_rank("sides", sides)


def test_a_refusal_to_write_or_paint_names_the_runs_that_can(able: Served, there: Served) -> None:
    assert must_write(able, "asker") is able.models["asker"] and must_paint(able, "painter") is able.models["painter"]
    assert can("painter", able.models["painter"]) == "painter writes captions, paints pictures"
    with pytest.raises(
        SensoriumError, match="teller does not paint pictures; teller writes captions; painter and tiles can"
    ):
        must_paint(able, "teller")
    with pytest.raises(
        SensoriumError, match="clip does not write text; clip embeds image and text, ranks; no served run"
    ):
        must_write(there, "clip")
    with pytest.raises(SensoriumError, match="unknown model 'cliq'; did you mean 'clip'"):
        must_write(there, "cliq")
