"""What a person can look at: pictures found by two runs, side by side."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from sensorium.core import derive
from sensorium.data.dataset import Dataset
from sensorium.evals.retrieval import relevance

from .runs import load


def retrievals(
    data: Dataset, best: Path, reference: Path, test: NDArray[np.int64], n: int = 8, top: int = 5
) -> list[dict[str, Any]]:
    """For some test texts, what the best and the baseline find among the test pictures."""
    rng = np.random.default_rng(derive("retrievals") % 2**32)
    queries = rng.permutation(len(test))[:n]
    found: dict[str, list[list[dict[str, Any]]]] = {}
    for side, folder in (("best", best), ("baseline", reference)):
        model = load(folder, trust_code=True)
        index = test.tolist()
        image, text = (
            {k: v.rows(torch.tensor(index)) for k, v in model.column(data, key).items()} for key in ("image", "text")
        )
        scores = model.rank({"text": text["text"].rows(torch.tensor(queries.tolist()))}, image)
        right = relevance([data.texts("text")[i] for i in index], data.content("image")[test])[
            torch.tensor(queries.tolist())
        ]
        lines = []
        for row, ok in zip(scores, right, strict=True):
            order = row.topk(min(top, len(index))).indices.tolist()
            lines.append(
                [
                    {
                        "id": data.ids[index[i]],
                        "thumb": thumb(data, index[i]),
                        "score": float(row[i]),
                        "right": bool(ok[i]),
                    }
                    for i in order
                ]
            )
        found[side] = lines
    return [
        {
            "query": data.texts("text")[int(test[q])],
            "truth": {"id": data.ids[int(test[q])], "thumb": thumb(data, int(test[q]))},
            "best": found["best"][i],
            "baseline": found["baseline"][i],
        }
        for i, q in enumerate(queries)
    ]


def thumb(data: Dataset, row: int, size: int = 96) -> str:
    """A picture as a data URL of at most `size` pixels a side."""
    picture = data.image("image", row)
    picture.thumbnail((size, size))
    out = io.BytesIO()
    picture.save(out, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(out.getvalue()).decode()
