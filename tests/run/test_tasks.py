"""What a method can do is read from its capabilities; it never sees the answer; a guess scores as a guess."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

from sensorium.blocks.decode import Canvas, Decoder, Generates, Prompt
from sensorium.blocks.decode.diffuse import FLOW
from sensorium.core import Batch, Field, Ids, Method, Predicts, Rng, SensoriumError, Terms
from sensorium.data.dataset import Dataset
from sensorium.run.evaluate import Scored
from sensorium.run.plan import Job, Plan, plan
from sensorium.run.runs import execute
from sensorium.run.tasks import GLANCE, MOST_PAINTED, Question, few, glance, likeness, scored, tasks_of, trivial

from ..papers.conftest import COLOURS, SCRATCH, squares

PAPER = """
\"\"\"A paper of this test's own. Nobody, 2026.\"\"\"
from dataclasses import dataclass
import torch
from torch import nn
from sensorium.core import Field, Method
from sensorium.run.fit import Stage

NEEDS = {"image": "image", "text": "ids", "boxes": "boxes optional", "spans": "spans optional",
         "label": "label optional", "text/question": "ids optional", "text/answer": "ids optional"}
PARTS = {"nothing": "build"}
CLAIMS = {}

@dataclass(frozen=True)
class Config:
    width: int = 4

class Nothing(Method):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))

    def losses(self, batch, rng):
        return {"nothing": self.weight.sum()}

def build(config, fields, bases):
    return Nothing()
"""
BOX = [4, 4, 14, 14]


@pytest.fixture(autouse=True, scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SENSORIUM_HOME", str(tmp_path_factory.mktemp("home")))
        yield tmp_path_factory.mktemp("papers")


@pytest.fixture(scope="module")
def data(home: Path, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Squares with a box that the colour's name names, a question and an answer."""
    path = squares(
        tmp_path_factory.mktemp("data") / "squares",
        boxes=lambda k, row: [BOX] if k % 2 else [[16, 16, 26, 26]],
        spans=lambda k, row: [[2, 2 + len(row["label"])]],
        question=lambda k, row: "what colour is it?" if k % 3 else "is it square?",
        answer=lambda k, row: row["label"] if k % 3 else "yes",
    )
    roles = {"image": "file_name", "text": "text", "label": "label", "boxes": "boxes", "spans": "spans"}
    return Dataset(path, roles | {"text/question": "question", "text/answer": "answer"})


@pytest.fixture(scope="module")
def planned(home: Path, data: Dataset) -> Plan:
    source = home / "nothing.py"
    source.write_text(PAPER)
    return plan(Job(str(source), "", SCRATCH, 1e-3, 16, 0, batch=8, roles=dict(data.roles)), data)


def ask(p: Plan, data: Dataset, method: Method) -> Question:
    return Question(replace(p, method=method), data, p.split.test, torch.device("cpu"))


class Knows(Method):
    """Predicts what it was told, by row; notes the keys of every batch that it is shown."""

    predicts: Mapping[str, str] = {"boxes": "boxes", "label": "label"}

    def __init__(self, p: Plan, right: bool) -> None:
        super().__init__()
        self.p, self.right, self.seen, self.at = p, right, set[str](), 0

    def losses(self, batch: Batch, rng: Rng) -> Terms:
        return {}

    def predict(self, batch: Batch, of: str) -> Field:
        self.seen |= set(batch)
        n = len(next(iter(batch.values())))
        rows = torch.from_numpy(self.p.split.test[self.at : self.at + n])
        self.at += n
        truth = self.p.rows.columns[of].rows(rows)
        assert isinstance(truth, Field)
        if of == "boxes":
            return truth if self.right else Field(torch.zeros_like(truth.data))
        return Field(torch.nn.functional.one_hot(truth.data if self.right else truth.data * 0, 8).float())


def test_tasks_follow_from_capabilities_and_keys(planned: Plan) -> None:
    knows = Knows(planned, True)
    assert isinstance(knows, Predicts) and not isinstance(knows, Generates)
    assert tasks_of(knows, ["image", "text", "boxes", "spans", "label"]) == ["ground", "classify"]
    assert tasks_of(knows, ["image", "text", "label"]) == ["classify"]
    assert tasks_of(planned.method, list(planned.rows.columns)) == []


def test_boxes_that_are_right_score_one_and_others_nothing(planned: Plan, data: Dataset) -> None:
    right, wrong = Knows(planned, True), Knows(planned, False)
    found = scored("ground", ask(planned, data, right))
    assert found.scores == {"recall@1": 1.0} and found.items["recall@1"].shape == (len(planned.split.test),)
    assert scored("ground", ask(planned, data, wrong)).scores == {"recall@1": 0.0}
    assert right.seen == {"image", "text", "spans"}  # never the boxes


