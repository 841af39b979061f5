"""An analysis of what a frozen language model does with pictures: what it finds, and what may be left out."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sensorium.blocks.alignment import left
from sensorium.blocks.decode import Decoder, Prompt
from sensorium.blocks.decode.capture import of_kind
from sensorium.blocks.decode.interleave import Part
from sensorium.blocks.prefix_lm import IMAGE, TEXT
from sensorium.blocks.shared import decoder_of
from sensorium.core import Budget, Ids, SensoriumError, Tokens, Trial
from sensorium.data.dataset import Dataset
from sensorium.lab import sets
from sensorium.lab.starts import opened
from sensorium.run.claims import Reproduction
from sensorium.run.fit import Fit
from sensorium.run.load import paper
from sensorium.run.plan import Job, Plan, plan
from sensorium.run.runs import execute
from sensorium.run.tasks import Question, scored

from ..conftest import SCRATCH

M: Any = paper("implicit-alignment")
ROWS = 96, 32, 48


@pytest.fixture(scope="module")
def questions(home: Path) -> Dataset:
    """A small set of pictures with captions and questions."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sets.RECIPES, M.DATA, replace(sets.RECIPES[M.DATA], rows=ROWS))  # type: ignore[arg-type]
        return Dataset(sets.data_set(M.DATA))


def planned(data: Dataset, slug: str = "implicit-alignment", **config: Any) -> Plan:
    return plan(Job(slug, "", SCRATCH, 3e-3, 6 * 24, 0, config, batch=24), data)


@pytest.fixture(scope="module")
def asked(questions: Dataset) -> Question:
    """Six steps of training, and the test rows."""
    p = planned(questions)
    for _ in Fit(p.method, p.stages, p.job.trial):
        pass
    return Question(p, questions, p.split.test, torch.device("cpu"))


