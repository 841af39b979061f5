"""`sensorium serve`."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter


def serve(
    *run: Path,
    data: Annotated[tuple[Path, ...], Parameter(negative=())] = (),
    index: Annotated[tuple[Path, ...], Parameter(negative=())] = (),
    host: str = "127.0.0.1",
    port: int = 8000,
    keys: Path | None = None,
    allow_fetch: str = "",
    board: bool = True,
    trust_code: bool = False,
) -> None:
    """Serve runs to OpenAI clients, for search, and to a browser.

    SIGTERM and Ctrl-C end it once every request in flight is answered.

    Parameters
    ----------
    run
        Runs, or races (their best runs).
    data
        Data sets to search; those that the runs were trained on where none is given.
    index
        Indexes to search.
    host
        Where to listen; beyond this machine only with keys.
    port
        The port; 0 takes a free one.
    keys
        A file of keys, one per line; further ones in SENSORIUM_KEYS.
    allow_fetch
        Hosts that pictures may be fetched from, joined by commas.
    board
        Pages for people under /.
    trust_code
        Run the papers' files that the runs carry.
    """
    import importlib.util

    from sensorium.cli.progress import Bar
    from sensorium.core import SensoriumError
    from sensorium.run.stop import Stopped

    if missing := [name for name in ("fastapi", "uvicorn", "prometheus_client") if not importlib.util.find_spec(name)]:
        raise SensoriumError(f"serve needs {missing[0]}; get it with: pip install 'sensorium[serve]'")

    from sensorium.apps.server import generating, listen, predict
    from sensorium.apps.server.app import create
    from sensorium.apps.server.auth import keys_of, must_be_safe
    from sensorium.apps.server.fetch import hosts_of
    from sensorium.apps.server.search import warm
    from sensorium.apps.server.state import served

    known = keys_of(keys)
    must_be_safe(host, known)
    fetched = sorted(hosts_of(allow_fetch))
    listening = listen.bound(host, port)
    bar = Bar()
    there = served(run, data, index, trust_code, bar.say)
    warm(there, bar)
    predict.warm(there)
    generating.warm(there)
    app = create(there, keys=known, allow_fetch=fetched, board=board)
    what: dict[str, Iterable[str]] = {"runs": there.models, "data": there.data, "indexes": there.indexes}
    shown = "; ".join(f"{kind}: {', '.join(names)}" for kind, names in what.items() if names)
    listening.listen(512)
    bar.say(f"{listen.url_of(listening)} serves {shown}")
    try:
        listen.server_of(app).run(sockets=[listening])
    except KeyboardInterrupt as stop:
        raise Stopped("stopped; what was asked before is answered", getattr(stop, "number", 2)) from None
