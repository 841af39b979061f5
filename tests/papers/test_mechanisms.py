"""Each mechanism against numbers computed another way: loops over rows, NumPy, or by hand."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from sensorium.blocks.two_tower import TwoTower
from sensorium.core import Bases, Batch, Field, Rng, Tokens, Tower, Value
from sensorium.run.load import paper

WIDE, DIM, ROWS = 6, 8, 5
Array = NDArray[np.float64]


class Pass(Tower):
    """A tower that gives what it is given."""

    dim = WIDE

    def forward(self, value: Value) -> Tokens:
        assert isinstance(value, Tokens)
        return value


BASES = cast(Bases, SimpleNamespace(encoder=lambda key, read="pooled": Pass()))


def made(slug: str, seed: int = 0, **config: Any) -> Any:
    """The paper's method on towers that pass, without dropout."""
    torch.manual_seed(seed)
    module = paper(slug)
    method = module.build(module.Config(**config), {}, BASES)
    with torch.no_grad():
        for name, p in method.named_parameters():
            if name.endswith("bias"):
                p.normal_()
    return method.eval()


def tokens(seed: int, rows: int = ROWS, length: int = 3) -> Tokens:
    """Tokens [rows length WIDE], each row with 1 to `length` real ones and junk behind the mask."""
    draw = torch.Generator().manual_seed(seed)
    real = torch.randint(1, length + 1, (rows,), generator=draw)
    return Tokens(torch.randn(rows, length, WIDE, generator=draw), torch.arange(length) < real[:, None])


def batch(seed: int, group: list[int] | None = None, **more: Tokens) -> dict[str, Value]:
    group = group or [100 * seed + k for k in range(ROWS)]
    rows = len(group)
    return {
        "image": tokens(10 * seed, rows), "text": tokens(10 * seed + 1, rows), **more,
        "row": Field(torch.arange(rows)), "group": Field(torch.tensor(group)),
    }  # fmt: skip


def array(x: Tensor) -> Array:
    return cast(Array, x.detach().double().numpy())


def normed(x: Array) -> Array:
    return cast(Array, x / np.linalg.norm(x, axis=-1, keepdims=True))


def vectors(model: TwoTower, t: Tokens, role: str) -> Array:
    """Head of each real token, their mean: [B DIM], not yet of length 1."""
    w, b = array(model.heads[role].last.weight), array(model.heads[role].last.bias)  # type: ignore[union-attr,arg-type]
    real = [array(row[mask]) for row, mask in zip(t.x, t.mask, strict=True)]
    return np.stack([np.mean([w @ v + b for v in row], 0) for row in real])


def nce(
    scores: Array, right: NDArray[np.bool_], extra: Array | None = None, real: NDArray[np.bool_] | None = None
) -> float:
    """One direction of InfoNCE by loops: each positive against itself, its row's negatives and the extra columns."""
    rows = []
    for i, row in enumerate(scores):
        wrong = [row[j] for j in range(len(row)) if not right[i, j]]
        if extra is not None:
            assert real is not None
            wrong += [extra[i, j] for j in range(extra.shape[1]) if real[i, j]]
        each = [
            -np.log(np.exp(row[j]) / (np.exp(row[j]) + np.exp(wrong).sum())) for j in range(len(row)) if right[i, j]
        ]
        rows.append(np.mean(each))
    return float(np.mean(rows))


def both(image: Array, text: Array, scale: float, right: NDArray[np.bool_]) -> float:
    scores = normed(image) @ normed(text).T * scale
    return (nce(scores, right) + nce(scores.T, right.T)) / 2


def same(group: Value) -> NDArray[np.bool_]:
    assert isinstance(group, Field)
    ids = group.data.numpy()
    return cast("NDArray[np.bool_]", ids[:, None] == ids[None])


def toks(b: Batch, key: str) -> Tokens:
    value = b[key]
    assert isinstance(value, Tokens)
    return value


