"""`sensorium papers`, `show` and `doctor`: the first two read the index alone."""

from __future__ import annotations

import importlib
import importlib.util
import os
import platform
import shutil
import sys
from textwrap import fill

from sensorium import catalogue


def papers(*, family: str = "", kind: str = "", needs: str = "", built: bool = False) -> None:
    """List the papers: what each needs and how far it is built.

    Parameters
    ----------
    family
        Only this family.
    kind
        Only this kind: method, data, benchmark, analysis, system, survey, baseline.
    needs
        Roles joined by commas that your data has; papers that need others are left out.
    built
        Only papers that can be trained today.
    """
    have = {n for n in needs.split(",") if n}
    found = [r for r in catalogue.rows() if (not family or r.family == family) and (not kind or r.kind == kind)]
    if family and not found:
        sys.exit(_refuse("family", family, {r.family for r in catalogue.rows()}))
    if kind and not found:
        sys.exit(_refuse("kind", kind, {r.kind for r in catalogue.rows()}))
    if have:
        found = [r for r in found if r.path and {k.split("/")[0].split(".")[0] for k in r.needs} <= have]
    if built:
        found = [r for r in found if r.path]
    width = shutil.get_terminal_size((120, 20)).columns
    for row in sorted(found, key=lambda r: (not r.path, r.family, r.slug)):
        line = f"{row.slug:<26} {row.family:<10} {row.kind:<10} {row.status}"
        print(line if len(line) <= width else line[: width - 1] + "…")
    there = sum(bool(r.path) for r in found)
    print(f"\n{len(found)} listed, {there} can be trained today (sensorium show SLUG tells more)")


def _refuse(what: str, given: str, valid: set[str]) -> int:
    from difflib import get_close_matches

    from sensorium.cli import fail

    close = get_close_matches(given, valid, 1)
    return fail(
        f"unknown {what} {given!r}; "
        + (f"did you mean {close[0]!r}?" if close else f"expected one of {', '.join(sorted(valid))}")
    )


def show(slug: str) -> None:
    """Show one paper: mechanism, claim, parts.

    Parameters
    ----------
    slug
        As `sensorium papers` prints it.
    """
    from sensorium.cli import fail

    row = catalogue.find(slug)
    if row is None:
        near = catalogue.nearest_slug(slug)
        sys.exit(
            fail(f"unknown paper {slug!r}" + (f"; did you mean {near!r}?" if near else "; sensorium papers lists them"))
        )
    width = min(100, shutil.get_terminal_size((100, 20)).columns)
    print(f"{row.title}\n{row.slug} · {row.family} · {row.kind} · {row.status}\n")
    for name, text in (("mechanism", row.mechanism), ("claim", row.claim), ("evidence", row.evidence)):
        if text:
            print(fill(f"{name}: {text}", width, subsequent_indent="  "))
    if row.needs:
        print("needs: " + ", ".join(f"{k} ({v})" for k, v in row.needs.items()))
    for part, symbol in row.parts.items():
        print(f"part: {part} -> {symbol}")
    for claim, verdict in row.verdicts.items():
        print(f"measured: {claim}: {verdict}")
    if row.path:
        print(f"file: {row.path}")


EXTRAS = {
    "transformers": ("real text towers", "pip install 'sensorium[pretrained]'"),
}


def doctor() -> None:
    """What this machine can do, what is missing, how to get it."""
    print(f"python {platform.python_version()} on {platform.platform(terse=True)}, {os.cpu_count()} cores")
    import torch

    where = (
        f"CUDA {torch.version.cuda}"
        if torch.cuda.is_available()
        else "MPS"
        if torch.backends.mps.is_available()
        else "CPU only"
    )
    print(f"torch {torch.__version__}: {where}")
    from sensorium.data.cache import home

    folder = home()
    there = folder if folder.exists() else next(p for p in folder.parents if p.exists())
    free, access = shutil.disk_usage(there).free / 1e9, "writable" if os.access(there, os.W_OK) else "NOT writable"
    print(f"caches in {folder}: {free:.0f} GB free, {access}")
    from sensorium.lab.pretrained import ALL

    for weights in ALL.values():
        print(
            f"weights {weights.name} ({weights.role}, {weights.licence}): "
            + ("there" if weights.path() else f"missing; get them with: {weights.get}")
        )
    for package, (what, how) in EXTRAS.items():
        print(
            f"{package} ({what}): " + ("there" if importlib.util.find_spec(package) else f"missing; get it with: {how}")
        )
    if importlib.util.find_spec("torchvision"):
        try:
            importlib.import_module("torchvision")
        except Exception as problem:
            print(
                f"torchvision is installed but broken ({type(problem).__name__}); remove it: pip uninstall torchvision"
            )
