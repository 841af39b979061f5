"""What an arm's scores depend on, as a hash: a verdict whose arms have other keys today is stale (DESIGN section 6)."""

from __future__ import annotations

import ast
import hashlib
import json
from collections.abc import Iterator, Mapping
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from sensorium.core import Arm, SensoriumError

from .load import papers, resolve

PACKAGE = "sensorium"
ROOT = Path(__file__).parent.parent
FLOORS = ("blocks", "evals", "lab")
"""Hashed where they are imported; `core`, `data` and `run` count through the hand-raised `NUMERICS`, and what was read
through the fingerprint of the data."""
WORDS = ("CLAIMS", "PARTS", "PARTIAL")
"""What a paper says about itself; its runs do not read it."""
LIBRARIES = ("torch", "numpy", "tokenizers")


def source_key(path: Path, root: Path = ROOT) -> str:
    """SHA-256, 16 hex digits, of the syntax trees of a file and of all that it imports of `FLOORS`, directly or not.

    Comments, docstrings, layout and `WORDS` change nothing, nor does Python's version. `root`: the package's folder.

    Raises:
        SensoriumError: a file that cannot be read or is no Python.
    """
    trees: dict[str, str] = {}
    waiting = [("", path)]
    while waiting:
        name, file = waiting.pop()
        if name in trees:
            continue
        package = _package(file.resolve(), root.resolve())
        trees[name], imported = _read(_bytes(file), str(file), package)
        waiting += [(m, found) for m in imported if (found := _file(m, root)) is not None]
    return hashlib.sha256(json.dumps(trees, sort_keys=True).encode()).hexdigest()[:16]


def arm_key(
    arm: Arm, paper: str, *, data: str, bases: Mapping[str, str], trial: Mapping[str, Any], numerics: int
) -> str:
    """16 hex digits of all that an arm of `paper`'s claim depends on; an arm that two papers name has one key.

    `data` and `bases` are content hashes, `trial` the dials of its runs (rates, samples, batch …), JSON-ready.
    """
    where, _, function = arm.run.partition(":")
    content = {
        "sources": sorted({source_key(source_path(n)) for n in (arm.paper or paper, where) if n}),
        "function": function,
        "arm": [arm.config, arm.data, arm.stream, list(arm.measures)],
        "given": [data, bases, trial, numerics],
        "versions": {name: version(name).partition("+")[0] for name in LIBRARIES},
    }
    try:
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]
    except TypeError as problem:
        raise SensoriumError(f"an arm of {paper} is not JSON-ready: {problem}") from None


def source_path(name: str) -> Path:
    """The file of a slug or of a user's paper."""
    canonical = resolve(name)
    if canonical.endswith(".py"):
        return Path(canonical)
    return ROOT.joinpath(*papers()[canonical].split(".")[1:]).with_suffix(".py")


def _package(file: Path, root: Path) -> str:
    """The package that a file's relative imports start from; "" of a file outside."""
    return ".".join((PACKAGE, *file.parent.relative_to(root).parts)) if file.is_relative_to(root) else ""


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as problem:
        raise SensoriumError(f"cannot read {path}: {problem.strerror or problem}") from None


def _file(module: str, root: Path) -> Path | None:
    """The file of a module of `FLOORS`; None of any other, and of a name that is no module."""
    _, *parts = module.split(".")
    if not parts or parts[0] not in FLOORS:
        return None
    path = root.joinpath(*parts)
    return next((f for f in (path.with_suffix(".py"), path / "__init__.py") if f.is_file()), None)


@lru_cache(maxsize=1024)
def _read(source: bytes, name: str, package: str) -> tuple[str, tuple[str, ...]]:
    """Source -> its plain tree and the modules it may import, with the packages around them."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError) as problem:
        raise SensoriumError(f"{name} is no Python: {problem}") from None
    named = {m for node in ast.walk(tree) for m in _imports(node, package)}
    parts = [m.split(".") for m in named if m.split(".")[0] == PACKAGE]
    return _plain(tree), tuple(sorted({".".join(p[:n]) for p in parts for n in range(2, len(p) + 1)}))


def _imports(node: ast.AST, package: str) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    if isinstance(node, ast.ImportFrom):
        around = package.split(".")
        above = around[: len(around) - node.level + 1] if node.level else []
        module = ".".join([*above, *([node.module] if node.module else [])])
        yield from (f"{module}.{alias.name}" for alias in node.names)  # a module or a name in one: files tell


def _plain(node: object) -> str:
    """A tree as text, the same in every Python: empty fields, which versions add and leave out, are not written."""
    if isinstance(node, ast.AST):
        written = [(k, v) for k, v in ast.iter_fields(node) if v is not None and v != [] and k != "kind"]
        return f"{type(node).__name__}({','.join(f'{k}={_plain(v)}' for k, v in written)})"
    if isinstance(node, list):
        return f"[{','.join(_plain(v) for v in node if not _idle(v))}]"
    return repr(node)


def _idle(node: object) -> bool:
    """A statement that no run depends on: a bare text, `WORDS`, names taken from `core`."""
    match node:
        case ast.Expr(value=ast.Constant(value=str())):
            return True
        case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
            return name in WORDS
        case ast.ImportFrom(module="sensorium.core", names=names):
            return all(alias.asname is None for alias in names)
    return False
