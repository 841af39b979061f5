"""What is shown after a context is held against the whole scene, not against what the text says."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from sensorium.core import SensoriumError
from sensorium.data.dataset import Dataset
from sensorium.lab import showing
from sensorium.lab.sets import PARTS, RECIPES, scenes
from sensorium.run.plan import Job, Plan
from sensorium.run.tasks import Question, pictures

N = 24


def asked(path: Path, roles: dict[str, str]) -> Question:
    path.mkdir()
    for part in PARTS:
        pq.write_table(pa.table(dict(scenes(RECIPES["world/contexts"], part, N))), path / f"{part}.parquet")
    (path / "dataset.json").write_text('{"name": "world/contexts", "license": "CC0-1.0"}')
    data = Dataset(path, {"image": "image", "text": "text", "group": "scene", **roles})
    job = Job("gill", "", {}, 1e-3, 1, 0)
    return Question(Plan(job, None, [], None, None, {}, None), data, np.arange(2 * N, 3 * N), torch.device("cpu"))  # type: ignore[arg-type]


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[Question], np.ndarray]], None]:
    return lambda f: monkeypatch.setattr(showing, "painted", f)


def test_the_true_pictures_score_all_and_those_of_other_rows_what_they_share(
    tmp_path: Path, shown: Callable[[Callable[[Question], np.ndarray]], None]
) -> None:
    of = asked(tmp_path / "data", {"text/caption": "caption"})
    shown(pictures)
    found = showing.showing(of).scores
    assert {found[f"{who} {what}"] for who in ("shown", "true") for what in showing.FACTORS} == {1.0}
    captions = of.texts("text/caption")
    same = np.mean([a == b for a, b in zip(captions, captions[1:] + captions[:1], strict=True)])
    assert found["unrelated objects"] == pytest.approx(same)


def test_one_picture_for_all_scores_the_share_of_rows_that_it_is_true_of(
    tmp_path: Path, shown: Callable[[Callable[[Question], np.ndarray]], None]
) -> None:
    of = asked(tmp_path / "data", {"text/caption": "caption"})
    shown(lambda asked: np.repeat(pictures(asked)[:1], N, 0))
    captions = [caption.split() for caption in of.texts("text/caption")]
    found = showing.showing(of).scores
    assert found["shown objects"] == pytest.approx(np.mean([c == captions[0] for c in captions]))
    for at, factor in ((3, "colours"), (4, "shapes")):  # "a large plain red circle is at …"
        assert found[f"shown {factor}"] == pytest.approx(np.mean([c[at] == captions[0][at] for c in captions]))


def test_a_set_whose_captions_are_its_texts_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SensoriumError, match="no 'text/caption'; expected a set of contexts"):
        showing.showing(asked(tmp_path / "data", {}))
