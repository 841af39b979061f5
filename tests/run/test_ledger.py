"""The ledger: what is written is read again, what is broken is named, and no writer loses another's row."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sensorium.core import Above, NotBelow, SensoriumError, Trend
from sensorium.run import ledger
from sensorium.run.ledger import Measured, Row, append, latest, machine, now, rows, stale
from sensorium.run.statements import judge

SAYS = (Above("r@1", 0.02), NotBelow("r@10", 0.05), Trend("r@1", 0.05, ("baseline", "ours"), at=(1.0, 2.0)))


@pytest.fixture(autouse=True)
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home and an empty shipped ledger."""
    monkeypatch.setenv("SENSORIUM_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(ledger, "SHIPPED", tmp_path / "shipped")
    return tmp_path / "home/ledger"


def measured(key: str, mean: float) -> Measured:
    scores = [{"r@1": mean + mean * e, "r@10": 0.8 + mean * e} for e in (0.01, -0.02, 0.0, 0.015, -0.01)]
    return Measured(key, 3e-3, scores, [{"cpu_s": 5.0, "samples": 100.0}] * 5)


def row(paper: str = "filip", **changed: Any) -> Row:
    arms = {"ours": measured("a1", 0.5), "baseline": replace(measured("b1", 0.4), rate=None)}
    runs = {name: arm.scores for name, arm in arms.items()}
    facts: dict[str, Any] = {
        "claim": "retrieval",
        "tier": "lab",
        "verdicts": [judge(s, runs) for s in SAYS],
        "arms": arms,
        "samples": 102_400,
        "seeds": list(range(5)),
        "data": {"world": "w1"},
        "bases": {"text": "t1"},
        "versions": {"torch": "2.9.0"},
        "machine": machine(),
        "date": "2026-01-31T12:00:00+00:00",
        "seconds": 120.5,
    }
    return Row(paper, **{**facts, **changed})


def broken(change: Callable[[dict[str, Any]], object], own: Path) -> str:
    """The message on a ledger whose second line was changed."""
    path = append(row())
    data = json.loads(path.read_text())
    change(data)
    path.write_text(path.read_text() + json.dumps(data) + "\n")
    with pytest.raises(SensoriumError) as refused:
        rows("filip")
    message = str(refused.value)
    assert message.startswith(f"{own / 'align/filip.jsonl'}, line 2") and "\n" not in message
    with pytest.raises(SensoriumError, match="line 2"):
        append(row())  # nothing is added to a ledger that does not parse
    return message.partition("line 2")[2]


def test_a_row_comes_back_as_it_was(own: Path) -> None:
    path = append(row(note="colour carries the effect"))
    assert path == own / "align/filip.jsonl"
    assert rows("filip") == [row(note="colour carries the effect")] == rows("align/filip")
    assert rows("filip")[0].verdict == "holds" and rows("brivl") == []
    append(row(date="2026-02-01T12:00:00+00:00"))
    assert len(path.read_text().splitlines()) == 2 and len(rows("filip")) == 2


def test_what_is_no_number_is_null_and_comes_back(own: Path) -> None:
    arms = {"ours": measured("a1", 0.5), "baseline": measured("b1", 0.4)}
    arms["ours"] = replace(arms["ours"], scores=[*arms["ours"].scores[:4], {"r@1": math.nan}])
    found = judge(SAYS[0], {name: arm.scores for name, arm in arms.items()})
    text = append(row(arms=arms, verdicts=[found])).read_text()
    assert "NaN" not in text and "Infinity" not in text
    back = rows("filip")[0]
    assert math.isnan(back.arms["ours"].scores[4]["r@1"]) and math.isnan(back.verdicts[0].estimate)
    assert (back.verdicts[0].low, back.verdicts[0].high) == (-math.inf, math.inf)
    assert back.verdicts[0].sentence == found.sentence


def test_a_row_holds_no_place_of_a_users_file(own: Path) -> None:
    path = append(row("some/where/mine.py"))
    assert path == own / "files/mine.jsonl" and "where" not in path.read_text()
    assert [r.paper for r in rows("mine.py")] == ["mine.py"]


def test_shipped_rows_come_first_and_the_latest_is_the_newest(tmp_path: Path, own: Path) -> None:
    append(row("baseline/clip", date="2026-03-01T00:30:00+02:00", note="old, own"))
    append(row("baseline/clip", date="2026-02-28T23:00:00+00:00", note="new"), tmp_path / "shipped")
    append(row("baseline/clip", date="2026-02-28T23:00:00+00:00", tier="deep", note="deep"))
    assert (tmp_path / "shipped/baseline/clip.jsonl").is_file()
    assert [r.note for r in rows("clip")] == ["new", "old, own", "deep"]
    newest, deep = latest("clip", "retrieval", "lab"), latest("clip", "retrieval", "deep")
    assert newest is not None and newest.note == "new" and deep is not None and deep.note == "deep"
    assert latest("clip", "other", "lab") is None and latest("filip", "retrieval", "lab") is None
    append(row("baseline/clip", date="2026-02-28T23:00:00+00:00", note="same second"))
    again = latest("clip", "retrieval", "lab")
    assert again is not None and again.note == "same second"


def test_unknown_names_are_answered_with_the_nearest() -> None:
    with pytest.raises(SensoriumError, match=r"^unknown tier 'labs'; did you mean 'lab'\?$"):
        latest("filip", "retrieval", "labs")
    with pytest.raises(SensoriumError, match="unknown paper 'flip'; did you mean 'filip'"):
        rows("flip")
    with pytest.raises(SensoriumError, match="the row of filip: unknown tier 'deeep'; did you mean 'deep'"):
        append(row(tier="deeep"))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda d: d.pop("samples"), ": field 'samples' is missing"),
        (lambda d: d.update(seed=[1]), ": unknown field 'seed'; did you mean 'seeds'?"),
        (lambda d: d.update(seeds="five"), ": field 'seeds' is \"five\"; expected a list"),
        (lambda d: d.update(samples=1.5), ": field 'samples' is 1.5; expected a whole number"),
        (lambda d: d.update(samples=True), ": field 'samples' is true; expected a whole number"),
        (lambda d: d["seeds"].__setitem__(3, "3"), ": field 'seeds[3]' is \"3\"; expected a whole number"),
        (lambda d: d.update(tier="big"), ": unknown tier 'big'"),
        (lambda d: d.update(format=2), ": format 2; this version reads 1"),
        (lambda d: d.pop("format"), ": format None; this version reads 1"),
        (
            lambda d: d["verdicts"][0]["statement"].update(says="Abov"),
            ": unknown statement 'Abov'; did you mean 'Above'?",
        ),
        (lambda d: d.update(date="yesterday"), ": field 'date' is 'yesterday'; expected one like 2026-01-31T12:00:"),
        (lambda d: d.update(date="2026-01-31"), ": field 'date' is '2026-01-31'; expected one like"),
        (lambda d: d.update(paper="brivl"), ": field 'paper' is 'brivl'; expected 'filip'"),
        (lambda d: d["arms"]["ours"].pop("key"), ": field 'arms.ours.key' is missing"),
        (lambda d: d["arms"]["ours"].update(rate="x"), ": field 'arms.ours.rate' is \"x\"; expected a number or null"),
        (
            lambda d: d["arms"]["ours"]["scores"][2].update({"r@1": "high"}),
            ": field 'arms.ours.scores[2].r@1' is \"high\"; expected a number",
        ),
        (
            lambda d: d["arms"]["baseline"]["scores"].pop(),
            ": field 'arms.baseline.scores' has 4 entries; expected 5, one per seed",
        ),
        (
            lambda d: d["verdicts"][1].update(verdict="maybe"),
            ": field 'verdicts[1].verdict' is \"maybe\"; expected one of holds, fails, inconclusive, no headroom",
        ),
        (
            lambda d: d["verdicts"][0].update(equal_cost=3),
            ": field 'verdicts[0].equal_cost' is 3; expected an object or null",
        ),
        (lambda d: d.update(tier="smoke"), ": tier smoke gives no verdict; expected 'not tested'"),
    ],
)  # fmt: skip
def test_a_row_that_does_not_parse_is_named_by_file_line_and_field(
    change: Callable[[dict[str, Any]], object], words: str, own: Path
) -> None:
    assert words in broken(change, own)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("{", "line 2 is no JSON: "),
        ("", "line 2 is no JSON: "),
        ("[1]", "line 2: the line is [1]; expected an object"),
        ('{"format": NaN}', "line 2 is no JSON: NaN is no number in JSON"),
    ],
)
def test_a_line_that_is_no_row_is_named(line: str, words: str) -> None:
    path = append(row())
    path.write_text(path.read_text() + line + "\n")
    with pytest.raises(SensoriumError) as refused:
        rows("filip")
    assert words in str(refused.value)


