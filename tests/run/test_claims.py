"""Claims end to end on a small set: a planted effect is found, no effect is not, and nothing runs twice."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from sensorium.core import SensoriumError
from sensorium.run import claims
from sensorium.run.claims import Reproduction, claims_of, standing
from sensorium.run.ledger import latest

from ..papers.conftest import squares

PAPER = '''
"""A paper of nobody's: the contrast of clip, and claims about its width and its steps."""

from sensorium.core import Above, Arm, Budget, Cheaper, Claim, NotBelow
from sensorium.papers.baseline.clip import NEEDS, Config, build

PARTS = {}


def claim(says, ours, baseline, rates=(3e-3,)):
    arms = {"ours": Arm(paper="baseline/clip", config=ours), "baseline": Arm(paper="baseline/clip", config=baseline)}
    return Claim(arms, says, "random order", rates, Budget(1920), 3, "squares", "scratch", 32)


WIDE, FOUR = {"dim": 32, "dropout": 0.0}, {"dim": 4, "dropout": 0.0}
CLAIMS = {
    "planted": claim([Above("r@10", 0.05), Cheaper("samples", 1.0)], WIDE, FOUR),
    "null": claim([Above("r@10", 0.05)], WIDE, {**WIDE}),
    "own run": Claim(
        {"ours": Arm(run="clip:measure")}, [Cheaper("samples", 1.0, baseline="ours")], "random order", (), Budget(1)
    ),
    "unknown arm": claim([NotBelow("r@10", 0.05, baseline="clip")], WIDE, FOUR),
}
'''


@pytest.fixture(scope="module")
def paper(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("papers") / "widths.py"
    path.write_text(PAPER)
    return str(path)


@pytest.fixture(autouse=True)
def sets(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    folder = tmp_path_factory.getbasetemp() / "squares"
    if not folder.is_dir():
        squares(folder, rows=80)
    monkeypatch.setenv("SENSORIUM_HOME", str(tmp_path_factory.getbasetemp() / "claims-home"))
    real = claims.attribute

    def attribute(name: str) -> object:
        return (lambda which: folder) if name == claims.SETS else real(name)

    monkeypatch.setattr(claims, "attribute", attribute)


def measure(paper: str, claim: str, tier: str = "lab") -> tuple[claims.Reproduced, list[str]]:
    said: list[str] = []
    done = Reproduction(paper, claim, tier, workers=2, say=said.append, progress=lambda *_: None).run()
    return done, said


@pytest.mark.slow
def test_a_planted_effect_is_found_and_its_row_kept(paper: str) -> None:
    done, said = measure(paper, "planted")
    row = done.row
    assert [v.verdict for v in row.verdicts] == ["holds", "holds"], [v.sentence for v in row.verdicts]
    kept = latest(paper, "planted", "lab")
    assert kept is not None and replace(kept, paper=row.paper) == row and row.verdict == "holds"
    assert set(row.arms) == {"ours", "baseline"} and len(row.arms["ours"].scores) == len(row.seeds)
    runs = [line for line in said if line.startswith(("tuning", "final"))]
    again, quiet = measure(paper, "planted")
    assert runs and not [line for line in quiet if line.startswith(("tuning", "final"))]
    assert [v.estimate for v in again.row.verdicts] == [v.estimate for v in row.verdicts]
    assert done.curves["ours"][0]["samples"][-1] == 1920


@pytest.mark.slow
def test_equal_arms_are_not_told_apart(paper: str) -> None:
    done, _ = measure(paper, "null")
    assert done.row.verdict in ("inconclusive", "fails")


@pytest.mark.slow
def test_smoke_runs_every_arm_and_judges_nothing(paper: str) -> None:
    done, _ = measure(paper, "planted", "smoke")
    assert done.row.samples == 20 * 32 and {v.verdict for v in done.row.verdicts} == {"not tested"}


@pytest.mark.parametrize(
    ("claim", "tier", "words"),
    [
        ("plantd", "lab", "has no claim 'plantd'; did you mean 'planted'"),
        ("planted", "lap", "unknown tier 'lap'; did you mean 'lab'"),
        ("unknown arm", "lab", "unknown arm 'clip'"),
        ("own run", "lab", "arm 'ours' names a run, which reproduce does not carry out yet"),
    ],
)
def test_what_is_not_there_is_one_line(paper: str, claim: str, tier: str, words: str) -> None:
    with pytest.raises(SensoriumError, match=words):
        Reproduction(paper, claim, tier, workers=1, say=print, progress=lambda *_: None)


def test_a_baseline_claims_nothing() -> None:
    with pytest.raises(SensoriumError, match="clip makes no claim"):
        claims_of("baseline/clip")


def test_standing_names_every_claim_of_a_family() -> None:
    found = standing("align")
    assert {"concept-negatives", "filip", "jina-clip-v2"} <= {s.paper for s in found}
    with pytest.raises(SensoriumError, match="unknown family 'alin'; did you mean 'align'"):
        standing("alin")
