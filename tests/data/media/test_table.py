from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from sensorium.core import SensoriumError
from sensorium.data.limits import Limits, Refused, Seen
from sensorium.data.media import table
from sensorium.data.media.table import Column

LIMITS = Limits()
XRAYS = Path(__file__).parents[3] / "../shared/data/medical/chest_xray/train/metadata.jsonl"
ROWS: list[dict[str, Any]] = [
    {"age": 20, "sex": "F", "smokes": True},
    {"age": 40.0, "sex": "M", "smokes": False},
    {"age": 60, "sex": "F", "smokes": None},
    {"age": 40, "sex": "F"},
]


def test_schema_by_hand() -> None:
    schema = table.fit(ROWS)
    assert schema.columns == (
        Column("age", 40.0, float(np.sqrt(200))),
        Column("sex", values=("F", "M")),
        Column("smokes", values=("false", "true"), may_be_missing=True),
    )
    assert schema.features == ("age", "sex=F", "sex=M", "smokes=false", "smokes=true")


def test_row_by_hand() -> None:
    values, mask = table.load({"sex": "M", "age": 60}, table.fit(ROWS))
    assert values == pytest.approx([20 / np.sqrt(200), 0, 1, 0, 0]) and values.dtype == np.float32
    assert mask.tolist() == [True, True, True, False, False] and mask.dtype == bool


@given(
    st.lists(
        st.tuples(st.floats(-1e6, 1e6), st.integers(-1000, 1000), st.sampled_from(["a", "b", "ç", "D"])),
        min_size=2,
        max_size=30,
    )
)
@settings(max_examples=60, deadline=None)
def test_is_scikit_learns(rows: list[tuple[float, int, str]]) -> None:
    records = [{"x": x, "n": n, "kind": kind} for x, n, kind in rows]
    schema = table.fit(records)
    got = np.stack([table.load(record, schema)[0] for record in records])
    numbers = np.array([[x, n] for x, n, _ in rows], np.float64)
    spread = np.ptp(numbers, axis=0) > 1e-3
    want = StandardScaler().fit_transform(numbers)
    assert got[:, :2][:, spread] == pytest.approx(want[:, spread], rel=1e-4, abs=1e-4)
    one_hot = OneHotEncoder(sparse_output=False).fit_transform([[kind] for _, _, kind in rows])
    assert (got[:, 2:] == one_hot).all()


def test_constant_column_is_only_centred() -> None:
    schema = table.fit([{"x": 5}, {"x": 5}])
    assert schema.columns == (Column("x", 5.0, 1.0),)
    assert table.load({"x": 7}, schema)[0].tolist() == [2]
    assert table.fit([{"x": 0.1}] * 3).columns[0].std == 1.0  # numpy's own is 1.4e-17
    assert table.fit([{"x": 0.0}, {"x": 5e-324}]).columns[0].std == 1.0  # numpy's own is 0


def test_rows_may_be_streamed() -> None:
    assert table.fit(row for row in ROWS) == table.fit(ROWS)


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([], "0 rows without columns"),
        ([{}], "1 rows without columns"),
        ([{"a": 1}, {"a": "x"}], "column 'a' holds 1 numbers and also texts, such as 'x'"),
        ([{"a": None}, {"a": ""}], "column 'a' is empty in all 2 rows; leave it out"),
        ([{"a": f"name {k}"} for k in range(300)], "column 'a' holds 300 different texts, limit 256; leave it out"),
        ([{"a": 1}, {"a": [1]}], "row 2: column 'a' holds a list; expected a number, a text or nothing"),
        ([{"a": float("nan")}], "row 1: column 'a' holds a number that is not finite"),
        ([{"a": 10**400}], "row 1: column 'a' holds a number that is not finite"),
        ([{"a": 1}, 7], "row 2: not a record but a int"),
        ([{7: 1}], "row 1: a column named '7'; expected a text"),
    ],
)
def test_bad_table(rows: Any, words: str) -> None:
    with pytest.raises(SensoriumError) as error:
        table.fit(rows)
    assert str(error.value).startswith(words)


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"sex": "F"}, "column 'age' is missing"),
        ({"age": None, "sex": "F"}, "column 'age' is missing"),
        ({"age": 1, "sex": "X"}, "column 'sex' is 'X'; expected F, M"),
        ({"age": 1, "sex": 1}, "column 'sex' is '1.0'; expected F, M"),
        ({"age": "40", "sex": "F"}, "column 'age' is '40'; expected a number"),
        ({"age": 1, "sex": "F", "weight": 3}, "column 'weight' is not in the schema: age, sex, smokes"),
        ({"age": float("inf"), "sex": "F"}, "column 'age' holds a number that is not finite"),
        ("age=1", "not a record but a str"),
        ({f"c{k}": k for k in range(1001)}, "1,001 columns, limit 1,000"),
    ],
)
def test_bad_row(row: Any, reason: str) -> None:
    with pytest.raises(Refused) as refused:
        table.load(row, table.fit(ROWS))
    assert str(refused.value) == reason


