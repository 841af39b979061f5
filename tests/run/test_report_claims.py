"""Pages of claims: complete, escaped, offline; every statement has its interval or says that there is none."""

from __future__ import annotations

import json
import math
import re
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import altair
import numpy as np
import pytest

from sensorium.core import Above, Arm, Budget, Cheaper, Claim, Keeps, NotBelow, SensoriumError, Sooner, Statement, Trend
from sensorium.run import load
from sensorium.run.claims import Reproduced, Standing
from sensorium.run.ledger import Measured, Row
from sensorium.run.report import claim_charts as charts
from sensorium.run.report.claims import claim_page, evidence_page, write, write_claim
from sensorium.run.statements import Verdict, judge, record

from .test_report import HOSTILE, _Page

WORDS = ("holds", "fails", "inconclusive", "no headroom", "not learned", "not measured")
SAYS: tuple[Statement, ...] = (
    Above("r@1", 0.02),
    NotBelow("r@10", 0.05),
    Keeps("r@10", 0.9),
    Sooner("r@1", 0.5),
    Trend("r@1", 0.05, ("without mixing", "baseline", "ours")),
    Cheaper("parameters", 0.5),
    Above("median rank", 0.0, higher=False),
)
MEANS = {"ours": 0.5, "baseline": 0.42, "without mixing": 0.36}
TRIVIAL = [{"r@1": 0.01, "r@10": 0.1}] * 5


def _measured(arm: str, seeds: int) -> tuple[Measured, list[dict[str, list[float]]]]:
    """An arm with made-up scores, and the learning curves of its seeds."""
    rng = np.random.Generator(np.random.Philox(list(MEANS).index(arm)))
    mean, ours = MEANS[arm], arm == "ours"
    scores = [
        {"r@1": mean + e, "r@10": 0.8 + mean / 5 + e, "median rank": 2 / mean + 10 * e}
        for e in map(float, rng.normal(0, 0.012, seeds))
    ]
    costs = [
        {"samples": 102_400.0, "cpu_s": 8.0 + ours * 4, "parameters": 2e5 if ours else 5e5, "peak_mb": 700.5}
    ] * seeds
    curves = [
        {
            "samples": [12_800.0 * i for i in range(1, 9)],
            "r@1": [s["r@1"] * (1 - math.exp(-i * (0.9 if ours else 0.4))) for i in range(1, 9)],
            "cpu_s": [i * c["cpu_s"] / 8 for i in range(1, 9)],
        }
        for s, c in zip(scores, costs, strict=True)
    ]
    return Measured(f"key-{arm}", 3e-3, scores, costs), curves


def _longer() -> dict[str, list[dict[str, list[float]]]]:
    """The baseline at one to three times its cost."""
    run = {
        "samples": [102_400.0, 153_600.0, 307_200.0],
        "r@1": [0.42, 0.47, 0.5],
        "r@10": [0.88, 0.9, 0.91],
        "median rank": [5.0, 4.5, 4.0],
    }
    return {"baseline": [{k: [v * (1 + 0.002 * s) for v in column] for k, column in run.items()} for s in range(5)]}


def _reproduced(says: Sequence[Statement] = SAYS, seeds: int = 5, **changed: Any) -> Reproduced:
    both = {arm: _measured(arm, seeds) for arm in MEANS}
    arms, curves = ({arm: pair[i] for arm, pair in both.items()} for i in (0, 1))
    runs = {arm: m.scores for arm, m in arms.items()}
    costs = {arm: m.costs for arm, m in arms.items()}
    facts: dict[str, Any] = {
        "paper": "fusemix",
        "claim": "mixing",
        "tier": "lab",
        "verdicts": [judge(s, runs, curves, costs, longer=_longer()) for s in says],
        "arms": arms,
        "samples": 102_400,
        "seeds": list(range(seeds)),
        "data": {"starter": "d1f2"},
        "bases": {"text": "minilm-9"},
        "versions": {"torch": "2.9.0"},
        "machine": "Linux x86_64, 2 cores, no GPU",
        "date": "2026-01-31T12:00:00+00:00",
        "seconds": 1120.5,
        "note": "",
    }
    row = Row(**{**facts, **changed})
    claim = Claim(
        arms={"ours": Arm(), "baseline": Arm(paper="baseline/clip"), "without mixing": Arm(config={"mix": 0.0})},
        says=list(says),
        beats="random order",
        rates=(3e-4, 1e-3),
        budget=Budget(102_400),
    )
    return Reproduced(row, claim, {"ours": "fusemix", "baseline": "clip", "without mixing": "without mixing"}, curves)