def test_labels_are_counted(planned: Plan, data: Dataset) -> None:
    assert scored("classify", ask(planned, data, Knows(planned, True))).scores["accuracy"] == 1.0
    wrong = Knows(planned, False)
    first = min(COLOURS)
    share = np.mean([data.texts("label")[int(i)] == first for i in planned.split.test])
    assert scored("classify", ask(planned, data, wrong)).scores["accuracy"] == pytest.approx(share)
    assert wrong.seen == {"image", "text"}


class Says(Method):
    """A decoder that was made to say one text whatever it is shown."""

    def __init__(self, ids: list[int], vocab: int, keys: tuple[str, ...]) -> None:
        super().__init__()
        self.generates: Mapping[str, str] = dict.fromkeys(keys, "text")
        self.decoder = Decoder(vocab, 64, 1, 2, 64)
        self.ids, self.seen = ids, set[str]()

    def losses(self, batch: Batch, rng: Rng) -> Terms:
        return {}

    def prompt(self, batch: Batch, to: str) -> Prompt:
        self.seen |= set(batch)
        n = len(next(iter(batch.values())))
        whole = [self.decoder.begin, *self.ids, self.decoder.end]
        with torch.no_grad():  # every id's embedding says the next one
            self.decoder.words.weight.zero_()
            self.decoder.says.weight.zero_()
            for k, (one, after) in enumerate(pairwise(whole)):
                self.decoder.words.weight[one, k] = 100.0
                self.decoder.says.weight[after, k] = 100.0
            for layer in self.decoder.layers:
                layer.out.weight.zero_()  # type: ignore[union-attr, operator]
                layer.mlp.down.weight.zero_()  # type: ignore[union-attr, operator]
        start = Ids(torch.full((n, 1), self.decoder.begin), torch.ones(n, 1, dtype=torch.bool))
        return Prompt(self.decoder, self.decoder.embed(start))


def says(p: Plan, text: str, *keys: str) -> Says:
    assert p.tokenizer is not None
    ids = p.tokenizer.encode(text, add_special_tokens=False).ids
    assert len(set(ids)) == len(ids)
    return Says(ids, p.tokenizer.get_vocab_size(), keys)


def test_answers_are_decoded_and_compared(planned: Plan, data: Dataset) -> None:
    method = says(planned, "yes", "text/answer")
    found = scored("answer", ask(planned, data, method))
    truth = [data.texts("text/answer")[int(i)] for i in planned.split.test]
    assert found.scores["exact"] == pytest.approx(np.mean([t == "yes" for t in truth]))
    assert found.items["exact"].tolist() == [float(t == "yes") for t in truth]
    assert method.seen == {"image", "text/question"}  # never the answer


def test_a_caption_is_scored_against_the_texts_of_its_picture(planned: Plan, data: Dataset) -> None:
    text = data.texts("text")[int(planned.split.test[0])]
    method = says(planned, text, "text")
    found = scored("caption", ask(planned, data, method))
    assert found.items["cider"][0] == pytest.approx(10, abs=1e-6) and found.items["cider"].min() < 5
    assert method.seen == {"image"}


class Paints(Method):
    """Paints the true picture of each row, or that of another; notes the keys that it is shown."""

    generates: Mapping[str, str] = {"image": "image"}

    def __init__(self, p: Plan, off: int) -> None:
        super().__init__()
        true = p.rows.columns["image"].rows(torch.from_numpy(np.roll(p.split.test, off)))
        assert isinstance(true, Field)
        self.true, self.seen = true, set[str]()

    def losses(self, batch: Batch, rng: Rng) -> Terms:
        return {}

    def prompt(self, batch: Batch, to: str) -> Canvas:
        self.seen |= set(batch)
        return Canvas(lambda x, t: x, tuple(self.true.data.shape), FLOW, lambda x: self.true)


def test_the_right_pictures_are_told_from_others(planned: Plan, data: Dataset) -> None:
    right, other = Paints(planned, 0), Paints(planned, 1)
    assert tasks_of(right, ["image", "text"]) == ["generate"] and tasks_of(right, ["image"]) == []
    found = scored("generate", ask(planned, data, right))
    assert found.scores["r-precision"] == 1.0 and found.scores["distance"] == 0.0
    assert found.scores["frechet"] == pytest.approx(0, abs=1e-9)
    assert found.items["r-precision"].tolist() == [1.0] * len(planned.split.test)
    assert right.seen == {"text"}  # never the picture
    wrong = scored("generate", ask(planned, data, other)).scores
    assert wrong["r-precision"] < 0.3 and wrong["distance"] > 0.1 and wrong["frechet"] == pytest.approx(0, abs=1e-9)