def loss(method: Any, b: Batch, rng: Any = None) -> Tensor:
    (value,) = method.losses(b, rng or Rng(0)).values()
    return cast(Tensor, value)


def scaled(model: TwoTower) -> float:
    """The temperature set to 5, so that no softmax is saturated."""
    with torch.no_grad():
        model.log_scale.fill_(np.log(5.0))
    return float(model.scale.detach())


# baseline/clip


@pytest.mark.parametrize("group", [[1, 2, 3, 4, 5], [1, 2, 1, 4, 2]], ids=["all apart", "with twins"])
def test_clip_is_symmetric_info_nce(group: list[int]) -> None:
    model, b = made("baseline/clip", dim=DIM), batch(1, group)
    scale = scaled(model)
    image, text = vectors(model, toks(b, "image"), "image"), vectors(model, toks(b, "text"), "text")
    assert float(loss(model, b)) == pytest.approx(both(image, text, scale, same(b["group"])), abs=1e-5)


# brivl


def test_brivl_queue_holds_momentum_keys_of_earlier_batches() -> None:
    method = made("brivl", dim=DIM, queue=7, decay=0.5)
    keys: dict[str, list[Array]] = {"image": [], "text": []}
    for turn in (1, 2):
        b = batch(turn)
        for role in keys:
            keys[role].append(normed(vectors(method.slow.module, toks(b, role), role)))
        with torch.no_grad():  # online weights move: keys of the online pair would be others
            for p in method.pair.parameters():
                p.add_(0.3)
        loss(method, b)
        method.after_step(b)
    ids = [100 + k for k in range(ROWS)] + [200 + k for k in range(ROWS)]
    for role, queue in method.queues.items():
        x, stored, filled = queue.read()
        held = dict(zip(stored.tolist(), array(x), strict=True))
        assert filled.all() and sorted(held) == ids[-7:]
        for name, key in zip(ids, np.concatenate(keys[role]), strict=True):
            if name in held:
                np.testing.assert_allclose(held[name], key, atol=1e-6)


def test_brivl_counts_queued_keys_as_negatives_except_those_of_the_same_group() -> None:
    method = made("brivl", dim=DIM, queue=8, decay=0.9)
    scale = scaled(method.pair)
    before = batch(1, [11, 12, 13, 14, 15])
    loss(method, before)
    method.after_step(before)
    now = batch(2, [21, 13, 23, 11, 23])  # 13 and 11 are in the queue already
    online = {r: normed(vectors(method.pair, toks(now, r), r)) for r in ("image", "text")}
    slow = {r: normed(vectors(method.slow.module, toks(now, r), r)) for r in ("image", "text")}
    value = float(loss(method, now))

    def expected(spare_same_group: bool) -> float:
        right, total = same(now["group"]), 0.0
        mine = np.array([21, 13, 23, 11, 23])
        for query, key in (("image", "text"), ("text", "image")):
            x, ids, filled = method.queues[key].read()
            real = np.tile(filled.numpy(), (ROWS, 1))
            if spare_same_group:
                real &= mine[:, None] != ids.numpy()[None]
            total += nce(online[query] @ slow[key].T * scale, right, online[query] @ array(x).T * scale, real)
        return total / 2

    assert value == pytest.approx(expected(True), abs=1e-5)
    assert abs(value - expected(False)) > 1e-3


def test_brivl_without_queue_contrasts_with_the_batch_alone() -> None:
    method, b = made("brivl", dim=DIM, queue=0), batch(3)
    scale = scaled(method.pair)
    method.solve([])  # `made` gave the slow pair other biases; here it starts equal
    image, text = (vectors(method.pair, toks(b, r), r) for r in ("image", "text"))
    loss(method, b)
    method.after_step(b)
    assert list(method.queues) == []
    assert float(loss(method, b)) == pytest.approx(both(image, text, scale, same(b["group"])), abs=1e-5)


