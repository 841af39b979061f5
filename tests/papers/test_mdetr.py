"""What mdetr does beyond boxes: masks of phrases, answers by kinds of questions, stages."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from sensorium.blocks.towers.masks import dice, focal
from sensorium.core import Batch, Field, Rng, SensoriumError
from sensorium.data.dataset import Dataset
from sensorium.lab import sets
from sensorium.run.fit import Fit
from sensorium.run.plan import Job, Plan, plan
from sensorium.run.runs import execute, load

from .conftest import SCRATCH

STEPS, BATCH = 4, 12
SMALL = {"world/segmentation": (72, 24, 24), "world/asked": (120, 24, 40), "world/few-shot": (60, 20, 24)}


@pytest.fixture(scope="module")
def worlds(home: Path) -> Iterator[dict[str, Dataset]]:
    with pytest.MonkeyPatch.context() as patch:
        few = {name: replace(sets.RECIPES[name], rows=rows) for name, rows in SMALL.items()}
        patch.setattr(sets, "RECIPES", few)
        yield {name: Dataset(sets.data_set(name)) for name in few}


def job(measures: tuple[str, ...] = (), seed: int = 0, **config: Any) -> Job:
    return Job(
        "mdetr", "", SCRATCH, 1e-3, STEPS * BATCH, seed, config=config, batch=BATCH, task="ground", measures=measures
    )


def first(p: Plan, n: int = BATCH) -> Batch:
    p.method.eval()
    return p.rows.select(p.split.train).batch(np.arange(n))


def losses(p: Plan, batch: Batch) -> dict[str, Tensor]:
    return {name: value.detach() for name, value in p.method.losses(batch, Rng(0)).items()}


def missed(p: Plan) -> list[str]:
    """Parameters without a gradient on a batch."""
    torch.stack(list(p.method.train().losses(first(p), Rng(0)).values())).sum().backward()
    return [n for n, q in p.method.named_parameters() if q.grad is None or not q.grad.any()]


@torch.no_grad()
def predicted(p: Plan, batch: Batch, of: str) -> Field:
    method: Any = p.method
    found: Field = method.predict({k: batch[k] for k in ("image", "text", "spans")}, of)
    return found


# Masks


@pytest.mark.parametrize("config", [{}, {"fusion": "late"}, {"stride": 2}], ids=str)
def test_every_parameter_of_the_mask_head_is_trained(worlds: dict[str, Dataset], config: dict[str, Any]) -> None:
    assert missed(plan(job(**config), worlds["world/segmentation"])) == []


def test_the_mask_of_a_phrase_is_that_of_its_query(worlds: dict[str, Dataset]) -> None:
    p = plan(job(), worlds["world/segmentation"])
    method: Any = p.method
    batch = first(p)
    found, spans = predicted(p, batch, "mask"), batch["spans"]
    assert isinstance(spans, Field) and found.mask is spans.mask
    assert found.data.shape == (BATCH, 4, 32, 32) and ((found.data >= 0) & (found.data <= 1)).all()
    with torch.no_grad():
        read = method.encode(batch)
        best = method.ranked(batch, read)[0][:, :, 0]
        every = method.drawn(batch, read, read.held[-1][:, :8]).sigmoid()
    for row in range(BATCH):
        for k in range(4):
            torch.testing.assert_close(found.data[row, k], every[row, best[row, k]])
    order = torch.randperm(BATCH, generator=torch.Generator().manual_seed(3))
    moved = predicted(p, {k: v.rows(order) for k, v in batch.items()}, "mask")
    torch.testing.assert_close(moved.data, found.data[order], atol=1e-5, rtol=0)


def test_masks_add_the_losses_of_the_queries_that_were_matched(worlds: dict[str, Dataset]) -> None:
    p = plan(job(match="order"), worlds["world/segmentation"])  # object k has query k
    method: Any = p.method
    batch = first(p)
    truth = batch["mask"]
    assert isinstance(truth, Field) and truth.mask is not None
    with torch.no_grad():
        read = method.encode(batch)
        logits = method.drawn(batch, read, read.held[-1][:, : truth.data.shape[1]])
    found = losses(p, batch)
    torch.testing.assert_close(found["focal"], focal(logits, truth.data, truth.mask))
    torch.testing.assert_close(found["dice"], dice(logits, truth.data, truth.mask))
    halved = plan(job(match="order", masks=0.5), worlds["world/segmentation"])
    halved.method.load_state_dict(p.method.state_dict())
    torch.testing.assert_close(losses(halved, batch)["dice"], found["dice"] / 2)


def test_objects_and_texts_that_are_padded_change_nothing(worlds: dict[str, Dataset]) -> None:
    p = plan(job(), worlds["world/segmentation"])
    batch = dict(first(p))
    want, pad = losses(p, batch), torch.nn.functional.pad
    for key, fill in (("boxes", 0.3), ("spans", 3), ("mask", True)):
        value = batch[key]
        assert isinstance(value, Field) and value.mask is not None
        behind = [0, 0] * (value.data.ndim - 2) + [0, 2]
        batch[key] = Field(
            pad(value.data.float(), behind, value=float(fill)).to(value.data.dtype), pad(value.mask, (0, 2))
        )
    for name, value in losses(p, batch).items():
        torch.testing.assert_close(value, want[name], atol=1e-5, rtol=0)


def test_without_masks_or_their_weight_none_are_drawn(worlds: dict[str, Dataset]) -> None:
    p = plan(job(masks=0.0), worlds["world/segmentation"])
    method: Any = p.method
    assert list(method.predicts) == ["boxes"] and not {"focal", "dice"} & set(losses(p, first(p)))
    with pytest.raises(SensoriumError, match="predicts no 'mask'; expected one of boxes"):
        method.predict(first(p), "mask")
    unmarked = {k: v for k, v in first(plan(job(), worlds["world/segmentation"])).items() if k != "mask"}
    assert not {"focal", "dice"} & set(losses(plan(job(), worlds["world/segmentation"]), unmarked))


def test_a_run_with_masks_is_measured_and_loaded(worlds: dict[str, Dataset], tmp_path: Path) -> None:
    measures = ("sensorium.lab.grounding:segmented",)
    outcome = execute(job(measures), worlds["world/segmentation"], tmp_path / "run")
    assert {"recall@1", "mean iou", "box iou"} <= set(outcome.test) and 0 <= outcome.test["mean iou"] <= 1
    p = plan(job(), worlds["world/segmentation"])
    for _ in Fit(p.method, p.stages, p.job.trial):
        pass
    batch, model = first(p), load(tmp_path / "run")
    with torch.no_grad():
        again = model.method.predict({k: batch[k] for k in ("image", "text", "spans")}, "mask")  # type: ignore[operator]
    torch.testing.assert_close(again.data, predicted(p, batch, "mask").data, atol=1e-6, rtol=0)


def test_masks_are_learnt(worlds: dict[str, Dataset]) -> None:
    """One batch by heart: the mask losses fall by half."""
    p = plan(job(), worlds["world/segmentation"])
    batch = first(p)
    before = losses(p, batch)
    optimiser = torch.optim.AdamW(p.method.parameters(), lr=3e-3)
    for step in range(25):
        optimiser.zero_grad()
        torch.stack(list(p.method.losses(batch, Rng(step)).values())).sum().backward()
        optimiser.step()
    after = losses(p, batch)
    assert after["dice"] < 0.6 * before["dice"] and after["focal"] < 0.5 * before["focal"]


# Answers


def test_each_kind_of_question_has_a_query_and_a_head(worlds: dict[str, Dataset]) -> None:
    p = plan(job(), worlds["world/asked"])
    method: Any = p.method
    kinds, classes = p.fields["label/kind"].classes, p.fields["label"].classes
    assert kinds == ("colour", "exists", "shape", "where")
    assert method.predicts == {"boxes": "boxes", "label": "label", "label/kind": "label"}
    batch = first(p)
    with torch.no_grad():
        read = method.encode(batch)
        answers, guessed = method.answers(read), method.kinds(read)
    assert answers.shape == (2, BATCH, 4, len(classes)) and guessed.shape == (2, BATCH, 4)
    torch.testing.assert_close(answers[1, :, 2], method.answer[2](read.held[1][:, 8 + 2]))
    torch.testing.assert_close(guessed[1], method.kind[0](read.held[1][:, 8 + 4]))
    assert missed(p) == []


def test_an_answer_is_learnt_by_the_query_of_its_kind_alone(worlds: dict[str, Dataset]) -> None:
    p = plan(job(), worlds["world/asked"])
    method: Any = p.method
    batch = dict(first(p))
    label, kind = batch["label"], batch["label/kind"]
    assert isinstance(label, Field) and isinstance(kind, Field)
    real = torch.arange(BATCH) % 5 != 3  # as if train had never had every fifth answer
    told = torch.arange(BATCH) != 1
    batch["label"], batch["label/kind"] = Field(label.data, real), Field(kind.data, told)
    with torch.no_grad():
        read = method.encode(batch)
        answers, guessed = method.answers(read), method.kinds(read)
    rows = (real & told).nonzero()[:, 0]
    cross = torch.nn.functional.cross_entropy
    want = sum(cross(layer[rows, kind.data[rows]], label.data[rows]) for layer in answers)
    found = losses(p, batch)
    torch.testing.assert_close(found["answer"], want)
    torch.testing.assert_close(found["kind"], sum(cross(layer[told], kind.data[told]) for layer in guessed))
    batch["label"] = Field(label.data, torch.zeros_like(real))
    assert losses(p, batch)["answer"] == 0


def test_the_kind_that_a_question_seems_to_be_chooses_its_answer(worlds: dict[str, Dataset]) -> None:
    p = plan(job(), worlds["world/asked"])
    method: Any = p.method
    batch = first(p)
    with torch.no_grad():
        method.kind[0].bias.zero_()
        answers = method.answers(method.encode(batch))[-1]
        kind = predicted(p, batch, "label/kind").data.argmax(-1)
        found = predicted(p, batch, "label").data
        torch.testing.assert_close(found, answers[torch.arange(BATCH), kind])
        method.kind[0].bias[3] = 100.0
        torch.testing.assert_close(predicted(p, batch, "label").data, answers[:, 3])


def test_questions_may_be_of_one_kind(worlds: dict[str, Dataset]) -> None:
    p = plan(job(asked="one"), worlds["world/asked"])
    method: Any = p.method
    assert method.predicts == {"boxes": "boxes", "label": "label"} and set(losses(p, first(p))) >= {"answer"}
    assert "kind" not in losses(p, first(p)) and missed(p) == []
    whole = plan(job(), worlds["world/asked"])
    assert abs(losses(whole, first(whole))["answer"] - losses(p, first(p))["answer"]) > 1e-3
    with pytest.raises(SensoriumError, match="asked 'eech'; did you mean 'each'"):
        plan(job(asked="eech"), worlds["world/asked"])


def test_a_run_that_answers_is_scored(worlds: dict[str, Dataset], tmp_path: Path) -> None:
    outcome = execute(job(), worlds["world/asked"], tmp_path / "run")
    assert {"recall@1", "accuracy"} <= set(outcome.test)


# Stages


def test_few_rows_follow_the_many_at_a_lower_rate(worlds: dict[str, Dataset]) -> None:
    data = worlds["world/few-shot"]
    p = plan(replace(job(), samples=480), data)
    many, few = p.stages
    told = [row for row, stage in enumerate(data.texts("label/stage")) if stage == "2"]
    assert sorted(few.data.rows.index.tolist()) == sorted(set(told) & set(p.split.train.tolist()))  # type: ignore[union-attr]
    assert len(many.data.rows) == 60 and (many.budget.samples, few.budget.samples) == (360, 120)  # type: ignore[union-attr]
    assert many.rates == {"": 1.0} and few.rates == {"": 0.3}
    steps = list(Fit(p.method, p.stages, p.job.trial))
    assert [s.stage for s in steps] == [0] * 30 + [1] * 10
    (alone,) = plan(replace(job(tuned=0.0), samples=480), data).stages
    assert alone.budget.samples == 480 and len(alone.data.rows) == 60  # type: ignore[union-attr]
    with pytest.raises(SensoriumError, match="tuned 1; expected a share"):
        plan(job(tuned=1.0), data)


def test_rows_without_stages_are_one(worlds: dict[str, Dataset]) -> None:
    p = plan(job(), worlds["world/segmentation"])
    (stage,) = p.stages
    assert stage.budget == p.job.trial.budget and len(stage.data.rows) == 72  # type: ignore[union-attr]
