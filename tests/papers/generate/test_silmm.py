from __future__ import annotations

import math
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
from torch import Tensor

from sensorium.blocks.decode import Prompt, steps
from sensorium.blocks.mixed import Mosaic
from sensorium.core import Budget, Field, FieldInfo, Ids, Rng, SensoriumError, Trial
from sensorium.data.rows import Rows
from sensorium.data.stream import Epochs
from sensorium.data.tokenise import encode
from sensorium.lab import starts
from sensorium.lab.bases import hashes, open_bases
from sensorium.lab.world.facts import Config as World
from sensorium.lab.world.facts import facts
from sensorium.lab.world.lang import caption, read
from sensorium.lab.world.scene import render
from sensorium.papers.generate import silmm
from sensorium.papers.generate.silmm import Config, Silmm
from sensorium.run.fit import Fit, Stage

N, CELLS = 12, 2
FIELDS = {"image": FieldInfo("image", shape=(3, 32, 32)), "text": FieldInfo("text", vocab=385, length=64)}
SMALL = Config(tuned=0.0, rounds=2, until=2, each=2, kept=1.0, passes=4)
TRIAL = Trial(1e-4, Budget(32), 0, 4)


def made(config: Config = SMALL) -> Silmm:
    return silmm.build(config, FIELDS, open_bases({}, FIELDS, hashes(silmm.BASES, {}))).eval()


@cache
def world() -> tuple[list[str], Field]:
    scenes = facts(1, N, World(cells=CELLS, fewest=1, most=1))
    return caption(scenes, "long", "en", 1), Field(torch.from_numpy(render(scenes, 32)))


def rows() -> Rows:
    texts, images = world()
    text = encode(starts.opened("any-to-any").words(), texts, 64)
    return Rows({"text": text, "image": images}, np.arange(N), FIELDS, np.arange(N))


def texts_and_codes(method: Silmm) -> tuple[Ids, Ids]:
    """The captions, as `written` gives them, and the codes of their pictures."""
    text = rows().columns["text"]
    assert isinstance(text, Ids)
    longest = int(text.mask.sum(1).max())
    return Ids(text.ids[:, :longest], text.mask[:, :longest]), method.painter.ids(world()[1])


def shuffled(codes: Ids) -> Ids:
    return codes.rows(torch.arange(N).roll(1))


def said(ids: Ids) -> list[str]:
    words = starts.opened("any-to-any").words()
    return words.decode_batch([i[m].tolist() for i, m in zip(ids.ids, ids.mask, strict=True)])


def ids_of(batch: Rows, key: str) -> Ids:
    value = batch.columns[key]
    assert isinstance(value, Ids)
    return value


# Questions and answers


@torch.no_grad()
def test_questions_are_what_differs_between_scenes_and_nothing_else() -> None:
    method = made()
    text, codes = texts_and_codes(method)
    blind = silmm.cloze(method, text, Ids(codes.ids[:, :0], codes.mask[:, :0]))
    asked = silmm.questions(blind, text.mask, SMALL.unsure)
    words = starts.opened("any-to-any").words()
    for k, sentence in enumerate(world()[0]):
        _, _, _, colour, shape, _, _, _, down, across, *_ = sentence.split()
        found = [words.decode([int(i)]).strip() for i in text.ids[k][asked[k]]]
        assert found == [colour, shape, down, across]


@torch.no_grad()
def test_the_score_of_a_picture_is_the_share_of_the_facts_that_it_shows() -> None:
    method = made()
    text, codes = texts_and_codes(method)
    both = Ids(
        *(torch.stack([getattr(codes, f), getattr(shuffled(codes), f)], 1).flatten(0, 1) for f in ("ids", "mask"))
    )
    found = silmm.scores(method, text, both, Rng(0))
    assert found.shape == (N, 2)
    told = np.array([np.array(sentence.split())[[3, 4, 8, 9]] for sentence in world()[0]])
    shared = (told == np.roll(told, 1, axis=0)).mean(1)
    np.testing.assert_allclose(found.numpy(), np.stack([np.ones(N), shared], 1), atol=0.1)
    assert len(set(shared.tolist())) > 2


def test_scores_by_hand() -> None:
    """Two questions of three words, answered with 1/2 and 1/4 by the first picture, with 1 and 0 by the second."""
    seen = torch.tensor([[[0.5, 0.25, 0.5], [1.0, 1e-30, 1.0]], [[0.5, 0.5, 0.5], [0.5, 0.5, 0.5]]]).log()
    mask, asked = torch.tensor([[True] * 3, [True, False, False]]), torch.tensor([[True, True, False], [False] * 3])
    g = torch.Generator().manual_seed(0)
    torch.testing.assert_close(silmm.answered(seen, mask, asked, g), torch.tensor([[0.375, 0.5], [0.0, 0.0]]))
    whole = silmm.whole(seen, mask, asked, g)
    torch.testing.assert_close(whole[0, 0], torch.tensor(1 / 16).log())
    torch.testing.assert_close(whole[1], torch.tensor([0.5, 0.5]).log())
    drawn = silmm.chance(seen, mask, asked, g)
    assert drawn.shape == (2, 2) and not torch.equal(drawn, silmm.chance(seen, mask, asked, g))


