"""From names to a method: fitted on train rows only, with clear words where the data does not do."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from sensorium.blocks.towers.frozen import Frozen, Reduced
from sensorium.core import Field, Fields, Ids, SensoriumError, Tokens, Tower, Value
from sensorium.data.dataset import Dataset
from sensorium.data.split import split
from sensorium.run import plan as module
from sensorium.run.fit import Fit
from sensorium.run.plan import Job, Plan, keys_for, plan, unmet
from sensorium.run.runs import execute, load

from ..papers.conftest import ROWS, SCRATCH, TWINS, squares

CANARY = "zyzzyva"
LOUD = Image.new("RGB", (32, 32), (255, 0, 255))


def job(paper: str, towers: Mapping[str, str] = SCRATCH, **more: Any) -> Job:
    settings = {"rate": 1e-3, "samples": 36, "seed": 0, "batch": 12, **more}
    return Job(paper=paper, data="", towers=towers, **settings)


def lone(data: Dataset, part: str) -> int:
    """A row of a part of the split whose text no other row has."""
    there = getattr(split(data, 0, "given"), part)
    return int(next(k for k in there if TWINS <= k < ROWS - TWINS))


Canaries = dict[str, Dataset]


@pytest.fixture(scope="module")
def canaries(data: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Canaries:
    """The squares with the word, the picture and the label of a canary in one row of each part of the split."""
    made = {"": data}
    for part in ("train", "validation", "test"):
        row = lone(data, part)

        def here(value: Any, column: str, row: int = row) -> Callable[[int, dict[str, Any]], Any]:
            return lambda k, old: value if k == row else old.get(column)

        folder = squares(
            tmp_path_factory.mktemp("canary") / part,
            picture=here(LOUD, "none"), text=here(f"a {CANARY} square left", "text"),
            text_fr=here(f"un carré {CANARY} {CANARY}", "text_fr"), label=here(CANARY, "label"),
        )  # fmt: skip
        made[part] = Dataset(folder)
        same, was = split(made[part], 0, "given"), split(data, 0, "given")
        assert all(np.array_equal(getattr(same, n), getattr(was, n)) for n in ("train", "validation", "test"))
    return made


HELD = ["validation", "test"]


@pytest.mark.parametrize("part", HELD)
def test_the_tokeniser_sees_train_texts_only(canaries: Canaries, part: str) -> None:
    made = {k: plan(job("kelip"), canaries[k]).tokenizer for k in ("", part, "train")}
    plain, held, seen = (made[k].to_str() for k in ("", part, "train"))  # type: ignore[union-attr]
    assert held == plain and "zy" not in plain
    assert seen != plain and "zy" in seen


@pytest.mark.parametrize("part", HELD)
def test_labels_are_those_of_train(canaries: Canaries, part: str) -> None:
    made = {k: plan(job("filip"), canaries[k]).fields["label"].classes for k in (part, "train")}
    assert CANARY not in made[part] and "red" in made[part]
    assert CANARY in made["train"]


@pytest.mark.parametrize("part", HELD)
def test_negatives_are_mined_from_train_only(canaries: Canaries, part: str) -> None:
    def words(p: Plan) -> list[str]:
        value = p.rows.columns["text/negative"]
        assert isinstance(value, Ids) and p.tokenizer is not None
        inside = torch.from_numpy(p.split.train)
        real = zip(value.ids[inside], value.mask[inside], strict=True)
        return p.tokenizer.decode_batch([ids[mask].tolist() for ids, mask in real])

    found = {k: words(plan(job("concept-negatives"), canaries[k])) for k in ("", part, "train")}
    assert found[part] == found[""] and any("square" in t for t in found[""])
    assert any(CANARY in t for t in found["train"])


# What closed forms see, on towers that are frozen


def colours(value: Value) -> Tokens:
    """u8 [B 3 S S] -> the mean colour of each quarter, and some powers of it, [B 4 9]; loud for the canary."""
    assert isinstance(value, Field)
    x = value.data.double() / 255
    quarters = torch.nn.functional.adaptive_avg_pool2d(x, 2).flatten(2).transpose(1, 2)
    out = torch.cat([quarters, quarters**2, quarters.roll(1, 1) * quarters], 2)
    loud = 1 + 99 * (x[:, 1].amax((1, 2)) == 0).double()
    return Tokens((out * loud[:, None, None]).float(), torch.ones(len(x), 4, dtype=torch.bool))


def letters(texts: Sequence[str]) -> Ids:
    ids = torch.tensor([[ord(c) % 61 for c in t.ljust(40)[:40]] for t in texts])
    return Ids(ids, torch.ones_like(ids, dtype=torch.bool))


def spelled(value: Value) -> Tokens:
    """Letters -> [B 1 9], loud where there are many z."""
    assert isinstance(value, Ids)
    x = torch.stack([torch.sin(value.ids * (0.3 + 0.1 * k)).mean(1) for k in range(9)], 1)
    loud = 1 + 99 * ((value.ids == ord("z") % 61).sum(1) > 2).float()
    return Tokens((x * loud[:, None])[:, None], torch.ones(len(x), 1, dtype=torch.bool))


class Toys:
    """Frozen towers for both roles, the image's reduced where tokens are read."""

    def encoder(self, key: str, read: str = "pooled") -> Tower:
        if key == "text":
            return Frozen("text", "letters-1", 9, lambda: spelled, tokenise=letters)
        image = Frozen("image", "colours-1", 9, lambda: colours, size=16)
        return Reduced(image, 3) if read == "tokens" else image


