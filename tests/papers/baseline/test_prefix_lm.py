"""The prefix LM from a folder to answers and captions, against who never looks at the pictures."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from sensorium.data.dataset import Dataset
from sensorium.lab.sets import PARTS, Recipe, scenes
from sensorium.lab.world.facts import Config
from sensorium.run.fit import Fit
from sensorium.run.plan import Job, plan
from sensorium.run.tasks import Question, generated, scored, trivial

ROWS = {"train": 4000, "validation": 50, "test": 300}


def world(folder: Path, asked: tuple[str, ...]) -> Dataset:
    """One object per scene, a short caption, and a question of one of the kinds."""
    recipe = Recipe(config=Config(fewest=1, most=1), form="short", asked=asked)
    folder.mkdir()
    for part in PARTS:
        pq.write_table(pa.table(dict(scenes(recipe, part, ROWS[part]))), folder / f"{part}.parquet")
    roles = {"image": "image", "text": "text", "group": "scene"}
    return Dataset(folder, roles | ({"text/question": "question", "text/answer": "answer"} if asked else {}))


def trained(data: Dataset, steps: int) -> Question:
    towers = {"image": "scratch", "text": "scratch"}
    p = plan(Job("baseline/prefix-lm", "", towers, 3e-3, steps * 64, 0, batch=64), data)
    for _ in Fit(p.method, p.stages, p.job.trial):
        pass
    return Question(p, data, p.split.test, torch.device("cpu"))


@pytest.mark.slow
def test_answers_beat_the_commonest_answer_to_each_question(tmp_path: Path) -> None:
    data = world(tmp_path / "asked", ("colour", "shape"))
    asked = trained(data, 150)
    blind = trivial("blind majority", data, asked.plan.split.train, asked.index)["exact"]
    found = scored("answer", asked).scores["exact"]
    assert blind < 0.35 and found > blind + 0.3


@pytest.mark.slow
def test_captions_beat_the_commonest_caption(tmp_path: Path) -> None:
    data = world(tmp_path / "told", ())
    asked = trained(data, 150)
    blind = trivial("blind majority", data, asked.plan.split.train, asked.index)["cider"]
    assert scored("caption", asked).scores["cider"] > blind + 2
    said = generated(asked, "text", 12, "image")
    assert len(set(said)) > 10 and all(text.startswith("a") for text in said)
