"""`sensorium index`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

if TYPE_CHECKING:
    from sensorium.apps.index import Collection


def index(
    run: str = "",
    collection: str = "",
    *,
    out: Annotated[Path, Parameter(name=["--out", "-o"])],
    sync: bool = False,
    delete: Annotated[tuple[str, ...], Parameter(negative=())] = (),
    map: Annotated[tuple[str, ...], Parameter(negative=())] = (),
    max_bad: float = 0.1,
    trust_code: bool = False,
) -> None:
    """Embed the pictures of a collection once, to be searched from then on.

    The same command again adds the rows that are new or have changed and leaves the others alone.

    Parameters
    ----------
    run
        A run, or a race (its best run).
    collection
        A data set: what race, train and search read.
    out
        Folder of the index; one that is there is added to.
    sync
        Remove the rows that the collection has no more.
    delete
        Remove rows by id, and do nothing else: id,id.
    map
        role=column, as in race.
    max_bad
        Share of bad rows above which this stops.
    trust_code
        Run the paper's file that the run carries.
    """
    from sensorium.apps.index import build, is_index, open_index
    from sensorium.cli.options import pairs, writable
    from sensorium.cli.progress import Bar
    from sensorium.core import SensoriumError
    from sensorium.data.dataset import Dataset
    from sensorium.run.lock import refuse_held
    from sensorium.run.runs import load

    refuse_held(out)
    if delete:
        if run or collection or sync:
            raise SensoriumError("--delete removes rows and does nothing else: sensorium index --out INDEX --delete id")
        there = open_index(out)
        removed = there.delete([id for word in delete for id in _ids(there, word)])
        print(f"{_rows(removed)} removed; {summary(there)}")
        return
    if not (run and collection):
        raise SensoriumError(f"no {'collection' if run else 'run'}: sensorium index RUN COLLECTION --out INDEX")
    writable(out.parent)
    bar = Bar()
    model = load(run, trust_code)
    if is_index(out):
        there = open_index(out)
        there.refuse(model)
        done = there.add(model, Dataset(collection, pairs(map, "--map") or None, max_bad=max_bad, say=bar), bar, sync)
        gone = f"{done.gone} gone and {'removed' if sync else 'kept (--sync removes them)'}" if done.gone else "0 gone"
        bar.say(f"{_rows(done.added)} added ({done.replaced} had changed), {done.kept} unchanged, {gone}")
    else:
        there = build(model, Dataset(collection, pairs(map, "--map") or None, max_bad=max_bad, say=bar), out, bar)
        bar.say(f"{_rows(there.rows)} added")
    bar.say(f'{summary(there)}   (sensorium search {out} "...")')


def _rows(n: int) -> str:
    return f"{n} row{'s' * (n != 1)}"


def _ids(there: Collection, word: str) -> list[str]:
    """A word of --delete: one id, commas and all, where the index has it; else several."""
    return [word] if there.has(word) else word.split(",")


def summary(there: Collection) -> str:
    """What an index holds and how it is searched."""
    record = there.record
    line = f"{there.path}: {_rows(there.rows)} by {record.writer['paper']}"
    if record.near is None:
        return f"{line}, exact search"
    near = record.near
    return (
        f"{line}, approximate search: recall@10 {near['recall@10']:.3f} on {near['queries']} queries, "
        f"{near['probes']} of {near['partitions']} partitions"
    )