def _standings(count: int) -> list[Standing]:
    """Claims of every verdict, some stale, some never measured, of the papers that there are."""
    rng = np.random.Generator(np.random.Philox(7))
    of = {name: module.split(".")[2] for name, module in load.papers().items()}
    names = [*[n for n in of if of[n] == "align"][:5], *[n for n in of if of[n] == "baseline"][:4]]
    rows = _reproduced().row
    found = []
    for i in range(count):
        word = WORDS[i % len(WORDS)]
        name, claim = names[i % len(names)], f"claim number {i}"
        if word == "not measured":
            found.append(Standing(name, claim, None, ()))
            continue
        says = SAYS[i % len(SAYS)]
        estimate, half = (float(v) for v in (rng.lognormal(-1, 1), rng.uniform(0.01, 0.2)))
        verdict = Verdict(record(says), word, f"what {i} found", estimate, estimate - half, estimate + half, n=5)
        why = ["arm 'ours' has changed"] if i % 4 == 0 else []
        found.append(Standing(name, claim, replace(rows, paper=name, claim=claim, verdicts=[verdict]), why))
    return found


@lru_cache(maxsize=2)
def _parsed(page: str) -> _Page:
    return _Page(page)


def _specs(page: str) -> dict[str, dict[str, Any]]:
    """The charts that a page draws; each has its place on the page."""
    parsed = _parsed(page)
    found: dict[str, dict[str, Any]] = json.loads(parsed.scripts[0])
    assert [f"chart-{name}" for name in found] == [i for i in parsed.ids if i.startswith("chart-")]
    return found


def _words(page: str) -> str:
    return re.sub(r"\s+", " ", _parsed(page).words)


def _marks(spec: dict[str, Any]) -> list[dict[str, Any]]:
    """What a forest draws."""
    return list(spec["data"]["values"])


def _odd(index: int, **changed: Any) -> Reproduced:
    """A claim whose statement at `index` is another one."""
    found = _reproduced()
    verdicts = list(found.row.verdicts)
    verdicts[index] = replace(verdicts[index], **{"equal_cost": None} | changed)
    return replace(found, row=replace(found.row, verdicts=verdicts))


def _offline(page: str) -> None:
    parsed = _parsed(page)
    assert parsed.open == [] and len(set(parsed.ids)) == len(parsed.ids)
    assert len(parsed.scripts) == 5  # the specs, three vendored scripts, the starter: no hostile one
    assert all(re.fullmatch(r"#(claim|family)-[\w-]+", link) and link[1:] in parsed.ids for link in parsed.links)
    assert not re.search(r"(src|href|action|data)\s*=\s*[\"']?\s*(https?:)?//|url\(|@import", page.split("<script")[0])
    assert "default-src 'none'" in page
    assert "Infinity" not in parsed.scripts[0] and not {"nan", "inf", "NaN"} & set(parsed.words.split())


def test_a_claim_page_says_what_was_asked_found_tried_and_how_to_repeat_it() -> None:
    found = _reproduced(note="colour carries the effect")
    page = claim_page(found, TRIVIAL)
    _offline(page)
    words = _words(page)
    for word in (
        *("Data-Efficient Multimodal Fusion", "one shared coefficient", "mixup beats none, most with little data."),
        *("laboratory scale; not the paper's number", "▲ holds", "colour carries the effect", "random order"),
        *("rates 0.0003, 0.001;", "extended the grid for all arms: 0.003", "key-ours", "mix = 0.0", "baseline/clip"),
        *("starter d1f2", "text minilm-9", "torch 2.9.0", "Linux x86_64, 2 cores, no GPU", "1,120 CPU-seconds"),
        *("2026-01-31T12:00:00+00:00", "0, 1, 2, 3, 4", "102,400 samples per run"),
        *(v.sentence for v in found.row.verdicts),
        "sensorium reproduce fusemix --claim mixing --tier lab",
    ):
        assert word in words, word


def test_charts_are_valid_vega_lite() -> None:
    odd = _odd(0, low=-math.inf, high=math.inf)
    specs = [*_specs(claim_page(odd, TRIVIAL)).values(), *_specs(evidence_page(_standings(8))).values()]
    assert len(specs) > 15
    for spec in specs:
        altair.Chart.from_dict(spec, validate=True)


