"""Claims end to end on a small set: a planted effect is found, no effect is not, and nothing runs twice."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest

from sensorium.core import Above, Arm, Budget, Cheaper, Claim, NotBelow, SensoriumError
from sensorium.lab.sets import ONE, RECIPES, Recipe
from sensorium.run import claims
from sensorium.run.claims import Reproduction, TimeUp, by_use, claims_of, gate_of, merit, standing
from sensorium.run.ledger import latest

PAPER = '''
"""A paper of nobody's: the contrast of clip, and claims about the width of its space."""

from sensorium.core import Above, Arm, Budget, Cheaper, Claim, Keeps, NotBelow, Sooner, Trend
from sensorium.papers.baseline.clip import NEEDS, Config, build

PARTS = {}
WIDTHS = {"ours": 32, "middle": 16, "baseline": 2}
ARMS = {name: Arm(paper="baseline/clip", config={"dim": dim, "dropout": 0.0}) for name, dim in WIDTHS.items()}
SAYS = [
    Above("r@1", 0.2),
    NotBelow("r@1", 0.1, ours="baseline", baseline="ours"),
    Keeps("r@1", 0.5, ours="middle", baseline="ours", floor="baseline"),
    Sooner("r@1", 0.8, level=0.3),
    Trend("r@1", 0.2, ("baseline", "middle", "ours")),
    Cheaper("parameters", 0.99, ours="baseline", baseline="ours"),
    Cheaper("samples", 0.9),
]


def claim(says, data, arms=ARMS, rates=(3e-3,)):
    return Claim(
        arms=arms,
        says=says,
        beats="random order",
        rates=rates,
        budget=Budget(9600),
        data=data,
        towers="scratch",
        batch=64,
    )


RUN = {"ours": Arm(run=f"{__file__}:many"), "baseline": Arm(run=f"{__file__}:few")}


def many(trial):
    return {"found": 2.0 + trial.rng.number("noise") % 10 / 100}


def once_ours(trial):
    return many(trial)


def once_baseline(trial):
    return few(trial)


def few(trial):
    return {"found": 1.0 + trial.rng.number("noise") % 7 / 100}


