"""GILL: what is frozen, what the LM reads and says, what is found, painted and decided, and a run in use."""

from __future__ import annotations

import base64
import io
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from fastapi.testclient import TestClient
from PIL import Image
from torch import Tensor

from sensorium.apps.server.app import create
from sensorium.apps.server.state import served
from sensorium.blocks.connect.mapper import regression
from sensorium.blocks.decode import Canvas, Prompt, decode, paint
from sensorium.blocks.decode.interleave import Part, interleave, next_token
from sensorium.blocks.mixed import packed
from sensorium.blocks.similarity import unit
from sensorium.core import Batch, Field, FieldInfo, Fields, Ids, Rng, SensoriumError, Tokens
from sensorium.data.dataset import Dataset
from sensorium.data.rows import Rows
from sensorium.data.tokenise import encode
from sensorium.lab import starts
from sensorium.lab.bases import hashes, open_bases
from sensorium.lab.contexts import Contexts, contexts
from sensorium.lab.sets import PARTS, Recipe, scenes
from sensorium.lab.world.facts import Config as World
from sensorium.lab.world.facts import facts
from sensorium.lab.world.scene import render
from sensorium.papers.generate import gill
from sensorium.papers.generate.gill import Config, Gill, Led, Taught
from sensorium.run.plan import Job, plan
from sensorium.run.runs import execute, load
from sensorium.run.tasks import Question

N = 24
TEXT = FieldInfo("text", vocab=starts.record_of("causal-lm").fields["text"]["vocab"], length=64)
FIELDS: Fields = {"image": FieldInfo("image", shape=(3, 32, 32)), "text": TEXT, "text/caption": TEXT}
SMALL = Config(layers=1, width=32, index=8, judged=6)
ONE = World(fewest=1, most=1)


@cache
def told() -> Contexts:
    return contexts(facts(3, N, ONE))


def rows() -> Rows:
    words = starts.opened("causal-lm").words()
    image = Field(torch.from_numpy(render(told().world, 32)))
    texts = {"text": encode(words, told().whole, 64), "text/caption": encode(words, told().caption, 64)}
    return Rows({"image": image, **texts}, np.arange(N), FIELDS, np.arange(N))


def made(config: Config = SMALL, solved: bool = True) -> Gill:
    torch.manual_seed(0)
    method = gill.build(config, FIELDS, open_bases({}, FIELDS, hashes(gill.BASES, {}))).eval()
    assert isinstance(method, Gill)
    if solved:
        method.solve(rows().batches(5))
    return method


def batch(n: int = 6) -> Batch:
    return rows().batch(np.arange(n))


def ids_of(of: Batch, key: str = "text") -> Ids:
    value = of[key]
    assert isinstance(value, Ids)
    return value


def image_of(of: Batch) -> Field:
    value = of["image"]
    assert isinstance(value, Field)
    return value


# What is trained


def test_only_what_is_new_is_trained_and_saved() -> None:
    method = made()
    trained = {name for name, p in method.named_parameters() if p.requires_grad}
    assert trained | {"features", "pixels", "ids"} == set(method.state_dict())
    assert not any(name.startswith(("eye", "painter", "decoder.layers")) for name in trained)
    assert {"decoder.words.new", "decoder.says.new", "decision.weight"} <= trained
    assert method.state_dict()["decoder.words.new"].shape == (4, 128)


@torch.no_grad()
def test_states_are_those_of_one_pass_over_text_and_image_tokens() -> None:
    method, text = made(), ids_of(batch())
    shown = Part(method.images(6, text.ids.device), gill.PICTURE)
    begin = Part(Ids(torch.full((6, 1), method.decoder.begin), torch.ones(6, 1, dtype=torch.bool)))
    seq = interleave(method.decoder.embed, [begin, Part(text), shown])
    want = method.decoder(seq.tokens)[seq.tokens.kind == gill.PICTURE].view(6, 4, -1)
    torch.testing.assert_close(method.read(packed(text))[1].x, want, atol=1e-5, rtol=0)