def test_every_kind_of_statement_is_drawn_with_its_interval_margin_and_equal_cost() -> None:
    found = _reproduced()
    specs = _specs(claim_page(found))
    for i, v in enumerate(found.row.verdicts):
        spec = specs[f"statement-{i}"]
        looks = [v] if v.equal_cost is None else [v, v.equal_cost]
        assert [(m["mean"], m["low"], m["high"]) for m in _marks(spec)] == [(k.estimate, k.low, k.high) for k in looks]
        rules = [k["encoding"]["x"]["datum"] for k in spec["layer"] if "datum" in k["encoding"]["x"]]
        assert rules[-1] == (0.02, -0.05, 0.9, 0.5, 0.05, 0.5, 0.0)[i]
        low, high = spec["layer"][-1]["encoding"]["x"]["scale"]["domain"]
        assert low < min(k.low for k in looks) and max(k.high for k in looks) < high and low < rules[-1] < high
    assert [m["row"] for m in _marks(specs["statement-0"])] == ["equal samples", "equal cost"]
    assert specs["statement-5"]["layer"][-1]["encoding"]["x"]["scale"]["type"] == "log"


def test_seeds_are_paired_across_arms_and_the_trivial_predictor_is_a_rule() -> None:
    found = _reproduced()
    spec = _specs(claim_page(found, TRIVIAL))["seeds-0"]
    scores = {(v["arm"], v["seed"]): v["score"] for v in spec["data"]["values"]}
    assert scores["fusemix", "3"] == found.row.arms["ours"].scores[3]["r@1"] and len(scores) == 15
    assert spec["layer"][0]["encoding"]["detail"] == {"field": "seed"}
    assert spec["layer"][-1]["encoding"]["x"]["datum"] == pytest.approx(0.01)
    plain = _specs(claim_page(found))["seeds-0"]
    assert len(plain["layer"]) == len(spec["layer"]) - 2


def test_a_trivial_predictor_far_off_is_said_in_words_and_does_not_squeeze_the_seeds() -> None:
    page = claim_page(_reproduced(), [{"r@1": -70.0}] * 5)
    assert len(_specs(page)["seeds-0"]["layer"]) == 3
    assert "Far off: random order, -70." in _words(page)


def test_curves_are_medians_beside_every_seed_by_samples_and_by_seconds() -> None:
    found = _reproduced()
    specs = _specs(claim_page(found))
    assert [name for name in specs if name.startswith("curve")] == ["curve-0-samples", "curve-0-cpu_s"]
    seeds, middle, _ = (layer["data"]["values"] for layer in specs["curve-0-samples"]["layer"])
    assert all(k["encoding"]["stroke"]["legend"] for k in specs["curve-0-samples"]["layer"][:2])  # one None hides it
    last = [run["r@1"][-1] for run in found.curves["ours"]]
    assert [v["y"] for v in seeds if v["arm"] == "fusemix" and v["x"] == 102_400] == last
    assert next(v["y"] for v in middle if v["arm"] == "fusemix" and v["x"] == 102_400) == sorted(last)[2]
    seconds = specs["curve-0-cpu_s"]["layer"][1]["data"]["values"]
    assert max(v["x"] for v in seconds if v["arm"] == "fusemix") == 12.0
    assert max(v["x"] for v in seconds if v["arm"] == "clip") == 8.0


def test_a_diverged_run_leaves_the_others_in_every_chart_and_is_counted() -> None:
    found = _reproduced()
    ours = found.row.arms["ours"]
    ours = replace(ours, scores=[{}, {"r@1": math.nan}, *ours.scores[2:]])
    curves = {**found.curves, "ours": [{}, *found.curves["ours"][1:]]}
    page = claim_page(replace(found, row=replace(found.row, arms={**found.row.arms, "ours": ours}), curves=curves))
    _offline(page)
    specs = _specs(page)
    assert sum(v["arm"] == "fusemix" for v in specs["seeds-0"]["data"]["values"]) == 3
    assert {v["seed"] for v in specs["curve-0-samples"]["layer"][0]["data"]["values"]} == {"0", "1", "2", "3", "4"}
    assert sum(v["arm"] == "fusemix" for v in specs["curve-0-samples"]["layer"][0]["data"]["values"]) == 32
    assert "2 without" in _words(page)


