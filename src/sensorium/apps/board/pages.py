"""What every page shares: templates, headers, and how a problem is told."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from inspect import iscoroutinefunction
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from sensorium.apps.server.batch import Busy
from sensorium.apps.server.errors import Problem
from sensorium.core import SensoriumError, nearest
from sensorium.run.report.claim_charts import VERDICTS
from sensorium.run.report.page import environment, specs
from sensorium.run.report.vega import Chart

if TYPE_CHECKING:
    from jinja2 import Environment

    from sensorium.apps.server.state import Served

HERE = Path(__file__).parent
POLICY = (
    "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-cache",
}
DRAWN = {"usermeta": {"embedOptions": {"defaultStyle": False, "tooltip": {"disableDefaultStyle": True}}}}
"""A chart whose styles come from the style sheet alone: the policy lets no script add any."""
BUSY = "too much is asked at once; try again in a moment"

View = Callable[[Request], Any]
Found = TypeVar("Found")


class Absent(SensoriumError):
    """Nothing of that name is served."""


PROBLEMS = (SensoriumError, Busy, Problem)
"""What is told in a line."""


def served_by(request: Request) -> Served:
    """What the server behind a request serves."""
    found: Served = request.app.state.served
    return found


def named(what: str, name: str, there: Mapping[str, Found]) -> Found:
    """The value of a name out of a path or a form, or one line with the nearest name."""
    if name not in there:
        raise Absent(f"no {what} {name!r} is served{nearest(name, there)}")
    return there[name]


@cache
def templates() -> Environment:
    """The board's templates, then the reports', whose parts they use."""
    found = environment(HERE / "templates")
    found.globals["marks"] = VERDICTS
    found.filters["segment"] = lambda name: quote(str(name), safe="")
    return found


def render(
    request: Request, template: str, charts: Sequence[Chart] = (), status: int = 200, **values: Any
) -> HTMLResponse:
    """A page with its charts; every value is escaped."""
    drawn = [replace(chart, spec={**chart.spec, **DRAWN}) for chart in charts]
    page = templates().get_template(template)
    text = page.render(served=served_by(request), here=request.url.path, charts=charts, specs=specs(drawn), **values)
    return HTMLResponse(text.encode(errors="replace"), status, HEADERS)


def page(view: View) -> Callable[[Request], Awaitable[Response]]:
    """A view as an endpoint that tells a problem as a page. Who may see it, the server has decided before."""

    async def answer(request: Request) -> Response:
        try:
            found: Response = await (view(request) if iscoroutinefunction(view) else run_in_threadpool(view, request))
            return found
        except PROBLEMS as problem:
            status, line = told(problem)
            return render(request, "problem.html", status=status, problem=line)

    return answer


def told(problem: Exception) -> tuple[int, str]:
    """The status and the line of one of `PROBLEMS`."""
    if isinstance(problem, Busy):
        return 503, BUSY
    if isinstance(problem, Problem):
        return problem.status, problem.message
    return 404 if isinstance(problem, Absent) else 400, str(problem)


def whole(given: Mapping[str, str], name: str, default: int, least: int, most: int) -> int:
    """A whole number out of a query or a form; one line where it is none or out of bounds."""
    value = given.get(name, "").strip() or str(default)
    if not (value.isascii() and value.isdigit() and len(value) < 10 and least <= int(value) <= most):
        raise SensoriumError(f"{name} {value!r}; expected a whole number from {least:,} to {most:,}")
    return int(value)


def decimal(given: Mapping[str, str], name: str, default: float, most: float) -> float:
    """A number from 0 out of a form; one line where it is none or out of bounds."""
    value = given.get(name, "").strip() or f"{default:g}"
    if not (re.fullmatch(r"[0-9]{0,6}\.?[0-9]{0,6}", value) and value != "." and 0 <= float(value) <= most):
        raise SensoriumError(f"{name} {value!r}; expected a number from 0 to {most:g}")
    return float(value)
