"""4M and 4M-21: which modalities they take of data, how a transfer is laid out, what they generate and embed."""

from __future__ import annotations

from types import ModuleType
from typing import cast

import numpy as np
import pytest
import torch

from sensorium.blocks.any_to_any import AnyToAny
from sensorium.blocks.decode import Canvas, Prompt, decode, paint
from sensorium.blocks.shared import shared
from sensorium.blocks.towers.image import ConvTower
from sensorium.blocks.towers.text import TextTower
from sensorium.blocks.two_tower import TwoTower, contrast
from sensorium.core import Bases, Batch, Budget, Field, FieldInfo, Ids, Method, Rng, SensoriumError, Trial
from sensorium.data.rows import Rows
from sensorium.papers.unify import four_m, four_m_21

SIZE, VOCAB, ROWS = 16, 12, 24
PICTURE = FieldInfo("image", shape=(3, SIZE, SIZE))
FIELDS = {
    "image": PICTURE,
    "image.depth": PICTURE,
    "image.mask": PICTURE,
    "image.edges": PICTURE,
    "image.instances": PICTURE,
    "image/negative": PICTURE,
    "boxes": FieldInfo("boxes"),
    "text": FieldInfo("text", vocab=VOCAB, length=8),
    "text.long": FieldInfo("text", vocab=VOCAB, length=10),
    "value.objects": FieldInfo("value"),
    "label": FieldInfo("label", classes=("a", "b")),
}
SMALL = {"dim": 32, "heads": 2, "encoder": 1, "decoder": 1, "codes": 16, "bins": 8, "boxes": 2, "steps": 2}
BOTH = pytest.mark.parametrize("module", [four_m, four_m_21], ids=["four-m", "four-m-21"])


class Start:
    """The pair encoder with weights from scratch, in the place of the shipped one."""

    def get(self, name: str) -> Method:
        assert name == "pair-encoder"
        towers = {"image": ConvTower(), "text": TextTower(VOCAB, dim=64, layers=1, heads=2, length=8)}
        return shared(TwoTower(towers, 16, terms=contrast))  # type: ignore[arg-type]


def drawn(n: int = ROWS, seed: int = 0) -> Batch:
    g = torch.Generator().manual_seed(seed)

    def picture() -> Field:
        return Field(torch.randint(0, 4, (n, 3, SIZE, SIZE), generator=g, dtype=torch.uint8) * 80)

    ids, count = torch.randint(0, VOCAB, (n, 8), generator=g), torch.randint(1, 8, (n, 1), generator=g)
    text = Ids(ids, torch.arange(8) < count)
    corner = torch.rand(n, 3, 2, generator=g) / 2
    boxes = Field(torch.cat([corner, corner + 0.4], -1), torch.arange(3) < torch.randint(0, 4, (n, 1), generator=g))
    return {
        **{k: picture() for k in ("image", "image.depth", "image.mask", "image.edges", "image.instances")},
        "boxes": boxes,
        "text": text,
        "text.long": text,
        "value.objects": Field(torch.arange(n).float() % 3),
        "row": Field(torch.arange(n)),
        "group": Field(torch.arange(n)),
    }


def made(module: ModuleType, fields: dict[str, FieldInfo] | None = None, **changes: object) -> Method:
    torch.manual_seed(0)
    config = module.Config(**{**SMALL, **changes})
    method: Method = module.build(config, fields or FIELDS, cast(Bases, Start()))
    method.solve([drawn(seed=k) for k in range(2)])
    return method.eval()


def rows() -> Rows:
    batch = drawn()
    columns = {k: v for k, v in batch.items() if k not in ("row", "group")}
    return Rows(columns, np.arange(ROWS), FIELDS, np.arange(ROWS))


OWN = {"image", "image.depth", "image.edges", "image.mask", "boxes", "text"}
MORE = {
    "image.instances", "text.long", "value.objects", "contours", "vector", "features", "palette", "brightness",
    "contrast", "colourfulness",
}  # fmt: skip


def test_four_m_21_has_four_ms_modalities_and_as_many_again() -> None:
    one, other = made(four_m), made(four_m_21)
    assert set(one.generates) == OWN and set(other.generates) == OWN | MORE  # type: ignore[arg-type]


@BOTH
def test_what_the_data_lacks_is_left_out_and_edges_are_derived(module: ModuleType) -> None:
    method = made(module, {"image": PICTURE})
    found = set(method.generates)  # type: ignore[arg-type]
    assert found == ({"image", "image.edges"} if module is four_m else {"image"} | (MORE - set(FIELDS)))
    few = {"image": drawn()["image"], "row": drawn()["row"]}
    assert set(method.losses(few, Rng(0))) == found


@BOTH
def test_every_trainable_parameter_gets_a_gradient(module: ModuleType) -> None:
    method = made(module).train()
    torch.stack(list(method(drawn(96), Rng(0)).values())).sum().backward()
    assert [n for n, p in method.named_parameters() if p.grad is None or not p.grad.any()] == []


