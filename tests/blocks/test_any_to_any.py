"""Any subset in, any out: what is drawn of a batch, what sees what, and a planted world that is learnt."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from sensorium.blocks.any_to_any import SPANS, AnyToAny, Drawing, Layout, Modality, Sizes, Through
from sensorium.blocks.decode import Canvas, Prompt, decode, paint
from sensorium.core import Batch, Budget, Field, Ids, Rng, SensoriumError, Trial
from sensorium.run.fit import Fit, Stage

WORDS, LENGTH = 10, 6
SMALL = Sizes(dim=32, heads=2, encoder=1, decoder=2, read=6, asked=7, alpha=0.5, blank=0.2)


class Plain(nn.Module):
    """Ids as they are: Field [B N] of 0 to vocab-1."""

    def __init__(self, vocab: int, shape: tuple[int, int]) -> None:
        super().__init__()
        self.vocab, self.shape, self.seen = vocab, shape, 0

    def solve(self, values: list[Field]) -> None:
        self.seen = sum(len(v) for v in values)

    def encode(self, value: Field) -> Ids:
        mask = torch.ones_like(value.data, dtype=torch.bool)
        return Ids(value.data, mask if value.mask is None else mask & value.mask[:, None])

    def decode(self, ids: Tensor) -> Field:
        return Field(ids)


def turned(field: Field) -> Field:
    return Field(3 - field.data, field.mask)


def made(sizes: Sizes = SMALL, drawing: Drawing | None = None, **more: Any) -> AnyToAny:
    torch.manual_seed(0)
    grids = [
        Modality("image", "image", "image", Plain(4, (2, 2))),
        Modality("image.depth", "image", "image.depth", Plain(5, (2, 2))),
        Modality("turned", "turned", "image", Through(turned, Plain(4, (1, 4)))),
    ]
    return AnyToAny(grids, {"text": LENGTH, "text.long": LENGTH}, WORDS, sizes, drawing or Drawing(2, 0, 1), **more)


def batch(n: int = 8, seed: int = 0) -> Batch:
    g = torch.Generator().manual_seed(seed)
    image = torch.randint(0, 4, (n, 4), generator=g)
    words, count = torch.randint(0, WORDS, (n, LENGTH), generator=g), torch.randint(1, LENGTH, (n, 1), generator=g)
    text = Ids(words, torch.arange(LENGTH) < count)
    return {
        "image": Field(image),
        "image.depth": Field(image + 1, torch.arange(n) > 0),
        "text": text,
        "text.long": Ids(words.flip(1), text.mask.flip(1)),
        "row": Field(torch.arange(n)),
        "group": Field(torch.arange(n)),
    }


def by_row(cells: Layout) -> list[set[tuple[int, int]]]:
    return [
        {(int(p), int(q)) for p, q, t in zip(part, place, there, strict=True) if t}
        for part, place, there in zip(cells.part, cells.place, cells.there, strict=True)
    ]


def test_ids_are_joint_and_what_is_missing_is_masked() -> None:
    cells = made().cells(batch())
    assert list(cells) == ["image", "image.depth", "turned", "text", "text.long"]
    image, depth, other = (cells[n].ids for n in ("image", "image.depth", "turned"))
    assert image.min() >= WORDS and image.max() < WORDS + 4
    assert torch.equal(depth, image + 5)
    assert torch.equal(other - WORDS - 9, 3 - (image - WORDS))
    assert cells["image.depth"].mask.sum(1).tolist() == [0] + [4] * 7
    assert cells["text.long"].mask[:, 0].all()  # packed


def test_what_is_derived_may_be_given_itself() -> None:
    given = made().cells({"turned": Field(torch.tensor([[0, 1, 2, 3]]))})
    assert list(given) == ["turned"] and given["turned"].ids.tolist() == [[19, 20, 21, 22]]


@pytest.mark.parametrize("step", range(4))
def test_what_is_read_and_what_is_asked_share_no_cell_and_keep_their_budgets(step: int) -> None:
    method = made()
    cells = method.cells(batch(40))
    shown, asked, _, labels = method.drawn(cells, Rng(0, step), method.reads, method.writes)
    assert shown.ids.shape == (40, 6) and asked.ids.shape == labels.shape == (40, 7)
    grids = len(method.grids)
    for one, other in zip(by_row(shown), by_row(asked), strict=True):
        assert not {c for c in one if c[0] < grids} & other
        assert len([c for c in other if c[0] < grids]) == len({c for c in other if c[0] < grids})
    assert (asked.there.sum(1) > 0).all()
    is_grid = asked.there & (asked.part < grids)
    assert torch.equal(labels[is_grid], asked.ids[is_grid])
    blank = shown.there.sum(1) == 0
    assert 0 < blank.sum() < 20


def test_texts_are_asked_in_spans_each_word_labelled_with_the_next() -> None:
    method = made(Sizes(**{**vars(SMALL), "read": 0, "blank": 1.0}), writes=("text",))
    b = batch()
    _, asked, order, labels = method.drawn(method.cells(b), Rng(0), method.reads, method.writes)
    text = b["text"]
    assert isinstance(text, Ids)
    for k in range(8):
        here = asked.there[k] & (asked.part[k] == 3)
        words = text.ids[k][text.mask[k]].tolist()
        assert order[k][here].tolist() == list(range(len(words) + 1))
        assert asked.ids[k][here].tolist() == [method.sentinel["text"], *words]
        assert labels[k][here].tolist() == [*words, method.decoder.end]
    assert method.sentinel["text.long"] == method.sentinel["text"] + SPANS


def test_only_what_may_be_read_or_asked_is() -> None:
    method = made(reads=("image",), writes=("image.depth", "text"))
    shown, asked, *_ = method.drawn(method.cells(batch(40)), Rng(0), method.reads, method.writes)
    assert shown.part[shown.there].unique().tolist() == [0] and asked.part[asked.there].unique().tolist() == [1, 3]
    assert shown.there.sum(1).unique().tolist() == [0, 4]  # all of it, or nothing
    assert set(method.losses(batch(), Rng(0))) == {"image.depth", "text"}


def test_what_is_marked_is_asked_and_all_else_is_read() -> None:
    method, b = made(), batch(20)
    marked = {k: b[k] for k in ("image", "row", "group")} | {"image.depth/asked": b["image.depth"]}
    alone = {k: v for k, v in b.items() if k in ("image", "image.depth", "row", "group")}
    assert set(method.losses(marked, Rng(0))) == {"image.depth"}
    assert set(method.losses(alone, Rng(0))) == {"image", "image.depth", "turned"}
    one = made(reads=("image",), writes=("image.depth",)).losses(alone, Rng(0))["image.depth"]
    torch.testing.assert_close(method.losses(marked, Rng(0))["image.depth"], one)


def test_a_share_of_the_rows_is_one_text_alone() -> None:
    method = made(alone=0.5)
    shown, asked, *_ = method.drawn(method.cells(batch(60)), Rng(0), method.reads, method.writes)
    kinds = [{p for p, _ in one | other} for one, other in zip(by_row(shown), by_row(asked), strict=True)]
    lonely = [k for k in kinds if k in ({3}, {4})]
    assert 15 < len(lonely) < 45 and {3} in lonely and {4} in lonely
    shown, asked, *_ = made(alone=1.0).drawn(method.cells(batch(60)), Rng(0), method.reads, method.writes)
    assert {p for one in (*by_row(shown), *by_row(asked)) for p, _ in one} == {3, 4}


def test_padding_changes_no_loss_and_the_seed_decides() -> None:
    method, b = made(), batch()
    text = b["text"]
    assert isinstance(text, Ids)
    wide = {**b, "text": Ids(nn.functional.pad(text.ids, (2, 3), value=7), nn.functional.pad(text.mask, (2, 3)))}
    one, other = method.losses(b, Rng(0)), method.losses(wide, Rng(0))
    for name, value in one.items():
        torch.testing.assert_close(other[name], value, atol=1e-5, rtol=0)
    assert method.losses(b, Rng(0, 1))["image"] != one["image"]


def test_every_parameter_gets_a_gradient() -> None:
    method = made()
    torch.stack(list(method.losses(batch(40), Rng(0)).values())).sum().backward()  # type: ignore[no-untyped-call]
    assert [n for n, p in method.named_parameters() if p.grad is None or not p.grad.any()] == []


def test_modalities_that_are_asked_do_not_see_each_other_and_words_see_no_later_one() -> None:
    method = made().eval()
    cells = method.cells(batch(1))
    memory = method.read(method.seen({"image": cells["image"]}, 1))
    grid = method.layout("image.depth", Ids(cells["image.depth"].ids, torch.ones(1, 4).bool()))
    words = Ids(torch.tensor([[30, 1, 2, 3]]), torch.ones(1, 4).bool())
    order = torch.cat([torch.zeros(1, 4).long(), torch.arange(4)[None]], 1)

    def states(text: Ids, cells: Layout) -> Tensor:
        return method.answered(Layout.joined([cells, method.layout("text", text)]), memory, order)

    before = states(words, grid)
    after = states(Ids(torch.tensor([[30, 1, 7, 3]]), words.mask), grid)
    same = (before - after).abs().amax(-1)[0] < 1e-6
    assert same.tolist() == [True] * 6 + [False] * 2
    fewer = states(words, Layout(grid.ids, grid.place, grid.part, torch.tensor([[True, True, True, False]])))
    same = (before - fewer).abs().amax(-1)[0] < 1e-6
    assert not same[:3].any() and same[4:].all()


def test_equal_places_find_each_other_before_anything_is_learnt() -> None:
    """What is said of a cell depends most on the cell of another grid that lies at its place."""
    method = made(Sizes(dim=64, heads=2, encoder=0, decoder=1)).eval()
    cells = method.cells(batch(64, 5))
    first = method.scores("image.depth", {"image": cells["image"]}, 64)
    for k in range(4):
        other = cells["image"].ids.clone()
        other[:, k] = WORDS + (other[:, k] - WORDS + 1) % 4
        moved = (
            (method.scores("image.depth", {"image": Ids(other, cells["image"].mask)}, 64) - first).abs().mean((0, 2))
        )
        assert moved.argmax() == k


def test_codecs_are_fitted_on_what_the_batches_hold() -> None:
    method = made()
    method.solve([batch(8), batch(8, 1)])
    assert [getattr(c, "seen", None) for c in method.codecs] == [16, 16, None]
    assert method.codecs[2].codec.seen == 16  # type: ignore[union-attr]


def test_unknown_names_are_refused() -> None:
    with pytest.raises(SensoriumError, match=r"there is no modality 'image.dept' here; did you mean 'image.depth'"):
        made(reads=("image.dept",))
    with pytest.raises(SensoriumError, match=r"does not generate 'imag'"):
        made().prompt(batch(), "imag")


class World:
    """Pictures of four cells; depth is the picture plus one; the text says two of the cells."""

    def batch(self, step: int) -> Batch:
        image = torch.randint(0, 4, (32, 4), generator=torch.Generator().manual_seed(step))
        text = Ids(torch.stack([image[:, 0], image[:, 3] + 4], 1), torch.ones(32, 2).bool())
        rows = Field(torch.arange(32))
        return {"image": Field(image), "image.depth": Field(image + 1), "text": text, "row": rows, "group": rows}


@pytest.fixture(scope="module")
def learnt() -> AnyToAny:
    sizes = Sizes(dim=48, heads=2, encoder=1, decoder=1, read=8, asked=8, alpha=0.3, blank=0.1)
    method, budget = made(sizes, through=("image",)), Budget(32 * 160)
    for _ in Fit(method, [Stage(World(), budget, 32)], Trial(1e-2, budget, 0, 32)):
        pass
    return method.eval()


def painted(method: AnyToAny, told: Mapping[str, Any], to: str) -> Tensor:
    canvas = method.prompt(told, to)
    assert isinstance(canvas, Canvas)
    return paint(canvas, 3, Rng(0)).data


def test_any_is_made_from_any(learnt: AnyToAny) -> None:
    b = World().batch(10_000)
    image, depth, text = b["image"], b["image.depth"], b["text"]
    assert isinstance(image, Field) and isinstance(depth, Field) and isinstance(text, Ids)
    assert (painted(learnt, {"image": image}, "image.depth") == depth.data).float().mean() > 0.97
    assert (painted(learnt, {"image.depth": depth}, "image") == image.data).float().mean() > 0.97
    told = painted(learnt, {"text": text}, "image")
    assert (told[:, [0, 3]] == image.data[:, [0, 3]]).float().mean() > 0.9
    chained = painted(learnt, {"text": text}, "image.depth")  # through the picture
    assert (chained[:, [0, 3]] == depth.data[:, [0, 3]]).float().mean() > 0.9
    prompt = learnt.prompt({"image": image}, "text")
    assert isinstance(prompt, Prompt)
    said = decode(prompt, 5)
    assert said.ids.shape[1] == 2 and (said.ids == text.ids).float().mean() > 0.9


def test_a_part_that_is_known_stays_and_the_rest_agrees(learnt: AnyToAny) -> None:
    b = World().batch(10_001)
    cells = learnt.cells(b)
    half = torch.tensor([True, True, False, False]).expand(32, 4)
    known = {"image": Ids(cells["image"].ids, half)}
    scores = learnt.scores("image.depth", known, 32).argmax(-1)
    right = (scores == b["image.depth"].data).float().mean(0)  # type: ignore[union-attr]
    assert right[:2].min() > 0.97 and right[2:].max() < 0.6


def test_a_chain_is_walked_on_the_way(learnt: AnyToAny, monkeypatch: pytest.MonkeyPatch) -> None:
    walked: list[tuple[str, list[str]]] = []
    filled = AnyToAny.filled

    def spy(self: AnyToAny, name: str, known: Mapping[str, Ids], luck: Tensor) -> Ids:
        walked.append((name, list(known)))
        return filled(self, name, known, luck)

    monkeypatch.setattr(AnyToAny, "filled", spy)
    painted(learnt, {"text": World().batch(0)["text"]}, "image.depth")
    assert walked == [("image", ["text"]), ("image.depth", ["text", "image"])]
