"""Six families on the same pictures: each trains, paints, and says what pictures cost where it can."""

from __future__ import annotations

import math
from dataclasses import replace
from importlib import import_module
from typing import Any

import pytest
import torch
from torch import Tensor

from sensorium.blocks.decode import Canvas, Generates, paint
from sensorium.blocks.objectives.elbo import LEVELS
from sensorium.core import Batch, Budget, Field, FieldInfo, Ids, Method, Rng, SensoriumError, Trial
from sensorium.data.columns import Column
from sensorium.data.rows import Rows
from sensorium.lab.sampling import Likely
from sensorium.papers.survey import aigc_survey as paper
from sensorium.papers.survey.aigc_survey import FAMILIES, MAP, READERS, Config, Generator
from sensorium.run.fit import Fit

FIELDS = {"image": FieldInfo("image", shape=(3, 8, 8)), "text": FieldInfo("text", vocab=9, length=5)}
SMALL = Config(side=8, dim=16, layers=1, heads=2, width=4, latent=6, walk=3)
EACH = pytest.mark.parametrize("family", FAMILIES)
LIKELY = {"vae": "bound", "flow": "dequantised", "autoregressive": "exact", "diffusion": "bound"}


def made(seed: int = 0, fields: dict[str, FieldInfo] = FIELDS, **changes: Any) -> Generator:
    torch.manual_seed(seed)
    return paper.build(replace(SMALL, **changes), fields, None)  # type: ignore[arg-type]


def pictures(n: int, seed: int = 0) -> Field:
    """One half light, the other dark, under a little noise."""
    draw = torch.Generator().manual_seed(seed)
    x = torch.full((n, 3, 8, 8), 200.0)
    x[:, :, :4] = 40.0
    return Field((x + 6 * torch.randn(x.shape, generator=draw)).round().clamp(0, 255).to(torch.uint8))


def words(n: int) -> Ids:
    ids = torch.randint(9, (n, 3), generator=torch.Generator().manual_seed(1))
    return Ids(ids, torch.ones(n, 3, dtype=torch.bool))


def batch(n: int = 12) -> dict[str, Any]:
    return {"image": pictures(n), "text": words(n), "row": Field(torch.arange(n))}


class Same:
    def batch(self, step: int) -> Batch:
        return {**batch(16), "image": pictures(16, step)}


def trained(method: Generator, steps: int, rate: float = 3e-3) -> list[dict[str, float]]:
    trial = Trial(rate, Budget(16 * steps), 0, 16)
    columns: dict[str, Column] = batch(16)
    rows = Rows(columns, torch.arange(16).numpy(), {}, torch.arange(16).numpy())
    stages = [replace(s, data=Same()) for s in paper.stages(method.config, method, rows, trial)]
    return [dict(s.terms) for s in Fit(method, stages, trial)]


@EACH
def test_every_family_trains_and_paints_pictures_of_its_size(family: str) -> None:
    method = made(family=family)
    assert isinstance(method, Generates)
    before = {k: v.clone() for k, v in method.state_dict().items()}
    terms = trained(method, 4)  # what begins at zero hides what stands before it for a step
    assert all(math.isfinite(v) for t in terms for v in t.values())
    still = [k for k, p in method.named_parameters() if p.requires_grad and torch.equal(p, before[k])]
    assert still == []
    canvas = method.eval().prompt(batch(), "image")
    assert isinstance(canvas, Canvas)
    found = paint(canvas, 4, Rng(0)).data
    assert found.shape == (12, 3, 8, 8) and found.dtype == torch.uint8 and found.float().std(0).max() > 0
    assert torch.equal(found, paint(canvas, 4, Rng(0)).data)


@EACH
def test_a_picture_is_made_of_its_own_noise_alone(family: str) -> None:
    method = made(family=family, untold=1.0).eval()
    noise = torch.randn(5, 3, 8, 8, generator=torch.Generator().manual_seed(2))
    time = torch.ones(5)

    def field(x: Tensor) -> Tensor:
        canvas = method.prompt({"row": Field(torch.arange(len(x)))}, "image")
        return canvas.field(x, time[: len(x)])

    with torch.no_grad():
        torch.testing.assert_close(field(noise)[2:4], field(noise[2:4]), atol=1e-4, rtol=0)
        assert not torch.allclose(field(noise)[0], field(noise)[1])


