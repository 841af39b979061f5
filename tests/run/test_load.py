"""Papers by name or file, and their settings: what is given, what is expected, the nearest name."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from sensorium.core import Paper, SensoriumError
from sensorium.run.load import NAMES, attribute, config, label, paper, papers, resolve, source_hash

MINE = '''"""Mine."""
from dataclasses import dataclass

NEEDS = {"image": "image"}
PARTS = {"all of it": "build"}
CLAIMS = {}


@dataclass(frozen=True)
class Config:
    dim: int = 4


def build(config, fields, bases):
    return config.dim
'''


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    path = tmp_path / "mine.py"
    path.write_text(MINE)
    return path


def test_every_slug_is_a_file_below_papers() -> None:
    assert {"filip", "brivl", "jina-clip-v2", "concept-negatives", "baseline/clip"} <= set(papers())
    assert papers()["jina-clip-v2"] == "sensorium.papers.align.jina_clip_v2"
    assert papers()["baseline/clip"] == "sensorium.papers.baseline.clip"


@pytest.mark.parametrize(
    ("typed", "canonical"),
    [("filip", "filip"), ("align/filip", "filip"), ("clip", "baseline/clip"), ("baseline/clip", "baseline/clip")],
)
def test_a_slug_may_come_with_its_family_or_without(typed: str, canonical: str) -> None:
    assert resolve(typed) == canonical
    assert label(typed) == canonical.split("/")[-1]
    assert paper(typed) is paper(canonical)


@pytest.mark.parametrize(
    ("typed", "near"), [("flip", "filip"), ("brivil", "brivl"), ("baseline/rigde", "baseline/ridge"), ("asfi", "asif")]
)
def test_an_unknown_slug_is_answered_with_the_nearest(typed: str, near: str) -> None:
    with pytest.raises(SensoriumError) as refused:
        resolve(typed)
    assert str(refused.value) == f"unknown paper {typed!r}; did you mean {near!r}?"


def test_a_slug_near_nothing_lists_what_there_is() -> None:
    with pytest.raises(SensoriumError, match=r"unknown paper 'zzzzzzzzz'; expected one of aigc-survey, asif"):
        resolve("zzzzzzzzz")


def test_a_users_file_is_a_paper(mine: Path) -> None:
    module = paper(str(mine))
    assert all(hasattr(module, n) for n in NAMES)
    assert module.build(module.Config(dim=7), {}, cast(Any, None)) == 7
    assert resolve(str(mine)) == str(mine) and label(str(mine)) == "mine"


def test_a_users_file_is_read_anew_when_it_changed(mine: Path) -> None:
    before = source_hash(str(mine))
    assert paper(str(mine)).Config().dim == 4
    mine.write_text(MINE.replace("dim: int = 4", "dim: int = 55"))
    assert paper(str(mine)).Config().dim == 55
    assert source_hash(str(mine)) != before


def test_a_missing_file_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(SensoriumError, match=r"^no such file: .*nowhere\.py$"):
        paper(str(tmp_path / "nowhere.py"))


@pytest.mark.parametrize("name", NAMES)
def test_a_file_without_a_name_of_the_protocol_is_told_which(mine: Path, name: str) -> None:
    mine.write_text(MINE + f"\ndel {name}\n")
    with pytest.raises(SensoriumError, match=f"lacks {name}; a paper needs Config, NEEDS, PARTS, CLAIMS, build"):
        paper(str(mine))


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("1 / 0\n", "ZeroDivisionError: division by zero"),
        ("def build(:\n", "SyntaxError"),
        ("import no_such_module_at_all\n", "ModuleNotFoundError: No module named 'no_such_module_at_all'"),
    ],
)
def test_a_file_that_raises_on_import_says_what(mine: Path, source: str, words: str) -> None:
    mine.write_text(source)
    with pytest.raises(SensoriumError, match="does not import") as refused:
        paper(str(mine))
    assert words in str(refused.value) and str(mine) in str(refused.value)
    assert refused.value.__cause__ is not None


def test_a_papers_hash_is_that_of_its_file() -> None:
    assert source_hash("filip") == source_hash("align/filip") != source_hash("brivl")
    assert len(source_hash("filip")) == 16


# Settings


@dataclass(frozen=True)
class Config:
    dim: int = 256
    dropout: float = 0.3
    deep: bool = False
    name: str = "plain"
    prefixes: tuple[int, ...] = (256, 64)


TYPED = cast(Paper, SimpleNamespace(Config=Config))


@pytest.mark.parametrize(
    ("name", "given", "value"),
    [
        ("dim", "8", 8), ("dim", 8, 8), ("dropout", "1e-1", 0.1), ("dropout", 1, 1.0), ("deep", "true", True),
        ("deep", "False", False), ("deep", True, True), ("name", "other", "other"), ("prefixes", "8,4", (8, 4)),
        ("prefixes", [8, 4], (8, 4)), ("prefixes", "8", (8,)),
    ],
)  # fmt: skip
def test_settings_are_read_as_the_type_of_their_default(name: str, given: Any, value: Any) -> None:
    found = getattr(config(TYPED, {name: given}), name)
    assert found == value and type(found) is type(value)


def test_no_settings_are_the_defaults() -> None:
    assert config(TYPED, {}) == Config()


@pytest.mark.parametrize(
    ("name", "given"),
    [("dim", "eight"), ("dim", "2.5"), ("dropout", "low"), ("deep", "perhaps"), ("prefixes", "8,x"), ("prefixes", ""),
     ("dim", 2.5), ("dim", None), ("prefixes", 8)],
)  # fmt: skip
def test_a_setting_of_another_type_is_refused_by_name(name: str, given: Any) -> None:
    with pytest.raises(SensoriumError, match=f"setting {name}={given!r} is not of type"):
        config(TYPED, {name: given})


@pytest.mark.parametrize(("typed", "near"), [("dims", "dim"), ("droput", "dropout")])
def test_an_unknown_setting_is_answered_with_the_nearest(typed: str, near: str) -> None:
    with pytest.raises(SensoriumError, match=f"^unknown setting '{typed}'; did you mean '{near}'\\?$"):
        config(TYPED, {typed: 1})


def test_settings_of_a_real_paper() -> None:
    assert config(paper("jina-clip-v2"), {"prefixes": "32,8"}).prefixes == (32, 8)


def test_an_attribute_by_name() -> None:
    assert attribute("sensorium.run.load:papers") is papers
