"""Spans from a file to the tokens of a text."""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path
from typing import Any

import pytest
import torch

from sensorium.core import SensoriumError
from sensorium.data.columns import box_column, span_column
from sensorium.data.dataset import Dataset
from sensorium.data.spans import token_spans
from sensorium.data.tokenise import encode, fit_tokenizer

from .conftest import folder

TEXTS = [f"a red ring, {k} blue stars and a süßes Café" for k in range(60)]
TOKENIZER = fit_tokenizer(TEXTS, 600)


def words(text: str, spans: list[Any]) -> list[str]:
    ids = encode(TOKENIZER, [text], 64).ids[0]
    return [TOKENIZER.decode(ids[a:b].tolist()).strip() for a, b in token_spans(TOKENIZER, text, spans)]


def test_characters_become_the_tokens_that_hold_them() -> None:
    text = "a red ring, 7 blue stars and a süßes Café"
    for phrase in ("a red", "red", "7 blue stars", "süßes Café", text):
        at = text.index(phrase)
        assert words(text, [[at, at + len(phrase)]]) == [phrase]
    assert words(text, [[[0, 1], [14, 18]], [[2, 5]]]) == ["a red ring, 7 blue", "red"]


def test_a_part_of_a_token_is_the_token_and_space_is_none() -> None:
    text = "a red ring"
    assert words(text, [[3, 4]]) == ["red"]
    assert words("a red ring, 7", [[6, 10]]) == ["ring,"]  # one token, as this tokeniser learnt it
    assert token_spans(TOKENIZER, text, [[1, 2], [5, 6]]) == [(0, 0), (0, 0)]
    assert token_spans(TOKENIZER, text, [[]]) == [(0, 0)] and token_spans(TOKENIZER, "", []) == []


def test_letters_the_tokeniser_composes_or_spells_in_bytes_are_found() -> None:
    apart = unicodedata.normalize("NFD", "a süßes Café, a red ring")
    at = apart.index("Cafe")
    assert words(apart, [[at, at + 5], [at + 7, at + 17]]) == ["Café", "a red ring"]
    text = "a 鸢 ring"
    first, last = token_spans(TOKENIZER, text, [[2, 3]])[0]
    assert last - first >= 3 and words(text, [[2, 3], [4, 8]]) == ["鸢", "ring"]


def rows(n: int = 24) -> list[dict[str, Any]]:
    """A ring and stars in each row, named in the text; the text is in decomposed letters between spaces."""
    made = []
    for k in range(n):
        text = unicodedata.normalize("NFD", f" a süßes Café, a red ring {k} ")
        at = [text.index("a su"), text.index("a red")]
        made.append(
            {"text": text, "boxes": [[0, 0, 5, 5], [6, 6, 20, 12]], "spans": [[at[0], at[0] + 14], [at[1], at[1] + 10]]}
        )
    return made


def test_a_data_set_with_spans_is_understood(tmp_path: Path) -> None:
    found = Dataset(folder(tmp_path / "d", rows()))
    assert found.kinds == {"image": "image", "boxes": "boxes", "spans": "spans", "text": "text"}
    assert "spans <- spans (24 of 24 rows filled)" in found.notes and found.about("spans", 0) == "2 spans"
    text = found.texts("text")[3]
    assert [[text[a:b] for a, b in parts] for parts in found.value("spans", 3)] == [["a süßes Café"], ["a red ring"]]


def test_spans_and_boxes_become_columns(tmp_path: Path) -> None:
    found = Dataset(folder(tmp_path / "d", rows()))
    texts = found.texts("text")
    column = span_column(found, "spans", texts, TOKENIZER, 64)
    assert column.mask is not None and column.mask.all() and column.data.shape == (24, 2, 2)
    ids = encode(TOKENIZER, [texts[5]], 64).ids[0]
    first, last = column.data[5, 1].tolist()
    assert TOKENIZER.decode(ids[first:last].tolist()).strip() == "a red ring"
    cut = span_column(found, "spans", texts, TOKENIZER, last)
    assert cut.mask is not None and cut.mask[5].tolist() == [True, False]
    boxes = box_column(found, "boxes")
    torch.testing.assert_close(boxes.data[0, 1] * 24, torch.tensor([6.0, 6.0, 20.0, 12.0]))


def test_a_bad_span_sets_its_row_aside(tmp_path: Path) -> None:
    made = rows()
    made[4]["spans"] = [[0, 999]]
    made[9]["spans"] = None
    found = Dataset(folder(tmp_path / "d", made), max_bad=0.2)
    assert [(b.key, b.reason) for b in found.quarantine] == [
        ("spans", f"span 1 is [0, 999); the text has {len(made[4]['text'])} characters"),
        ("spans", "no spans"),
    ]


def test_spans_are_asked_for_by_name_and_need_one_text(tmp_path: Path) -> None:
    made = [{("said" if k == "spans" else k): v for k, v in row.items()} for row in rows()]
    path = folder(tmp_path / "d", made)
    assert Dataset(path).kinds.get("spans") is None
    assert len(Dataset(path, {"spans": "said"}).value("spans", 0)) == 2
    for row in made:
        row["more"] = "words"
    (path / "metadata.jsonl").write_text(
        "\n".join(json.dumps(row | {"file_name": f"{k}.png"}) for k, row in enumerate(made))
    )
    with pytest.raises(
        SensoriumError, match="spans count the characters of a text; expected text=COLUMN, of one column"
    ):
        Dataset(path, {"spans": "said", "text": "text+more"})
    with pytest.raises(SensoriumError, match="'spans' comes from one column"):
        Dataset(path, {"spans": "said+more"})


def test_spans_without_boxes_are_a_series(tmp_path: Path) -> None:
    made = [{k: v for k, v in row.items() if k != "boxes"} for row in rows()]
    assert "spans" not in Dataset(folder(tmp_path / "d", made)).kinds
