"""ONNX: one graph per role that a run embeds, frozen towers included, from raw pixels or ids to the vector.

Shape legend: B rows, T tokens, S samples, D width; B and T are free.
"""

from __future__ import annotations

import builtins
import importlib.util
import sys
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from sensorium.blocks.towers.frozen import frozen_towers, role_of
from sensorium.core import Embeds, Field, Ids, SensoriumError, Value
from sensorium.run.runs import Model

GET = "pip install 'sensorium[export]'"
ROWS, MOST_WRONG = 6, 1e-4
"""Rows that run and graph are compared on; how far the cosine of a row may be from 1."""
LONGEST = 128
"""Tokens of a text where the run does not say."""
WORDS = ("a red kite", "two dogs and a ball that lies on the grass", "tea")
READS = {"image": ("pixels",), "text": ("ids", "mask"), "audio": ("samples", "mask")}


class Side(nn.Module):
    """One role of a method: what its graph reads -> vectors [B D], or tokens [B T D] and their mask [B T]."""

    def __init__(self, method: nn.Module, key: str, many: bool) -> None:
        super().__init__()
        self.method, self.key, self.many = method, key, many

    def forward(self, *read: Tensor) -> Any:
        """Pixels u8 [B 3 H W]; ids int64 [B T] and mask bool [B T]; samples float32 [B S] and mask bool [B S]."""
        value: Value = Ids(read[0], read[1]) if role_of(self.key) == "text" else Field(*read)
        found = self.method.embed({self.key: value}, self.key)  # type: ignore[operator]
        return (found.x, found.mask) if self.many else found.x[:, 0]


def graphs(model: Model, out: Path) -> str:
    """ROLE.onnx for each role, and the tokeniser that makes the ids; run and graphs are compared.

    Raises:
        SensoriumError: a run that embeds nothing, ONNX that is not installed, a graph that disagrees.
    """
    method = model.method
    if not isinstance(method, Embeds):
        raise SensoriumError(f"{model.path} ({model.paper}) embeds nothing, and onnx holds what embeds")
    for package in ("onnx", "onnxscript", "onnxruntime"):
        if importlib.util.find_spec(package) is None:
            raise SensoriumError(f"onnx needs {package}; get it with: {GET}")
    roles = [role for role in method.spaces if role in READS and role in model.fields]
    model.method.to("cpu")
    try:
        worst = [_graph(model, role, out / f"{role}.onnx") for role in roles]
    finally:
        model.method.to(model.device)
    if model.tokenizer is not None:
        model.tokenizer.save(str(out / "tokenizer.json"))
    lowest = min(worst)
    if lowest < 1 - MOST_WRONG:
        raise SensoriumError(f"the graph of {roles[worst.index(lowest)]} disagrees with the run: cosine {lowest:.6f}")
    return f"run and graphs agree on {ROWS} rows of each role ({', '.join(roles)}): cosine at least {lowest:.4f}"


def _graph(model: Model, role: str, path: Path) -> float:
    """Writes one graph; the lowest cosine of run and graph over some rows of other lengths than it was drawn with."""
    side = Side(model.method, role, model.method.spaces[role].many).eval()  # type: ignore[union-attr, index]
    read = _read(model, role, ROWS)
    with torch.no_grad():
        wanted = side(*read)
        try:
            _draw(side, tuple(v[:2] for v in read), _free(model, role), path)
        except (torch._dynamo.exc.TorchDynamoException, torch.onnx.errors.OnnxExporterError) as problem:
            line = str(problem).strip().partition("\n")[0]
            raise SensoriumError(f"{model.path} ({model.paper}): no graph of {role} can be drawn: {line}") from problem
    return _cosine(path, read, wanted)


def _free(model: Model, role: str) -> dict[int, Any]:
    """The sizes that a graph leaves open: rows, and of a text the tokens, two at least."""
    rows, longest = torch.export.Dim("rows", min=1), model.fields[role].length or LONGEST
    return {0: rows} | ({1: torch.export.Dim("tokens", min=2, max=longest)} if role == "text" else {})


def _draw(side: Side, read: tuple[Tensor, ...], free: Mapping[int, Any], path: Path) -> None:
    with _quiet(), _open_rows():
        drawn = torch.export.export(side, read, dynamic_shapes=((free,) * len(read),), strict=False)
        torch.onnx.export(
            drawn,
            (),
            str(path),
            dynamo=True,
            external_data=False,
            verbose=False,
            input_names=list(READS[role_of(side.key)][: len(read)]),
            output_names=["tokens", "there"] if side.many else ["vector"],
        )


def _cosine(path: Path, read: tuple[Tensor, ...], wanted: Any) -> float:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    given = {i.name: v.numpy() for i, v in zip(session.get_inputs(), read, strict=True)}
    found = torch.from_numpy(np.asarray(session.run(None, given)[0]))
    x, there = wanted if isinstance(wanted, tuple) else (wanted, torch.ones(len(wanted), dtype=torch.bool))
    return float(torch.cosine_similarity(found[there], x[there], dim=-1).min())


def _read(model: Model, role: str, rows: int) -> tuple[Tensor, ...]:
    """Values of that role that nobody took: noise, and some words."""
    noise = torch.Generator().manual_seed(0)
    if role == "text":
        text = model.read("text", [WORDS[k % len(WORDS)] for k in range(rows)])["text"]
        assert isinstance(text, Ids)
        return text.ids, text.mask
    if role == "audio":
        length = model.fields["audio"].length
        return torch.randn(rows, length, generator=noise) * 0.1, torch.ones(rows, length, dtype=torch.bool)
    tower = frozen_towers(model.method).get(role)
    side = tower.size if tower is not None else model.fields[role].shape[-1]
    return (torch.randint(0, 256, (rows, 3, side, side), generator=noise, dtype=torch.uint8),)


@contextmanager
def _open_rows() -> Iterator[None]:
    """`len` of a tensor is a plain number to Python, which would fix the number of rows in the graph."""

    def length(value: Any) -> Any:
        return value.shape[0] if isinstance(value, Tensor) else builtins.len(value)

    modules = [m for name, m in list(sys.modules.items()) if name.startswith("sensorium.") and m is not None]
    for module in modules:
        vars(module).setdefault("len", length)
    try:
        yield
    finally:
        for module in modules:
            if vars(module).get("len") is length:
                del vars(module)["len"]


@contextmanager
def _quiet() -> Iterator[None]:
    """What the exporter says of itself is no news for a user."""
    import logging

    loud = logging.getLogger("torch.onnx")
    level = loud.level
    loud.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        loud.setLevel(level)