@torch.no_grad()
def test_one_wrong_fact_costs_decomposed_questions_their_share_and_a_whole_caption_all() -> None:
    """A likelihood has no bottom: one word that is wrong outweighs every other one."""
    method = made()
    text, codes = texts_and_codes(method)
    other = shuffled(codes)
    whole = silmm.scores(Silmm(replace(SMALL, score="caption"), method.start), text, other, Rng(0))
    shares = silmm.scores(method, text, other, Rng(0))
    assert shares.min() >= 0 and shares.max() <= 1 and whole.min() < -5


# Likelihoods of pictures


@torch.no_grad()
@pytest.mark.parametrize("temperature", [1.0, 0.5])
def test_the_likelihood_is_that_of_the_ids_as_they_are_drawn(temperature: float) -> None:
    """Against generation id by id, with its cache, its guidance, its temperature and no other ids than codes."""
    method = made(replace(SMALL, temperature=temperature))
    text, codes = texts_and_codes(method)
    mosaic = method.prompt({"text": text}, "image")
    assert isinstance(mosaic, Mosaic) and mosaic.guidance != 1
    told: list[Tensor] = []

    def follow(scores: Tensor) -> Tensor:
        ids = codes.ids[:, len(told)]
        allowed = scores[:, mosaic.codes.start : mosaic.codes.stop] / temperature
        told.append(allowed.log_softmax(-1).gather(1, ids[:, None] - mosaic.codes.start)[:, 0])
        return ids

    list(steps(mosaic, codes.ids.shape[1], pick=follow, unlike=mosaic.unlike, guidance=mosaic.guidance, stop=()))
    found = silmm.likelihood(method, text, codes)
    torch.testing.assert_close(found, torch.stack(told).sum(0), atol=1e-3, rtol=1e-4)


@torch.no_grad()
def test_padding_of_a_prompt_changes_nothing() -> None:
    method = made()
    text, codes = texts_and_codes(method)
    pad = torch.nn.functional.pad
    wider = Ids(pad(text.ids, (0, 5), value=7), pad(text.mask, (0, 5)))
    for f in (silmm.likelihood, silmm.cloze):
        narrow, wide = f(method, text, codes), f(method, wider, codes)
        torch.testing.assert_close(wide[..., : narrow.shape[-1]], narrow, atol=1e-4, rtol=1e-5)


# Prompts and pairs


def test_own_prompts_are_captions_of_scenes() -> None:
    found = silmm.written(made(replace(SMALL, prompts="own")), rows(), 30, Rng(0))
    assert int(found.ids[found.mask].max()) < 385
    told = [read(text, "en", CELLS).mentions for text in said(found)]
    whole = [m for m in told if len(m) == 1 and m[0].colour >= 0 and m[0].shape >= 0]
    assert len(whole) >= 27
    assert len({(m[0].colour, m[0].shape) for m in whole}) >= 10


def test_captions_are_those_of_the_data_each_once_while_they_last() -> None:
    texts = world()[0]
    assert sorted(said(silmm.written(made(), rows(), N, Rng(0)))) == sorted(texts)
    more = said(silmm.written(made(), rows(), 2 * N, Rng(0)))
    assert len(more) == 2 * N and set(more) <= set(texts)


def test_only_empty_prompts_are_refused() -> None:
    none = Rows({"text": Ids(torch.zeros(3, 4).long(), torch.zeros(3, 4).bool())}, np.arange(3), FIELDS, np.arange(3))
    with pytest.raises(SensoriumError, match="captions prompts are all empty"):
        silmm.written(made(), none, 3, Rng(0))


@torch.no_grad()
def test_pairs_are_the_best_and_the_worst_of_each_prompt() -> None:
    method = made(replace(SMALL, each=3, kept=0.5))
    found = silmm.pairs(method, rows(), 3, Rng(5))
    text, best, worst = (ids_of(found, k) for k in ("text", "chosen", "rejected"))
    assert len(found) == 3 and best.ids.shape == (3, 64) and not torch.equal(best.ids, worst.ids)
    high, low = (silmm.scores(method, text, codes, Rng(0))[:, 0] for codes in (best, worst))
    assert (high > low).all()
    every = silmm.pairs(replaced(method, kept=1.0), rows(), 6, Rng(5))
    gaps = silmm.scores(method, ids_of(every, "text"), ids_of(every, "chosen"), Rng(0)) - silmm.scores(
        method, ids_of(every, "text"), ids_of(every, "rejected"), Rng(0)
    )
    torch.testing.assert_close((high - low).sort().values, gaps[:, 0].topk(3).values.sort().values)


def replaced(method: Silmm, **changes: float) -> Silmm:
    return Silmm(replace(method.config, **changes), method.start)  # type: ignore[arg-type]


