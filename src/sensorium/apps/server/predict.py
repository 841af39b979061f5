"""/predict: what runs with a `predicts` mapping say of a row. Keys and kinds are read from the run, never its class."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, cast

import numpy as np
import torch
from fastapi import APIRouter, Body, Request
from PIL import Image
from starlette.responses import JSONResponse, Response
from torch import Tensor

from sensorium.core import Field, Predicts, SensoriumError, Value, nearest
from sensorium.data.columns import label_column, value_column
from sensorium.data.limits import Refused
from sensorium.data.media import spans
from sensorium.data.media.image import fit
from sensorium.data.spans import token_spans
from sensorium.run.runs import Model

from .compare import can
from .errors import Problem
from .inputs import PICTURES, Reader, pixels_of, side_of, words_of
from .schemas import Predict, PredictionList
from .state import Served, needs_of, predicts_of
from .v1 import REFUSALS, named

LIKELY = 10
"""Classes whose scores are told."""
KINDS = ("image", "text", "ids", "label", "value", "spans")
"""Kinds that a request may hold."""
Row = dict[str, Any]
router = APIRouter(responses=REFUSALS, tags=["predict"])


@dataclass(frozen=True)
class Picture:
    """A picture as the run reads it, and the size it came in."""

    image: Image.Image
    size: tuple[int, int]


@router.post("/predict", response_model=PredictionList, response_model_exclude_none=True, summary="Predict")
async def predict(request: Request, asked: Annotated[Predict, Body()]) -> Response:
    """What a run predicts of each input: a label with scores, a value, boxes in pixels, masks as PNG, or spans."""
    served: Served = request.app.state.served
    name = asked.model or next((k for k, m in served.models.items() if predicts_of(m)), next(iter(served.models)))
    model = named(request, name)
    predicts = predicts_of(model)
    if not predicts:
        raise Problem(400, f"{name} predicts nothing; {can(name, model)}", "model")
    of = asked.of or next(iter(predicts))
    if of not in predicts:
        raise Problem(400, f"of: {name} does not predict {of!r}{nearest(of, predicts)}", "of")
    rows = await _rows(request.app.state.reader, asked.inputs, name, model)
    found = await request.app.state.batcher.ask(name, ("predict", of), partial(predict_all, model, of), rows)
    data = [{"index": k, **answer} for k, answer in enumerate(found)]
    return JSONResponse({"object": "list", "model": name, "of": of, "kind": predicts[of], "data": data})


def asks_of(model: Model) -> dict[str, str]:
    """What a run reads to predict: key -> kind, with " optional" where it may be missing."""
    return {key: need for key, need in needs_of(model).items() if key not in predicts_of(model)}


def warm(served: Served) -> None:
    """Predict once with every run that predicts, so that the first request does not wait for its towers."""
    for model in served.models.values():
        needs = asks_of(model) if predicts_of(model) else {}
        kinds = {key: need for key, need in needs.items() if "optional" not in need}
        if kinds and set(kinds.values()) <= set(KINDS):
            row = {key: _probe(model, key, kind) for key, kind in kinds.items()}
            predict_all(model, next(iter(predicts_of(model))), [row])


def _probe(model: Model, key: str, kind: str) -> Any:
    """Some value of a kind."""
    if kind == "label":
        return model.fields[key].classes[0]
    side = side_of(model, key) if kind == "image" else 1
    blank = Image.new("RGB", (side, side), "white")
    return {"image": Picture(blank, blank.size), "value": 0.0, "spans": [[[0, 1]]]}.get(kind, "a")


def predict_all(model: Model, of: str, rows: Sequence[Row]) -> list[dict[str, Any]]:
    """The predictions of several rows, each as if it were alone; rows with the same keys make one batch."""
    found: dict[int, dict[str, Any]] = {}
    for keys in sorted({tuple(sorted(row)) for row in rows}):
        mine = [k for k, row in enumerate(rows) if tuple(sorted(row)) == keys]
        same = [rows[k] for k in mine]
        found |= zip(mine, _batch(model, of, keys, same), strict=True)
    return [found[k] for k in range(len(rows))]


@torch.no_grad()
def _batch(model: Model, of: str, keys: Sequence[str], rows: Sequence[Row]) -> list[dict[str, Any]]:
    needs = asks_of(model)
    batch: dict[str, Value] = {}
    for key in keys:
        column = _column(model, key, needs[key].split()[0], rows)
        batch[key] = column.to(model.device)
    method = cast(Predicts, model.method)
    answer = method.predict(model.method.frozen(batch), of).to("cpu")
    there = answer.mask if answer.mask is not None else torch.ones(len(answer.data), dtype=torch.bool)
    tell = _TOLD[predicts_of(model)[of]]
    return [tell(model, of, row, x, real) for row, x, real in zip(rows, answer.data, there, strict=True)]


async def _rows(reader: Reader, inputs: Sequence[Mapping[str, Any]], name: str, model: Model) -> list[Row]:
    """Inputs with every value checked and read; what is wrong with one is named as inputs[k].key."""
    needs = asks_of(model)
    if unknown := [k for k, need in needs.items() if need.split()[0] not in KINDS and "optional" not in need]:
        line = f"{name} predicts from {unknown[0]} ({needs[unknown[0]]}), which a request cannot hold"
        raise Problem(400, line, "model")
    if sum(needs.get(k, "").startswith("image") for row in inputs for k in row) > PICTURES:
        raise Problem(400, f"inputs: more than {PICTURES} pictures in one request", "inputs")
    found = []
    for n, given in enumerate(inputs):
        if strange := [k for k in given if k not in needs]:
            message = f"inputs[{n}]: unknown key {strange[0][:40]!r}{nearest(strange[0], needs)}"
            raise Problem(400, message, "inputs")
        if missing := [k for k, need in needs.items() if k not in given and "optional" not in need]:
            raise Problem(400, f"inputs[{n}]: {missing[0]} ({needs[missing[0]]}) is missing", "inputs")
        row: Row = {}
        for key in sorted(given, key=lambda k: needs[k].startswith("spans")):  # spans count characters of the text
            row[key] = await _value(reader, needs[key].split()[0], given[key], f"inputs[{n}].{key}", model, key, row)
        found.append(row)
    return found


async def _value(reader: Reader, kind: str, given: Any, where: str, model: Model, key: str, row: Row) -> Any:
    """One value of an input, checked."""
    if kind == "value":
        if isinstance(given, bool) or not isinstance(given, int | float) or not math.isfinite(float(given)):
            raise Problem(400, f"{where}: expected a number", "inputs")
        return float(given)
    if kind == "spans":
        try:
            return spans.load(given, row.get("text", ""))
        except Refused as reason:
            raise Problem(400, f"{where}: {reason}", "inputs") from None
    if not isinstance(given, str):
        raise Problem(400, f"{where}: expected {'a data: URL of a picture' if kind == 'image' else 'a text'}", "inputs")
    if kind == "image":
        picture = await reader.picture(given, where)
        side = side_of(model, key)
        return Picture(Image.fromarray(fit(picture, side).transpose(1, 2, 0).copy()), picture.size)
    if kind == "label" and given not in (classes := model.fields[key].classes):
        raise Problem(400, f"{where}: unknown label {given[:40]!r}{nearest(given, classes)}", "inputs")
    return reader.text(given, where)


def _column(model: Model, key: str, kind: str, rows: Sequence[Row]) -> Any:
    """The values of one key as a column."""
    values = [row[key] for row in rows]
    if kind == "image":
        return pixels_of(model, key, [v.image for v in values])
    if kind == "label":
        return label_column(values, model.fields[key].classes)
    if kind == "value":
        return value_column([repr(v) for v in values])
    if kind == "spans":
        return _spans([row["text"] for row in rows], values, model)
    return words_of(model, key, kind, values)


def _spans(texts: Sequence[str], values: Sequence[spans.Spans], model: Model) -> Field:
    """Stretches of characters -> tokens [B K 2] and mask [B K]."""
    if model.tokenizer is None:
        raise SensoriumError("spans count tokens of the text; this run has no tokeniser")
    found = [token_spans(model.tokenizer, text, v) for text, v in zip(texts, values, strict=True)]
    out = torch.zeros(len(found), max(1, *map(len, found)), 2, dtype=torch.int64)
    for row, pairs in zip(out, found, strict=True):
        row[: len(pairs)] = torch.tensor(pairs).reshape(-1, 2)
    return Field(out, out[..., 1] > out[..., 0])


def _label(model: Model, of: str, row: Row, x: Tensor, real: Tensor) -> dict[str, Any]:
    """Scores [C] -> the best class and the scores of the likely ones."""
    classes = model.fields[of].classes
    best = x.float().topk(min(LIKELY, len(classes)))
    scores = {classes[i]: s for s, i in zip(best.values.tolist(), best.indices.tolist(), strict=True)}
    return {"label": next(iter(scores)), "scores": scores}


def _number(model: Model, of: str, row: Row, x: Tensor, real: Tensor) -> dict[str, Any]:
    return {"value": float(x.reshape(()))} if bool(real.all()) else {}


def _boxes(model: Model, of: str, row: Row, x: Tensor, real: Tensor) -> dict[str, Any]:
    """Boxes [K 4] as shares of the square that the picture is fitted into -> (x0, y0, x1, y1) in its pixels."""
    picture = next(v for v in row.values() if isinstance(v, Picture))
    sides = torch.tensor(picture.size * 2, dtype=torch.float32)
    side = sides.max()
    pixels = (x.float() * side - (side - sides) / 2).clamp(min=0).minimum(sides)
    return {"boxes": pixels[real.expand(len(x))].tolist()}


def _masks(model: Model, of: str, row: Row, x: Tensor, real: Tensor) -> dict[str, Any]:
    """Masks [K H W] of the square that the picture is fitted into -> PNGs, white where the mask exceeds one half."""
    return {"masks": [_png(mask > 0.5) for mask in x[real.expand(len(x))].float()]}


def _stretches(model: Model, of: str, row: Row, x: Tensor, real: Tensor) -> dict[str, Any]:
    return {"spans": x[real.expand(len(x))].tolist()}


def _png(mask: Tensor) -> str:
    out = io.BytesIO()
    Image.fromarray(mask.numpy().astype(np.uint8) * 255).save(out, "PNG")
    return "data:image/png;base64," + base64.b64encode(out.getvalue()).decode()


_TOLD = {"label": _label, "value": _number, "boxes": _boxes, "mask": _masks, "spans": _stretches}
"""How each kind of prediction is told."""