@BOTH
def test_each_modality_comes_out_as_what_it_is(module: ModuleType) -> None:
    method, batch = made(module), drawn(4)
    for to, kind in method.generates.items():  # type: ignore[union-attr,operator]
        prompt = method.prompt({"text.long" if to == "text" else "text": batch["text"]}, to)  # type: ignore[operator]
        if kind == "text":
            assert isinstance(prompt, Prompt) and decode(prompt, 3, stop=()).ids.shape == (4, 3)
            continue
        assert isinstance(prompt, Canvas)
        made_of, again = paint(prompt, 12, Rng(0)), paint(prompt, 12, Rng(0))
        assert torch.equal(made_of.data, again.data) and made_of.data.isfinite().all()
        if kind in ("image", "boxes", "value"):
            like = batch.get(to, batch["image"] if kind == "image" else batch["value.objects"])
            assert isinstance(like, Field) and made_of.data.dtype == like.data.dtype
            assert made_of.data.shape[2:] == like.data.shape[2:]


def test_tokenisers_give_back_what_they_were_given() -> None:
    """Values of few steps, and the boxes to the step, survive their ids."""
    method, batch = made(four_m_21, codes=256), drawn(4)
    assert isinstance(method, four_m_21.FourM21)
    for name in ("value.objects", "boxes"):
        ids = method.model.cells(batch)[name].ids - method.model.first[name]
        back = method.model.grids[name].codec.decode(ids)
        right = batch[name]
        assert isinstance(right, Field)
        there = slice(None) if right.mask is None else right.mask[:, :2]
        atol = 0 if right.mask is None else 1 / 16 + 1e-6
        torch.testing.assert_close(
            back.data[there], right.data[:, :2][there] if right.mask is not None else right.data, atol=atol, rtol=0
        )


def test_a_transfer_shows_the_labels_of_few_rows_and_then_asks_for_them_alone() -> None:
    method = made(four_m)
    assert isinstance(method, AnyToAny)
    config = four_m.Config(**SMALL, transfer="image,image.mask", tuned=0.5, labelled=0.25)
    first, last = four_m.stages(config, method, rows(), Trial(1e-3, Budget(48), 0, 6))
    assert (first.budget.samples, last.budget.samples) == (24, 24)
    seen: set[int] = set()
    for step in range(4):
        batch = first.data.batch(step)  # type: ignore[union-attr]
        mask, row = batch["image.mask"], batch["row"]
        assert isinstance(mask, Field) and isinstance(row, Field) and mask.mask is not None
        seen |= set(row.data[mask.mask].tolist())
    assert len(seen) == 6
    for step in range(4):
        batch = last.data.batch(step)  # type: ignore[union-attr]
        assert set(batch) == {"image", "image.mask/asked", "row", "group"}
        assert set(batch["row"].data.tolist()) == seen  # type: ignore[union-attr]
        assert set(method.losses(batch, Rng(0))) == {"image.mask"}


def test_a_single_task_is_a_transfer_without_what_comes_before() -> None:
    config = four_m.Config(**SMALL, transfer="image,boxes", tuned=1.0)
    (only,) = four_m.stages(config, cast(AnyToAny, made(four_m)), rows(), Trial(1e-3, Budget(48), 0, 6))
    assert "boxes/asked" in only.data.batch(0)  # type: ignore[union-attr]
    plain = four_m.stages(four_m.Config(**SMALL), cast(AnyToAny, made(four_m)), rows(), Trial(1e-3, Budget(48), 0, 6))
    assert len(plain) == 1 and set(plain[0].data.batch(0)) == {*drawn()}  # type: ignore[union-attr]


def test_what_no_transfer_can_be_is_refused() -> None:
    with pytest.raises(SensoriumError, match="transfer 'image'; expected none, or from what to what"):
        four_m.Config(transfer="image")
    with pytest.raises(SensoriumError, match="tuned 2 and labelled 1; expected shares"):
        four_m.Config(tuned=2)
    method = cast(AnyToAny, made(four_m))
    config = four_m.Config(**SMALL, transfer="image,image.masks")
    with pytest.raises(SensoriumError, match=r"transfer 'image.masks'; did you mean 'image.mask'"):
        four_m.stages(config, method, rows(), Trial(1e-3, Budget(48), 0, 6))


def test_any_modality_is_embedded_as_the_mean_of_likely_vectors() -> None:
    method, batch = made(four_m_21), drawn(6)
    assert isinstance(method, four_m_21.FourM21)
    assert set(method.spaces) == (OWN | MORE) - {"vector"}
    for key in method.spaces:
        found = method.embed(batch, key)
        assert found.x.shape == (6, 1, 16)
        torch.testing.assert_close(found.x.norm(dim=-1), torch.ones(6, 1))
    odds = method.model.scores("vector", {"text": method.model.cells({"text": batch["text"]})["text"]}, 6).softmax(-1)
    codes = torch.stack([book.codes for book in method.vectors.books])  # type: ignore[misc]
    by_hand = torch.einsum("bgk,gkd->bgd", odds, codes).flatten(1)
    torch.testing.assert_close(method.embed(batch, "text").x[:, 0], by_hand / by_hand.norm(dim=1, keepdim=True))
    scores = method.rank({"text": batch["text"]}, {"image": batch["image"]})
    torch.testing.assert_close(scores, method.embed(batch, "text").x[:, 0] @ method.embed(batch, "image").x[:, 0].T)
    with pytest.raises(SensoriumError, match="does not embed 'vector'"):
        method.embed(batch, "vector")


@pytest.mark.parametrize("changes", [{}, {"alone": 1.0}], ids=["some", "all"])
def test_rows_of_text_alone_ask_for_nothing_else(changes: dict[str, float]) -> None:
    terms = made(four_m_21, **changes).losses(drawn(), Rng(0))
    asked = {name for name, value in terms.items() if value > 0}
    assert asked == ({"text", "text.long"} if changes else set(terms))