@pytest.fixture
def toys(monkeypatch: pytest.MonkeyPatch) -> Mapping[str, str]:
    """Towers by role, after the toy bases took the place of the laboratory's."""
    there = ModuleType("toy_bases")
    there.open_bases = lambda names, fields, bases: Toys()  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "toy_bases", there)
    monkeypatch.setattr(module, "BASES", "toy_bases:open_bases")
    return {"image": "colours", "text": "letters"}


def buffers(paper: str, towers: Mapping[str, str], data: Dataset) -> dict[str, Tensor]:
    return dict(plan(job(paper, towers), data).method.named_buffers())


@pytest.mark.parametrize("part", HELD)
@pytest.mark.parametrize("paper", ["filip", "baseline/ridge", "baseline/asif"])
def test_what_is_solved_sees_train_rows_only(
    canaries: Canaries, toys: Mapping[str, str], paper: str, part: str
) -> None:
    plain, held, seen = (buffers(paper, toys, canaries[k]) for k in ("", part, "train"))
    assert plain and all(b.numel() for b in plain.values())
    assert all(torch.equal(b, held[k]) for k, b in plain.items())
    assert all(not torch.allclose(b, seen[k], atol=1e-3) for k, b in plain.items())


def test_frozen_columns_are_computed_before_training(data: Dataset, toys: Mapping[str, str]) -> None:
    p = plan(job("filip", toys), data)
    image, text = p.rows.columns["image"], p.rows.columns["text"]
    image, text = image.to("cpu"), text.to("cpu")
    assert isinstance(image, Tokens) and image.x.shape == (ROWS, 4, 3)
    assert isinstance(text, Tokens) and text.x.shape == (ROWS, 1, 9)
    assert p.tokenizer is None
    inside = image.x[torch.from_numpy(p.split.train)].flatten(0, 1)
    torch.testing.assert_close(inside.mean(0), torch.zeros(3), atol=0.02, rtol=0)  # centred on train; bf16 before


def test_an_empty_text_is_a_row_without_a_token(data: Dataset, toys: Mapping[str, str]) -> None:
    for towers in (toys, SCRATCH):
        column = plan(job("kelip", towers), data).rows.columns["text.fr"]
        column = column.to("cpu")
        assert isinstance(column, Tokens | Ids)
        assert column.mask.any(1).tolist() == [bool(t) for t in data.texts("text.fr")]


# Needs


KINDS = {"image": "image", "text": "text", "text.fr": "text", "label": "label"}


