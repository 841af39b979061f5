from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from sensorium.blocks.objectives.koleo import koleo
from sensorium.blocks.objectives.self_distillation import block_masks, sinkhorn
from sensorium.core import Batch, Budget, Embeds, Field, FieldInfo, Rng, SensoriumError, Trial
from sensorium.data.dataset import Dataset
from sensorium.data.rows import Rows
from sensorium.lab.factors import labels
from sensorium.papers.align import rad_dino
from sensorium.papers.align.rad_dino import Config, RadDino, build, schedule, stages
from sensorium.run.fit import Fit
from sensorium.run.plan import Job, plan
from sensorium.run.tasks import Question

from ..conftest import SCRATCH

SIZE = 16
FIELDS = {"image": FieldInfo("image", shape=(3, SIZE, SIZE))}
SMALL = Config(patch=4, dim=8, layers=1, heads=2, prototypes=6, hidden=8, bottleneck=4, locals=2, masked=1.0)
XRAYS = Path(__file__).parents[3] / "../shared/data/medical/chest_xray"


def made(seed: int = 0, **changes: object) -> RadDino:
    torch.manual_seed(seed)
    return build(replace(SMALL, **changes), FIELDS, None)  # type: ignore[arg-type]


def drawn(n: int = 5, seed: int = 0) -> Batch:
    draw = torch.Generator().manual_seed(seed)
    pixels = torch.randint(0, 256, (n, 3, SIZE, SIZE), generator=draw, dtype=torch.uint8)
    return {"image": Field(pixels), "row": Field(torch.arange(n)), "group": Field(torch.arange(n))}


def rows(n: int = 12) -> Rows:
    batch = drawn(n)
    return Rows({"image": batch["image"]}, np.arange(n), FIELDS, np.arange(n))


def moved(method: RadDino) -> RadDino:
    """The teacher elsewhere than the student, as after some steps."""
    with torch.no_grad():
        for k, p in enumerate(method.teacher.parameters()):
            p.add_(0.2 * torch.randn(p.shape, generator=torch.Generator().manual_seed(k)))
    return method


def by_hand(method: RadDino, batch: Batch, rng: Rng) -> dict[str, float]:
    """The losses by loops over views, pictures and patches."""
    config, n = method.config, len(batch["row"])
    image = batch["image"]
    assert isinstance(image, Field)
    views, small = method.crops(image.data, rng)
    masked = block_masks(len(views), 4, 4, (0.1, 0.5), config.masked, rng("masks"))
    _, sharp = schedule(config, min(1.0, rng.step / method.steps))
    slow, fast = method.teacher.module, method.student
    seen = [slow.tower.seen(Field(v)) for v in views.chunk(2)]  # type: ignore[union-attr]
    summaries = sinkhorn(slow.summaries(torch.cat([s.summary for s in seen])), sharp).chunk(2)  # type: ignore[operator]
    said = [fast.tower.seen(Field(v), m).summary for v, m in zip(views.chunk(2), masked.chunk(2), strict=True)]
    said += [fast.tower.seen(Field(v)).summary for v in small.split(n)]
    pairs = []
    for v, summary in enumerate(said):
        for w, target in enumerate(summaries):
            if v != w:
                logp = F.log_softmax(fast.summaries(summary) / config.temperature, -1)
                pairs.append(-(target * logp).sum(-1).mean().item())
    hidden = sinkhorn(slow.patches(torch.cat([s.patches.x for s in seen])[masked]), sharp)  # type: ignore[operator]
    assert fast.patches is not None
    logp = F.log_softmax(fast.patches(fast.tower.seen(Field(views), masked).patches.x[masked]) / config.temperature, -1)
    each, at = [], 0
    for mask in masked:
        count = int(mask.sum())
        each.append(-(hidden[at : at + count] * logp[at : at + count]).sum(-1).mean().item())
        at += count
    spread = sum(koleo(s).item() for s in said[:2])
    return {"dino": float(np.mean(pairs)), "ibot": float(np.mean(each)), "koleo": spread}


