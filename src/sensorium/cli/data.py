"""`sensorium data show`, `check` and `world`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

if TYPE_CHECKING:
    from sensorium.data.dataset import Dataset


def data(
    what: Literal["show", "check", "world"],
    path: str,
    *,
    map: Annotated[tuple[str, ...], Parameter(negative=())] = (),
    rows: int = 3,
    max_bad: float = 1.0,
    out: Path = Path("world.png"),
) -> None:
    """Show what is understood of a data set, check every row of all data sets below a path, or look at generated ones.

    Parameters
    ----------
    what
        show, check or world.
    path
        A folder, or a JSONL, CSV, Parquet or tar file. check also takes a folder of data sets. world takes the name of
        a generated set (scenes, binding, crowded …) and draws a contact sheet with the truth beside each picture.
    map
        role=column.
    rows
        How many samples to show.
    max_bad
        Share of bad rows above which this stops.
    out
        Where world draws.
    """
    if what == "world":
        print(world(path, out))
        return
    from sensorium.cli.options import pairs
    from sensorium.cli.progress import Bar
    from sensorium.core import SensoriumError
    from sensorium.data.dataset import Dataset
    from sensorium.data.sources.folder import data_sets

    roles = pairs(map, "--map") or None
    if what == "show":
        show(Dataset(path, roles, max_bad=max_bad, say=Bar()), rows)
        return
    found = data_sets(Path(path))
    failed = []
    for each in found:
        try:
            check(Dataset(each, roles, max_bad=max_bad, say=Bar()))
        except SensoriumError as problem:
            failed.append(str(problem))
            print(f"{each}: {problem}")
    if failed:
        raise SensoriumError(f"{len(failed)} of {len(found)} data sets cannot be used; the first: {failed[0]}")


def world(name: str, out: Path) -> str:
    """Draw scenes of a generated set with the truth beside each; what its guards say, as lines."""
    from sensorium.cli.options import writable
    from sensorium.lab.sets import RECIPES, recipe
    from sensorium.lab.world.facts import facts
    from sensorium.lab.world.guards import null
    from sensorium.lab.world.lang import caption, negative
    from sensorium.lab.world.scene import render
    from sensorium.lab.world.show import sheet

    made = recipe(f"world/{name.removeprefix('world/')}")
    scenes = facts(made.seed, 12, made.config)
    lines = [[text] for text in caption(scenes, made.form, made.language, made.seed)]
    if made.wrong:
        false = negative(scenes, made.wrong, made.form, made.language, made.seed)[0]
        lines = [[*line, f"false: {text}"] for line, text in zip(lines, false, strict=True)]
    writable(out.parent)
    sheet(scenes, render(scenes, made.size, made.style, made.seed), lines, made.style).save(out)
    plain, c = name.removeprefix("world/"), made.config
    said = [
        f"{plain}: {sum(made.rows):,} scenes of {c.fewest} to {c.most} objects in {c.cells}x{c.cells} cells, "
        f"{c.colours} colours, {c.shapes} shapes; captions: {made.form} ({made.language})"
    ]
    said += [f"a negative text differs in: {made.wrong}"] if made.wrong else []
    said += [f"an edited picture differs in: {made.edited}"] if made.edited else []
    said += [null(c).sentence] if c.null else []
    others = ", ".join(sorted(set(n.removeprefix("world/") for n in RECIPES) - {plain}))
    return "\n".join([*said, f"sheet: {out}", f"other sets: {others}"])


def heading(found: Dataset) -> None:
    """Name, size, and what was understood."""
    print(
        f"{found.name}: {len(found)} rows, {len(set(found.groups.tolist()))} groups, {len(found.quarantine)} set aside"
    )
    for note in found.notes:
        print(f"  {note}")


def show(found: Dataset, rows: int) -> None:
    """What was understood, with samples."""
    from sensorium.data.describe import splits

    heading(found)
    for said in splits(found):
        print(f"  {said}")
    for row in range(min(rows, len(found))):
        print(f"  {found.ids[row]}")
        for key in found.kinds:
            print(f"    {key}: {sample(found, key, row)}")
    aside(found, 10)


def check(found: Dataset) -> None:
    """What was understood, what the values of each key are, and why rows were set aside."""
    from sensorium.data.describe import reasons, splits, summary

    heading(found)
    for key in found.kinds:
        print(f"  {key}: {summary(found, key)}")
    for said in splits(found):
        print(f"  {said}")
    for reason, n in reasons(found)[:30]:
        print(f"  {n} set aside, {reason}")
    aside(found, 3)


def sample(found: Dataset, key: str, row: int) -> str:
    """One value in a line; characters that would turn the line around are escaped."""
    from sensorium.data.codecs import NOUNS
    from sensorium.data.describe import inert

    about = found.about(key, row)
    if found.kinds[key] in NOUNS:
        return about
    text = found.texts(key)[row]
    short = inert(text[:100]) + ("…" if len(text) > 100 else "")
    return f"{about} {short}".strip()


def aside(found: Dataset, most: int) -> None:
    """The first rows set aside."""
    from sensorium.data.describe import inert

    for bad in found.quarantine[:most]:
        print(f"  set aside: {inert(bad.source)} {bad.key}: {inert(bad.reason)}")
    if len(found.quarantine) > most:
        print(f"  … and {len(found.quarantine) - most} more")