CLAIMS = {
    "planted": claim(SAYS, "world/one"),
    "null": claim(SAYS, "world/one-null"),
    "unique": claim([Above("r@1", 0.2)], "world/one"),
    "timed": claim([Above("found", 0.5)], "world/one", {name: Arm(run=f"{__file__}:once_{name}") for name in RUN}),
    "counted": claim([Above("found", 0.5)], "world/one", RUN),
    "own run": claim([Above("found", 0.5)], "world/one", RUN | {"ours": Arm(run="clip:measure")}),
    "unknown arm": claim([NotBelow("r@1", 0.05, baseline="clip")], "world/one"),
}
'''


@pytest.fixture(scope="module")
def paper(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("papers") / "widths.py"
    path.write_text(PAPER)
    return str(path)


@pytest.fixture(autouse=True)
def worlds(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two sets of one object a picture: in the null one, the caption says nothing of the picture."""
    monkeypatch.setenv("SENSORIUM_HOME", str(tmp_path_factory.getbasetemp() / "claims-home"))
    one = Recipe(rows=(2000, 200, 300), config=ONE)
    null = replace(one, config=replace(ONE, null="pair"))
    monkeypatch.setattr("sensorium.lab.sets.RECIPES", dict(RECIPES) | {"world/one": one, "world/one-null": null})


def measure(paper: str, claim: str, tier: str = "lab") -> tuple[claims.Reproduced, list[str]]:
    said: list[str] = []
    done = Reproduction(paper, claim, tier, workers=2, say=said.append, progress=lambda *_: None).run()
    return done, said


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_a_planted_effect_is_found_by_every_statement_and_its_row_kept(paper: str) -> None:
    done, said = measure(paper, "planted")
    row = done.row
    words = ["holds", "fails", "holds", "holds", "holds", "holds", "fails"]
    assert [v.verdict for v in row.verdicts] == words, [v.sentence for v in row.verdicts]
    kept = latest(paper, "planted", "lab")
    assert kept is not None and replace(kept, paper=row.paper) == row and row.verdict == "fails"
    assert set(row.arms) == {"ours", "middle", "baseline"} and len(row.arms["ours"].scores) == len(row.seeds)
    runs = [line for line in said if line.startswith(("tuning", "final"))]
    again, quiet = measure(paper, "planted")
    assert runs and not [line for line in quiet if line.startswith(("tuning", "final"))]
    assert [v.estimate for v in again.row.verdicts] == [v.estimate for v in row.verdicts]
    assert done.curves["ours"][0]["samples"][-1] == 9600


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_what_was_planted_is_not_found_in_a_null_world(paper: str) -> None:
    above, harm, kept, sooner, trend, cheaper, equal = measure(paper, "null")[0].row.verdicts
    for effect in (above, kept, sooner, trend):
        assert effect.verdict != "holds", effect.sentence
    assert harm.verdict != "fails", harm.sentence
    assert cheaper.verdict == "holds" and equal.verdict == "fails"  # cost is counted, whatever a world says


@pytest.mark.slow
def test_smoke_runs_every_arm_and_judges_nothing(paper: str) -> None:
    done, _ = measure(paper, "planted", "smoke")
    assert done.row.samples == 20 * 64 and {v.verdict for v in done.row.verdicts} == {"not tested"}


def test_what_trains_nothing_is_run_once_per_seed_and_judged(paper: str) -> None:
    done, said = measure(paper, "counted")
    (verdict,) = done.row.verdicts
    assert verdict.verdict == "holds" and 0.9 < verdict.estimate < 1.1, verdict.sentence
    assert len({s["found"] for s in done.row.arms["ours"].scores}) > 1 and done.row.arms["ours"].rate is None
    assert sum(line.startswith("final") for line in said) == 2 * len(done.row.seeds)
    _, quiet = measure(paper, "counted")
    assert not [line for line in quiet if line.startswith("final")]


def reproduction(paper: str, claim: str, **changes: Any) -> Reproduction:
    return Reproduction(paper, claim, "lab", workers=1, say=lambda line: None, progress=lambda *_: None, **changes)


def test_no_run_begins_after_the_time_that_was_given(paper: str) -> None:
    late = reproduction(paper, "timed", until=0.0)
    with pytest.raises(TimeUp):
        late.run()
    assert latest(paper, "timed", "lab") is None and late.stale() == ["not measured"]
    done = reproduction(paper, "timed").run()
    assert done.row.verdict == "holds" and reproduction(paper, "timed").stale() == []


def test_claims_whose_arms_serve_others_come_first(paper: str) -> None:
    lonely, *shared = (reproduction(paper, claim) for claim in ("timed", "planted", "unique", "null"))
    assert {one.name for one in by_use([lonely, *shared])[:2]} == {"planted", "unique"}


@pytest.mark.parametrize(
    ("claim", "tier", "words"),
    [
        ("plantd", "lab", "has no claim 'plantd'; did you mean 'planted'"),
        ("planted", "lap", "unknown tier 'lap'; did you mean 'lab'"),
        ("unknown arm", "lab", "unknown arm 'clip'"),
        ("own run", "lab", "clip has no function 'measure' to run"),
    ],
)
def test_what_is_not_there_is_one_line(paper: str, claim: str, tier: str, words: str) -> None:
    with pytest.raises(SensoriumError, match=words):
        Reproduction(paper, claim, tier, workers=1, say=print, progress=lambda *_: None)


def test_the_trivial_predictor_is_to_be_beaten_in_the_direction_of_the_statement() -> None:
    assert gate_of(Above("fid", 0.1, higher=False), "mean image", {"fid"}) == Above(
        "fid", 0.0, baseline="mean image", higher=False
    )
    assert gate_of(Above("r@1", 0.1), "random order", {"r@1"}) == Above("r@1", 0.0, baseline="random order")
    assert gate_of(Above("fid", 0.1), "random order", {"r@1"}) is gate_of(Cheaper("cpu_s", 1), "", {""}) is None


def test_a_rate_is_chosen_on_what_is_first_said_of_the_arm_or_on_what_the_claim_says() -> None:
    arms = {"ours": Arm(), "baseline": Arm(paper="baseline/clip")}
    says = [Above("accuracy", 0.1), NotBelow("cer", 0.02, higher=False), Cheaper("cpu_s", 2.0)]
    one = Claim(arms=arms, says=says, beats="", rates=(1e-3,), budget=Budget(64), chosen={"baseline": "cer"})
    found = {"accuracy": 0.7, "cer": 0.2}
    assert [merit(one, arm, found) for arm in arms] == [0.7, -0.2]
    assert merit(one, "ours", {"cer": 0.2}) == merit(one, "baseline", {"cer": math.nan}) == -math.inf
    with pytest.raises(SensoriumError, match=r"'base'.*did you mean 'baseline'"):
        replace(one, chosen={"base": "cer"})
    with pytest.raises(SensoriumError, match="no statement is about 'wer'"):
        replace(one, chosen={"ours": "wer"})


def test_a_baseline_claims_nothing() -> None:
    with pytest.raises(SensoriumError, match="clip makes no claim"):
        claims_of("baseline/clip")


@pytest.mark.slow
def test_standing_names_every_claim_of_a_family() -> None:
    found = standing("align")
    assert {"concept-negatives", "filip", "jina-clip-v2"} <= {s.paper for s in found}
    with pytest.raises(SensoriumError, match="unknown family 'alin'; did you mean 'align'"):
        standing("alin")