def test_number_far_off_is_refused() -> None:
    with pytest.raises(Refused, match="too far from its mean"):
        table.load({"x": 3e38}, table.fit([{"x": 1e-30}, {"x": 2e-30}]))


def test_check_says_what_there_is() -> None:
    assert table.check({"age": 3, "sex": "", "name": None}, LIMITS) == Seen(about="3 columns, 2 missing")
    assert table.check({"age": 3}, LIMITS) == Seen(about="1 column")
    assert table.check({"age": None}, LIMITS).reason == "a record without values"
    assert table.check({"a": "x" * 11}, Limits(text=10)).reason == "11 characters, limit 10"
    assert table.check([1, 2], LIMITS).reason == "not a record but a list"


def test_boxes_of_both_forms_are_corners() -> None:
    want = np.array([[10, 20, 40, 60], [0, 0, 0, 5.5]], np.float32)
    assert (table.boxes([[10, 20, 30, 40], [0, 0, 0, 5.5]], "xywh") == want).all()
    assert (table.boxes([(10, 20, 40, 60), (0, 0, 0, 5.5)], "xyxy") == want).all()
    assert table.boxes(want, "xyxy").dtype == np.float32 and (table.boxes(want, "xyxy") == want).all()
    assert table.boxes([], "xywh").shape == (0, 4)


@pytest.mark.parametrize(
    ("value", "form", "reason"),
    [
        ([[0, 0, 5, 5], [3, 3, 2, 4]], "xyxy", "box 2 has a negative size: -1 x 1"),
        ([[0, 0, 5, -1]], "xywh", "box 1 has a negative size: 5 x -1"),
        ([[0, 0, 5]], "xywh", "box 1 is not a list of 4 numbers"),
        ([1, 2, 3, 4], "xywh", "box 1 is not a list of 4 numbers"),
        (["abcd"], "xywh", "box 1 is not a list of 4 numbers"),
        ([[0, 0, 5, "5"]], "xywh", "box 1 holds a str; expected 4 numbers"),
        ([[0, 0, 5, None]], "xywh", "box 1 holds a NoneType; expected 4 numbers"),
        ([[0, 0, True, 1]], "xywh", "box 1 holds a bool; expected 4 numbers"),
        ([[0, 0, float("nan"), 1]], "xyxy", "box 1 holds a number that is not finite"),
        ([[3e38, 0, 3e38, 1]], "xywh", "box 1 ends beyond what float32 holds"),
        ({"x": 1}, "xywh", "not a list of boxes but a dict"),
        ([[0, 0, 1, 1]] * 100_001, "xywh", "100,001 boxes, limit 100,000"),
    ],
)
def test_bad_boxes(value: Any, form: Any, reason: str) -> None:
    with pytest.raises(Refused) as refused:
        table.boxes(value, form)
    assert str(refused.value) == reason


def test_unknown_form_is_an_error_of_the_user() -> None:
    with pytest.raises(SensoriumError, match="boxes of form 'xyhw'; did you mean 'xywh'"):
        table.boxes([], "xyhw")  # type: ignore[arg-type]


VALUES = (
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=3) | st.lists(st.floats(), max_size=4)
)


@given(VALUES | st.dictionaries(st.text(max_size=3) | st.integers(), VALUES, max_size=4))
@settings(max_examples=200, deadline=None)
def test_checked_rows_fit_and_load(row: Any) -> None:
    if table.check(row, LIMITS).reason:
        return
    full = {name: value for name, value in row.items() if value not in (None, "")}
    values, mask = table.load(full, table.fit([full]))
    assert mask.all() and np.isfinite(values).all() and len(values) == len(full)


@given(VALUES | st.lists(VALUES, max_size=4))
@settings(max_examples=200, deadline=None)
def test_boxes_are_read_or_refused(value: Any) -> None:
    try:
        found = table.boxes(value, "xywh")
    except Refused:
        return
    assert found.shape == (len(value), 4) and (found[:, 2:] >= found[:, :2]).all()


def test_real_records() -> None:
    if not XRAYS.exists():
        pytest.skip("the shared X-rays are not beside the checkout")
    rows = [json.loads(line) for line in XRAYS.open()]
    records = [{key: row[key] for key in ("view", "sex", "width")} for row in rows]
    schema = table.fit(records)
    got = np.stack([table.load(record, schema)[0] for record in records])
    assert got.shape == (len(rows), len(schema.features)) and got[:, schema.features.index("width")].std() == (
        pytest.approx(1, abs=1e-5)
    )
    found = [table.boxes([lung["box"] for lung in row["lungs"]], "xyxy") for row in rows if row.get("lungs")]
    assert found and all((f >= 0).all() and f.shape[1] == 4 for f in found)