@torch.no_grad()
def test_what_is_known_of_a_pair_is_its_likelihood_by_now_and_the_seed_decides() -> None:
    method = made()
    found, again, other = (silmm.pairs(method, rows(), 4, Rng(seed)) for seed in (0, 0, 1))
    known = found.columns["known"]
    assert isinstance(known, Field)
    for k, key in enumerate(("chosen", "rejected")):
        now = silmm.likelihood(method, ids_of(found, "text"), ids_of(found, key))
        torch.testing.assert_close(known.data[:, k], now)
        assert torch.equal(ids_of(found, key).ids, ids_of(again, key).ids)
        assert not torch.equal(ids_of(found, key).ids, ids_of(other, key).ids)


# Rounds


def test_each_round_begins_at_its_own_reference() -> None:
    """The loss of a model that is its reference is log 2; within a round it falls."""
    method = made()
    plan = silmm.stages(SMALL, method, rows(), replace(TRIAL, rate=3e-4))
    done = list(Fit(method, plan, replace(TRIAL, rate=3e-4)))
    losses = {k: [s.terms["preference"] for s in done if s.stage == k] for k in (0, 1)}
    assert [len(v) for v in losses.values()] == [4, 4]
    for each in losses.values():
        assert each[0] == pytest.approx(math.log(2), abs=1e-4)
        assert each[-1] < each[0] - 0.01


def test_a_round_makes_chosen_pictures_likelier_than_rejected_ones() -> None:
    method = made()
    found = silmm.pairs(method, rows(), 8, Rng(0))
    list(Fit(method, [Stage(Epochs(found, 4, 0), Budget(40), 4)], replace(TRIAL, rate=3e-4)))
    known = found.columns["known"]
    assert isinstance(known, Field)
    with torch.no_grad():
        now = [silmm.likelihood(method, ids_of(found, "text"), ids_of(found, k)) for k in ("chosen", "rejected")]
    gain = (now[0] - now[1]) - (known.data[:, 0] - known.data[:, 1])
    assert (gain > 0).all()


def test_true_pictures_are_learnt_from_first_and_rounds_stop_where_they_are_told_to() -> None:
    method = made()
    counts = {
        until: [s.budget.samples for s in silmm.stages(replace(SMALL, tuned=0.5, until=until), method, rows(), TRIAL)]
        for until in (0, 1, 2)
    }
    assert counts == {0: [16], 1: [16, 8], 2: [16, 8, 8]}
    assert silmm.stages(replace(SMALL, until=0), method, rows(), TRIAL) == []
    whole = silmm.stages(
        replace(SMALL, tuned=0.3, rounds=3, until=3), method, rows(), replace(TRIAL, budget=Budget(40))
    )
    assert sum(s.budget.samples for s in whole) == 40


def test_a_step_has_its_rows_even_where_a_round_has_fewer_pairs() -> None:
    method = made()
    stage = silmm.stages(replace(SMALL, rounds=1), method, rows(), replace(TRIAL, budget=Budget(6), batch=6))[0]
    assert callable(stage.data)
    batch = stage.data(method).batch(0)
    chosen, row = batch["chosen"], batch["row"]
    assert isinstance(chosen, Ids) and isinstance(row, Field)
    assert chosen.ids.shape == (6, 64) and not row.data.any()


def test_true_pictures_have_the_losses_of_the_start() -> None:
    method, batch = made(), rows().batch(np.arange(N))
    found, want = method.losses(batch, Rng(0)), method.painter.losses(batch, Rng(0))
    assert {k: v.item() for k, v in found.items()} == {k: v.item() for k, v in want.items()}
    assert set(found) == {"text", "picture"}


# In use


@torch.no_grad()
def test_pictures_are_drawn_at_the_temperature_and_captions_told_as_the_start_does() -> None:
    method, batch = made(replace(SMALL, temperature=0.7)), rows().batch(np.arange(2))
    mosaic = method.prompt({"text": batch["text"]}, "image")
    assert isinstance(mosaic, Mosaic) and mosaic.temperature == 0.7
    told = method.prompt({"image": batch["image"]}, "text")
    assert isinstance(told, Prompt) and torch.equal(told.tokens.x, method.painter.prompt(batch, "text").tokens.x)


@torch.no_grad()
def test_larger_pictures_are_reduced_to_what_the_start_knows() -> None:
    method, image = made(), world()[1]
    large = Field(image.data.repeat_interleave(2, 2).repeat_interleave(2, 3))
    small, found = (method.prompt({"image": i}, "text").tokens.x for i in (image, large))
    assert torch.equal(small, found)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"score": "question"}, "questions"),
        ({"prompts": "caption"}, "captions"),
        ({"rounds": 0}, "rounds 0; expected 1 or more"),
        ({"until": -1}, "until -1"),
        ({"each": 1}, "each 1; expected 2 or more"),
        ({"kept": 0.0}, "kept 0"),
        ({"tuned": 1.5}, "tuned 1.5"),
    ],
)
def test_a_setting_that_makes_no_sense_is_named(changes: dict[str, object], message: str) -> None:
    with pytest.raises(SensoriumError, match=message):
        replace(SMALL, **changes)  # type: ignore[arg-type]
