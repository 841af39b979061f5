"""The one loop: schedule, rates, optimiser, what it refuses, and resuming."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from itertools import islice
from typing import Any

import pytest
import torch
import xxhash
from torch import Tensor, nn

from sensorium.core import Batch, Budget, Field, Method, Rng, SensoriumError, Terms, Trial
from sensorium.run.fit import AdamW, Fit, Stage, Step, cosine, rate_groups

BATCH = 8


class Toy(Method):
    """Two towers and a head on numbers; `spoil` maps (terms, total step) to terms."""

    def __init__(self, dropout: float = 0.0, spoil: Callable[[Terms, int], Terms] | None = None) -> None:
        super().__init__()
        draw = torch.Generator().manual_seed(0)
        self.towers = nn.ModuleDict({"image": nn.Linear(3, 4), "text": nn.Linear(3, 4)})
        self.head = nn.Linear(4, 2)
        self.drop = nn.Dropout(dropout)
        self.scale = nn.Parameter(torch.tensor(1.5))
        self.spoil, self.after = spoil, 0
        with torch.no_grad():
            for p in self.parameters():
                if p.ndim:
                    p.copy_(torch.randn(p.shape, generator=draw))

    def losses(self, batch: Batch, rng: Rng) -> Terms:
        x = batch["x"]
        assert isinstance(x, Field)
        noise = torch.randn(x.data.shape, generator=rng("noise"))
        image, text = self.towers["image"](x.data), self.towers["text"](x.data + 0.1 * noise)
        out = self.head(self.drop(image * text)) * self.scale
        terms = {"fit": (out - 1).square().mean(), "size": 0.01 * out.abs().mean()}
        return self.spoil(terms, rng.step) if self.spoil else terms

    def after_step(self, batch: Batch) -> None:
        self.after += 1


class Numbers:
    """Batches that depend on the step alone."""

    def __init__(self, seed: int = 0) -> None:
        self.seed, self.asked = seed, list[int]()

    def batch(self, step: int) -> Batch:
        self.asked.append(step)
        x = torch.randn(BATCH, 3, generator=torch.Generator().manual_seed(1000 * self.seed + step))
        return {"x": Field(x), "row": Field(torch.arange(BATCH))}


def stage(steps: int, **more: Any) -> Stage:
    return Stage(more.pop("data", Numbers()), Budget(steps * BATCH), BATCH, **more)


def trial(steps: int, rate: float = 0.05) -> Trial:
    return Trial(rate, Budget(steps * BATCH), 7, BATCH)


def copied(method: nn.Module) -> dict[str, Tensor]:
    return {k: v.detach().clone() for k, v in method.state_dict().items()}


def changed(before: Mapping[str, Tensor], method: nn.Module) -> set[str]:
    return {k for k, v in method.state_dict().items() if not torch.equal(v, before[k])}


# Schedule


def test_cosine_rises_in_a_line_and_falls_as_half_a_cosine() -> None:
    at = cosine(0.2)
    assert [at(0.0), at(0.05), at(0.1), at(0.2)] == pytest.approx([0, 0.25, 0.5, 1])
    assert [at(0.4), at(0.6), at(0.8), at(1.0)] == pytest.approx(
        [0.5 + math.sqrt(2) / 4, 0.5, 0.5 - math.sqrt(2) / 4, 0], abs=1e-12
    )
    assert cosine(0.0)(0.0) == 1 and cosine(0.0)(1.0) == 0


@pytest.mark.parametrize("warmup", [1.0, 1.5, -0.1, math.nan])
def test_a_warmup_that_leaves_nothing_to_fall_is_refused(warmup: float) -> None:
    with pytest.raises(SensoriumError, match=r"warmup .*; expected a share"):
        cosine(warmup)


def test_each_step_has_the_rate_of_its_place() -> None:
    fit = Fit(Toy(), [stage(5, schedule=cosine(0.4))], trial(5, rate=2.0))
    assert [s.rate for s in fit] == pytest.approx([1.0, 2.0, 1.5, 0.5, 0.0], abs=1e-12)


def test_steps_count_over_stages() -> None:
    streams = [Numbers(1), Numbers(2)]
    stages = [stage(2, data=streams[0]), stage(3, data=streams[1])]
    fit = Fit(Toy(), stages, trial(5))
    assert fit.steps == 5
    found = list(fit)
    assert [(s.n, s.stage, s.samples) for s in found] == [(1, 0, 8), (2, 0, 16), (3, 1, 24), (4, 1, 32), (5, 1, 40)]
    assert [s.asked for s in streams] == [[0, 1], [0, 1, 2]]
    assert fit.method.after == 5  # type: ignore[attr-defined]
    assert set(found[0].terms) == {"fit", "size"}


def test_a_stream_that_is_a_function_is_asked_when_its_stage_begins() -> None:
    seen: list[float] = []

    def ask(method: Method) -> Numbers:
        seen.append(float(method.scale.detach()))  # type: ignore[operator]
        return Numbers()

    method = Toy()
    for step in Fit(method, [stage(2), stage(1, data=ask)], trial(3)):
        if step.n < 3:
            assert seen == []
            before_second = float(method.scale.detach())
    assert seen == [before_second]


# Rates


def multiples(rates: Mapping[str, float | None]) -> dict[str, tuple[float, float]]:
    method = Toy()
    names = {id(p): n for n, p in method.named_parameters()}
    groups = rate_groups(method, rates, 0.25)
    return {names[id(p)]: (g["multiple"], g["weight_decay"]) for g in groups for p in g["params"]}


def test_the_longest_pattern_wins_and_none_freezes() -> None:
    found = multiples({"": 1.0, "towers": 0.1, "towers.text": None, "head.*": 2.0, "head.bias": 3.0})
    assert found == {
        "scale": (1.0, 0.0), "towers.image.weight": (0.1, 0.25), "towers.image.bias": (0.1, 0.0),
        "head.weight": (2.0, 0.25), "head.bias": (3.0, 0.0),
    }  # fmt: skip


def test_what_no_pattern_names_is_frozen() -> None:
    assert set(multiples({"head": 1.0})) == {"head.weight", "head.bias"}


@pytest.mark.parametrize("pattern", ["tower", "heads", "towers.tex", "Head"])
def test_a_pattern_without_a_parameter_is_an_error_with_its_name(pattern: str) -> None:
    with pytest.raises(SensoriumError, match=f"'{pattern}'"):
        multiples({"": 1.0, pattern: None})


def test_frozen_weights_stay_and_the_others_move_by_their_multiple() -> None:
    method = Toy()
    before = copied(method)
    rates = {"": 1.0, "towers.text": None, "head": 0.0}
    list(Fit(method, [stage(1, rates=rates, schedule=lambda _: 1.0, optim=AdamW(decay=0.0))], trial(1)))
    moved = changed(before, method)
    assert moved == {"towers.image.weight", "towers.image.bias", "scale"}
    # The first step of Adam is the rate itself, whatever the gradient.
    assert float(method.scale.detach()) == pytest.approx(
        1.5 - 0.05 * math.copysign(1, 1.5 - float(method.scale.detach())), 1e-4
    )


def test_a_later_stage_trains_what_an_earlier_one_froze() -> None:
    method = Toy()
    fit = iter(Fit(method, [stage(2, rates={"": 1.0, "towers": None}), stage(2)], trial(4)))
    before = copied(method)
    list(islice(fit, 2))
    assert not any(k.startswith("towers") for k in changed(before, method))
    list(fit)
    assert changed(before, method) == set(before)


def test_what_the_method_itself_froze_stays_frozen() -> None:
    method = Toy()
    method.towers["text"].requires_grad_(False)
    before = copied(method)
    list(Fit(method, [stage(1, rates={"": 1.0, "head": None}), stage(2)], trial(3)))
    assert set(before) - changed(before, method) == {"towers.text.weight", "towers.text.bias"}


# The update


def by_hand(method: Toy, steps: int, t: Trial, optim: AdamW, clip: float, weights: Mapping[str, float]) -> None:
    """AdamW written out: decoupled decay on matrices alone, clipped gradients, warm-up and cosine."""
    stream, at = Numbers(), cosine(0.1)
    first = {n: torch.zeros_like(p) for n, p in method.named_parameters()}
    second = {n: torch.zeros_like(p) for n, p in method.named_parameters()}
    for k in range(steps):
        rate = t.rate * at((k + 1) / steps)
        terms = method.losses(stream.batch(k), t.rng.at(k))
        loss = sum(v * weights.get(n, 1.0) for n, v in terms.items())
        assert isinstance(loss, Tensor)
        names, params = zip(*method.named_parameters(), strict=True)
        grads = torch.autograd.grad(loss, params)
        norm = math.sqrt(sum(float(g.square().sum()) for g in grads))
        with torch.no_grad():
            for name, p, g in zip(names, params, grads, strict=True):
                g = g * min(1.0, clip / (norm + 1e-6))
                if p.ndim >= 2:
                    p.mul_(1 - rate * optim.decay)
                a, b = optim.betas
                first[name] = a * first[name] + (1 - a) * g
                second[name] = b * second[name] + (1 - b) * g * g
                m, v = first[name] / (1 - a ** (k + 1)), second[name] / (1 - b ** (k + 1))
                p.sub_(rate * m / (v.sqrt() + optim.eps))


@pytest.mark.parametrize("clip", [0.5, 1e6])
def test_the_loop_is_adamw(clip: float) -> None:
    optim, weights = AdamW(betas=(0.8, 0.95), decay=0.3), {"size": 40.0}
    ours, hand = Toy(), Toy()
    start = copied(ours)
    list(Fit(ours, [stage(6, optim=optim, clip=clip, weights=weights)], trial(6)))
    by_hand(hand, 6, trial(6), optim, clip, weights)
    for (name, a), b in zip(ours.named_parameters(), hand.parameters(), strict=True):
        torch.testing.assert_close(a, b, atol=2e-6, rtol=0, msg=name)
        assert not torch.allclose(a, start[name], atol=1e-3)


def test_a_term_of_weight_zero_is_as_if_it_were_dropped() -> None:
    weighed, dropped = Toy(), Toy(spoil=lambda terms, _: {"fit": terms["fit"]})
    for method, weights in ((weighed, {"size": 0.0}), (dropped, {})):
        list(Fit(method, [stage(3, weights=weights)], trial(3)))
    assert not changed(copied(weighed), dropped)


# What is not finite


def bad_loss(value: float) -> Callable[[Terms, int], Terms]:
    return lambda terms, step: {**terms, "size": terms["size"] * (value if step == 2 else 1)}


def bad_gradient(terms: Terms, step: int) -> Terms:
    # The square root of 0 is 0; its slope is infinite, and 0 times that is not a number.
    return {**terms, "root": ((terms["fit"] * 0).sqrt() if step == 2 else terms["fit"] * 0)}


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (bad_loss(math.nan), ("loss", "step 2", "size=nan")),
        (bad_loss(math.inf), ("loss", "step 2", "size=inf")),
        (bad_gradient, ("gradient", "step 2", "root=0", "fit=")),
    ],
    ids=["NaN", "infinite", "gradient"],
)
def test_what_is_not_finite_stops_before_the_step(spoil: Callable[[Terms, int], Terms], words: tuple[str, ...]) -> None:
    method = Toy(spoil=spoil)
    fit = Fit(method, [stage(5)], trial(5))
    steps: Iterator[Step] = iter(fit)
    assert [s.n for s in islice(steps, 2)] == [1, 2]
    before = copied(method)
    with pytest.raises(FloatingPointError) as stopped:
        next(steps)
    assert [w for w in words if w not in str(stopped.value)] == []
    assert not changed(before, method) and method.after == 2 and fit.total == 2


# Resuming


def two_stages() -> list[Stage]:
    return [stage(3, data=Numbers(1), rates={"": 1.0, "towers.text": 0.1}), stage(3, data=Numbers(2))]


def run(method: Toy, fit: Fit, most: int = 20) -> list[Step]:
    """At most `most` steps, so that a loop without end fails."""
    return list(islice(iter(fit), most))


def test_dropout_and_noise_depend_on_the_step_alone() -> None:
    a, b = Toy(dropout=0.5), Toy(dropout=0.5)
    run(a, Fit(a, two_stages(), trial(6)))
    torch.manual_seed(1234)
    for _ in Fit(b, two_stages(), trial(6)):
        torch.rand(3)  # somebody else draws in between
    assert not changed(copied(a), b)


@pytest.mark.parametrize("k", range(1, 7))
def test_resuming_equals_not_stopping(k: int) -> None:
    whole = Toy(dropout=0.5)
    steps = run(whole, Fit(whole, two_stages(), trial(6)))
    assert len(steps) == 6

    stopped = Toy(dropout=0.5)
    fit = Fit(stopped, two_stages(), trial(6))
    for step in fit:
        if step.n == k:
            break
    state, weights = deepcopy(fit.state_dict()), copied(stopped)

    resumed = Toy(dropout=0.5)
    resumed.load_state_dict(weights)
    again = Fit(resumed, two_stages(), trial(6))
    again.load_state_dict(state)
    rest = run(resumed, again)
    assert [(s.n, s.stage, s.samples, s.rate, s.terms) for s in rest] == [
        (s.n, s.stage, s.samples, s.rate, s.terms) for s in steps[k:]
    ]
    assert not changed(copied(whole), resumed)


@pytest.mark.parametrize("k", range(1, 7))
def test_a_fit_goes_on_where_its_loop_was_left(k: int) -> None:
    whole, paused = Toy(), Toy()
    run(whole, Fit(whole, two_stages(), trial(6)))
    fit = Fit(paused, two_stages(), trial(6))
    for step in fit:
        if step.n == k:
            break
    assert [s.n for s in run(paused, fit)] == list(range(k + 1, 7))
    assert not changed(copied(whole), paused)


def test_resuming_without_the_optimiser_would_be_seen() -> None:
    """The comparison above can fail: moments that start anew lead elsewhere."""
    whole, other = Toy(), Toy()
    run(whole, Fit(whole, two_stages(), trial(6)))
    fit = Fit(other, two_stages(), trial(6))
    next(iter(fit))
    state = deepcopy(fit.state_dict())
    state["optimiser"] = {}
    again = Fit(other, two_stages(), trial(6))
    again.load_state_dict(state)
    run(other, again)
    assert changed(copied(whole), other)


def test_what_a_stage_froze_rests_in_eval_mode_and_wakes_with_the_next() -> None:
    method = Toy()
    modes = []
    for _ in Fit(method, [stage(1, rates={"": 1.0, "towers": None}), stage(1)], trial(2)):
        modes.append((method.towers["text"].training, method.head.training))
    assert modes == [(False, True), (True, True)]


# What a state holds


def test_moments_go_by_the_name_of_their_parameter() -> None:
    method = Toy()
    fit = Fit(method, [stage(3, rates={"": 1.0, "towers.text": None})], trial(3))
    list(islice(iter(fit), 2))
    moments = fit.state_dict()["optimiser"]
    assert set(moments) == {n for n, _ in method.named_parameters() if not n.startswith("towers.text")}
    for name, p in method.named_parameters():
        if name in moments:
            assert set(moments[name]) == {"step", "exp_avg", "exp_avg_sq"}
            assert moments[name]["exp_avg"].shape == p.shape and float(moments[name]["step"]) == 2


def test_the_moments_of_the_last_step_are_still_there_at_the_end() -> None:
    fit = Fit(Toy(), [stage(3)], trial(3))
    list(fit)
    assert {float(m["step"]) for m in fit.state_dict()["optimiser"].values()} == {3.0}


def test_moments_of_another_method_are_refused_by_name() -> None:
    fit = Fit(Toy(), [stage(3)], trial(3))
    list(islice(iter(fit), 1))
    state = fit.state_dict()
    state["optimiser"]["tail.weight"] = state["optimiser"].pop("head.weight")
    with pytest.raises(SensoriumError, match=r"'tail\.weight'"):
        Fit(Toy(), [stage(3)], trial(3)).load_state_dict(state)


class Shuffled(Numbers):
    """The batches of `Numbers` with their rows in an order of its own."""

    def batch(self, step: int) -> Batch:
        drawn = super().batch(step)
        order = torch.randperm(BATCH, generator=torch.Generator().manual_seed(self.seed))
        return {k: v.rows(order) for k, v in drawn.items()}


def test_the_digest_of_rows_is_that_of_their_order() -> None:
    """Hand-made: xxh3-128 over the digest so far in hex and the ids as little-endian int64."""
    digest = ""
    for step in Fit(Toy(), two_stages(), trial(6)):
        ids = b"".join(k.to_bytes(8, "little") for k in range(BATCH))
        digest = xxhash.xxh3_128_hexdigest(digest.encode() + ids)
        assert step.rows == digest
    other = list(Fit(Toy(), [stage(6, data=Shuffled())], trial(6)))
    assert other[-1].rows != digest


# Streams that are asked for


class Weighed:
    """Batches that depend on the weights it was made with and on the generator and mode of then."""

    def __init__(self, method: Method) -> None:
        self.shift = method.scale.detach().clone() + torch.rand(()) + 10 * method.training  # type: ignore[operator]

    def batch(self, step: int) -> Batch:
        drawn = Numbers(1).batch(step)
        x = drawn["x"]
        assert isinstance(x, Field)
        return {**drawn, "x": Field(x.data + self.shift)}


def asking() -> list[Stage]:
    return [stage(2), stage(4, data=Weighed)]


@pytest.mark.parametrize("k", range(1, 7))
def test_a_stream_that_was_asked_for_is_the_same_after_resuming(k: int) -> None:
    whole, stopped, resumed = Toy(dropout=0.5), Toy(dropout=0.5), Toy(dropout=0.5)
    steps = run(whole, Fit(whole, asking(), trial(6)))
    fit = Fit(stopped, asking(), trial(6))
    list(islice(iter(fit), k))
    state, weights = deepcopy(fit.state_dict()), copied(stopped)
    torch.manual_seed(99)
    resumed.load_state_dict(weights)
    again = Fit(resumed, asking(), trial(6))
    again.load_state_dict(state)
    assert [s.terms for s in run(resumed, again)] == [s.terms for s in steps[k:]]
    assert not changed(copied(whole), resumed)


def test_weights_of_the_beginning_are_kept_where_a_stream_was_asked_for_alone() -> None:
    fit = Fit(Toy(), asking(), trial(6))
    kept = [bool(fit.state_dict()["asked_with"]) for _ in fit]
    assert kept == [False, False, True, True, True, False]


def test_asking_again_with_later_weights_would_be_seen() -> None:
    """The comparison above can fail."""
    whole, other = Toy(), Toy()
    run(whole, Fit(whole, asking(), trial(6)))
    fit = Fit(other, asking(), trial(6))
    list(islice(iter(fit), 4))
    state = deepcopy(fit.state_dict()) | {"asked_with": {}}
    again = Fit(other, asking(), trial(6))
    again.load_state_dict(state)
    run(other, again)
    assert changed(copied(whole), other)


# Players


class Duel(Method):
    """A critic that tells numbers from moved ones, and a mover that it is to take for numbers."""

    def __init__(self, spoil: Callable[[Terms, int], Terms] | None = None) -> None:
        super().__init__()
        draw = torch.Generator().manual_seed(0)
        self.critic, self.mover, self.spoil = nn.Linear(3, 1), nn.Linear(3, 3), spoil
        self.turns: list[tuple[bool, bool]] = []
        with torch.no_grad():
            for p in self.parameters():
                p.copy_(torch.randn(p.shape, generator=draw))

    def losses(self, batch: Batch, rng: Rng) -> Terms:
        x = batch["x"]
        assert isinstance(x, Field)
        self.turns.append((self.critic.weight.requires_grad, self.mover.weight.requires_grad))
        noise = torch.randn(x.data.shape, generator=rng("noise"))
        real, made = self.critic(x.data).tanh(), self.critic(self.mover(noise)).tanh()
        terms = {"d/score": (made - real).mean(), "g/score": -made.mean()}
        return self.spoil(terms, rng.step) if self.spoil else terms


def duel(steps: int, **more: Any) -> Stage:
    return stage(steps, **{"players": {"d": "critic"}, "schedule": lambda _: 1.0, "clip": 1e6, **more})


def test_players_take_turns_each_with_its_own_terms_and_weights() -> None:
    """The same by hand: two optimisers, the critic's update before the mover's, which meets the new critic."""
    ours, hand = Duel(), Duel()
    steps = list(Fit(ours, [duel(4)], trial(4)))
    assert ours.turns == [(True, False), (False, True)] * 4
    assert [(s.n, s.samples, list(s.terms)) for s in steps] == [(k, 8 * k, ["d/score", "g/score"]) for k in range(1, 5)]
    sides = {"d/score": hand.critic, "g/score": hand.mover}
    settings: dict[str, Any] = {"betas": (0.9, 0.98), "eps": 1e-8}
    optimisers = {
        term: torch.optim.AdamW(
            [{"params": [side.weight], "weight_decay": 0.01}, {"params": [side.bias], "weight_decay": 0.0}], 0.05,
            **settings,
        )
        for term, side in sides.items()
    }  # fmt: skip
    for k in range(4):
        for term, optimiser in optimisers.items():
            hand.zero_grad()
            hand.losses(Numbers().batch(k), trial(4).rng.at(k))[term].backward()
            optimiser.step()
    for (name, a), b in zip(ours.named_parameters(), hand.parameters(), strict=True):
        torch.testing.assert_close(a, b, atol=1e-6, rtol=0, msg=name)


def test_without_players_the_same_terms_pull_on_everything() -> None:
    """The test above can fail: summed, the mover's term moves the critic as well."""
    apart, together = Duel(), Duel()
    list(Fit(apart, [duel(1)], trial(1)))
    list(Fit(together, [duel(1, players={})], trial(1)))
    assert changed(copied(apart), together) and together.turns == [(True, True)]


