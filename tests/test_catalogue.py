"""The catalogue: complete, fresh, readable without torch."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest

from sensorium import catalogue

REPO = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def index() -> ModuleType:
    spec = importlib.util.spec_from_file_location("index_tool", REPO / "tools" / "index.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_paper_has_a_row_with_its_number() -> None:
    papers = [r for r in catalogue.rows() if r.kind != "baseline"]
    assert len(papers) == 216
    assert {r.n for r in papers} == set(range(1, 217))
    assert len({r.slug for r in papers}) == 216
    assert all(r.title and r.mechanism and r.claim and r.evidence for r in papers)


def test_every_file_has_a_row_and_every_path_a_file() -> None:
    package = Path(catalogue.__file__).parent
    files = {p.relative_to(package).as_posix() for p in (package / "papers").glob("*/*.py") if p.name != "__init__.py"}
    assert {r.path for r in catalogue.rows() if r.path} == files


def test_index_is_fresh() -> None:
    done = subprocess.run([sys.executable, REPO / "tools" / "index.py", "--check"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_status_follows_the_file() -> None:
    filip = catalogue.find("filip")
    assert filip is not None
    assert (filip.path, filip.n > 0, filip.needs) == ("papers/align/filip.py", True, {"image": "image", "text": "text"})
    for row in catalogue.rows():
        left = [f"{claim} {word}" for claim, word in row.verdicts.items() if word in ("not tested", "not measured")]
        if {*row.verdicts.values()} <= {"not measured"}:
            left = ["claim not measured"]
        parts = [row.partial, *left]
        missing = "; ".join(part for part in parts if part)
        found = ", ".join(f"{claim} {verdict}" for claim, verdict in row.verdicts.items())
        expected = "planned" if not row.path else "baseline" if row.kind == "baseline" else f"done: {found}"
        expected = f"partial: {missing}" if expected.startswith("done") and missing else expected
        assert row.status == expected
        assert bool(row.parts) == bool(row.path)


@pytest.mark.parametrize("name", ["clip", "baseline/clip"])
def test_baselines_are_found_with_and_without_their_folder(name: str) -> None:
    row = catalogue.find(name)
    assert row is not None
    assert (row.slug, row.n, row.kind) == ("baseline/clip", 0, "baseline")
    assert row.title.startswith("CLIP: Learning")


def test_unknown_names() -> None:
    assert catalogue.find("filipp") is None
    assert catalogue.nearest_slug("filipp") == "filip"
    assert catalogue.nearest_slug("align/filipp") == "filip"
    assert catalogue.nearest_slug("qqqqqqqq") is None


GOOD = '"""Title.\n\nMore."""\nNEEDS: dict[str, str] = {"image": "image"}\nPARTS = {"a part": "f"}\ndef f(): ...\n'


def test_facts_are_read_not_run(index: ModuleType) -> None:
    read = index.facts(GOOD + 'PARTIAL = "the rest"\nraise SystemExit("imported")\n')
    assert read == {
        "doc": "Title.\n\nMore.",
        "needs": {"image": "image"},
        "parts": {"a part": "f"},
        "partial": "the rest",
    }


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (('"""Title.\n\nMore."""', ""), "no docstring"),
        (('{"image": "image"}', "dict(image=1)"), "NEEDS must be a literal"),
        (('"image": "image"', '"image": "picture"'), "'picture'; expected a kind"),
        (('"image": "image"', '"image": "image maybe"'), "'image maybe'; expected a kind"),
        (('"f"', '"g.h"'), "PARTS names g.h"),
        (('{"a part": "f"}', "{}"), "PARTS not empty"),
        (("def f(): ...", 'def f(): ...\nPARTIAL = ""'), "PARTIAL must be a text"),
    ],
)
def test_a_wrong_paper_is_refused(index: ModuleType, change: tuple[str, str], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        index.facts(GOOD.replace(*change))


def test_a_file_without_a_row_is_refused(index: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "papers" / "align").mkdir(parents=True)
    (tmp_path / "papers.yaml").write_text("[]")
    (tmp_path / "papers" / "align" / "stray.py").write_text(GOOD)
    with pytest.raises(ValueError, match=r"papers/align/stray\.py"):
        index.build(tmp_path)


def test_one_claim_of_two_that_was_measured_does_not_make_a_paper_done() -> None:
    filip = catalogue.find("filip")
    assert filip is not None
    row = replace(filip, partial=None, verdicts={"cost": "holds", "transfer": "not measured"})
    assert row.status == "partial: transfer not measured"
    assert replace(row, verdicts={"cost": "holds", "transfer": "fails"}).status == "done: cost holds, transfer fails"


def test_claims_are_read_from_the_file(index: ModuleType) -> None:
    assert index.claims('CLAIMS = {"a": Claim(x), "b c": made("d")}') == ["a", "b c"]
    assert index.claims("CLAIMS: dict[str, Claim] = {}") == index.claims("OTHER = {'a': 1}") == []


def test_the_newest_row_of_the_deepest_tier_speaks_for_a_claim(index: ModuleType, tmp_path: Path) -> None:
    lines = [
        {"claim": "a", "tier": "lab", "date": "2026-02-01", "verdicts": [{"verdict": "holds"}]},
        {"claim": "a", "tier": "lab", "date": "2026-03-01", "verdicts": [{"verdict": "holds"}, {"verdict": "fails"}]},
        {"claim": "b", "tier": "deep", "date": "2026-01-01", "verdicts": [{"verdict": "inconclusive"}]},
        {"claim": "b", "tier": "lab", "date": "2026-09-01", "verdicts": [{"verdict": "holds"}]},
        {"claim": "c", "tier": "smoke", "date": "2026-09-01", "verdicts": [{"verdict": "not tested"}]},
    ]
    path = tmp_path / "x.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert index.verdicts(path) == {"a": "fails", "b": "inconclusive"}
    assert index.verdicts(tmp_path / "none.jsonl") == {}


def test_every_shipped_row_of_the_ledger_parses() -> None:
    from sensorium.run.ledger import SHIPPED, rows

    for path in sorted(SHIPPED.glob("*/*.jsonl")):
        assert rows(path.stem), path
