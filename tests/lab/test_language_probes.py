"""Probes of what models write: numbers by hand, and a model that says what it is told to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from sensorium.core import SensoriumError
from sensorium.data.dataset import Dataset
from sensorium.lab import language_probes, sets
from sensorium.lab.language_probes import described, language
from sensorium.lab.world.facts import COLOURS, SHAPES
from sensorium.run.plan import Job, plan
from sensorium.run.tasks import Question

ROWS = (120, 20, 60)


@pytest.fixture(autouse=True, scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with pytest.MonkeyPatch.context() as patch:
        path = tmp_path_factory.mktemp("home")
        patch.setenv("SENSORIUM_HOME", str(path))
        patch.setattr(sets, "RECIPES", {name: replace(r, rows=ROWS) for name, r in sets.RECIPES.items()})
        yield path


def asked(name: str, paper: str, **config: object) -> Question:
    data = Dataset(sets.data_set(name))
    p = plan(Job(paper, "", {}, 1e-3, 64, 0, {"dim": 16, "layers": 1, "heads": 2, **config}, batch=64), data)
    p.method.eval()
    return Question(p, data, p.split.test, torch.device("cpu"))


@pytest.fixture(scope="module")
def reads(home: Path) -> Question:
    return asked("world/language", "baseline/causal-lm")


@pytest.fixture(scope="module")
def sees(home: Path) -> Question:
    return asked("world/questions", "baseline/prefix-lm", says=("text", "text/answer"))


def test_who_finds_all_tokens_equal_is_as_perplexed_as_there_are_tokens(reads: Question) -> None:
    decoder = reads.plan.method.decoder
    kept = decoder.says.weight.detach().clone()  # type: ignore[union-attr, operator]
    decoder.says.weight.data.zero_()  # type: ignore[union-attr, operator]
    found = language(reads).scores
    decoder.says.weight.data.copy_(kept)  # type: ignore[union-attr, operator]
    texts, tokenizer = reads.texts("text"), reads.plan.tokenizer
    assert tokenizer is not None
    longest = reads.plan.fields["text"].length
    tokens = sum(min(len(tokenizer.encode(t, add_special_tokens=False).ids) + 1, longest) for t in texts)
    words = sum(len(t.split()) + 1 for t in texts)
    vocab = reads.plan.fields["text"].vocab + 2
    assert found["perplexity"] == pytest.approx(vocab ** (tokens / words), rel=1e-4)


def test_unigrams_are_those_of_train(reads: Question) -> None:
    stored = reads.data.texts("text")
    train = [w for i in reads.plan.split.train for w in (*stored[int(i)].split(), "")]
    test = [w for t in reads.texts("text") for w in (*t.split(), "")]
    counts = Counter(train)
    nats = np.mean([-np.log(max(counts[w], 1) / len(train)) for w in test])
    assert language(reads).scores["unigram perplexity"] == pytest.approx(np.exp(nats))


def test_an_untrained_model_answers_nothing(reads: Question) -> None:
    found = language(reads).scores
    assert found["answers"] < 0.1 and found["looked up"] < 0.1 and found["goes on"] < 0.1
    assert 0.1 < found["blind majority"] < 0.6 and 1 / 3 < found["stated guess"] < 1 / 2


@pytest.mark.parametrize(
    ("text", "answer", "chance"),
    [
        ("a red circle, a blue square and a green star.", "blue", 1 / 3),
        ("a red circle , a blue square : circle red", "circle", 1 / 2),
        ("a red circle.", "no", 0),
        ("a red circle and a blue ring.", "red, blue", 0),
    ],
)
def test_a_guess_is_drawn_among_what_the_text_names(text: str, answer: str, chance: float) -> None:
    assert language_probes._chance(text, answer) == chance


def test_who_names_another_object_of_the_text_is_no_better_than_a_guess(
    reads: Question, monkeypatch: pytest.MonkeyPatch
) -> None:
    def says(asked: Question, to: str, longest: int, *keys: str) -> list[str]:
        assert to not in keys
        texts, right = asked.texts("text"), asked.texts("text/answer")
        known = [COLOURS if a in COLOURS else SHAPES for a in right]
        return [next(w.strip(",.") for w in t.split() if w.strip(",.") in k) for t, k in zip(texts, known, strict=True)]

    def goes_on(asked: Question, texts: Sequence[str]) -> list[str]:
        assert all(t.endswith(q) for t, q in zip(texts, asked.texts("text/question"), strict=True))
        return asked.texts("text/answer")

    monkeypatch.setattr(language_probes, "generated", says)
    monkeypatch.setattr(language_probes, "_goes_on", goes_on)
    found = language(reads).scores
    assert found["goes on"] == 1.0 and found["looked up"] < 1.5 * found["stated guess"]


def test_true_captions_are_of_their_pictures_and_not_of_others(sees: Question, monkeypatch: pytest.MonkeyPatch) -> None:
    def says(asked: Question, to: str, longest: int, *keys: str) -> list[str]:
        assert keys[0] == "image" and to not in keys
        return asked.texts(to)

    monkeypatch.setattr(language_probes, "generated", says)
    found = described(sees).scores
    assert found["caption colours"] == found["caption shapes"] == found["answers"] == 1.0
    assert found["another's colours"] < 0.6 and found["another's shapes"] < 0.8
    assert 0.1 < found["blind majority"] < 0.7


def test_who_says_nothing_tells_nothing_right(sees: Question, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(language_probes, "generated", lambda asked, *_: [""] * len(asked.index))
    found = described(sees).scores
    assert found["caption colours"] == found["caption shapes"] == found["answers"] == 0.0


def test_pictures_are_needed(sees: Question) -> None:
    texts = {"image": sees.plan.rows.columns["text"]}
    blind = replace(sees, plan=replace(sees.plan, rows=sees.plan.rows.with_columns(texts)))
    with pytest.raises(SensoriumError, match="reads stored features; expected pictures"):
        described(blind)