@pytest.mark.parametrize("family", LIKELY)
def test_what_pictures_cost_falls_below_chance_with_training(family: str) -> None:
    """8 bits is what a fair byte costs; other pictures of the same kind cost less after training than before it."""
    method, shown = made(family=family, untold=1.0), batch(32)
    shown["image"] = pictures(32, 99)
    assert method.likelihood == LIKELY[family] and isinstance(method, Likely)
    bits = []
    for steps in (0, 60):
        if steps:
            trained(method, steps, 1e-2)
        with torch.no_grad():
            bits.append(float(method.eval().nats(shown, Rng(0)).mean()) / (192 * math.log(2)))
    floor = math.log2(6 * math.sqrt(2 * math.pi * math.e))
    assert floor - 0.05 < bits[1] < min(bits[0] - 0.5, 7.5), (bits, floor)


@pytest.mark.parametrize("family", sorted(set(FAMILIES) - set(LIKELY)))
def test_who_has_no_likelihood_gives_no_number(family: str) -> None:
    method = made(family=family)
    assert method.likelihood == "none"
    with pytest.raises(SensoriumError, match="likelihood"):
        method.nats(batch(), Rng(0))


@pytest.mark.parametrize("family", READERS)
def test_captions_lead_who_reads_them_and_change_nothing_where_all_are_left_out(family: str) -> None:
    reads, deaf = made(family=family), made(family=family, untold=1.0)
    other = {**batch(), "text": Ids(8 - words(12).ids, words(12).mask)}
    for method, equal in ((reads, False), (deaf, True)):
        method.eval()
        a, b = (paint(method.prompt(x, "image"), 3, Rng(0)).data for x in (batch(), other))
        assert torch.equal(a, b) is equal
        a, b = (method.losses(x, Rng(0)) for x in (batch(), other))
        assert all(torch.equal(a[k], b[k]) for k in a) is equal


@EACH
def test_pictures_without_captions_are_enough(family: str) -> None:
    fields = {"image": FIELDS["image"]}
    method, shown = made(family=family, fields=fields), {"image": pictures(4), "row": Field(torch.arange(4))}
    assert all(torch.isfinite(v) for v in method.losses(shown, Rng(0)).values())
    assert paint(method.eval().prompt({"row": shown["row"]}, "image"), 2, Rng(0)).data.shape == (4, 3, 8, 8)


def test_larger_pictures_are_seen_at_the_size_of_the_model() -> None:
    method = made(family="vae")
    large = {**batch(), "image": Field(pictures(12).data.repeat_interleave(4, 2).repeat_interleave(4, 3))}
    for name, value in method.losses(large, Rng(0)).items():
        torch.testing.assert_close(value, method.losses(batch(), Rng(0))[name])


# Parts


def test_a_gan_learns_in_turns_and_each_player_has_its_own_weights() -> None:
    method = made(family="gan")
    start = {k: v.clone() for k, v in method.state_dict().items()}
    terms = trained(method, 2)[0]
    assert list(terms) == ["d/score", "d/penalty", "g/score"]
    alone = made(family="gan")
    alone.model.critic.requires_grad_(False)  # type: ignore[union-attr,operator]
    assert list(alone.losses(batch(), Rng(0))) == ["g/score"]
    assert terms["d/score"] == pytest.approx(2 * math.log(2), abs=0.5)
    assert any(not torch.equal(v, start[k]) for k, v in method.state_dict().items() if "critic" in k)


@pytest.mark.parametrize(
    ("family", "config", "term"),
    [("gan", {"penalty": 0.0}, "d/penalty"), ("vae", {"beta": 0.0}, "divergence")],
)
def test_an_ablation_drops_its_term(family: str, config: dict[str, Any], term: str) -> None:
    whole, less = made(family=family).losses(batch(), Rng(0)), made(family=family, **config).losses(batch(), Rng(0))
    assert set(whole) - set(less) == {term}
    assert all(torch.equal(whole[k], less[k]) for k in less)


def test_hinge_and_logistic_players_differ() -> None:
    found = [made(family="gan", players=p).losses(batch(), Rng(0)) for p in ("hinge", "logistic")]
    assert not torch.equal(found[0]["d/score"], found[1]["d/score"])
    assert torch.equal(found[0]["d/penalty"], found[1]["d/penalty"])


def test_without_mixing_some_numbers_of_a_flow_are_only_scaled() -> None:
    """What stays in the first half of the channels is never told of the rest: its Jacobian is diagonal."""
    x = torch.randn(3, 8, 8, generator=torch.Generator().manual_seed(0))
    alone = []
    for mixing in ("none", "learnt"):
        method = made(family="flow", mixing=mixing)
        trained(method, 3)
        slopes = torch.autograd.functional.jacobian(lambda y, m=method: m.model.flow(y[None])[0].flatten(), x)  # type: ignore[misc]
        alone.append(int(((slopes.flatten(1) != 0).sum(1) == 1).sum()))
    assert alone == [96, 0]