def test_brivl_slow_pair_follows_the_online_pair() -> None:
    method, b = made("brivl", dim=DIM, queue=4, decay=0.75), batch(4)
    loss(method, b)
    with torch.no_grad():
        for p in method.pair.parameters():
            p.add_(torch.randn(p.shape, generator=torch.Generator().manual_seed(p.numel())))
    slow = {k: v.clone() for k, v in method.slow.module.named_parameters()}
    fast = dict(method.pair.named_parameters())
    method.after_step(b)
    for name, now in method.slow.module.named_parameters():
        torch.testing.assert_close(now, 0.75 * slow[name] + 0.25 * fast[name].detach(), atol=1e-6, rtol=0)
        assert not torch.allclose(slow[name], fast[name])


def test_brivl_trains_the_online_pair_alone() -> None:
    method, b = made("brivl", dim=DIM, queue=4), batch(5)
    loss(method, b).backward()
    assert all(p.grad is not None and p.grad.any() for p in method.pair.parameters())
    assert all(p.grad is None and not p.requires_grad for p in method.slow.parameters())


def test_brivl_starts_its_slow_pair_from_the_solved_pair() -> None:
    method = made("brivl", dim=DIM, queue=4)
    with torch.no_grad():
        method.pair.log_scale.fill_(1.25)
    method.solve([batch(1)])
    assert float(method.slow.module.log_scale) == 1.25


# concept-negatives


def negatives(real: list[bool], fill: float | None = None) -> Tokens:
    t = tokens(77)
    mask = t.mask & torch.tensor(real)[:, None]
    x = t.x if fill is None else t.x.masked_fill(~mask[..., None], fill)
    return Tokens(x, mask)


@pytest.mark.parametrize("fill", [0.0, 9.0, float("nan")])
def test_columns_without_a_negative_change_nothing(fill: float) -> None:
    plain, model = made("baseline/clip", dim=DIM), made("concept-negatives", dim=DIM)
    assert scaled(plain) == scaled(model)
    none = batch(6, **{"text/negative": negatives([False] * ROWS, fill)})
    torch.testing.assert_close(loss(model, none), loss(plain, batch(6)), atol=1e-6, rtol=0)
    some = [True, False, True, False, False]
    clean, dirty = (loss(model, batch(6, **{"text/negative": negatives(some, f)})) for f in (0.0, fill))
    torch.testing.assert_close(dirty, clean, atol=1e-6, rtol=0)
    assert abs(float(clean - loss(plain, batch(6)))) > 1e-3


def test_negatives_stand_in_the_image_to_text_direction_alone() -> None:
    model = made("concept-negatives", dim=DIM)
    scale, real = scaled(model), [True, False, True, True, False]
    b = batch(6, **{"text/negative": negatives(real)})
    image, text = (normed(vectors(model, toks(b, r), r)) for r in ("image", "text"))
    wrong = np.zeros((ROWS, DIM))
    for k in np.flatnonzero(real):
        wrong[k] = normed(vectors(model, toks(b, "text/negative").rows(torch.tensor([k])), "text"))[0]
    scores, extra = image @ text.T * scale, image @ wrong.T * scale
    right = same(b["group"])
    to_text = nce(scores, right, extra, np.tile(real, (ROWS, 1)))
    assert float(loss(model, b)) == pytest.approx((to_text + nce(scores.T, right.T)) / 2, abs=1e-5)


# jina-clip-v2


def test_matryoshka_is_the_mean_over_prefixes() -> None:
    model, b = made("jina-clip-v2", prefixes=(DIM, 4, 2)), batch(7, [1, 2, 3, 1, 5])
    scale = scaled(model)
    image, text = (vectors(model, toks(b, r), r) for r in ("image", "text"))
    each = [both(image[:, :w], text[:, :w], scale, same(b["group"])) for w in (DIM, 4, 2)]
    assert float(loss(model, b)) == pytest.approx(float(np.mean(each)), abs=1e-5)
    assert min(abs(each[0] - e) for e in each[1:]) > 1e-3


