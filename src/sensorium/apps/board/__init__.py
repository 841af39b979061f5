"""What was trained, raced and measured, in a browser: pages over what a server serves."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fastapi import FastAPI


def attach(app: FastAPI) -> None:
    """Add the pages under / and their files under /static. They read `app.state.served` and `app.state.batcher`."""
    from starlette.routing import Route

    from . import chat, files, image, login, paint, papers, runs, search, sets, start
    from .pages import page

    for module in (start, papers, runs, sets, search, image, chat, paint):
        app.router.routes += [Route(path, page(view)) for path, view in module.PAGES.items()]
    app.router.routes.append(Route("/login", page(login.login), methods=["GET", "POST"]))
    forms = {search.FORM: search.ask, image.FORM: image.form, chat.FORM: chat.answer, chat.STREAM: chat.stream}
    app.router.routes += [Route(path, page(view), methods=["POST"]) for path, view in forms.items()]
    app.router.routes += files.routes()
