"""What is heard is written down and scored, and a loaded run reads sounds as training did."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from sensorium.core import Batch, Field, Ids, Method, Rng, Terms
from sensorium.data.dataset import Dataset
from sensorium.data.media.audio import wav
from sensorium.papers.audio.mslam import END
from sensorium.run.plan import Job, Plan, plan
from sensorium.run.runs import execute, load
from sensorium.run.tasks import Question, scored, tasks_of, trivial

RATE, ROWS = 8000, 40
WORDS = ("ab", "abc", "b", "cab", "bb")


@pytest.fixture(autouse=True, scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SENSORIUM_HOME", str(tmp_path_factory.mktemp("home")))
        yield


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Tones: each letter is one of its own, a tenth of a second long. Every utterance is a group of its own."""
    folder, lines = tmp_path_factory.mktemp("tones"), []
    for k in range(ROWS):
        word = WORDS[k % len(WORDS)]
        at = np.arange(800) / RATE
        wave = np.concatenate([np.sin(2 * np.pi * 200 * (1 + ord(c) - ord("a")) * at) for c in word])
        wave += 0.01 * np.random.default_rng(k).standard_normal(len(wave))
        (folder / f"{k}.wav").write_bytes(wav((wave / 2).astype(np.float32), RATE))
        lines.append(json.dumps({"file_name": f"{k}.wav", "text": word, "group": k}))
    (folder / "metadata.jsonl").write_text("\n".join(lines) + "\n")
    return Dataset(folder, {"audio": "file_name", "text": "text", "group": "group"})


@pytest.fixture(scope="module")
def planned(data: Dataset) -> Plan:
    return plan(job(data), data)


def job(data: Dataset) -> Job:
    small = {"dim": 16, "layers": 1, "heads": 2, "codes": 8}
    return Job("mslam", str(data.path), {}, 3e-3, 64, 0, small, dict(data.roles), batch=16, task="label-sequence")


class Writes(Method):
    """Writes down what it was told, whatever it hears; `wrong` replaces the first id of each row."""

    predicts: Mapping[str, str] = {"text": "ids"}

    def __init__(self, p: Plan, wrong: bool) -> None:
        super().__init__()
        truth = p.rows.columns["text"].rows(torch.from_numpy(p.split.test))
        assert isinstance(truth, Ids)
        self.ids, self.mask = truth.ids.clone(), truth.mask & (truth.ids != END)
        self.wrong, self.seen = wrong, set[str]()

    def losses(self, batch: Batch, rng: Rng) -> Terms:
        return {}

    def predict(self, batch: Batch, of: str) -> Field:
        self.seen |= set(batch)
        ids = self.ids.clone()
        if self.wrong:
            ids[:, 0] = torch.where(ids[:, 0] == self.ids[0, 0], self.ids.max(), self.ids[0, 0])
        return Field(ids, self.mask)


def asked(p: Plan, data: Dataset, method: Method) -> Question:
    return Question(replace(p, method=method), data, p.split.test, torch.device("cpu"))


def test_a_perfect_ear_makes_no_error_and_one_wrong_letter_counts_per_letter(planned: Plan, data: Dataset) -> None:
    right, wrong = Writes(planned, False), Writes(planned, True)
    assert tasks_of(right, list(planned.rows.columns)) == ["label-sequence"]
    assert scored("label-sequence", asked(planned, data, right)).scores == {"cer": 0.0}
    found = scored("label-sequence", asked(planned, data, wrong))
    letters = np.array([len(t) for t in asked(planned, data, wrong).texts("text")])
    assert found.scores["cer"] == pytest.approx(len(letters) / letters.sum())
    np.testing.assert_allclose(found.items["cer"], 1 / letters)
    assert right.seen == {"audio"}


def test_who_cannot_hear_says_the_commonest_text(planned: Plan, data: Dataset) -> None:
    guess = trivial("blind majority", data, planned.split.train, planned.split.test)
    assert 0.3 < guess["cer"] <= 2.0


def test_a_loaded_run_reads_sounds_as_training_did(data: Dataset, tmp_path: Path) -> None:
    outcome = execute(job(data), data, tmp_path / "run")
    assert {"cer"} <= outcome.test.keys() and outcome.curve["values"] == outcome.curve["cer"]
    model = load(tmp_path / "run")
    stored = model.embed(model.column(data, "audio"))
    raw = model.embed(model.read("audio", [data.value("audio", i) for i in range(len(data))]))
    torch.testing.assert_close(raw.x, stored.x, atol=1e-4, rtol=0)
    assert stored.x.std(0).max() > 1e-3
