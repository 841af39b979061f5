"""`sensorium train` and `sensorium embed`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter


def train(
    paper: str,
    data: str,
    *,
    out: Path,
    budget: str = "1m",
    samples: int = 0,
    rate: float = 1e-3,
    seed: int = 0,
    batch: int = 256,
    towers: str = "auto",
    base: Annotated[tuple[str, ...], Parameter(negative=())] = (),
    set: Annotated[tuple[str, ...], Parameter(negative=())] = (),
    map: Annotated[tuple[str, ...], Parameter(negative=())] = (),
    from_: Annotated[str, Parameter(name="--from")] = "",
    split: str = "given",
    max_bad: float = 0.1,
    resume: bool = False,
    save_every: str = "1m",
) -> None:
    """Train one paper on your data.

    SIGTERM and the first Ctrl-C finish the step and save, with exit code 143 or 130; the same command with --resume
    goes on to the very weights that training without a stop would have given.

    Parameters
    ----------
    paper
        A slug (sensorium papers lists them) or a .py file.
    data
        A folder, JSONL or Parquet file.
    out
        Folder of the run; must not hold another, but for --resume.
    budget
        CPU time: 90s, 5m, 2h. Becomes samples once, by timing 20 steps.
    samples
        Samples to see, instead of a budget.
    rate
        Peak learning rate.
    seed
        Seed of weights, order and noise.
    batch
        Rows per step.
    towers
        auto, scratch, or names and checkpoint folders joined by commas; role=name for one role.
    base
        name=checkpoint in the place of a shared start, such as causal-lm=smollm2-135m or causal-lm=FOLDER.
    set
        name=value of the paper's settings.
    map
        role=column, such as text=caption.
    from_
        A run whose weights to start from.
    split
        given or redrawn.
    max_bad
        Share of bad rows above which training stops.
    resume
        Go on with the run in --out, where there is one.
    save_every
        CPU time between two checkpoints: 90s, 5m, 2h.
    """
    import sensorium as sm
    from sensorium.cli.options import pairs, writable
    from sensorium.cli.progress import Bar
    from sensorium.run.lock import refuse_held
    from sensorium.run.save import free

    refuse_held(out)
    free(out, resume)
    writable(out.parent if out.parent != Path() else Path("."))
    bar = Bar()
    model = sm.train(
        paper,
        sm.Dataset(data, pairs(map, "--map") or None, max_bad=max_bad),
        budget=budget,
        samples=samples,
        rate=rate,
        seed=seed,
        batch=batch,
        towers=towers,
        bases=pairs(base, "--base"),
        config=pairs(set, "--set"),
        start=from_,
        split=split,
        out=out,
        resume=resume,
        save_every=save_every,
        progress=bar,
        say=bar.say,
    )
    bar.say(f"run: {model.path}")


def embed(
    run: str,
    data: str,
    *,
    out: Path,
    of: str = "",
    map: Annotated[tuple[str, ...], Parameter(negative=())] = (),
    trust_code: bool = False,
) -> None:
    """Write the embeddings of a data set to a safetensors file: keys "x" [N T D] and "mask" [N T].

    Parameters
    ----------
    run
        A run or a race.
    data
        What to embed.
    out
        The file to write.
    of
        Which key; the first that both the run and the data have, where empty.
    map
        role=column, as in train.
    trust_code
        Run the paper's file that the run carries.
    """
    from safetensors.torch import save

    from sensorium.cli.options import pairs
    from sensorium.cli.progress import Bar
    from sensorium.core import SensoriumError
    from sensorium.data.cache import write_atomic
    from sensorium.data.dataset import Dataset
    from sensorium.run.runs import load

    model = load(run, trust_code)
    rows = Dataset(data, pairs(map, "--map") or None)
    both = [k for k in getattr(model.method, "spaces", {}) if k in rows.kinds]
    if not both:
        raise SensoriumError(f"{run} embeds nothing that {data} has ({', '.join(rows.kinds)})")
    key = of or both[0]
    tokens = model.embed(model.column(rows, key, Bar()))
    write_atomic(out, save({"x": tokens.x.contiguous(), "mask": tokens.mask.contiguous()}))
    print(f"{key} of {len(rows)} rows -> {out}: {list(tokens.x.shape)}")