def test_no_interval_is_a_point_with_a_note() -> None:
    page = claim_page(_odd(0, low=-math.inf, high=math.inf))
    _offline(page)
    (mark,) = _marks(_specs(page)["statement-0"])
    assert mark["note"] == "no interval" and "low" not in mark and mark["mean"] == pytest.approx(0.071, abs=1e-3)
    assert "no interval" in _words(page)


def test_one_open_end_is_drawn_to_the_edge_of_the_axis() -> None:
    spec = _specs(claim_page(_odd(2, low=0.95, high=math.inf)))["statement-2"]
    (mark,) = _marks(spec)
    assert (mark["low"], mark["high"]) == (0.95, spec["layer"][-1]["encoding"]["x"]["scale"]["domain"][1])


def test_no_number_is_words_without_a_chart() -> None:
    page = claim_page(_odd(1, verdict="not tested", estimate=math.nan, low=-math.inf, high=math.inf))
    _offline(page)
    assert "statement-1" not in _specs(page) and "There is no number to draw." in _words(page)


def test_one_seed_without_curves_is_a_whole_page() -> None:
    nothing = [Verdict(record(s), "not tested", "smoke: every arm ran, nothing is judged") for s in SAYS]
    found = replace(_reproduced(seeds=1, tier="smoke", verdicts=nothing), curves={"ours": [{}], "baseline": []})
    page = claim_page(found, TRIVIAL[:1])
    _offline(page)
    words = _words(page)
    assert "✚ not tested" in words and "No learning curve was kept." in words
    assert [name for name in _specs(page) if not name.startswith("seeds")] == []
    assert "Every arm ran, nothing was tuned." in words and "--tier smoke" in words


def test_what_a_row_says_is_text() -> None:
    hostile = _reproduced(claim=HOSTILE, note=HOSTILE, machine=HOSTILE, data={HOSTILE: HOSTILE})
    hostile = replace(hostile, names={**hostile.names, "ours": HOSTILE})
    page = claim_page(hostile)
    _offline(page)
    assert HOSTILE not in page and _words(page).count(HOSTILE) > 5
    assert f"--claim '{HOSTILE}'" in _words(page)
    page = evidence_page([Standing("fusemix", HOSTILE, hostile.row, [HOSTILE])])
    _offline(page)
    assert HOSTILE not in page and HOSTILE in _words(page)


def test_arms_that_are_called_alike_stay_apart() -> None:
    found = _reproduced()
    alike = replace(found, names=dict.fromkeys(found.names, "clip"))
    arms = {v["arm"] for v in _specs(claim_page(alike))["seeds-0"]["data"]["values"]}
    assert arms == {"clip (ours)", "clip (baseline)", "clip (without mixing)"}


def test_an_undecided_claim_says_that_it_was_run_again() -> None:
    assert "Undecided with 5 paired seeds, it was run once more with 10." in _words(claim_page(_reproduced(seeds=10)))
    assert "Undecided" not in _words(claim_page(_reproduced()))


def test_a_users_file_has_no_docstring_to_quote() -> None:
    page = claim_page(_reproduced(paper="mine.py"))
    assert "reproduce mine.py" in _words(page) and "The paper's claim" not in _words(page)


def test_the_evidence_counts_every_verdict_and_links_to_its_claims() -> None:
    page = evidence_page(_standings(24))
    _offline(page)
    words, ids = _words(page), _parsed(page).ids
    assert "24 claims: 4 holds, 4 fails, 4 inconclusive, 4 no headroom, 4 not learned, 4 not measured" in words
    assert all(f"claim-{i}" in ids for i in range(24)) and {"family-align", "family-baseline"} <= set(ids)
    links = _parsed(page).links
    assert links.count("#claim-0") == 3  # from its verdict, and from the two other claims of its paper
    assert words.count("stale: arm 'ours' has changed") == 6 and "claim number 0 (stale)" in page
    assert all(f"what {i} found" in words for i in range(24) if i % 6 != 5)


