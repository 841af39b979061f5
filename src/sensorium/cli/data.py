"""`sensorium data show`."""

from __future__ import annotations

from typing import Annotated, Literal

from cyclopts import Parameter


def data(
    what: Literal["show"],
    path: str,
    *,
    map: Annotated[tuple[str, ...], Parameter(negative=())] = (),
    rows: int = 3,
    max_bad: float = 1.0,
) -> None:
    """Show what is understood of a data set, and what is set aside.

    Parameters
    ----------
    what
        show.
    path
        A folder, JSONL or Parquet file.
    map
        role=column.
    rows
        How many samples to print.
    max_bad
        Share of bad rows above which this stops.
    """
    from sensorium.cli.options import pairs
    from sensorium.data.dataset import Dataset
    from sensorium.data.split import auto_mode, overlap, split

    found = Dataset(path, pairs(map, "--map") or None, max_bad=max_bad)
    print(
        f"{found.name}: {len(found)} rows, {len(set(found.groups.tolist()))} groups, {len(found.quarantine)} set aside"
    )
    for note in found.notes:
        print(f"  {note}")
    mode, why = auto_mode(found)
    parts = split(found, 0, mode)
    sizes = f"{len(parts.train)} train, {len(parts.validation)} validation, {len(parts.test)} test"
    print(f"  a race would use {mode} splits ({why}): {sizes}")
    if said := overlap(found, split(found, 0, "given")):
        print(f"  {said}")
    for row in range(min(rows, len(found))):
        print(f"  {found.ids[row]}")
        for key, kind in found.kinds.items():
            if kind == "image":
                print(f"    {key}: {'x'.join(map_size(found.image(key, row).size))}")
            else:
                print(f"    {key}: {found.texts(key)[row][:100]}")
    for bad in found.quarantine[:10]:
        print(f"  set aside: {bad.source} {bad.key}: {bad.reason}")
    if len(found.quarantine) > 10:
        print(f"  … and {len(found.quarantine) - 10} more")


def map_size(size: tuple[int, int]) -> tuple[str, str]:
    """Width and height as words."""
    return str(size[0]), str(size[1])
