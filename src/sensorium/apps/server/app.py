"""The application: every route, and how each refusal is told."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse, JSONResponse, Response

from sensorium import __version__
from sensorium.core import SensoriumError

from . import chat, finding, images, predict, v1
from .batch import Batcher, Busy
from .errors import Problem, in_words, refusal
from .gone import Left
from .guard import Guard
from .inputs import Reader
from .metrics import Metered, Metrics
from .pages import overview
from .schemas import Chat, Embeddings, Health, Images, Predict, Rerank, Search, expected
from .state import Served

SCHEMAS: dict[str, type[BaseModel]] = {
    "/v1/embeddings": Embeddings,
    "/v1/rerank": Rerank,
    "/v1/chat/completions": Chat,
    "/v1/images/generations": Images,
    "/predict": Predict,
}
ASKED = expected(Search) | {"q": "words", "row": "the number of a row"}
"""What the fields of an address expect."""
ABOUT = "What was trained, behind HTTP: embeddings, reranking, chat, pictures, search, prediction."


def create(
    served: Served, *, keys: frozenset[str] = frozenset(), allow_fetch: Sequence[str] = (), board: bool = True
) -> FastAPI:
    """The application over what is served. Without `keys` it answers this machine alone; `allow_fetch` names the hosts
    that pictures may be fetched from; with `board`, pages for people lie under /."""
    app = FastAPI(
        title="Sensorium",
        version=__version__,
        docs_url=None,
        redoc_url=None,
        lifespan=_lifespan,
        redirect_slashes=False,
    )
    batcher = Batcher(served.models)
    metrics = Metrics(batcher)
    app.state.served, app.state.batcher, app.state.metrics = served, batcher, metrics
    app.state.keys, app.state.board = keys, board
    app.state.reader = Reader(frozenset(host.lower() for host in allow_fetch))
    for router in (v1.router, chat.router, images.router, finding.router, finding.pictures, predict.router):
        app.include_router(router)
    _about(app, metrics)
    _refusals(app)
    if board:
        from sensorium.apps.board import attach

        attach(app)
    app.add_middleware(Guard)
    app.add_middleware(Metered, metrics=metrics)
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    yield
    await app.state.batcher.close()
    app.state.reader.close()


def _about(app: FastAPI, metrics: Metrics) -> None:
    """Routes that tell of the server itself."""
    refusals: dict[int | str, dict[str, Any]] = {status: v1.REFUSALS[status] for status in (401, 403)}
    text: dict[int | str, dict[str, Any]] = {200: {"content": {"text/plain": {}}}}

    @app.get(
        "/health", response_model=Health, responses=refusals, tags=["server"], summary="Whether the server answers"
    )
    async def health() -> Response:
        return JSONResponse({"status": "ok"})

    @app.get("/metrics", response_class=Response, responses=refusals | text, tags=["server"], summary="Counts")
    async def numbers() -> Response:
        return metrics.response()

    @app.get("/docs", response_class=HTMLResponse, include_in_schema=False)
    async def docs() -> Response:
        return HTMLResponse(overview(app.openapi()))

    def described() -> dict[str, Any]:
        if app.openapi_schema is None:
            found = get_openapi(title=app.title, version=app.version, routes=app.routes, description=ABOUT)
            for path in found["paths"].values():
                for operation in path.values():
                    operation["responses"].pop("422", None)  # told as 400
            for name in ("HTTPValidationError", "ValidationError"):
                found["components"]["schemas"].pop(name, None)
            found["components"]["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
            found["security"] = [{"key": []}] if app.state.keys else []
            app.openapi_schema = found
        return app.openapi_schema

    app.openapi = described  # type: ignore[method-assign]


def _refusals(app: FastAPI) -> None:
    """Every refusal in OpenAI's shape."""

    @app.exception_handler(Problem)
    async def problem(request: Request, found: Problem) -> Response:
        return refusal(found.status, found.message, found.param, found.code)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, found: RequestValidationError) -> Response:
        schema = SCHEMAS.get(request.url.path)
        errors = [{**error, "loc": error["loc"][1:]} for error in found.errors()]  # without "body", "query" or "path"
        told = in_words(errors, expected(schema) if schema else ASKED)
        return refusal(told.status, told.message, told.param, told.code)

    @app.exception_handler(SensoriumError)
    async def bad(request: Request, found: SensoriumError) -> Response:
        return refusal(400, str(found))

    @app.exception_handler(Busy)
    async def busy(request: Request, found: Busy) -> Response:
        return refusal(503, f"too many requests wait for {found}; come again", headers={"Retry-After": "1"})

    @app.exception_handler(Left)
    async def left(request: Request, found: Left) -> Response:
        return Response(status_code=499)

    @app.exception_handler(HTTPException)
    async def other(request: Request, found: HTTPException) -> Response:
        message = f"no route {request.method} {request.url.path[:80]}" if found.status_code in (404, 405) else ""
        return refusal(found.status_code, message or str(found.detail), headers=found.headers)

    @app.exception_handler(Exception)
    async def failed(request: Request, found: Exception) -> Response:
        return refusal(500, "the server failed to answer; its log says why")