def test_matryoshka_space_is_as_wide_as_the_longest_prefix() -> None:
    assert made("jina-clip-v2", prefixes=(2, DIM, 4)).spaces["image"].dim == DIM


# kelip


class Asked:
    """A source of randomness that remembers what it was asked for."""

    def __init__(self, seed: int) -> None:
        self.rng, self.names = Rng(seed), list[str]()

    def __call__(self, purpose: str, device: str = "cpu") -> torch.Generator:
        self.names.append(purpose)
        return self.rng(purpose, device)

    def number(self, purpose: str) -> int:
        self.names.append(purpose)
        return self.rng.number(purpose)


LANGUAGES = ("text", "text.fi", "text.fr")


def flags(language: int, present: list[bool], length: int) -> Tokens:
    """Every real token of a language holds its number."""
    x = torch.full((len(present), length, WIDE), float(language + 1))
    return Tokens(x, torch.tensor(present)[:, None].expand(-1, length).contiguous())


def languages(monkeypatch: pytest.MonkeyPatch) -> tuple[Callable[[Any], list[int]], Tensor]:
    """rng -> which language each of 40 rows was given; and which it has [40 3]."""
    module = paper("kelip")
    model = made("kelip", dim=DIM)
    there = torch.ones(40, 3, dtype=torch.bool)
    there[:10, 1], there[5:15, 2], there[20:25, 0] = False, False, False
    each = {k: flags(n, there[:, n].tolist(), n + 2) for n, k in enumerate(LANGUAGES)}
    b = {**batch(8, list(range(40))), **each}
    seen: list[Tokens] = []

    def spy(model: TwoTower, image: Tokens, text: Tokens, right: Tensor) -> Tensor:
        seen.append(text)
        return torch.zeros(())

    monkeypatch.setattr(module, "match", spy)
    plain = torch.stack([model.encode(b, k).x[there[:, n].long().argmax(), 0] for n, k in enumerate(LANGUAGES)])

    def drawn(rng: Any) -> list[int]:
        model.losses(b, rng)
        text = seen.pop()
        assert torch.equal(text.mask.sum(1), torch.tensor([n + 2 for n in found(text)]))
        return found(text)

    def found(text: Tokens) -> list[int]:
        return [int((plain - row[0]).abs().sum(1).argmin()) for row in text.x]

    return drawn, there


def test_kelip_draws_with_the_named_generator_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn, _ = languages(monkeypatch)
    asked = Asked(3)
    first = drawn(asked)
    assert asked.names == ["language"]
    torch.manual_seed(99)
    assert drawn(Asked(3)) == first
    assert drawn(Asked(4)) != first and drawn(Rng(3, step=1)) != first


def test_kelip_never_draws_a_language_that_a_row_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn, there = languages(monkeypatch)
    counts = torch.zeros(40, 3)
    for step in range(60):
        counts[torch.arange(40), torch.tensor(drawn(Rng(0, step)))] += 1
    assert not counts[~there].any()
    assert counts[there].min() >= 5  # each language a row has comes up, 20 times of 60 where there are three
    shares = counts[25:].sum(0) / counts[25:].sum()
    assert (shares - 1 / 3).abs().max() < 0.05


def test_kelip_contrasts_images_with_the_drawn_captions() -> None:
    model, b = made("kelip", dim=DIM), batch(9)
    scale, absent = scaled(model), torch.zeros(ROWS, 4, dtype=torch.bool)
    french = tokens(93, length=4)
    only_french = {**b, "text": Tokens(tokens(91).x, absent[:, :3]), "text.fr": french}
    image, text = vectors(model, toks(b, "image"), "image"), vectors(model, french, "text")
    assert float(loss(model, only_french)) == pytest.approx(both(image, text, scale, same(b["group"])), abs=1e-5)