@pytest.mark.parametrize("step", [0, 7])
def test_losses_are_those_of_loops_over_views_and_patches(step: int) -> None:
    method, batch = moved(made()), drawn()
    method.steps = 10
    found = method.losses(batch, Rng(3).at(step))
    want = by_hand(method, batch, Rng(3).at(step))
    assert set(found) == set(want)
    for name, value in found.items():
        assert value.item() == pytest.approx(want[name], abs=1e-4)


def test_the_teacher_follows_slowly_and_is_not_trained() -> None:
    method, batch = made(decay=0.75), drawn()
    torch.stack(list(method.losses(batch, Rng(0)).values())).sum().backward()
    assert all(p.grad is None and not p.requires_grad for p in method.teacher.parameters())
    assert [n for n, p in method.student.named_parameters() if p.grad is None or not p.grad.any()] == []
    before = {k: v.clone() for k, v in method.teacher.module.named_parameters()}
    with torch.no_grad():
        for p in method.student.parameters():
            p.add_(1.0)
    method.after_step(batch)
    for name, now in method.teacher.module.named_parameters():
        torch.testing.assert_close(now, before[name] + 0.25, atol=1e-5, rtol=0)


def test_the_teacher_slows_down_and_softens() -> None:
    config = replace(SMALL, decay=0.9, sharp=(0.04, 0.07))
    assert schedule(config, 0.0) == pytest.approx((0.9, 0.04))
    assert schedule(config, 0.15) == pytest.approx((1 - 0.1 * (1 + math.cos(0.15 * math.pi)) / 2, 0.055))
    assert schedule(config, 0.5) == pytest.approx((0.95, 0.07))
    assert schedule(config, 1.0) == pytest.approx((1.0, 0.07))


def test_each_part_that_is_left_out_leaves_its_term_out() -> None:
    batch = drawn()
    whole = made().losses(batch, Rng(0))
    assert set(whole) == {"dino", "ibot", "koleo"}
    assert set(made(ibot=0.0).losses(batch, Rng(0))) == {"dino", "koleo"}
    assert set(made(koleo=0.0).losses(batch, Rng(0))) == {"dino", "ibot"}
    alone = made(locals=0).losses(batch, Rng(0))
    assert abs(alone["dino"] - whole["dino"]) > 1e-4 and alone["koleo"].item() == pytest.approx(whole["koleo"].item())


def test_without_masks_the_student_sees_whole_views() -> None:
    """No patch loss, no masks: the first view's summary is then the teacher's own at the start."""
    method, batch = made(ibot=0.0), drawn()
    image = batch["image"]
    assert isinstance(image, Field)
    views, _ = method.crops(image.data, Rng(0))
    torch.testing.assert_close(
        method.losses(batch, Rng(0))["koleo"], sum(koleo(method.tower.seen(Field(v)).summary) for v in views.chunk(2))
    )


