"""A home of its own for every test, and small data sets made on the spot."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image


@pytest.fixture(autouse=True)
def _home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SENSORIUM_HOME", str(tmp_path_factory.mktemp("home")))


def png(seed: int, size: tuple[int, int] = (24, 24), kind: str = "PNG") -> bytes:
    """A picture that no other seed looks like."""
    noise = np.random.default_rng(seed).integers(0, 256, (8, 9, 3), dtype=np.uint8)
    out = io.BytesIO()
    Image.fromarray(noise).resize(size, Image.Resampling.NEAREST).save(out, kind)
    return out.getvalue()


def folder(path: Path, rows: list[dict[str, Any]], files: dict[str, bytes] | None = None) -> Path:
    """A metadata folder; a row without file_name gets a picture of its own."""
    path.mkdir(parents=True, exist_ok=True)
    lines = []
    for k, row in enumerate(rows):
        if "file_name" not in row:
            row = {"file_name": f"{k}.png", **row}
            (path / f"{k}.png").write_bytes(png(hash_of(path.name) + k))
        lines.append(json.dumps(row))
    for name, data in (files or {}).items():
        (path / name).write_bytes(data)
    (path / "metadata.jsonl").write_text("\n".join(lines) + "\n")
    return path


def hash_of(name: str) -> int:
    """A number per folder name, equal in every process."""
    return sum(1000 * ord(c) * (k + 1) for k, c in enumerate(name))


@pytest.fixture
def good() -> Callable[[int], list[dict[str, Any]]]:
    """n rows with a text each."""
    return lambda n: [{"text": f"thing number {k}"} for k in range(n)]