@torch.no_grad()
def test_the_loss_on_saying_is_that_of_one_sequence_of_words_and_image_tokens() -> None:
    method, text = made(), packed(ids_of(batch()))
    shown = method.images(6, text.ids.device)
    begin = Part(Ids(torch.full((6, 1), method.decoder.begin), torch.ones(6, 1, dtype=torch.bool)))
    seq = interleave(method.decoder.embed, [begin, Part(text, learn=True), Part(shown, learn=True)])
    want = next_token(method.decoder, method.decoder(seq.tokens), seq)
    torch.testing.assert_close(method.saying(text, *method.read(text)), want, atol=1e-5, rtol=0)


def test_the_mapper_is_led_to_what_the_denoiser_makes_of_the_caption() -> None:
    """By the caption where there is one, else by the text; ids are told in the denoiser's own tokeniser."""
    method, of = made(), batch()
    theirs = encode(starts.opened("denoiser").words(), told().caption[:6], 64)
    states = method.read(packed(ids_of(of)))[1]
    want = regression(method.mapper(states), starts.opened("denoiser").method.told(theirs))[0]  # type: ignore[operator]
    torch.testing.assert_close(method.losses(of, Rng(0))["image"], want, atol=1e-5, rtol=0)
    alone = {k: v for k, v in of.items() if k != "text/caption"}
    assert abs(method.losses(alone, Rng(0))["image"] - want) > 1e-3


def test_a_frozen_decision_teaches_states_nothing() -> None:
    method, of = made().train(), batch()
    judged = Field(torch.ones(6), torch.ones(6, dtype=torch.bool))
    method.losses({**of, "better": judged}, Rng(0))["decision"].backward()  # type: ignore[no-untyped-call]
    assert {n for n, p in method.named_parameters() if p.grad is not None} == {"decision.weight", "decision.bias"}


PARTS_REMOVED: dict[str, tuple[str, dict[str, Any]]] = {
    "image tokens": ("image", {"tokens": 1}),
    "mapper": ("image", {"mapper": "linear"}),
    "loss on saying them": ("saying", {"saying": 0.0}),
    "retrieval head": ("retrieval", {"dim": 8}),
    "pictures into the LM": ("caption", {"seen": 1}),
}


@pytest.mark.parametrize("part", PARTS_REMOVED)
def test_without_a_part_its_loss_is_another(part: str) -> None:
    term, changes = PARTS_REMOVED[part]
    of = batch()
    whole, without = (made(replace(SMALL, **c)).losses(of, Rng(0))[term].item() for c in ({}, changes))
    assert abs(whole - without) > 1e-3


def test_a_picture_changes_what_is_said_of_it() -> None:
    method, of = made(), batch()
    other = {**of, "image": Field(image_of(of).data.flip(0))}
    losses = [method.losses(each, Rng(0))["caption"].item() for each in (of, other)]
    assert abs(losses[0] - losses[1]) > 1e-4


def test_pictures_of_one_caption_are_not_each_others_negatives() -> None:
    """Padding on the left, another word under it, and a longer text."""
    ids = torch.tensor([[5, 6, 0], [9, 5, 6], [5, 6, 7], [0, 0, 0], [1, 1, 1]])
    mask = torch.tensor([[True, True, False], [False, True, True], [True] * 3, [False] * 3, [False] * 3])
    found = gill.alike(Ids(ids, mask))
    want = torch.eye(5, dtype=torch.bool)
    want[0, 1] = want[1, 0] = want[3, 4] = want[4, 3] = True
    assert torch.equal(found, want)
    method, of = made(), batch()
    caption = ids_of(of, "text/caption")
    twins = {**of, "text/caption": caption.rows(torch.tensor([0, 0, 2, 3, 4, 5]))}
    assert method.losses(twins, Rng(0))["retrieval"] < method.losses(of, Rng(0))["retrieval"]


# The index


