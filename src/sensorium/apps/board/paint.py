"""Pictures from words, by runs that paint. Each has its seed, which gives it again by itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from sensorium.apps.server import generating
from sensorium.apps.server.state import Served, paints
from sensorium.core import SensoriumError

from .pages import PROBLEMS, named, render, served_by, told, whole
from .pictures import hold

MOST = 8
"""Pictures of one prompt."""
LONGEST = 2000
"""Characters of a prompt."""
LAST_SEED = 999_999_999


@dataclass(frozen=True)
class Painted:
    """A picture that is held under a name, its seed and its size."""

    name: str
    seed: int
    size: tuple[int, int]


async def page(request: Request) -> Response:
    """The form, and the pictures where a prompt is given."""
    given = request.query_params
    try:
        run = painter(served_by(request), given.get("run", "")) if given.get("prompt", "").strip() else ""
        pictures = await _painted(request, run, given) if run else None
    except PROBLEMS as problem:
        return _page(request, problem=problem)
    return _page(request, run, pictures)


def painters(there: Served) -> list[str]:
    """The runs that paint."""
    return [name for name, model in there.models.items() if paints(model)]


def painter(there: Served, name: str) -> str:
    """The run of this name, else the first that paints."""
    able = painters(there)
    if name:
        named("run", name, there.models)
    if (name and name not in able) or not able:
        who = f"{name} does not paint" if name else "no served run paints"
        raise SensoriumError(f"{who}; pictures from words need a run that generates them, such as transfusion")
    return name or able[0]


async def _painted(request: Request, run: str, given: Mapping[str, str]) -> list[Painted]:
    state, prompt = request.app.state, given["prompt"].strip()
    if len(prompt) > LONGEST:
        raise SensoriumError(f"the prompt has {len(prompt):,} characters; at most {LONGEST:,} are read")
    n, first = whole(given, "n", 4, 1, MOST), whole(given, "seed", 0, 0, LAST_SEED)
    found = []
    for seed in range(first, first + n):
        (picture,) = await generating.images(state.served, state.batcher, run, prompt, n=1, seed=seed)
        found.append(Painted(await run_in_threadpool(hold, request, picture), seed, picture.size))
    return found


def _page(
    request: Request, run: str = "", pictures: Sequence[Painted] | None = None, problem: Exception | None = None
) -> Response:
    status, line = told(problem) if problem else (200, "")
    return render(
        request,
        "paint.html",
        status=status,
        given=request.query_params,
        run=run,
        pictures=pictures,
        problem=line,
        painters=painters(served_by(request)),
        most=MOST,
        last_seed=LAST_SEED,
    )


PAGES = {"/paint": page}