def test_likeness_by_hand() -> None:
    """Two plain pictures answered with two others: the first nearer to its own, the second to the first's."""
    true, made = (np.stack([np.full((3, 8, 8), v, np.uint8) for v in pair]) for pair in ((0, 255), (51, 102)))
    found = likeness(made, true, np.eye(2, dtype=bool))
    assert found.items["r-precision"].tolist() == [1.0, 0.0] and found.scores["r-precision"] == 0.5
    numbers = 3 * GLANCE**2
    assert found.scores["distance"] == pytest.approx((0.2 + 0.6) / 2 * numbers**0.5)
    # One direction: means 0.3 and 0.5, deviations 0.2 / sqrt 2 and 1 / sqrt 2 of each number.
    assert found.scores["frechet"] == pytest.approx(numbers * (0.2**2 + (0.8 / 2**0.5) ** 2))
    assert likeness(made, true, np.ones((2, 2), bool)).scores["r-precision"] == 1.0


def test_a_glance_sees_means_of_fields() -> None:
    image = np.zeros((1, 3, 8, 8), np.uint8)
    image[0, 0, :2, :2], image[0, 2, 6:, 7] = 255, 255
    seen = glance(image).reshape(3, GLANCE, GLANCE)
    assert seen[0, 0, 0] == 1 and seen[2, 3, 3] == 0.5 and seen.sum() == 1.5


def test_few_rows_are_spread_over_all(planned: Plan, data: Dataset) -> None:
    asked = Question(planned, data, np.arange(1000), torch.device("cpu"))
    some = few(asked, MOST_PAINTED).index
    assert len(set(some.tolist())) == MOST_PAINTED and some[0] == 0 and some[-1] == 999
    assert np.diff(some).max() <= 1000 // MOST_PAINTED + 2
    assert few(asked, 1000) is asked


def test_a_run_carries_out_its_tasks_and_measures(home: Path, data: Dataset, tmp_path: Path) -> None:
    source = home / "knows.py"
    body = PAPER.replace(
        "    def losses",
        '    predicts = {"boxes": "boxes", "label": "label"}\n\n    def predict(self, batch, of):\n'
        '        n = len(batch["image"])\n'
        "        return Field(torch.tensor([[0.125, 0.125, 0.4375, 0.4375]]).expand(n, 1, 4)) if of == 'boxes' "
        "else Field(torch.eye(8)[:1].expand(n, 8))\n\n    def losses",
    )
    source.write_text(body)
    job = Job(str(source), "", SCRATCH, 1e-3, 16, 0, batch=8, roles=dict(data.roles), task="classify")
    outcome = execute(replace(job, measures=(f"{__name__}:counted",)), data, tmp_path / "run")
    assert set(outcome.validation) == {"recall@1", "accuracy", "rows"} and 0 < outcome.test["recall@1"] < 1
    parts = plan(job, data).split
    assert (outcome.validation["rows"], outcome.test["rows"]) == (len(parts.validation), len(parts.test))
    assert outcome.curve["values"] == outcome.curve["accuracy"] and len(outcome.curve["samples"]) == 2
    assert json.loads((tmp_path / "run" / "run.json").read_text())["job"]["measures"] == [f"{__name__}:counted"]


def counted(asked: Question) -> Scored:
    return Scored({"rows": float(len(asked.index))}, {})


def test_who_never_looks_scores_what_can_be_counted(planned: Plan, data: Dataset) -> None:
    train, test = planned.split.train, planned.split.test
    blind = trivial("blind majority", data, train, test)
    yes = np.mean([data.texts("text/answer")[int(i)] == "yes" for i in test])
    assert yes <= blind["exact"] <= yes + 0.3 and 0 <= blind["accuracy"] < 0.4 and blind["cider"] >= 0
    mean = trivial("mean box", data, train, test)["recall@1"]
    assert mean == 0.0  # between two places there is none
    blur = trivial("mean image", data, train, test)
    assert blur["r-precision"] <= 0.3 and blur["frechet"] > 0.1 and blur["distance"] > 0.1
    assert 0 < trivial("random order", data, train, test)["r@1"] < 0.5
    with pytest.raises(SensoriumError, match="trivial predictor 'mean bax'; did you mean 'mean box'"):
        trivial("mean bax", data, train, test)
