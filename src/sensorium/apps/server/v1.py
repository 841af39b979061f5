"""/v1: models, embeddings and reranking, as OpenAI, Cohere and Jina clients ask for them."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from fastapi import APIRouter, Body, Request
from numpy.typing import NDArray
from starlette.responses import JSONResponse, Response
from torch.nn.utils.rnn import pad_sequence

from sensorium.blocks.similarity import unit
from sensorium.core import Ranks, SensoriumError, Tokens, nearest
from sensorium.run.load import label
from sensorium.run.runs import Model

from .batch import Batcher, Embedded
from .compare import compare, must_embed, must_rank
from .errors import Problem
from .inputs import Reader, Value
from .schemas import EmbeddingList, Embeddings, Error, ModelCard, ModelList, Part, Rerank, RerankList
from .search import plain
from .state import Served, paints, predicts_of, spaces_of, writes

REFUSALS: dict[int | str, dict[str, Any]] = {
    400: {"model": Error, "description": "Not what is expected, or not what the model can do"},
    401: {"model": Error, "description": "No key, or one that is not known"},
    403: {"model": Error, "description": "Asked from elsewhere"},
    404: {"model": Error, "description": "No such model, data set, row or route"},
    413: {"model": Error, "description": "A body that is too large"},
    415: {"model": Error, "description": "A body of another type"},
    503: {"model": Error, "description": "Too many requests wait; Retry-After says when to come again"},
}
router = APIRouter(prefix="/v1", responses=REFUSALS, tags=["v1"])


@router.get("/models", response_model=ModelList, summary="What is served")
async def models(request: Request) -> Response:
    """Every served run and what it can do."""
    served: Served = request.app.state.served
    return JSONResponse({"object": "list", "data": [_card(name, m) for name, m in served.models.items()]})


@router.get("/models/{model}", response_model=ModelCard, summary="One served run")
async def model(request: Request, model: str) -> Response:
    """What a served run can do."""
    return JSONResponse(_card(model, named(request, model)))


@router.post("/embeddings", response_model=EmbeddingList, summary="Embed texts and pictures")
async def embeddings(request: Request, asked: Annotated[Embeddings, Body()]) -> Response:
    """One vector per input; with `return_multivector` all vectors of each."""
    model = named(request, asked.model)
    many = [role for role, space in spaces_of(model).items() if space.many]
    if many and not asked.return_multivector:
        raise Problem(
            400,
            f"{asked.model} gives many vectors per {' and '.join(many)}; ask with return_multivector: true, or use "
            "/v1/rerank or /search",
            "model",
        )
    values = await values_of(request, asked.input, "input", asked.model, model)
    found = await embed(request.app.state.batcher, asked.model, values)
    vectors = [_cut(e.vectors, asked.dimensions) for e in found]
    encode = _base64 if asked.encoding_format == "base64" else _numbers
    if asked.return_multivector:
        held: list[dict[str, Any]] = [{"embeddings": [encode(r) for r in v]} for v in vectors]
    else:
        held = [{"embedding": encode(v[0])} for v in vectors]
    data = [
        {"object": "embedding", "index": k, **vector, "truncated": e.truncated}
        for k, (vector, e) in enumerate(zip(held, found, strict=True))
    ]
    return JSONResponse({"object": "list", "model": asked.model, "data": data, "usage": usage(found)})


@router.post("/rerank", response_model=RerankList, response_model_exclude_none=True, summary="Put documents in order")
async def rerank(request: Request, asked: Annotated[Rerank, Body()]) -> Response:
    """Documents by how well they match the query, best first; scores are the run's own, higher is closer."""
    served: Served = request.app.state.served
    model = named(request, asked.model)
    must_rank(asked.model, model)
    query = (await values_of(request, asked.query, "query", asked.model, model))[0]
    documents = await values_of(request, asked.documents, "documents", asked.model, model)
    scores, counted = await _scores(served, request.app.state.batcher, asked.model, query, documents)
    order = sorted(range(len(scores)), key=lambda k: (-scores[k], k))[: asked.top_n]
    results: list[dict[str, Any]] = [{"index": k, "relevance_score": scores[k]} for k in order]
    if asked.return_documents:
        for result in results:
            result["document"] = _shown(asked.documents[result["index"]])
    return JSONResponse({"model": asked.model, "results": results, "usage": usage(counted)})


def named(request: Request, name: str) -> Model:
    """The run of this name, or 404."""
    served: Served = request.app.state.served
    if name not in served.models:
        raise Problem(404, f"unknown model {name[:80]!r}{nearest(name, served.models)}", "model", "model_not_found")
    return served.models[name]


