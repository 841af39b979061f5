from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch

from sensorium.core import Batch, Field, Ids, SensoriumError
from sensorium.data.dataset import Dataset
from sensorium.data.rows import Rows
from sensorium.lab.recognition import transfer
from sensorium.run.tasks import Question


class Named:
    """Names a row's text by its first id, and its sound by its first sample; whoever is handed the answer is wrong."""

    predicts: Mapping[str, str] = {"label": "label"}

    def predict(self, batch: Batch, of: str) -> Field:
        assert of == "label" and len(set(batch) & {"audio", "text", "label"}) == 1
        value = batch.get("text") or batch["audio"]
        first = value.ids[:, 0] if isinstance(value, Ids) else value.data[:, 0].long()  # type: ignore[union-attr]
        return Field(torch.nn.functional.one_hot(first, 3).float())


def asked(method: Any, mask: list[bool] | None = None) -> Question:
    """Five rows; three texts and four sounds say the label."""
    columns = {
        "audio": Field(torch.tensor([[0.0], [1.0], [2.0], [0.0], [0.0]]), torch.ones(5, 1, dtype=torch.bool)),
        "text": Ids(torch.tensor([[0], [1], [0], [0], [0]]), torch.ones(5, 1, dtype=torch.bool)),
        "label": Field(torch.tensor([0, 1, 2, 0, 1]), None if mask is None else torch.tensor(mask)),
    }
    rows = Rows(columns, np.arange(5), {}, np.arange(5))
    plan: Any = SimpleNamespace(method=method, rows=rows, job=SimpleNamespace(paper="named"))
    return Question(plan, cast(Dataset, None), np.arange(5), torch.device("cpu"))


def test_text_and_speech_are_scored_apart() -> None:
    found = transfer(asked(Named()))
    assert found.scores == {"accuracy": pytest.approx(0.6), "accuracy audio": pytest.approx(0.8)}
    assert found.items["accuracy"].tolist() == [1, 1, 0, 1, 0]


def test_a_label_that_train_never_had_is_wrong() -> None:
    assert transfer(asked(Named(), [False, True, True, True, True])).scores["accuracy"] == pytest.approx(0.4)


def test_a_method_that_names_nothing_is_refused() -> None:
    with pytest.raises(SensoriumError, match="named predicts no label"):
        transfer(asked(torch.nn.Linear(1, 1)))