def test_what_the_method_froze_has_no_turn() -> None:
    method = Duel()
    method.critic.bias.requires_grad_(False)
    before = copied(method)
    list(Fit(method, [duel(3), stage(1)], trial(4)))
    assert set(before) - changed(before, method) == {"critic.bias"}
    assert method.turns[-1] == (True, True), "a stage's players are its own"


@pytest.mark.parametrize("k", range(1, 6))
def test_resuming_a_duel_equals_not_stopping(k: int) -> None:
    whole, stopped, resumed = Duel(), Duel(), Duel()
    stages = [duel(3), duel(2, data=Numbers(2))]
    steps = list(Fit(whole, stages, trial(5)))
    fit = Fit(stopped, stages, trial(5))
    for step in fit:
        if step.n == k:
            break
    state, weights = deepcopy(fit.state_dict()), copied(stopped)
    resumed.load_state_dict(weights)
    again = Fit(resumed, stages, trial(5))
    again.load_state_dict(state)
    assert [(s.n, s.terms) for s in again] == [(s.n, s.terms) for s in steps[k:]]
    assert not changed(copied(whole), resumed)


@pytest.mark.parametrize(
    ("players", "words"),
    [
        ({"d": "critics"}, "player 'd': pattern 'critics' matches no parameter that is trained"),
        ({"d": "critic", "e": "critic.bias"}, "players 'd' and 'e' both have 'critic.bias'"),
        ({"d": "critic", "g": "mover"}, "the players leave no parameter"),
        ({"e": "critic"}, "no term is named 'e/…'"),
    ],
)
def test_players_without_weights_or_terms_are_named(players: dict[str, str], words: str) -> None:
    with pytest.raises(SensoriumError, match=words):
        list(Fit(Duel(), [duel(1, players=players)], trial(1)))


def test_a_player_whose_loss_is_not_finite_is_named_with_its_terms() -> None:
    fit = Fit(Duel(lambda terms, step: {**terms, "d/score": terms["d/score"] * math.nan}), [duel(1)], trial(1))
    with pytest.raises(FloatingPointError, match=r"step 0 \(d/score=nan, rate"):
        list(fit)