# fusemix


def rigged_beta(monkeypatch: pytest.MonkeyPatch, share: float) -> list[tuple[float, float]]:
    """Every Beta draw gives `share`; returns the list of what was asked for."""
    asked: list[tuple[float, float]] = []
    source = SimpleNamespace(beta=lambda a, b: asked.append((a, b)) or share)
    monkeypatch.setattr(np.random, "default_rng", lambda seed: source)
    return asked


@pytest.mark.parametrize("share", [1.0, 0.0])
def test_fusemix_without_mixing_is_plain_contrast(monkeypatch: pytest.MonkeyPatch, share: float) -> None:
    plain, model, b = made("baseline/clip", dim=DIM), made("fusemix", dim=DIM, alpha=0.7), one_token(10)
    assert scaled(plain) == scaled(model)
    asked = rigged_beta(monkeypatch, share)
    torch.testing.assert_close(loss(model, b), loss(plain, b), atol=1e-6, rtol=0)
    assert asked == [(0.7, 0.7)]


def one_token(seed: int, group: list[int] | None = None) -> Batch:
    b = batch(seed, group)
    return {**b, **{k: Tokens(toks(b, k).x[:, :1], toks(b, k).mask[:, :1]) for k in ("image", "text")}}


def test_fusemix_mixes_both_sides_of_two_rows_with_one_share(monkeypatch: pytest.MonkeyPatch) -> None:
    model, b, rng = made("fusemix", dim=DIM), one_token(11, [1, 2, 3, 1, 5]), Rng(2, 4)
    scale = scaled(model)
    rigged_beta(monkeypatch, 0.3)
    other = torch.randperm(ROWS, generator=rng("mixup partner")).numpy()
    assert (other != np.arange(ROWS)).any()
    sides = []
    for role in ("image", "text"):
        x = toks(b, role).x
        mixed = Tokens(0.3 * x + 0.7 * x[torch.from_numpy(other)], toks(b, role).mask)
        sides.append(vectors(model, mixed, role))
    ids = np.array([1, 2, 3, 1, 5])
    right = same(b["group"]) & (ids[other][:, None] == ids[other][None])
    assert float(loss(model, b, rng)) == pytest.approx(both(*sides, scale, right), abs=1e-5)


def test_fusemix_draws_share_and_partner_by_name() -> None:
    model, b = made("fusemix", dim=DIM), one_token(12)
    asked = Asked(1)
    first = loss(model, b, asked)
    assert sorted(asked.names) == ["mixup partner", "mixup share"]
    torch.manual_seed(5)
    np.random.seed(5)
    assert torch.equal(loss(model, b, Asked(1)), first)
    assert not torch.equal(loss(model, b, Rng(1, step=1)), first)


# baseline/ridge and baseline/asif


def pooled_rows(t: Tokens) -> Array:
    return np.stack([array(row[real]).mean(0) for row, real in zip(t.x, t.mask, strict=True)])


def test_ridge_is_the_least_squares_solution() -> None:
    train, test = [batch(s, list(range(9))) for s in (13, 14)], batch(15)
    method = made("baseline/ridge", penalty=0.4)
    method.solve(train)
    x, y = (np.concatenate([pooled_rows(toks(b, r)) for b in train]) for r in ("image", "text"))
    xm, ym = x.mean(0), y.mean(0)
    x, y = x - xm, y - ym
    root = np.sqrt(0.4 * (x**2).sum(0).mean())
    # Ridge is ordinary least squares with a row sqrt(c) e_k -> 0 added per feature.
    stacked, targets = np.vstack([x, root * np.eye(WIDE)]), np.vstack([y, np.zeros((WIDE, WIDE))])
    solution = np.linalg.lstsq(stacked, targets, rcond=None)[0]
    np.testing.assert_allclose(array(method.map), solution, atol=1e-5)
    image, text = pooled_rows(toks(test, "image")), pooled_rows(toks(test, "text"))
    scores = normed((image - xm) @ solution) @ normed(text - ym).T
    np.testing.assert_allclose(array(method.rank({"image": test["image"]}, {"text": test["text"]})), scores, atol=1e-5)