async def values_of(request: Request, given: Part | Sequence[Part], param: str, name: str, model: Model) -> list[Value]:
    """One part or several -> what the run reads, each of a role that it embeds."""
    reader: Reader = request.app.state.reader
    parts: Sequence[Part] = given if isinstance(given, list) else [given]  # type: ignore[list-item]
    values = await reader.values(parts, param, model)
    for role in sorted({role for role, _ in values}):
        try:
            must_embed(name, model, role)
        except SensoriumError as problem:
            raise Problem(400, f"{param}: {problem}", param) from None
    return values


async def embed(batcher: Batcher, model: str, values: Sequence[Value]) -> list[Embedded]:
    """Vectors of each value; texts and pictures go through the batcher apart and come back in order."""
    of = {role: [k for k, (r, _) in enumerate(values) if r == role] for role in dict(values)}
    parts = await asyncio.gather(*(batcher.embedded(model, r, [values[k][1] for k in ks]) for r, ks in of.items()))
    found = {k: e for ks, part in zip(of.values(), parts, strict=True) for k, e in zip(ks, part, strict=True)}
    return [found[k] for k in range(len(values))]


def usage(found: Sequence[Embedded]) -> dict[str, int]:
    """Tokens of texts that were read, and how many texts are longer."""
    total = sum(e.tokens for e in found)
    return {"prompt_tokens": total, "total_tokens": total, "truncated": sum(e.truncated for e in found)}


async def _scores(
    served: Served, batcher: Batcher, name: str, query: Value, documents: Sequence[Value]
) -> tuple[list[float], list[Embedded]]:
    """The score of each document, and what was embedded for it."""
    if name not in served.plain:
        await batcher.ask(name, "plain", lambda values: [plain(served, name) for _ in values], [None])
    if not served.plain[name]:
        work = partial(_rank_all, served.models[name])
        (scores,) = await batcher.ask(name, "rank", work, [(query, documents)])
        return list(scores), []
    first, *rest = found = await embed(batcher, name, [query, *documents])
    space = spaces_of(served.models[name])[query[0]]
    scores = await asyncio.to_thread(lambda: compare(space, tokens_of([first]), tokens_of(rest))[0].tolist())
    return scores, found


def _rank_all(model: Model, asked: Sequence[tuple[Value, Sequence[Value]]]) -> list[list[float]]:
    """The run's own ranking of each query's documents, texts and pictures apart."""
    found = []
    for (role, query), documents in asked:
        read, scores = model.read(role, [query]), [0.0] * len(documents)
        for kind in sorted({r for r, _ in documents}):
            mine = [k for k, (r, _) in enumerate(documents) if r == kind]
            row = model.rank(read, model.read(kind, [documents[k][1] for k in mine]))[0]
            for k, score in zip(mine, row.tolist(), strict=True):
                scores[k] = score
        found.append(scores)
    return found


def tokens_of(found: Sequence[Embedded]) -> Tokens:
    """Vectors of several values as one batch [N T D]."""
    rows = [torch.from_numpy(e.vectors) for e in found]
    x = pad_sequence(rows, batch_first=True)
    return Tokens(x, torch.arange(x.shape[1]) < torch.tensor([len(r) for r in rows])[:, None])


def _cut(vectors: NDArray[np.float32], dimensions: int | None) -> NDArray[np.float32]:
    """[T D] -> the first `dimensions` of each, of length 1 again."""
    if dimensions is None:
        return vectors
    if dimensions > vectors.shape[1]:
        raise Problem(400, f"dimensions: given {dimensions}; expected 1 to {vectors.shape[1]}", "dimensions")
    cut: NDArray[np.float32] = unit(torch.from_numpy(vectors[:, :dimensions])).numpy()
    return cut


def _numbers(vector: NDArray[np.float32]) -> list[float]:
    return [float(x) for x in vector.tolist()]


def _base64(vector: NDArray[np.float32]) -> str:
    return base64.b64encode(vector.astype("<f4").tobytes()).decode()


def _shown(document: Part) -> Any:
    return {"text": document} if isinstance(document, str) else document.model_dump()


def size_of(model: Model) -> str:
    """The size of the pictures that a run paints, as "64x64"."""
    _, height, width = model.fields["image"].shape
    return f"{width}x{height}"


def _card(name: str, model: Model) -> dict[str, Any]:
    """What a run is and can do."""
    record = Path(model.path) / "run.json"
    embeds = {r: {"dimensions": s.dim, "multivector": s.many} for r, s in spaces_of(model).items()}
    if "text" in embeds and model.tokenizer is not None and "text" in model.fields:
        embeds["text"]["most_tokens"] = model.fields["text"].length
    return {
        "id": name,
        "object": "model",
        "created": int(record.stat().st_mtime) if record.is_file() else 0,
        "owned_by": "sensorium",
        "paper": label(model.paper),
        "embeds": embeds,
        "ranks": isinstance(model.method, Ranks),
        "predicts": dict(predicts_of(model)),
        "writes": writes(model),
        "paints": size_of(model) if paints(model) else "",
    }