@pytest.mark.parametrize(("size", "index"), [(5, 8), (1, 3), (24, 2), (7, 100)])
def test_the_index_holds_pictures_of_train_evenly_spaced(size: int, index: int) -> None:
    method = made(replace(SMALL, index=index), solved=False)
    method.solve(rows().batches(size))
    assert len(method.ids) == min(index, N) == len(set(method.ids.tolist()))
    assert torch.equal(method.pixels, image_of(rows().batch(method.ids.numpy())).data)
    gaps = method.ids.diff()
    assert (gaps > 0).all() and method.ids[0] < 4 and gaps.max() <= 2 * N // index + 1
    torch.testing.assert_close(method.features, method.seen(Field(method.pixels)).x[:, 0])


@torch.no_grad()
def test_a_row_of_train_does_not_find_itself() -> None:
    method = made(replace(SMALL, index=N))
    states = method.read(packed(ids_of(batch())))[1]
    free, own = method.near(states), method.near(states, torch.arange(6))
    assert torch.equal(own.argsort(1)[:, 0], torch.arange(6))
    hidden = torch.arange(N) == torch.arange(6)[:, None]
    assert torch.equal(own[~hidden], free[~hidden]) and (own[hidden] < free[hidden]).all()


def test_the_better_picture_is_the_one_closer_to_the_true_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Painted as it truly is, a picture beats every other; painted as its opposite, none. Only train is judged."""
    method, every = made(replace(SMALL, judged=100)), rows()
    seen = method.seen(every.columns["image"]).x[:, 0]  # type: ignore[arg-type]
    captions = every.columns["text/caption"]
    assert isinstance(captions, Ids)

    def painted(of: Gill, texts: Ids, rng: Rng) -> Tensor:
        longest = texts.ids.shape[1]
        rows_of = [(captions.ids[:, :longest] == one).all(1).nonzero()[0, 0] for one in texts.ids]
        return torch.stack([seen[k] if told().caption[int(k)].count("circle") else -seen[k] for k in rows_of])

    monkeypatch.setattr(gill, "painted", painted)
    found = gill.judged(method, every.select(np.arange(20)), Rng(0))
    assert found.mask is not None and found.mask.tolist() == [True] * 20 + [False] * 4
    circle = torch.tensor(["circle" in caption for caption in told().caption[:20]])
    alike = (unit(seen[:20]) @ unit(method.features).T).masked_fill(torch.arange(20)[:, None] == method.ids, -1)
    assert circle.any() and not circle.all() and (alike < 1 - 1e-5).all()
    assert found.data[:20].bool().tolist() == circle.tolist()


def test_no_more_captions_are_painted_than_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    method, asked = made(), []

    def painted(of: Gill, texts: Ids, rng: Rng) -> Tensor:
        asked.append(len(texts))
        return method.features[: len(texts)]

    monkeypatch.setattr(gill, "painted", painted)
    found = gill.judged(method, rows(), Rng(0))
    assert asked == [6] and found.mask is not None
    captions = {caption for caption, mask in zip(told().caption, found.mask.tolist(), strict=True) if mask}
    assert len(captions) == 6


# Pictures


@torch.no_grad()
def test_each_row_shows_the_picture_that_was_decided_on() -> None:
    method, of = made(), {"text": ids_of(batch())}
    with_bias = {}
    for way in ("paint", "retrieve"):
        method.decides = gill.DECIDES[way]
        with_bias[way] = paint(method.prompt(of, "image"), 2, Rng(0)).data  # type: ignore[arg-type]
    which = method.decided(of)[2]
    assert torch.equal(with_bias["retrieve"], method.pixels[which])
    chosen = torch.tensor([True, False, False, True, False, True])
    method.decides = lambda m, states, best: chosen
    found = paint(method.prompt(of, "image"), 2, Rng(0)).data  # type: ignore[arg-type]
    assert torch.equal(found[chosen], with_bias["paint"][chosen])
    assert torch.equal(found[~chosen], with_bias["retrieve"][~chosen])


@torch.no_grad()
def test_the_decision_follows_its_head_and_the_controls_do_not() -> None:
    method = made()
    states, best = method.read(packed(ids_of(batch())))[1], torch.tensor([1.0, 9.0, 2.0, 8.0, 3.0, 7.0])
    method.decision.weight.zero_()
    method.decision.weight[0, -1], method.decision.bias[0] = -1.0, 5.0
    assert gill.learnt(method, states, best).tolist() == [True, False, True, False, True, False]
    assert gill.always(method, states, best).all() and not gill.never(method, states, best).any()
    many = gill.chance(method, states, torch.zeros(1000))
    assert 400 < many.sum() < 600 and torch.equal(many, gill.chance(method, states, torch.ones(1000)))


@torch.no_grad()
def test_to_compare_with_the_denoiser_reads_all_that_it_is_given_by_itself() -> None:
    bases = open_bases({}, FIELDS, hashes(gill.BASES, {}))
    method = gill.build(Config(led="words"), FIELDS, bases)
    assert isinstance(method, Led) and not list(method.parameters()) and not method.state_dict()
    canvas = method.prompt({"text": ids_of(batch())}, "image")
    start = starts.opened("denoiser").method
    theirs = encode(starts.opened("denoiser").words(), told().whole[:6], 64)
    want = start.canvas(start.told(theirs))  # type: ignore[operator]
    noise, t = torch.randn(canvas.shape, generator=torch.Generator().manual_seed(0)), torch.full((6,), 0.7)
    torch.testing.assert_close(canvas.field(noise, t), want.field(noise, t), atol=1e-4, rtol=0)
    assert set(method.losses(batch(), Rng(0))) == {"picture"}


def test_to_compare_with_a_text_tower_is_trained_by_the_same_regression() -> None:
    torch.manual_seed(0)
    of = batch()
    method = gill.build(replace(SMALL, led="tower"), FIELDS, open_bases({}, FIELDS, hashes(gill.BASES, {}))).train()
    assert isinstance(method, Taught) and isinstance(method.painter.text, type(method.tower))
    words, start = starts.opened("denoiser").words(), starts.opened("denoiser").method
    whole, captions = (encode(words, texts[:6], 64) for texts in (told().whole, told().caption))
    want = regression(method.mapper(start.text(whole)), start.told(captions))[0]  # type: ignore[operator]
    found = method.losses(of, Rng(0))
    torch.testing.assert_close(found["image"], want, atol=1e-4, rtol=0)
    torch.stack(list(found.values())).sum().backward()  # type: ignore[no-untyped-call]
    assert [n for n, p in method.named_parameters() if p.grad is None or not p.grad.any()] == []
    assert {n.split(".")[0] for n, _ in method.named_parameters()} == {"tower", "mapper"}
    canvas = method.prompt({"text": of["text"]}, "image")
    assert canvas.shape == (6, 3, 32, 32)


@torch.no_grad()
def test_larger_pictures_are_seen_in_the_size_that_is_painted() -> None:
    method, image = made(), image_of(batch())
    large = Field(image.data.repeat_interleave(3, 2).repeat_interleave(3, 3))
    torch.testing.assert_close(method.seen(large).x, method.seen(image).x)


@torch.no_grad()
def test_the_frozen_part_of_a_batch_stands_in_for_its_pictures() -> None:
    method, of = made(), batch()
    stored = method.frozen(of)
    assert isinstance(stored["image"], Tokens) and stored["text"] is of["text"]
    raw, again = method.losses(of, Rng(0)), method.losses(stored, Rng(0))
    assert {k: v.item() for k, v in raw.items()} == {k: v.item() for k, v in again.items()}


# Errors


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"mapper": "querys"}, "mapper 'querys'.*queries"),
        ({"decides": "learned"}, "decides 'learned'.*learnt"),
        ({"led": "state"}, "led 'state'.*states"),
        ({"tokens": 0}, "tokens 0; expected 1 or more"),
        ({"index": 0}, "index 0; expected 1 or more"),
        ({"mapper": "linear", "queries": 7}, "7 tokens from 4 states"),
    ],
)
def test_a_setting_that_makes_no_sense_is_named(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(SensoriumError, match=message):
        made(replace(SMALL, **changes))


def test_what_it_does_not_give_is_named() -> None:
    with pytest.raises(SensoriumError, match=r"cannot give .images..*image"):
        made().prompt(batch(), "images")


# In use


def folder(path: Path, n: dict[str, int]) -> Dataset:
    recipe = Recipe(config=ONE, talk="whole")
    path.mkdir()
    for part in PARTS:
        pq.write_table(pa.table(dict(scenes(recipe, part, n[part]))), path / f"{part}.parquet")
    return Dataset(path, {"image": "image", "text": "text", "group": "scene", "text/caption": "caption"})


SMALL_JOB: dict[str, Any] = {"layers": 1, "width": 32, "index": 16, "judged": 4}
SCRATCH = {"image": "scratch", "text": "scratch"}


def test_a_run_is_trained_opened_again_and_served(tmp_path: Path) -> None:
    data = folder(tmp_path / "data", {"train": 40, "validation": 2, "test": 6})
    job = Job("gill", "", SCRATCH, 3e-3, 16, 0, SMALL_JOB, batch=16, task="generate")
    scores = execute(job, data, tmp_path / "run").test
    assert {"r-precision", "cider", "r@1"} <= set(scores)
    method = load(tmp_path / "run").method
    assert isinstance(method, Gill) and method.pixels.shape == (16, 3, 32, 32)
    app = create(served([tmp_path / "run"], say=lambda line: None), board=False)
    png = io.BytesIO()
    data.image("image", 0).save(png, "PNG")
    shown = {
        "type": "image_url",
        "image_url": {"url": "data:image/png;base64," + base64.b64encode(png.getvalue()).decode()},
    }
    with TestClient(app, base_url="http://127.0.0.1:8000") as client:
        body = {"model": "run", "prompt": told().whole[0], "seed": 1}
        painted = client.post("/v1/images/generations", json=body)
        chat = {"model": "run", "messages": [{"role": "user", "content": [shown]}], "max_tokens": 4}
        said = client.post("/v1/chat/completions", json=chat)
        embedded = client.post("/v1/embeddings", json={"model": "run", "input": told().whole[:2]})
    assert painted.status_code == said.status_code == embedded.status_code == 200, (painted.text, said.text)
    assert Image.open(io.BytesIO(base64.b64decode(painted.json()["data"][0]["b64_json"]))).size == (32, 32)
    assert len(embedded.json()["data"][0]["embedding"]) == 64


def test_what_is_chosen_is_counted(tmp_path: Path) -> None:
    data = folder(tmp_path / "data", {"train": 32, "validation": 4, "test": 8})
    of = {}
    for way in ("paint", "retrieve"):
        p = plan(Job("gill", "", SCRATCH, 3e-3, 16, 0, {**SMALL_JOB, "decides": way}, batch=16), data)
        of[way] = gill.chosen(Question(p, data, p.split.test, torch.device("cpu"))).scores
    assert (of["paint"]["retrieved"], of["retrieve"]["retrieved"]) == (0, 1)
    assert {"said", "said early"} < set(of["paint"])


def test_to_compare_with_is_a_run_without_a_step(tmp_path: Path) -> None:
    data = folder(tmp_path / "data", {"train": 32, "validation": 2, "test": 4})
    measures = ("sensorium.papers.generate.gill:chosen",)
    job = Job("gill", "", SCRATCH, 3e-3, 16, 0, {"led": "words"}, batch=16, task="generate", measures=measures)
    outcome = execute(job, data, tmp_path / "run")
    assert "r-precision" in outcome.test and "retrieved" not in outcome.test
    assert (tmp_path / "run" / "steps.jsonl").read_text() == ""


@torch.no_grad()
def test_the_language_model_says_image_once_its_score_is_the_highest() -> None:
    method, text = made(), packed(ids_of(batch()))
    before = gill.says(method, text)
    h = method.read(text)[0]
    (new,) = (p for name, p in method.named_parameters() if name == "decoder.says.new")
    new[0] = 100 * h[torch.arange(6), text.mask.sum(1)].mean(0)
    assert not before.any() and gill.says(method, text).all()


@torch.no_grad()
def test_captions_are_said_from_the_picture_alone() -> None:
    method, of = made(), batch()
    prompt = method.prompt({"image": of["image"]}, "text")
    assert isinstance(prompt, Prompt) and prompt.tokens.x.shape[1] == SMALL.seen + 1
    assert not isinstance(prompt, Canvas) and len(decode(prompt, 3)) == 6