def test_forests_are_in_units_of_what_was_asked_and_lead_to_the_claim() -> None:
    says = (Above("r@1", 0.02), NotBelow("r@1", 0.05), Keeps("r@1", 0.5), Cheaper("cpu_s", 0.5), Above("fid", 0.0))
    verdicts = [Verdict(record(s), "holds", "", 0.1, 0.05, 0.2, n=5) for s in says]
    row = replace(_reproduced().row, verdicts=verdicts)
    specs = _specs(evidence_page([Standing("fusemix", "mixing", row, ())]))
    marks = [mark for spec in specs.values() for mark in _marks(spec)]
    drawn = [(m["mean"], m["low"], m["high"]) for m in marks]
    expected = [(5, 2.5, 10), (0.1, 0.05, 0.2), (2, 1, 4), (0.2, 0.1, 0.4), (0.2, 0.1, 0.4)]
    assert drawn == [pytest.approx(e) for e in expected]
    assert {m["link"] for m in marks} == {"#claim-0"}
    assert [m["row"] for m in marks[:2]] == ["fusemix · mixing · r@1", "fusemix · mixing · fid"]


def test_what_lies_beyond_an_axis_stands_at_its_edge_with_a_note() -> None:
    verdict = Verdict(record(Keeps("r@1", 0.5)), "inconclusive", "", 7.0, -3.0, 90.0, n=5)
    row = replace(_reproduced().row, verdicts=[verdict])
    (spec,) = _specs(evidence_page([Standing("fusemix", "mixing", row, ())])).values()
    (mark,), (low, high) = _marks(spec), spec["layer"][-1]["encoding"]["x"]["scale"]["domain"]
    assert mark["note"] == "14, beyond this axis" and mark["mean"] == mark["high"] == high < 2.5
    assert mark["low"] == low > -0.5 and mark["side"] == "right"


def test_claims_without_a_number_are_in_the_table_alone() -> None:
    bare = Verdict(record(Above("r@1", 0.02)), "not tested", "1 seed in common: not tested")
    zero = Verdict(record(Cheaper("cpu_s", 0.5)), "fails", "", 0.0, -math.inf, math.inf)
    row = _reproduced().row
    found = [Standing("filip", name, replace(row, verdicts=[v]), ()) for name, v in (("a", bare), ("b", zero))]
    page = evidence_page(found)
    _offline(page)
    assert _specs(page) == {} and "1 seed in common: not tested" in _words(page) and "✚ not tested" in _words(page)
    drawn = _specs(evidence_page([*found, Standing("filip", "c", replace(row, verdicts=row.verdicts[:1]), ())]))
    assert [m["row"] for spec in drawn.values() for m in _marks(spec)] == ["filip · c"]


def test_claims_of_one_name_keep_a_line_each() -> None:
    row = replace(_reproduced().row, verdicts=[_reproduced().row.verdicts[0]])
    (spec,) = _specs(evidence_page([Standing("filip", "same", row, ())] * 2)).values()
    assert [m["row"] for m in _marks(spec)] == ["filip · same (1)", "filip · same (2)"]


def test_no_claims_are_a_page_too() -> None:
    page = evidence_page([])
    _offline(page)
    assert "0 claims: there is none to show" in _words(page) and _specs(page) == {}
    assert all(word in _words(page) for word in WORDS)


def test_four_hundred_claims_take_no_time() -> None:
    standings = _standings(400)
    start = time.process_time()
    page = evidence_page(standings)
    assert time.process_time() - start < 2
    _offline(page)
    drawn = [m["link"] for spec in _specs(page).values() for m in _marks(spec)]
    assert sorted(drawn) == sorted(f"#claim-{i}" for i in range(400) if i % 6 != 5)


def test_verdicts_have_a_sign_and_a_shape_of_their_own() -> None:
    assert set(WORDS) < set(charts.VERDICTS)
    assert len({shape for _, shape, _ in charts.VERDICTS.values()}) == len(charts.VERDICTS)
    assert len({sign for _, _, sign in charts.VERDICTS.values()}) == len(charts.VERDICTS)


def test_pages_are_written_whole_or_refused_in_one_line(tmp_path: Path) -> None:
    path = write_claim(_reproduced(), tmp_path / "new/claim.html", TRIVIAL)
    assert path.read_text(encoding="utf-8") == claim_page(_reproduced(), TRIVIAL)
    assert write([], tmp_path / "evidence.html").read_text(encoding="utf-8") == evidence_page([])
    with pytest.raises(SensoriumError, match=r"^cannot write .*new: Is a directory$"):
        write([], tmp_path / "new")


def test_an_unknown_paper_is_one_line() -> None:
    with pytest.raises(SensoriumError, match="unknown paper 'flip'; did you mean 'filip'"):
        evidence_page([Standing("flip", "retrieval", None, ())])