@pytest.fixture(autouse=True, scope="module")
def short() -> Iterator[None]:
    """Captions of a few words: what six steps have taught does not end."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sensorium.run.tasks.LONGEST_CAPTION", 6)
        patch.setattr("sensorium.run.tasks.LONGEST_ANSWER", 3)
        yield


# The model


def test_the_language_model_never_changes(asked: Question) -> None:
    method, start = asked.plan.method, decoder_of(opened("causal-lm").method)
    assert all(torch.equal(dict(method.decoder.named_buffers())[k], v) for k, v in start.state_dict().items())  # type: ignore[operator,union-attr,arg-type]
    assert {k.partition(".")[0] for k in method.state_dict()} == {"image", "projector"}
    fresh = planned(asked.data).method.state_dict()
    assert not any(torch.equal(v, fresh[k]) for k, v in method.state_dict().items())


def test_the_eye_begins_as_the_pair_encoders(questions: Dataset) -> None:
    start, ours = opened("pair-encoder").method.towers["image"], planned(questions).method  # type: ignore[index,union-attr]
    own = ours.image.state_dict()  # type: ignore[union-attr,operator]
    assert all(torch.equal(own[k], v) for k, v in start.state_dict().items())  # type: ignore[union-attr]
    other = planned(questions, eye="scratch").method.image.state_dict()  # type: ignore[union-attr,operator]
    assert own.keys() == other.keys() and not torch.equal(own["out.weight"], other["out.weight"])
    with pytest.raises(SensoriumError, match=r"'pair-encode'.*pair-encoder"):
        planned(questions, eye="pair-encode")


def test_what_a_picture_gives_is_about_as_long_as_a_norm_makes_it(questions: Dataset) -> None:
    p = planned(questions)
    batch = p.rows.select(p.split.test).batch(np.arange(8))
    with torch.no_grad():
        (part,) = p.method.seen(batch)  # type: ignore[operator]
        long = p.method.projector(replace(p.method.image(batch["image"]), x=9 * p.method.image(batch["image"]).x))  # type: ignore[operator]
    lengths = part.value.x.norm(dim=-1) / p.method.decoder.dim**0.5  # type: ignore[union-attr,operator]
    assert ((lengths > 0.5) & (lengths < 2)).all()
    torch.testing.assert_close(long.x, part.value.x, atol=1e-4, rtol=1e-4)


def test_initial_weights_are_the_seeds_even_where_a_start_is_opened_first(questions: Dataset) -> None:
    opened.cache_clear()
    first, second = (planned(questions).method.state_dict() for _ in range(2))
    assert all(torch.equal(v, second[k]) for k, v in first.items())


# Figures


def test_a_sequence_is_the_prompt_and_the_right_text(asked: Question) -> None:
    method, batch = asked.plan.method, next(asked.batches(*asked.plan.rows.columns))
    decoder, t = M.sequences(asked, "text/answer")[0]
    said, question = batch["text/answer"], batch["text/question"]
    assert isinstance(said, Ids) and isinstance(question, Ids) and isinstance(decoder, Decoder)
    pictures = of_kind(t, IMAGE).mask.sum(1)
    assert set(pictures.tolist()) == {16}
    assert torch.equal(of_kind(t, TEXT).mask.sum(1), question.mask.sum(1) + 1 + said.mask.sum(1))
    # Pushed together, it is the sequence that the method is trained on, but for the end mark.
    there = said.mask.any(1)
    parts = [*method.seen(batch), *method.asked(batch, "text/answer"), method.begin(there | True), Part(said)]  # type: ignore[operator]
    trained = method.sequence(parts).tokens  # type: ignore[operator]
    with torch.no_grad():
        mine, theirs = decoder(t)[t.mask], decoder(trained)[trained.mask]
    torch.testing.assert_close(mine, theirs, atol=1e-4, rtol=1e-4)


def test_figures_of_the_input_are_those_of_its_tokens(asked: Question) -> None:
    found = M.figures(asked).scores
    layers = len(asked.plan.method.decoder.layers)  # type: ignore[union-attr,arg-type]
    for what in ("norm image", "norm text", "cone image", "cone text", "similarity"):
        assert {f"{what} {n}" for n in range(layers + 1)} <= set(found)
    assert all(np.isfinite(v) for v in found.values()) and "steady text 0" not in found
    each = [t for to in ("text/answer", "text") for _, t in M.sequences(asked, to)]
    norms = [float(t.x[of_kind(t, IMAGE).mask].norm(dim=-1).mean()) for t in each]
    assert found["norm image 0"] == pytest.approx(np.mean(norms), rel=1e-5)
    means = []
    for t in each:
        assert t.kind is not None
        rows = []
        for x, mask, kind in zip(t.x, t.mask, t.kind, strict=True):
            unit = torch.nn.functional.normalize(x, dim=-1)
            rows.append(float((unit[mask & (kind == IMAGE)] @ unit[mask & (kind == TEXT)].T).mean()))
        means.append(np.mean(rows))
    assert found["similarity 0"] == pytest.approx(np.mean(means), abs=1e-6)
    score = np.mean([found[f"similarity {n}"] for n in range(1, layers + 1)])
    assert found["alignment"] == pytest.approx(score, abs=1e-6)


def test_kinds_share_more_weights_than_chance(asked: Question) -> None:
    found = M.figures(asked).scores
    assert found["overlap by chance"] == pytest.approx(1 / 3, abs=0.02)  # halves
    assert found["overlap by chance"] < found["overlap"] < 1


def test_any_method_that_says_texts_of_pictures_is_read(questions: Dataset) -> None:
    p = planned(questions, "baseline/prefix-lm", dim=32, layers=2)
    found = M.figures(Question(p, questions, p.split.validation, torch.device("cpu"))).scores
    assert "similarity 2" in found and "similarity 3" not in found


def test_a_stored_run_is_asked_of_its_test_rows(questions: Dataset, tmp_path: Path) -> None:
    job = Job("baseline/prefix-lm", str(questions.path), SCRATCH, 3e-3, 48, 0, {"dim": 32, "layers": 2}, batch=24)
    outcome = execute(job, questions, tmp_path / "run")
    asked = M.question(tmp_path / "run")
    assert asked.index.tolist() == plan(job, questions).split.test.tolist()
    assert M.tasks(asked, M.unchanged) == {"exact": outcome.test["exact"]}
    assert np.isfinite(M.figures(asked).scores["alignment"])
    record = json.loads((tmp_path / "run/run.json").read_text())
    (tmp_path / "run/run.json").write_text(json.dumps(record | {"data": "another"}))
    with pytest.raises(SensoriumError, match="has changed since"):
        M.question(tmp_path / "run")


def test_what_reads_no_picture_is_refused(questions: Dataset) -> None:
    p = planned(questions, "baseline/clip")
    with pytest.raises(SensoriumError, match="neither answers nor captions"):
        M.figures(Question(p, questions, p.split.validation, torch.device("cpu")))
    decoder = Decoder(5, 8, 1, 2, 16)
    words = Tokens(torch.zeros(1, 2, 8), torch.ones(1, 2).bool(), kind=torch.zeros(1, 2).long())
    said = Ids(torch.ones(1, 2).long(), torch.ones(1, 2).bool())
    for t in (words, replace(words, kind=None)):
        with pytest.raises(SensoriumError, match="tokens of a picture"):
            M.whole(Prompt(decoder, t), said)


# Economies


def test_skipping_saves_what_pictures_would_cost(asked: Question) -> None:
    found, decoder = M.economy(asked).scores, asked.plan.method.decoder
    assert found["exact whole"] == scored("answer", asked).scores["exact"]
    assert found["cider whole"] == scored("caption", asked).scores["cider"]
    tokens = 16 * 2 * len(asked.index) * (len(decoder.layers) - 1)  # type: ignore[union-attr,arg-type]
    ffn = tokens * sum(2 * m.weight.numel() for m in decoder.layers[0].mlp.children())  # type: ignore[union-attr,index,operator]
    each = 1e6 * len(asked.index)
    saved = {way: each * (found["megaflops whole"] - found[f"megaflops skipping {way}"]) for way in M.WAYS}
    assert saved["ffn"] == pytest.approx(ffn) and saved["blocks"] == pytest.approx(saved["ffn"] + saved["attention"])
    assert saved["attention"] == pytest.approx(tokens * 2 * 2 * decoder.dim**2)  # type: ignore[union-attr,operator]


def test_words_are_not_skipped(asked: Question) -> None:
    batch = next(asked.batches(*asked.plan.rows.columns))
    prompt = asked.plan.method.prompt(batch, "text")  # type: ignore[operator]
    decoder, t = M.past(("ffn",), 0)(prompt, "text").decoder, prompt.tokens
    picture = M.perceived(prompt)
    assert torch.equal(picture, of_kind(t, IMAGE).mask)
    words = Tokens(t.x, t.mask & ~picture)
    moved = (decoder(t) - prompt.decoder(t)).detach().abs().amax(-1)
    assert (moved[picture] > 1e-3).all()
    alone = M.past(("ffn",), 0)(replace(prompt, tokens=replace(words, kind=t.kind)), "text").decoder
    assert torch.equal(alone(words), prompt.decoder(words))


def test_a_mask_of_all_weights_changes_nothing(asked: Question, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(M, "KEPT", 1.0)
    found, whole = M.subnetworks(asked).scores, M.tasks(asked, lambda prompt, to: prompt)
    for mask in ("own", "shared", "random"):
        assert {m: found[f"{m} {mask} mask"] for m in whole} == whole
    assert found["left shared"] == found["mask overlap"] == 1


def test_the_shared_mask_is_what_the_tasks_have_in_common(asked: Question) -> None:
    found = M.subnetworks(asked).scores
    own = {to: M.task_mask(replace(asked, index=asked.plan.split.train), to) for to in ("text/answer", "text")}
    assert found["left own"] == pytest.approx(0.7, abs=0.01) and found["left shared"] < found["left own"]
    both = {n: own["text"][n] & own["text/answer"][n] for n in own["text"]}
    assert found["left shared"] == left(both)
    assert found["lost exact random mask"] == scored("answer", asked).scores["exact"] - found["exact random mask"]


# Hallucination


def said(words: Callable[[str], str]) -> Callable[..., list[str]]:
    """In place of a method: what it says is made of the right text."""
    return lambda asked, to, *_: [words(text) for text in asked.texts(to)]


def test_true_captions_and_answers_hallucinate_nothing(asked: Question, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(M, "generated", said(str))
    found = M.hallucination(asked).scores
    assert found["chair"] == found["chair captions"] == 0 and found["pope"] == 1
    right = [t for t in asked.texts("text/answer") if t in ("yes", "no")]
    assert found["pope yes"] == right.count("yes") / len(right)


def test_what_is_not_there_is_counted(asked: Question, monkeypatch: pytest.MonkeyPatch) -> None:
    one = {"text": "a red circle", "text/answer": "yes"}
    monkeypatch.setattr(M, "generated", lambda asked, to, *_: [one[to]] * len(asked.index))
    found, texts = M.hallucination(asked).scores, asked.texts("text")
    lacking = ["red circle" not in text for text in texts]
    assert found["chair"] == found["chair captions"] == pytest.approx(np.mean(lacking)) and any(lacking)
    right = [t for t in asked.texts("text/answer") if t in ("yes", "no")]
    assert found["pope"] == right.count("yes") / len(right) and found["pope yes"] == 1


def test_without_questions_of_yes_or_no_captions_alone_are_judged(
    asked: Question, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(M, "generated", said(str))
    other = [i for i in asked.index if asked.data.texts("text/answer")[i] not in ("yes", "no")]
    found = M.hallucination(replace(asked, index=np.array(other))).scores
    assert found == {"chair": 0, "chair captions": 0}


def test_silence_mentions_nothing(asked: Question, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(M, "generated", said(lambda text: ""))
    assert "chair" not in M.hallucination(asked).scores


# The correlation


def points(*exact: float, sign: float = 1.0, start: float = 0.0) -> list[Any]:
    return [M.Point(start + sign * k, e, 1 - e) for k, e in enumerate(exact)]


def test_correlations_are_over_the_ranks_of_all_checkpoints() -> None:
    rising, falling = points(0.1, 0.2, 0.5), points(0.1, 0.2, 0.5, sign=-1)
    assert M.correlations([rising]) == pytest.approx({"task": 1, "hallucination": -1})
    assert M.correlations([falling]) == pytest.approx({"task": -1, "hallucination": 1})
    two = M.correlations([points(0.1, 0.3), points(0.2, 0.4, start=0.5)])  # order 0, 0.5, 1, 1.5
    assert two == pytest.approx({"task": 1, "hallucination": -1, "agreement": 1})
    mixed = M.correlations([points(0.3, 0.1), points(0.4, 0.2, start=-0.5)])
    assert mixed["agreement"] == 0 and mixed["task"] < 0


def test_what_is_not_defined_is_left_out() -> None:
    assert M.correlations([points(0.2, 0.2), points(0.2, 0.2)]) == {}


def test_drawn_scores_are_unrelated() -> None:
    found = M.unrelated(Trial(0.0, Budget(1), 0))
    assert abs(found["task"]) < 0.08 and abs(found["hallucination"]) < 0.08 and abs(found["agreement"] - 0.5) < 0.05
    assert found != M.unrelated(Trial(0.0, Budget(1), 1)) and found == M.unrelated(Trial(0.0, Budget(1), 0))


@pytest.mark.slow
def test_checkpoints_are_measured_on_the_way(questions: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sets.RECIPES, M.DATA, replace(sets.RECIPES[M.DATA], rows=ROWS))  # type: ignore[arg-type]
    found = M.checkpoints("scratch", Trial(0.0, Budget(12 * 8), 0, 8))
    assert len(found) == M.CHECKPOINTS and len({p.alignment for p in found}) == M.CHECKPOINTS
    assert all(-1 < p.alignment < 1 and 0 <= p.exact <= 1 and 0 <= p.chair <= 1 for p in found)


def test_every_measure_of_the_claims_is_there(home: Path) -> None:
    for name in M.MEASURES:
        module, _, leaf = name.partition(":")
        assert module == M.__name__ and callable(getattr(M, leaf))
    for claim in M.CLAIMS:
        quiet = Reproduction("implicit-alignment", claim, "lab", workers=1, say=print, progress=lambda *_: None)
        assert set(quiet.claim.arms) >= {"ours"}