def test_ridge_with_more_features_than_rows_is_solved_by_the_penalty() -> None:
    method = made("baseline/ridge", penalty=0.1)
    method.solve([batch(16, [1, 2, 3])])
    assert torch.isfinite(method.map).all() and method.map.abs().max() < 10


def test_asif_matches_by_shared_anchors() -> None:
    train, test = [batch(s, list(range(7))) for s in (17, 18)], batch(19)
    keep, power = 4, 3.0
    method = made("baseline/asif", keep=keep, power=power)
    method.solve(train)
    anchors = {r: np.concatenate([pooled_rows(toks(b, r)) for b in train]) for r in ("image", "text")}

    def relative(v: Array, role: str) -> Array:
        near = [float(v @ a / np.linalg.norm(v) / np.linalg.norm(a)) for a in anchors[role]]
        kept = sorted(range(len(near)), key=lambda k: -near[k])[:keep]
        out = np.array([max(near[k], 0.0) ** power if k in kept else 0.0 for k in range(len(near))])
        return cast(Array, out / np.linalg.norm(out))

    images, texts = pooled_rows(toks(test, "image")), pooled_rows(toks(test, "text"))
    expected = [[relative(t, "text") @ relative(i, "image") for i in images] for t in texts]
    scores = method.rank({"text": test["text"]}, {"image": test["image"]})
    np.testing.assert_allclose(array(scores), expected, atol=1e-5)
    assert method.spaces["image"].dim == 14
    assert (method.embed(test, "image").x > 0).sum(-1).max() <= keep


def test_asif_with_fewer_anchors_than_it_keeps() -> None:
    method, few = made("baseline/asif", keep=50), batch(20, [1, 2, 3])
    method.solve([few])
    scores = method.rank({"text": few["text"]}, {"image": few["image"]})
    assert torch.isfinite(scores).all()


# filip


def test_filip_ranks_by_the_mean_of_best_token_cosines() -> None:
    model, b = made("filip", dim=DIM), batch(21)
    heads = {r: (array(model.heads[r].last.weight), array(model.heads[r].last.bias)) for r in ("image", "text")}

    def words(role: str, k: int) -> Array:
        w, c = heads[role]
        t = toks(b, role)
        return normed(array(t.x[k][t.mask[k]]) @ w.T + c)

    def by_hand(query: str, item: str) -> Array:
        out = np.zeros((ROWS, ROWS))
        for i in range(ROWS):
            for j in range(ROWS):
                q, v = words(query, i), words(item, j)
                out[i, j] = np.mean([max(float(a @ c) for c in v) for a in q])
        return out

    to_image, to_text = by_hand("text", "image"), by_hand("image", "text")
    np.testing.assert_allclose(array(model.rank({"text": b["text"]}, {"image": b["image"]})), to_image, atol=1e-5)
    np.testing.assert_allclose(array(model.rank({"image": b["image"]}, {"text": b["text"]})), to_text, atol=1e-5)
    assert np.abs(to_image - to_text.T).max() > 1e-2  # each direction has its own mean
    scale, right = scaled(model), same(b["group"])
    expected = (nce(to_text * scale, right) + nce(to_image * scale, right)) / 2
    assert float(loss(model, b)) == pytest.approx(expected, abs=1e-5)


def test_filip_embeds_every_real_token() -> None:
    model, b = made("filip", dim=DIM), batch(22)
    t = model.embed(b, "text")
    assert model.spaces["text"].many and torch.equal(t.mask, toks(b, "text").mask)
    torch.testing.assert_close(t.x.norm(dim=-1), t.mask.float(), atol=1e-6, rtol=0)