def test_the_flow_counts_bins_rightly() -> None:
    """A flow that is the identity in place of the learnt one: a uniform picture costs its normal density and the width
    of a bin, 2 / 256."""
    method = made(family="flow", mixing="none")
    x = batch(3)

    class Identity(torch.nn.Module):
        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            return x, torch.zeros(len(x))

    method.model.flow = Identity()  # type: ignore[union-attr]
    found = method.nats(x, Rng(0))
    u = torch.rand(x["image"].data.shape, generator=Rng(0)("bins"))
    y = 2 * (x["image"].data + u) / LEVELS - 1
    want = -torch.distributions.Normal(0, 1).log_prob(y).flatten(1).sum(1) - 192 * math.log(2 / LEVELS)
    torch.testing.assert_close(found, want)


def test_a_picture_of_the_flow_lies_in_the_bin_it_came_from() -> None:
    method = made(family="flow")
    x = pictures(4)
    u = torch.rand(x.data.shape, generator=torch.Generator().manual_seed(0)) * 0.98 + 0.01
    y = 2 * (x.data + u) / LEVELS - 1
    with torch.no_grad():
        z, _ = method.model.flow(y)  # type: ignore[union-attr,operator]
        canvas = method.prompt({"row": Field(torch.arange(4))}, "image")
        assert torch.equal(canvas.finish(canvas.field(z, torch.ones(4))).data, x.data)


def test_an_energy_falls_while_pictures_roll_and_not_without_steps() -> None:
    method = made(family="energy", walk=20, stride=0.02)
    noise = torch.randn(8, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    model = method.model
    rolled = model.made(noise)  # type: ignore[operator]
    with torch.no_grad():
        assert (model.energy(rolled) < model.energy(0.5 * noise)).all()  # type: ignore[operator]
    still = made(family="energy", walk=0)
    assert torch.equal(still.model.made(noise), 0.5 * noise)  # type: ignore[operator]


def test_the_chain_of_the_bound_is_counted_whole() -> None:
    """Where every estimate is off by one constant e, the gaps of all steps add up to e² D / 2 of the last ratio."""
    method = made(family="diffusion", untold=1.0).eval()
    model, x = method.model, batch(6)
    off = 0.01

    def estimate(noisy: Tensor, t: Tensor, told: Any) -> Tensor:
        return (x["image"].data.float() - 127) / 128 + off

    model.denoiser.estimate = estimate  # type: ignore[union-attr,assignment]
    with torch.no_grad():
        found = method.nats(x, Rng(0)) - model.said(x["image"], None, Rng(0))  # type: ignore[operator]
    late = 5 * SMALL.last / (1 + 4 * SMALL.last)
    whole = 0.5 * ((1 - late) / late) ** 2 * 192 * off**2
    assert float(found.mean()) == pytest.approx(whole, rel=0.15)


# The settings and the map


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"family": "flows"}, "family 'flows'; did you mean 'flow'"),
        ({"players": "hinged"}, "did you mean 'hinge'"),
        ({"mixing": "learned"}, "did you mean 'learnt'"),
        ({"untold": 1.5}, "untold 1.5; expected a share"),
        ({"side": 12}, "side 12; expected a power of two"),
    ],
)
def test_a_wrong_setting_is_named(change: dict[str, Any], words: str) -> None:
    with pytest.raises(SensoriumError, match=words):
        Config(**change)


def test_to_something_else_than_a_picture_is_an_error() -> None:
    with pytest.raises(SensoriumError, match="does not generate 'text'"):
        made().prompt(batch(), "text")


def test_the_map_names_what_exists_and_every_family_that_reads() -> None:
    for way in MAP:
        module, _, symbol = way.by.partition(":")
        assert callable(getattr(import_module(module), symbol)), way
        assert way.family in FAMILIES and way.makes in ("image", "text")
    here = {(w.family, w.reads) for w in MAP if w.by.startswith(paper.__name__)}
    assert {f for f, reads in here if not reads} == set(FAMILIES)
    for family in FAMILIES:
        method = made(family=family)
        assert isinstance(method, Method)
        reads = any(w.family == family and "text" in w.reads and w.makes == "image" for w in MAP)
        assert method.reads is reads, family
