"""Papers take shared starts by name: frozen ones, copies, and towers that are trained on."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from sensorium.blocks.two_tower import TwoTower
from sensorium.core import SensoriumError, Tokens
from sensorium.data.dataset import Dataset
from sensorium.lab import bases, starts
from sensorium.run.plan import Job, plan
from sensorium.run.runs import execute, key_of, load

from ..papers.conftest import SCRATCH, squares

PAIR = "pair-encoder"
PAPER = '''
"""A head over the words of a start."""
from dataclasses import dataclass
from torch import nn
from sensorium.blocks.two_tower import TwoTower, contrast, image_text
from sensorium.core import Ids, Tokens, Tower

NEEDS = {{"image": "image", "text": "ids"}}
PARTS = {{"head": "build"}}
CLAIMS = {{}}
BASES = {bases}


@dataclass(frozen=True)
class Config:
    start: str = "pair-encoder"


class Words(Tower):
    dim = 64

    def __init__(self, start):
        super().__init__()
        self.start = start

    def forward(self, value):
        return value if isinstance(value, Tokens) else self.start.latent({{"text": value}}, "text")


def build(config, fields, bases):
    towers = image_text(bases)
    if config.start:
        towers["text"] = Words(bases.{take}(config.start))
    return TwoTower(towers, 16, terms=contrast)
'''


@pytest.fixture(autouse=True, scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with pytest.MonkeyPatch.context() as patch:
        path = tmp_path_factory.mktemp("home")
        patch.setenv("SENSORIUM_HOME", str(path))
        yield path


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return Dataset(squares(tmp_path_factory.mktemp("data") / "squares"))


def job(folder: Path, names: Mapping[str, str], take: str = "get", **config: str) -> Job:
    file = folder / "mine.py"
    file.write_text(textwrap.dedent(PAPER.format(bases=dict(names), take=take)))
    return Job(str(file), "", SCRATCH, 1e-2, 24, 0, config=config, batch=12)


def test_a_run_from_a_start_reads_its_ids_and_saves_none_of_its_weights(data: Dataset, tmp_path: Path) -> None:
    asked = job(tmp_path, {PAIR: "ids"})
    execute(asked, data, tmp_path / "run")
    made, of = load(tmp_path / "run"), starts.opened(PAIR)
    words = of.tokenizer
    assert words is not None and made.tokenizer is not None
    assert made.tokenizer.get_vocab() == words.get_vocab() and made.fields["text"].vocab == of.fields["text"].vocab
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert record["job"]["bases"] == {PAIR: of.sha}
    assert not any(name.startswith("towers.text") for name in made.method.state_dict())
    assert isinstance(made.method, TwoTower) and isinstance(of.method, TwoTower)
    want = starts.tower(PAIR, "text", "tokens").tokenise(data.texts("text"))  # type: ignore[misc]
    found = made.method.latent({"text": want}, "text")
    assert torch.equal(found.x, of.method.latent({"text": want}, "text").x)
    stored = plan(asked, data).rows.columns["text"].to("cpu")
    assert isinstance(stored, Tokens)
    torch.testing.assert_close(stored.x[stored.mask], found.x[want.mask])


def test_a_copy_is_trained_and_saved(data: Dataset, tmp_path: Path) -> None:
    execute(job(tmp_path, {PAIR: "ids"}, "copy"), data, tmp_path / "run")
    saved, first = load(tmp_path / "run").method.state_dict(), starts.opened(PAIR).method.state_dict()
    copied = {k.removeprefix("towers.text.start."): v for k, v in saved.items() if k.startswith("towers.text.start.")}
    assert set(copied) == set(first)
    assert any(not torch.equal(v, first[k]) for k, v in copied.items() if k.startswith("towers.text"))


def test_weights_other_than_those_a_run_began_from_are_refused(data: Dataset, tmp_path: Path) -> None:
    asked = job(tmp_path, {PAIR: "ids"})
    execute(asked, data, tmp_path / "run")
    path = tmp_path / "run" / "run.json"
    path.write_text(path.read_text().replace(starts.opened(PAIR).sha, "0" * 16))
    with pytest.raises(SensoriumError, match=f"'{PAIR}' has weights .* here; this run began from 0000000000000000"):
        load(tmp_path / "run")
    assert key_of(asked, data.fingerprint) != key_of(replace(asked, bases={PAIR: "0" * 16}), data.fingerprint)


def test_a_run_without_a_start_says_nothing_of_any(data: Dataset, tmp_path: Path) -> None:
    execute(Job("baseline/clip", "", SCRATCH, 1e-2, 24, 0, batch=12), data, tmp_path / "run")
    assert "bases" not in json.loads((tmp_path / "run" / "run.json").read_text())["job"]


@pytest.mark.parametrize(
    ("names", "start", "why"),
    [
        ({"pair-encodr": ""}, PAIR, "unknown base 'pair-encodr'; did you mean 'pair-encoder'"),
        ({PAIR: ""}, "pair-encodr", "unknown base 'pair-encodr'; did you mean 'pair-encoder'"),
        ({}, PAIR, "base 'pair-encoder' is taken, but not named in BASES"),
        ({PAIR: "id"}, PAIR, "base 'pair-encoder' is asked for as 'id'; did you mean 'ids'"),
    ],
)
def test_a_slip_in_a_name_is_told(
    data: Dataset, tmp_path: Path, names: Mapping[str, str], start: str, why: str
) -> None:
    with pytest.raises(SensoriumError, match=why):
        plan(job(tmp_path, names, start=start), data)


def test_a_missing_start_is_told_and_an_optional_one_only_where_it_is_taken(
    data: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(starts.STARTS, "later", starts.STARTS[PAIR])  # type: ignore[misc]
    with pytest.raises(
        SensoriumError, match="'later' has no weights here; make them with: sensorium bases train later"
    ):
        plan(job(tmp_path, {"later": ""}, start=""), data)
    assert plan(job(tmp_path, {"later": "optional"}, start=""), data).tokenizer is not None
    with pytest.raises(SensoriumError, match="make them with: sensorium bases train later"):
        plan(job(tmp_path, {"later": "optional"}, start="later"), data)


def test_ids_come_from_one_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(starts.STARTS, "other", starts.STARTS[PAIR])  # type: ignore[misc]
    with pytest.raises(SensoriumError, match="ids of 'pair-encoder' and 'other'; expected those of one base"):
        bases.tokeniser({PAIR: "ids", "other": "ids"}, {})
    assert bases.tokeniser({PAIR: ""}, SCRATCH) is None


def test_towers_can_be_trained_on_from_a_start(data: Dataset, tmp_path: Path) -> None:
    names = bases.choose(f"{PAIR}/trained")
    assert names == {"image": f"{PAIR}/trained", "text": f"{PAIR}/trained"}
    asked = Job("baseline/clip", "", names, 1e-2, 24, 0, batch=12)
    begun, first = plan(asked, data).method.state_dict(), starts.opened(PAIR).method.state_dict()
    towers = [k for k in first if k.startswith("towers.")]
    assert towers and all(torch.equal(begun[k], first[k]) for k in towers)
    execute(asked, data, tmp_path / "run")
    made = load(tmp_path / "run")
    assert any(not torch.equal(made.method.state_dict()[k], first[k]) for k in towers)
    assert made.record["job"]["bases"] == {PAIR: starts.opened(PAIR).sha}
    with pytest.raises(SensoriumError, match="unknown tower 'pair/trained'"):
        bases.open_bases({"image": "pair/trained"}, {})


def test_a_need_is_looked_up_in_the_start_that_speaks_of_it() -> None:
    towers = {"image": PAIR, "text": f"{PAIR}/trained"}
    assert bases.lacks(towers, ["binding in pictures"]) == []
    assert bases.lacks(SCRATCH, ["binding in texts"], [PAIR])[0].startswith(f"base {PAIR} lacks binding in texts")
    assert bases.lacks(SCRATCH, ["anything"]) == []
    with pytest.raises(SensoriumError, match="does not speak of 'binding in text'; did you mean 'binding in texts'"):
        bases.lacks(towers, ["binding in text"])


SAYS = '''
"""A picture before a language model that is not trained."""
from dataclasses import dataclass
from sensorium.blocks.prefix_lm import PrefixLM, sayable
from sensorium.blocks.shared import decoder_of

NEEDS = {"image": "image", "text": "ids"}
PARTS = {"frozen decoder": "build"}
CLAIMS = {}
BASES = {"causal-lm": "ids"}


@dataclass(frozen=True)
class Config:
    pass


def build(config, fields, bases):
    return PrefixLM(bases.encoder("image", "tokens"), decoder_of(bases.get("causal-lm")), sayable(fields))
'''


def test_a_frozen_language_model_says_what_a_trained_eye_shows_it(data: Dataset, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(SAYS)
    asked = Job(str(tmp_path / "mine.py"), "", SCRATCH, 1e-2, 12 * 40, 0, batch=12, task="caption")
    execute(asked, data, tmp_path / "run")
    steps = [json.loads(line)["terms"]["text"] for line in (tmp_path / "run" / "steps.jsonl").read_text().splitlines()]
    assert sum(steps[-5:]) < 0.8 * sum(steps[:5])
    made = load(tmp_path / "run")
    assert {name.partition(".")[0] for name in made.method.state_dict()} == {"image", "projector"}
    assert made.tokenizer is not None
    words = starts.opened("causal-lm").tokenizer
    assert words is not None and made.tokenizer.get_vocab() == words.get_vocab()
