from __future__ import annotations

import subprocess
import sys

import pytest

from sensorium.core import Embeds, Predicts, Ranks, SensoriumError
from sensorium.core.paper import KINDS
from sensorium.evals.tasks import TASKS, task


def test_every_row_is_whole() -> None:
    capabilities = {"rank": Ranks, "embed": Embeds, "predict": Predicts}
    for name, row in TASKS.items():
        assert row.name == name and row.about and row.trivial
        assert {need.partition("/")[0] for need in row.needs} <= set(KINDS)
        assert row.capability == "generate" or hasattr(capabilities[row.capability], row.capability)
        assert 0 < row.ceiling <= row.most


def test_retrieval_is_found_and_a_slip_is_told() -> None:
    assert task("retrieval").primary == "r@1" and task("retrieval").needs == ("image", "text")
    with pytest.raises(SensoriumError, match="no task 'retreival'; did you mean 'retrieval'"):
        task("retreival")


def test_listing_imports_no_torch() -> None:
    code = "import sys, sensorium.evals.tasks; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
