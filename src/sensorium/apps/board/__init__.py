"""What was trained, raced and measured, in a browser: pages over what a server serves."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fastapi import FastAPI


def attach(app: FastAPI) -> None:
    """Add the pages under / and their files under /static. They read `app.state.served` and `app.state.batcher`."""
    from starlette.routing import Route

    from . import files, login, papers, runs, search, sets, start
    from .pages import page

    for module in (start, papers, runs, sets, search):
        app.router.routes += [Route(path, page(view)) for path, view in module.PAGES.items()]
    app.router.routes.append(Route("/login", page(login.login), methods=["GET", "POST"]))
    app.router.routes.append(Route(search.FORM, page(search.ask), methods=["POST"]))
    app.router.routes += files.routes()
