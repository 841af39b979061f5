"""What a data set of N rows costs: run as a script, prints one JSON line.

python scale.py make FOLDER N      write N captions of 500 pictures
python scale.py train FOLDER       open it, train 20 steps from scratch, print CPU-seconds and memory
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

PICTURES = 500


def make(folder: Path, n: int) -> None:
    import numpy as np
    from PIL import Image

    folder.mkdir(parents=True)
    draw = np.random.default_rng(0)
    for k in range(PICTURES):
        noise = draw.integers(0, 256, (8, 9, 3), dtype=np.uint8)
        Image.fromarray(noise).resize((32, 32), Image.Resampling.NEAREST).save(folder / f"{k}.png")
    with (folder / "metadata.jsonl").open("w") as out:
        for k in range(n):
            words = f"picture {k % PICTURES} seen for the {k} time"
            out.write(json.dumps({"file_name": f"{k % PICTURES}.png", "text": words}) + "\n")


def held() -> float:
    """Memory in MB that is this process's own: mapped files, which the system may drop, are not in it."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("RssAnon")).split()[1]) / 1024


def train(folder: Path) -> None:
    from sensorium.data.dataset import Dataset
    from sensorium.run.device import settle
    from sensorium.run.fit import Fit
    from sensorium.run.plan import Job, plan

    settle()
    before, start = held(), time.process_time()
    data = Dataset(folder)
    opened = time.process_time()
    job = Job(
        "baseline/clip",
        str(folder),
        {"image": "scratch", "text": "scratch"},
        1e-3,
        20 * 64,
        0,
        batch=64,
        split="redrawn",
    )
    p = plan(job, data)
    planned, seconds, most = held(), 0.0, 0.0
    for step in Fit(p.method, p.stages, job.trial):
        seconds = seconds or time.process_time() - start
        most = max(most, held())
        assert step.samples
    line = {"rows": len(data), "imports_mb": before, "planned_mb": planned, "training_mb": most}
    line |= {"open_cpu_s": opened - start, "first_step_cpu_s": seconds, "total_cpu_s": time.process_time()}
    print(json.dumps(line))


if __name__ == "__main__":
    make(Path(sys.argv[2]), int(sys.argv[3])) if sys.argv[1] == "make" else train(Path(sys.argv[2]))
