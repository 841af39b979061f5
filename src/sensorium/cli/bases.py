"""`sensorium bases`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from sensorium.lab.starts import Record


def bases(what: Literal["list", "show", "train"], name: str = "", *, out: Path = Path("bases")) -> None:
    """List the shared starts, show one with its recipe and what was measured of it, or train one again.

    Parameters
    ----------
    what
        list, show or train.
    name
        Which one to show or train.
    out
        Where train writes its folder.
    """
    from sensorium.core import SensoriumError

    if what == "list":
        print(listed())
        return
    if not name:
        raise SensoriumError(f"bases {what} needs a name; sensorium bases list has them")
    print(shown(name) if what == "show" else trained(name, out))


def listed() -> str:
    """One line per start."""
    from sensorium.core import SensoriumError
    from sensorium.lab import starts

    lines = []
    for name, start in starts.STARTS.items():
        try:
            lacks = starts.missing(starts.record_of(name))
        except SensoriumError:
            lacks = ["no weights here"]
        lines.append(f"  {name:<14} {start.about}" + (f"; lacks {lacks[0]}" if lacks else ""))
    return "\n".join(lines)


def shown(name: str) -> str:
    """The recipe of a start, its scores and its properties."""
    from sensorium.lab import starts

    return _told(starts.record_of(name))


def trained(name: str, out: Path) -> str:
    """Train a start into `out`, and what came of it."""
    from sensorium.cli.options import writable
    from sensorium.cli.progress import Bar
    from sensorium.lab import starts

    starts.start(name)
    writable(out / name)
    return f"{_told(starts.train(name, out, Bar()))}\n  written to {out / name}"


def _told(record: Record) -> str:
    from sensorium.lab.starts import missing, start

    made, recipe = start(record.name), record.recipe
    size = f"{recipe['samples']:,} samples of {recipe['data']}, rate {recipe['rate']:g}, seed {recipe['seed']}"
    lacks = missing(record)
    lines = [
        f"{record.name}: {made.about}",
        f"  made of      {recipe['paper']} {dict(recipe['config'])}, {size}; {record.cost['cpu_s']:.0f} CPU-s",
        f"  scores       {', '.join(f'{k} {v:.3f}' for k, v in record.scores.items()) or 'of no task'}",
        f"  weights      {record.files['model.safetensors']}, bf16, {record.date[:10]}",
    ]
    for each in made.properties.values():
        has, rival = record.properties[each.score], record.properties[each.above]
        needs = f"needs {each.times:g} times that"
        lines.append(f"  property     {each.about}: {has:.2f}, {each.above} {rival:.2f}, {needs}")
    lines += [f"  LACKS        {line}" for line in lacks]
    if made.roles:
        lines.append(f"  use it       --towers {record.name} (for {' and '.join(made.roles)})")
    lines.append(f"  build on it  BASES = {{{record.name!r}: ...}} in a paper, bases.get({record.name!r}) in its build")
    return "\n".join(lines)