def test_a_ledger_without_its_last_newline_is_continued() -> None:
    path = append(row())
    path.write_text(path.read_text().rstrip("\n"))
    append(row(note="next"))
    assert [r.note for r in rows("filip")] == ["", "next"]


def test_what_is_not_json_is_refused_before_anything_is_written(own: Path) -> None:
    with pytest.raises(SensoriumError, match="the row of filip is not JSON-ready"):
        append(row(data={"world": {1, 2}}))
    with pytest.raises(SensoriumError, match="the row of filip: field 'seconds' is missing"):
        append(row(seconds=math.nan))
    assert not own.exists()


def test_a_folder_that_cannot_be_written_is_one_line(own: Path) -> None:
    own.parent.mkdir(parents=True)
    own.write_text("a file")
    with pytest.raises(SensoriumError, match=r"^cannot write to .*align: "):
        append(row())


def test_writers_at_once_lose_nothing() -> None:
    """Four processes add ten rows each to one file."""
    children = []
    for writer in range(4):
        child = os.fork()
        if not child:
            status = 1
            try:
                for n in range(10):
                    append(row(note=f"{writer} {n}"))
                status = 0
            finally:
                os._exit(status)
        children.append(child)
    assert [os.waitpid(child, 0)[1] for child in children] == [0] * 4
    assert sorted(r.note for r in rows("filip")) == sorted(f"{w} {n}" for w in range(4) for n in range(10))


def test_a_write_that_fails_leaves_the_old_rows(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = append(row())
    before = path.read_bytes()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(SensoriumError, match="No space left on device"):
        append(row())
    assert path.read_bytes() == before and [p.name for p in path.parent.iterdir()] == ["filip.jsonl"]


def test_a_verdict_is_stale_when_an_arm_or_a_statement_changed() -> None:
    append(row())
    found = rows("filip")[0]
    assert stale(found, {"ours": "a1", "baseline": "b1"}) == [] == stale(found, {"ours": "a1", "baseline": "b1"}, SAYS)
    assert stale(found, {"ours": "a2", "no queue": "n1"}) == [
        "arm 'ours' has changed",
        "arm 'baseline' is gone",
        "arm 'no queue' is new",
    ]
    weaker = (Above("r@1", 0.01), *SAYS[1:])
    assert stale(found, {"ours": "a1", "baseline": "b1"}, weaker) == ["what is claimed has changed"]


def test_a_machine_is_described_and_not_named() -> None:
    assert os.uname().nodename not in machine() and f"{os.cpu_count()} cores" in machine()
    assert now().endswith("+00:00") and row(date=now()).date[:2] == "20"