def test_views_are_drawn_anew_each_step_from_the_seed_alone() -> None:
    method, batch = made(), drawn()
    image = batch["image"]
    assert isinstance(image, Field)
    first, again, later = (method.crops(image.data, Rng(0).at(step)) for step in (0, 0, 1))
    for a, b, c in zip(first, again, later, strict=True):
        assert torch.equal(a, b) and not torch.allclose(a, c)
    assert first[0].shape == (10, 3, SIZE, SIZE) and first[1].shape == (10, 3, SIZE // 2, SIZE // 2)
    assert not torch.allclose(first[0][:5], first[0][5:])


def test_terms_are_weighed_by_the_stage() -> None:
    config = replace(SMALL, ibot=0.5, koleo=0.25)
    (stage,) = stages(config, build(config, FIELDS, None), rows(), Trial(1e-3, Budget(60), 0, 12))  # type: ignore[arg-type]
    assert stage.weights == {"ibot": 0.5, "koleo": 0.25}


def test_training_lowers_the_loss_and_ends_with_a_teacher_that_stands_still() -> None:
    method, trial = made(), Trial(3e-3, Budget(12 * 30), 0, 12)
    plan_of = stages(SMALL, method, rows(), trial)
    assert method.steps == 30
    losses = [step.terms["ibot"] for step in Fit(method, plan_of, trial)]
    assert np.mean(losses[-8:]) < np.mean(losses[:8]) - 0.05
    assert method.teacher.decay == pytest.approx(1.0, abs=1e-3)


def test_fewer_rows_are_the_first_ones() -> None:
    method = made()
    (stage,) = stages(replace(SMALL, rows=4), method, rows(), Trial(1e-3, Budget(24), 0, 12))
    seen = stage.data.batch(0)["row"]  # type: ignore[union-attr]
    assert isinstance(seen, Field) and sorted(seen.data.tolist()) == [0, 1, 2, 3]


def test_the_control_is_not_trained() -> None:
    method = made(trained=False)
    assert list(stages(replace(SMALL, trained=False), method, rows(), Trial(1e-3, Budget(24), 0, 12))) == []
    assert not any(p.requires_grad for p in method.parameters())


def embedded(method: RadDino, batch: Batch) -> Tensor:
    return method.embed(batch, "image").x[:, 0]


def test_the_embedding_is_the_teachers_summary_and_mean_patch() -> None:
    method, batch = moved(made()), drawn()
    assert isinstance(method, Embeds)
    x = embedded(method, batch)
    image = batch["image"]
    assert isinstance(image, Field)
    seen = method.tower.seen(image)
    torch.testing.assert_close(x[:, :8] * 2**0.5, F.normalize(seen.summary, dim=1))
    torch.testing.assert_close(x[:, 8:] * 2**0.5, F.normalize(seen.patches.x.mean(1), dim=1))
    assert method.spaces["image"].dim == x.shape[1]
    with torch.no_grad():
        for p in method.student.parameters():
            p.zero_()
    torch.testing.assert_close(embedded(method, batch), x)
    torch.testing.assert_close(method.latent(batch, "image").x, seen.patches.x)


def test_pictures_are_ranked_by_the_cosine_of_their_embeddings() -> None:
    method, batch = moved(made()), drawn()
    some = {"image": batch["image"].rows(torch.tensor([3, 1]))}
    scores = method.rank(some, {"image": batch["image"]})
    torch.testing.assert_close(
        scores, F.cosine_similarity(embedded(method, some)[:, None], embedded(method, batch), -1)
    )
    assert scores.argmax(1).tolist() == [3, 1]


def test_the_smallest_picture_still_has_local_crops() -> None:
    method = build(SMALL, {"image": FieldInfo("image", shape=(3, 4, 4))}, None)  # type: ignore[arg-type]
    _, small = method.crops(torch.zeros(2, 3, 4, 4, dtype=torch.uint8), Rng(0))
    assert small.shape == (4, 3, 4, 4)


def test_a_missing_picture_has_no_embedding() -> None:
    batch = drawn()
    image = batch["image"]
    assert isinstance(image, Field)
    t = made().embed({"image": Field(image.data, torch.tensor([True, False, True, True, True]))}, "image")
    assert t.mask[:, 0].tolist() == [True, False, True, True, True] and not t.x[1].any()


def test_pictures_that_do_not_split_are_one_clear_line() -> None:
    with pytest.raises(SensoriumError, match="patches of 4"):
        build(SMALL, {"image": FieldInfo("image", shape=(3, 18, 18))}, None)  # type: ignore[arg-type]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("SENSORIUM_HOME", str(tmp_path))
    yield tmp_path


@pytest.mark.slow
@pytest.mark.skipif(not XRAYS.is_dir(), reason="the chest X-rays are not beside the repository")
def test_chest_x_rays_are_probed_for_what_reports_leave_out(home: Path) -> None:
    data = Dataset(XRAYS, {"text": "finding", "label.sex": "sex", "label.view": "view", "group": "patient_id"})
    config = {"patch": 8, "layers": 2, "dim": 32, "hidden": 64}
    p = plan(Job("rad-dino", "", SCRATCH, 1e-3, 32 * 20, 0, config=config, batch=32), data)
    for _ in Fit(p.method, p.stages, p.job.trial):
        pass
    p.method.eval()
    found = labels(Question(p, data, p.split.test, torch.device("cpu"))).scores
    assert set(found) >= {"auroc label.sex", "auroc label.view"} and found["auroc label.view"] > 0.7


def test_it_names_nothing_but_pictures() -> None:
    assert rad_dino.NEEDS == {"image": "image"}
