"""What is told and what is shown agree by hand, on true renders, and by chance alone where they are unrelated."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from sensorium.blocks.decode import Canvas, Generates, Prompt, decode, paint
from sensorium.blocks.decode.diffuse import FLOW
from sensorium.blocks.mixed import Mosaic, laid
from sensorium.core import Batch, Field, Ids, Method, Predicts, Rng, SensoriumError, Terms
from sensorium.data.dataset import Dataset
from sensorium.data.tokenise import encode
from sensorium.lab import sets
from sensorium.lab.generation import agreement, fidelity, foretold, painting, rebuilding, telling
from sensorium.lab.sets import data_set, recipe
from sensorium.lab.starts import opened
from sensorium.lab.world import reader
from sensorium.lab.world.facts import COLOURS, Facts, facts
from sensorium.lab.world.lang import Mention, caption, read
from sensorium.lab.world.scene import render
from sensorium.run.plan import Job, Plan, plan
from sensorium.run.tasks import Question

from ..papers.conftest import SCRATCH
from ..run.test_tasks import Says

ROWS = 60


def test_told_and_shown_by_hand() -> None:
    """One scene: its first object is told rightly, its second with another colour, and a third is not there."""
    world = facts(0, 1, replace(recipe("world/scenes").config, fewest=2, most=2))
    shape, colour = ([int(v) for v in getattr(world, f)[0, :2]] for f in ("shape", "colour"))
    spare = next(c for c in range(len(COLOURS)) if c not in colour)
    told = [
        Mention(shape=shape[0], colour=colour[0]),
        Mention(shape=shape[1], colour=spare),
        Mention(shape=shape[1], colour=colour[0]),
    ]
    found = agreement([told], world)
    assert found.objects.tolist() == [pytest.approx(1 / 3)]
    assert found.colours.tolist() == [pytest.approx(1 / 3)]  # told are two of the first, of which one is shown
    assert found.shapes.tolist() == [pytest.approx(2 / 3)]
    assert found.named.tolist() == [0.5] and found.exact.tolist() == [0.0]


def test_a_place_that_is_told_must_be_the_place_shown() -> None:
    world = facts(0, 20, recipe("world/single").config)
    here = [[Mention(shape=int(world.shape[n, 0]), row=int(world.row[n, 0]))] for n in range(20)]
    there = [[replace(m[0], row=1 - m[0].row)] for m in here]
    assert agreement(here, world).objects.tolist() == [1.0] * 20
    assert agreement(there, world).objects.tolist() == [0.0] * 20
    assert agreement(there, world).shapes.tolist() == [1.0] * 20


def test_one_object_is_found_once_and_nothing_told_is_no_answer() -> None:
    world = facts(0, 1, recipe("world/single").config)
    one = Mention(shape=int(world.shape[0, 0]), colour=int(world.colour[0, 0]))
    assert agreement([[one, one]], world).objects.tolist() == [0.5]
    silent = agreement([[]], world)
    assert np.isnan([silent.objects, silent.colours, silent.exact]).all() and silent.named.tolist() == [0.0]
    with pytest.raises(SensoriumError, match="2 texts and 1 pictures"):
        agreement([[], []], world)


@pytest.mark.parametrize("form", ["list", "long"])
def test_captions_of_true_renders_agree_and_those_of_others_hardly(form: str) -> None:
    world = facts(3, 200, recipe("world/scenes").config)
    told = [read(text).mentions for text in caption(world, form)]
    found = reader.read(render(world, 32))
    right, other = agreement(told, found), agreement(told[1:] + told[:1], found)
    assert right.objects.mean() == right.exact.mean() == right.named.mean() == 1.0
    assert other.objects.mean() < 0.15 and other.exact.mean() == 0 and 0.2 < other.colours.mean() < 0.5


def told_to(name: str, n: int = 24) -> tuple[Facts, list[str], Ids]:
    """Scenes that a start never saw, their captions, and these as it reads them."""
    world = facts(11, n, recipe("world/single-long").config, part="test")
    texts, of = caption(world, "long", seed=11), opened(name)
    return world, texts, encode(of.words(), texts, of.fields["text"].length)


@pytest.mark.parametrize("name", ["denoiser", "any-to-any"])
def test_the_shipped_starts_paint_what_they_are_told(name: str) -> None:
    _, texts, ids = told_to(name)
    method = opened(name).method
    assert isinstance(method, Generates)
    canvas = method.prompt({"text": ids}, "image")
    images = laid(canvas, Rng(0)) if isinstance(canvas, Mosaic) else paint(canvas, 12, Rng(0))  # type: ignore[arg-type]
    told, found = [read(text).mentions for text in texts], reader.read(images.data.numpy())
    assert agreement(told, found).objects.mean() > 0.7
    assert agreement(told[1:] + told[:1], found).objects.mean() < 0.2


def test_the_shipped_start_tells_what_it_is_shown() -> None:
    world, texts, _ = told_to("any-to-any")
    of = opened("any-to-any")
    assert isinstance(of.method, Generates) and of.tokenizer is not None
    prompt = of.method.prompt({"image": Field(torch.from_numpy(render(world, 32, seed=11)))}, "text")
    assert isinstance(prompt, Prompt)
    found = decode(prompt, 48)
    said = of.tokenizer.decode_batch([i[m].tolist() for i, m in zip(found.ids, found.mask, strict=True)])
    assert np.mean([a.strip() == b for a, b in zip(said, texts, strict=True)]) > 0.9


def test_pictures_after_the_shipped_codes_are_read_as_before() -> None:
    world = facts(11, 100, recipe("world/scenes").config, part="test")
    image = Field(torch.from_numpy(render(world, 32, seed=11)))
    method = opened("vq").method
    assert isinstance(method, Predicts)
    after = method.predict({"image": image}, "image/rebuilt").data
    assert not torch.equal(after, image.data)
    assert reader.check(reader.read(after.numpy()), world).right().mean() > 0.98


@pytest.fixture(scope="module", autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with pytest.MonkeyPatch.context() as patch:
        path = tmp_path_factory.mktemp("home")
        patch.setenv("SENSORIUM_HOME", str(path))
        patch.setattr(sets, "RECIPES", {k: replace(r, rows=(100, 20, ROWS)) for k, r in sets.RECIPES.items()})
        yield path


@pytest.fixture(scope="module")
def data() -> Dataset:
    return Dataset(data_set("world/single-long"))


@pytest.fixture(scope="module")
def planned(data: Dataset) -> Plan:
    config = {"dim": 32, "layers": 1, "heads": 2, "width": 8}
    return plan(Job("baseline/denoiser", str(data.path), SCRATCH, 1e-3, 64, 0, config, batch=32), data)


def ask(p: Plan, data: Dataset, method: Method) -> Question:
    return Question(replace(p, method=method), data, p.split.test, torch.device("cpu"))


class Knows(Method):
    """Paints, or rebuilds, the true picture of each row, `off` rows on."""

    predicts: Mapping[str, str] = {"image/rebuilt": "image"}
    generates: Mapping[str, str] = {"image": "image"}

    def __init__(self, p: Plan, off: int = 0) -> None:
        super().__init__()
        true = p.rows.columns["image"].rows(torch.from_numpy(np.roll(p.split.test, -off)))
        assert isinstance(true, Field)
        self.true, self.seen = true.data, set[str]()

    def losses(self, batch: Batch, rng: Rng) -> Terms:
        return {}

    def predict(self, batch: Batch, of: str) -> Field:
        return Field(self.true)

    def prompt(self, batch: Batch, to: str) -> Canvas:
        self.seen |= set(batch)
        return Canvas(lambda x, t: x, tuple(self.true.shape), FLOW, lambda x: Field(self.true))


def test_right_pictures_score_as_true_ones_and_others_as_unrelated_ones(planned: Plan, data: Dataset) -> None:
    knows = Knows(planned)
    found = painting(ask(planned, data, knows)).scores
    assert found["painted objects"] == found["painted exact"] == found["true objects"] == 1
    assert knows.seen == {"text"}  # never the picture
    assert found["unrelated objects"] < 0.1 and found["unrelated colours"] < 0.3
    off = painting(ask(planned, data, Knows(planned, off=1))).scores
    assert off["painted objects"] < 0.1 and off["true objects"] == 1.0


def test_a_set_of_pictures_is_as_far_as_it_is_other_pictures_whoever_asked_for_them(
    planned: Plan, data: Dataset
) -> None:
    right, off = (fidelity(ask(planned, data, Knows(planned, off))).scores for off in (0, 1))
    assert right["painted objects"] == 1 and right["fid"] == pytest.approx(0, abs=1e-6)
    assert off["painted objects"] < 0.1 and off["fid"] == pytest.approx(0, abs=1e-6)
    one = Knows(planned)
    one.true = one.true[:1].expand_as(one.true)
    assert fidelity(ask(planned, data, one)).scores["fid"] > 0.1


def test_perplexity_weighs_each_row_alike(planned: Plan, data: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    """40 rows at log 4 and 20 at log 16."""

    class Guesses(Knows):
        def losses(self, batch: Batch, rng: Rng) -> Terms:
            return {"text": torch.tensor({40: 4.0, 20: 16.0}[len(batch["row"])]).log(), "picture": torch.tensor(9.0)}

    monkeypatch.setattr("sensorium.run.tasks.AT_ONCE", 40)
    assert foretold(ask(planned, data, Guesses(planned))).scores == {"text perplexity": pytest.approx(4 ** (4 / 3))}
    with pytest.raises(SensoriumError, match="baseline/denoiser has no loss on text"):
        foretold(ask(planned, data, Knows(planned)))


def test_what_is_rebuilt_is_read(planned: Plan, data: Dataset) -> None:
    found = rebuilding(ask(planned, data, Knows(planned))).scores
    assert found["rebuilt objects"] == found["true objects"] == 1.0
    assert rebuilding(ask(planned, data, Knows(planned, off=1))).scores["rebuilt objects"] < 0.1
    with pytest.raises(SensoriumError, match="rebuilds no picture"):
        rebuilding(ask(planned, data, planned.method))


def test_a_caption_said_of_every_picture_is_right_where_it_is_true(planned: Plan, data: Dataset) -> None:
    assert planned.tokenizer is not None
    texts = [data.texts("text")[int(i)] for i in planned.split.test]
    said = "a red circle"
    ids = planned.tokenizer.encode(said, add_special_tokens=False).ids
    found = telling(ask(planned, data, Says(ids, planned.tokenizer.get_vocab_size(), ("text",)))).scores
    share = np.mean(["red circle" in text for text in texts])
    reds, circles = (np.mean([word in text for text in texts]) for word in ("red", "circle"))
    assert found["said objects"] == found["mistaken objects"] == pytest.approx(share)
    assert (found["said colours"], found["said shapes"]) == (pytest.approx(reds), pytest.approx(circles))


def test_pictures_of_no_generated_world_are_not_read(
    planned: Plan, data: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(data, "name", "world/singel")
    with pytest.raises(SensoriumError, match="data set 'world/singel'; did you mean 'world/single'"):
        painting(ask(planned, data, Knows(planned)))


def test_a_prompt_that_paints_nothing_is_refused(planned: Plan, data: Dataset) -> None:
    class Talks(Knows):
        def prompt(self, batch: Batch, to: str) -> Prompt:  # type: ignore[override]
            ids = Ids(torch.zeros(1, 1, dtype=torch.long), torch.ones(1, 1, dtype=torch.bool))
            method = Says([0], 4, ("image",))
            return Prompt(method.decoder, method.decoder.embed(ids))

    with pytest.raises(SensoriumError, match="prompts for no picture; expected a Canvas or a Mosaic"):
        painting(ask(planned, data, Talks(planned)))
