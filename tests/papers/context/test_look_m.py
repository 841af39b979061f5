from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from sensorium.blocks.decode import Cache, Decoder, Prompt, decode
from sensorium.blocks.prefix_lm import IMAGE, TEXT, PrefixLM
from sensorium.core import FieldInfo, SensoriumError, Tokens
from sensorium.lab.bases import Towers
from sensorium.run.load import paper

M: Any = paper("look-m")
B, H, G, S, D = 3, 4, 2, 12, 4


def prompt(seed: int = 0) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Queries, keys, values, real, kind: rows of 12, 9 and 5 tokens, of which the last three are text."""
    g = torch.Generator().manual_seed(seed)
    q, k, v = (torch.randn(B, n, S, D, generator=g) for n in (H, G, G))
    n = torch.tensor([12, 9, 5])[:, None]
    at = torch.arange(S)
    return q, k, v, at < n, torch.where((at >= n - 3) & (at < n), TEXT, IMAGE)


def cache(kind: Tensor, **config: Any) -> Any:
    return M.compressed(M.Config(**config))(Tokens(torch.zeros(*kind.shape, 1), kind == kind, kind=kind))()


def extended(seed: int = 0, **config: Any) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    """What the first call sees, and what it leaves."""
    q, k, v, real, kind = prompt(seed)
    c = cache(kind, **config)
    return c.extend(0, q, k, v, real), c._held[0]


def weights(q: Tensor, k: Tensor, real: Tensor) -> np.ndarray:
    """Causal attention [B H S S] by loops; head h reads key head h // 2."""
    out = np.zeros((B, H, S, S))
    for b in range(B):
        for h in range(H):
            for i in range(S):
                seen = [j for j in range(i + 1) if real[b, j]]
                e = np.exp([float(q[b, h, i] @ k[b, h // 2, j]) / D**0.5 for j in seen])
                out[b, h, i, seen] = e / e.sum() if seen else 0
    return out


def test_scores_are_attention_summed_over_the_asking_queries() -> None:
    q, k, _, real, kind = prompt()
    a = weights(q, k, real)
    for score, by in ((M.by_all, real), (M.by_text, real & (kind == TEXT))):
        want = (a * by[:, None, :, None].numpy()).sum(2).reshape(B, G, 2, S).sum(2)
        np.testing.assert_allclose(score(0, q, k, real, kind).numpy(), want, atol=1e-5)
    assert np.abs(want).sum() > 0


def test_the_first_call_sees_everything() -> None:
    _, k, v, real, _ = prompt()
    seen, _ = extended()
    assert torch.equal(seen[0], k) and torch.equal(seen[1], v) and torch.equal(seen[2][:, 0], real)


@pytest.mark.parametrize("share", [0.2, 0.5, 0.75])
def test_each_row_and_head_keeps_its_share(share: float) -> None:
    _, (k, v, there) = extended(share=share)
    want = [max(1, round(share * n)) for n in (12, 9, 5)]
    assert there.sum(2).tolist() == [[n] * G for n in want]
    assert k.shape == v.shape == (B, G, max(want), D)


def kept_places(merge: str = "none", **config: Any) -> list[list[list[int]]]:
    """The places kept by row and head, read from the keys, which no merging changed."""
    _, k, _, _, _ = prompt()
    _, (left, _, there) = extended(merge=merge, **config)
    return [
        [
            sorted(
                int((k[b, g] - one).abs().sum(-1).argmin())
                for one, real in zip(left[b, g], there[b, g], strict=True)
                if real
            )
            for g in range(G)
        ]
        for b in range(B)
    ]


def test_text_is_kept_before_images_and_the_recent_before_all() -> None:
    kept = kept_places(share=0.5, recent=0.5)
    for b, n in enumerate((12, 9, 5)):
        text = set(range(n - 3, n))
        for places in kept[b]:
            assert text <= set(places) if len(places) >= 3 else set(places) <= text
    # Without the prior only the recent half is sure, and somewhere an image outdoes the text.
    free = kept_places(share=0.5, recent=0.17, prior="none")
    assert all(11 in places for places in free[0])
    assert any(not {9, 10, 11} <= set(places) for places in free[0])


def test_without_prior_the_best_scores_are_kept() -> None:
    q, k, _, real, kind = prompt()
    scores = M.by_all(0, q, k, real, kind)
    kept = kept_places(share=0.5, recent=0.0, prior="none")
    for b, n in enumerate((12, 9, 5)):
        for g in range(G):
            want = scores[b, g, :n].argsort(descending=True)[: round(n / 2)]
            assert kept[b][g] == sorted(want.tolist())
    assert kept[0][0] != kept[0][1], "heads keep their own"


def test_recent_alone_keeps_the_last() -> None:
    kept = kept_places(**dict(M.ARMS["recent"].config), share=0.5)
    assert kept == [[list(range(6, 12))] * G, [list(range(5, 9))] * G, [list(range(3, 5))] * G]


def test_chance_is_its_own_and_the_same_twice() -> None:
    arm = {**M.ARMS["random"].config, "share": 0.5, "recent": 0.0}
    assert kept_places(**arm) == kept_places(**arm) != kept_places(**{**arm, "score": "all"})
    q, k, _, real, kind = prompt()
    assert not torch.equal(M.by_chance(0, q, k, real, kind), M.by_chance(1, q, k, real, kind))


@pytest.mark.parametrize(
    ("merge", "want_k", "want_v"),
    [
        # Keys 1 and 2 are evicted: [0 2] is most like the kept [0 1], [3 0] most like the kept [1 0].
        ("averaged", [[2.0, 0.0], [0.0, 1.5]], [[20.0], [15.0]]),
        ("pivotal", [[1.5, 0.0], [0.0, 1.25]], [[15.0], [12.5]]),
        ("weighted", [[2.0, 0.0], [0.0, 1.5]], [[20.0], [15.0]]),
        ("none", [[1.0, 0.0], [0.0, 1.0]], [[10.0], [10.0]]),
    ],
)
def test_merging_by_hand(merge: str, want_k: list[list[float]], want_v: list[list[float]]) -> None:
    k = torch.tensor([[1.0, 0.0], [0.0, 2.0], [3.0, 0.0], [0.0, 1.0]]).view(1, 1, 4, 2)
    v = torch.tensor([10.0, 20.0, 30.0, 10.0]).view(1, 1, 4, 1)
    pair = (k[:, :, [0, 3]], v[:, :, [0, 3]])
    gone = torch.tensor([False, True, True, False]).view(1, 1, 4)
    there = torch.ones(1, 1, 2, dtype=torch.bool)
    f = M.MERGES[merge]
    found = pair if f is None else M.merged((k, v), pair, gone, there, f)
    torch.testing.assert_close(found[0][0, 0], torch.tensor(want_k))
    torch.testing.assert_close(found[1][0, 0], torch.tensor(want_v))


def test_weighted_scales_by_the_cosine_and_many_share_one() -> None:
    """Two evicted at cosine 0.6 and 0.8 from the one kept: the mean of three."""
    k = torch.tensor([[1.0, 0.0], [0.6, 0.8], [1.6, 1.2]]).view(1, 1, 3, 2)
    v = torch.tensor([3.0, 6.0, 9.0]).view(1, 1, 3, 1)
    gone = torch.tensor([[[False, True, True]]])
    found = M.merged((k, v), (k[:, :, :1], v[:, :, :1]), gone, torch.ones(1, 1, 1).bool(), M.weighted)
    torch.testing.assert_close(found[0].flatten(), torch.tensor([(1 + 0.36 + 1.28) / 3, (0.48 + 0.96) / 3]))
    assert found[1].item() == pytest.approx((3 + 3.6 + 7.2) / 3)


@given(st.integers(0, 10**6), st.sampled_from(["averaged", "pivotal"]))
@settings(max_examples=25, deadline=None)
def test_averaging_stays_among_what_was_there(seed: int, merge: str) -> None:
    _, _, v, real, _ = prompt(seed)
    _, (_, left, there) = extended(seed, merge=merge, share=0.4)
    for b in range(B):
        for g in range(G):
            values = v[b, g][real[b]]
            found = left[b, g][there[b, g]]
            assert (found >= values.amin(0) - 1e-5).all() and (found <= values.amax(0) + 1e-5).all()


@pytest.mark.parametrize("merge", ["averaged", "pivotal", "weighted", "none"])
def test_padding_is_never_looked_at(merge: str) -> None:
    q, k, v, real, kind = prompt()
    base = extended(merge=merge, share=0.4)[1]
    c = cache(kind, merge=merge, share=0.4)
    pad = ~real[:, None, :, None]
    c.extend(0, q.masked_fill(pad, 50.0), k.masked_fill(pad, 1e3), v.masked_fill(pad, 1e3), real)
    for a, b in zip(base[:2], c._held[0][:2], strict=True):
        torch.testing.assert_close(a[base[2]], b[base[2]])


@pytest.mark.parametrize("merge", ["averaged", "pivotal", "weighted", "none"])
def test_a_row_is_compressed_as_it_would_be_alone(merge: str) -> None:
    q, k, v, real, kind = prompt()
    together = extended(merge=merge, share=0.4)[1]
    for b, n in enumerate((12, 9, 5)):
        one, cut = slice(b, b + 1), slice(0, n)
        c = cache(kind[one, cut], merge=merge, share=0.4)
        c.extend(0, q[one, :, cut], k[one, :, cut], v[one, :, cut], real[one, cut])
        alone, places = c._held[0], together[2][b]
        assert c._held[0][2].all() and int(places[0].sum()) == alone[2].shape[2]
        for x, y in zip(together[:2], alone[:2], strict=True):
            torch.testing.assert_close(x[b][places].view_as(y[0]), y[0])


def decoder() -> tuple[Decoder, Tokens]:
    torch.manual_seed(0)
    d = Decoder(20, 32, 2, 4, 64, groups=2).eval()
    g = torch.Generator().manual_seed(1)
    n = torch.tensor([30, 24])[:, None]
    at = torch.arange(30)
    x = torch.randn(2, 30, 32, generator=g)
    return d, Tokens(x, at < n, kind=torch.where(at >= n - 4, TEXT, IMAGE))


def test_a_share_of_one_decodes_as_the_whole_cache_does() -> None:
    d, t = decoder()
    p = Prompt(d, t, cache=M.compressed(M.Config(share=1.0))(t))
    for beams in (1, 3):
        found, want = decode(p, 8, stop=[], beams=beams), decode(Prompt(d, t), 8, stop=[], beams=beams)
        assert torch.equal(found.ids, want.ids)


@pytest.mark.parametrize("name", [n for n in M.ARMS if n != "full"])
def test_every_arm_decodes_any_decoder_with_a_fifth_of_the_cache(name: str) -> None:
    d, t = decoder()
    whole, small = Cache(), M.compressed(M.Config(**M.ARMS[name].config))(t)()
    for c in (whole, small):
        h = d(t, cache=c)
    assert torch.equal(h, d(t))
    assert small.numbers() == whole.numbers() // 5
    assert small.next is not None and small.next.tolist() == [30, 24], "positions go on as if nothing was left out"
    p = Prompt(d, t, cache=M.compressed(M.Config(**M.ARMS[name].config))(t))
    found = decode(p, 8, stop=[])
    assert torch.equal(found.ids[:, 0], decode(Prompt(d, t), 1, stop=[]).ids[:, 0])
    assert decode(p, 8, stop=[], beams=2).ids.shape == (2, 8)


def test_arms_of_equal_caches_differ() -> None:
    d, t = decoder()
    states = {}
    for name, arm in M.ARMS.items():
        c = M.compressed(M.Config(**arm.config))(t)() if name != "full" else Cache()
        d(t, cache=c)
        one = Tokens(torch.ones(2, 1, 32), torch.ones(2, 1, dtype=torch.bool))
        states[name] = d(one, cache=c)
    names = list(states)
    same = [(a, b) for i, a in enumerate(names) for b in names[:i] if torch.equal(states[a], states[b])]
    assert same == []


def test_what_is_decoded_is_kept() -> None:
    d, t = decoder()
    c = M.compressed(M.Config())(t)()
    d(t, cache=c)
    width = c._held[0][0].shape[2]
    for _ in range(3):
        d(Tokens(torch.ones(2, 1, 32), torch.ones(2, 1, dtype=torch.bool)), cache=c)
    assert c._held[0][0].shape[2] == width + 3


def test_bad_dials_are_named() -> None:
    for config, words in (
        ({"share": 0.0}, "share 0"), ({"recent": 1.5}, "recent 1.5"), ({"score": "txt"}, "score 'txt'; did you mean"),
        ({"prior": "image"}, "prior 'image'"), ({"merge": "average"}, "merge 'average'; did you mean 'averaged'"),
    ):  # fmt: skip
        with pytest.raises(SensoriumError, match=words):
            M.compressed(M.Config(**config))
    q, k, v, real, kind = prompt()
    with pytest.raises(SensoriumError, match=r"prompt of \(3, 12\) tokens; its kinds are \(3, 7\)"):
        cache(kind[:, :7]).extend(0, q, k, v, real)


def test_it_is_the_prefix_lm_with_another_cache() -> None:
    fields = {"image": FieldInfo("image", (3, 16, 16)), "text": FieldInfo("text", vocab=20, length=8)}
    built = []
    for slug in ("look-m", "baseline/prefix-lm"):
        torch.manual_seed(0)
        module: Any = paper(slug)
        built.append(module.build(module.Config(), fields, Towers({}, fields)))
    ours, plain = built
    assert isinstance(ours, PrefixLM) and type(ours) is type(plain) and ours.cache is not plain.cache
    assert all(torch.equal(a, b) for a, b in zip(ours.parameters(), plain.parameters(), strict=True))
    assert ours.state_dict().keys() == plain.state_dict().keys()