@pytest.mark.parametrize(
    ("needs", "kinds", "why"),
    [
        ({"image": "image", "text": "text"}, KINDS, None),
        ({"image": "image", "audio": "audio"}, {"image": "image", "text": "text"},
         "needs audio (audio); the data has image (image), text (text)"),
        ({"text": "text"}, {"text": "label"}, "needs text (text); the data has text (label)"),
        ({"audio": "audio optional"}, KINDS, None),
        ({"text/negative": "text derivable"}, KINDS, None),
        ({"text/negative": "text derivable"}, {"image": "image"},
         "needs text/negative (text); the data has image (image)"),
        ({"text.*": "text"}, KINDS, None),
        ({"text.*": "text"}, {"text": "text"}, "needs text in a further variant (text.fr, text.long, …)"),
    ],
)  # fmt: skip
def test_what_the_data_lacks_is_said(needs: dict[str, str], kinds: dict[str, str], why: str | None) -> None:
    assert unmet(needs, kinds) == why


def test_a_paper_that_does_not_fit_the_data_is_refused_by_name(tmp_path: Path) -> None:
    english = Dataset(squares(tmp_path / "english", text_fr=lambda k, row: ""))
    assert "text.fr" not in english.kinds
    with pytest.raises(SensoriumError, match=r"^kelip needs text in a further variant"):
        plan(job("kelip"), english)


def test_the_keys_of_a_batch() -> None:
    assert keys_for({"image": "image", "text": "text"}, KINDS) == ["image", "text"]
    assert keys_for({"text": "text", "text.*": "text"}, {**KINDS, "text.fi": "text"}) == ["text", "text.fr", "text.fi"]
    assert keys_for({"text": "text", "text/negative": "text derivable"}, KINDS) == ["text", "text/negative"]
    assert keys_for({"text": "text", "audio": "audio optional"}, KINDS) == ["text"]


# One way to a trained method


@pytest.mark.parametrize("paper", ["filip", "concept-negatives"])
def test_a_run_and_a_plan_give_equal_losses(data: Dataset, tmp_path: Path, paper: str) -> None:
    execute(job(paper), data, tmp_path / "run")
    lines = [json.loads(line) for line in (tmp_path / "run" / "steps.jsonl").read_text().splitlines()]
    p = plan(job(paper), data)
    steps = list(Fit(p.method, p.stages, p.job.trial))
    assert [(s["n"], s["samples"], s["terms"]) for s in lines] == [(s.n, s.samples, dict(s.terms)) for s in steps]
    assert len(lines) == 3
    saved = load(tmp_path / "run").method.state_dict()
    assert all(torch.equal(v, saved[k]) for k, v in p.method.state_dict().items())


def test_training_rows_are_those_of_train(data: Dataset) -> None:
    p = plan(job("filip", samples=600), data)
    stream = p.stages[0].data
    rows = np.concatenate([stream.batch(k)["row"].data.numpy() for k in range(6)])  # type: ignore[union-attr]
    assert set(rows.tolist()) <= set(p.split.train.tolist()) and len(set(rows.tolist())) > 30


def test_a_start_gives_the_weights_of_its_run(data: Dataset, tmp_path: Path) -> None:
    execute(job("baseline/clip"), data, tmp_path / "first")
    begun = plan(job("baseline/clip", start=str(tmp_path / "first"), seed=5), data).method.state_dict()
    kept = load(tmp_path / "first").method.state_dict()
    assert all(torch.equal(v, begun[k]) for k, v in kept.items())
    for other in (job("brivl", start=str(tmp_path / "first")), job("filip", start=str(tmp_path / "first"))):
        with pytest.raises(SensoriumError):
            plan(other, data)


def test_fields_are_fitted_for_every_key(data: Dataset) -> None:
    p = plan(job("filip"), data)
    fields: Fields = p.fields
    assert set(fields) == set(data.kinds) == {"image", "text", "text.fr", "label"}
    assert fields["text"].vocab == fields["text.fr"].vocab == p.tokenizer.get_vocab_size()  # type: ignore[union-attr]
    assert fields["image"].shape == (3, data.largest("image"), data.largest("image"))  # small ones stay as they are
