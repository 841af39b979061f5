"""Papers and bases by name: the only importlib in the library that touches papers."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import pkgutil
import sys
from collections.abc import Mapping
from dataclasses import fields as fields_of
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any, cast

from sensorium.core import Paper, SensoriumError, nearest

NAMES = ("Config", "NEEDS", "PARTS", "CLAIMS", "build")


@cache
def papers() -> dict[str, str]:
    """Slug -> module name of every paper on disk; "baseline/clip" for baselines, "filip" for the rest."""
    root = Path(__file__).parent.parent / "papers"
    found = {}
    for family in sorted(p.name for p in root.iterdir() if (p / "__init__.py").exists()):
        for info in pkgutil.iter_modules([str(root / family)]):
            slug = info.name.replace("_", "-")
            name = f"baseline/{slug}" if family == "baseline" else slug
            found[name] = f"sensorium.papers.{family}.{info.name}"
    return found


def resolve(name: str) -> str:
    """A slug as typed -> the canonical one; the family may stand before it. A path to a .py file stays as it is."""
    if name.endswith(".py"):
        if not Path(name).is_file():
            raise SensoriumError(f"no such file: {name}")
        return str(Path(name))
    known = papers()
    for candidate in (name, name.split("/")[-1], f"baseline/{name}"):
        if candidate in known:
            return candidate
    raise SensoriumError(f"unknown paper {name!r}{nearest(name, [*known, *(k.split('/')[-1] for k in known)])}")


def label(name: str) -> str:
    """The short name of a paper or of a user's file."""
    return Path(name).stem if name.endswith(".py") else name.split("/")[-1]


def paper(name: str) -> Paper:
    """The module of a slug or of a user's file, checked against the protocol."""
    canonical = resolve(name)
    module = _file(Path(canonical)) if canonical.endswith(".py") else importlib.import_module(papers()[canonical])
    if missing := [n for n in NAMES if not hasattr(module, n)]:
        raise SensoriumError(f"{name} lacks {', '.join(missing)}; a paper needs {', '.join(NAMES)}")
    return cast(Paper, module)


def _file(path: Path) -> ModuleType:
    name = "sensorium_user_" + hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:12]
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as problem:
        raise SensoriumError(f"{path} does not import: {type(problem).__name__}: {problem}") from problem
    return module


def source_hash(name: str) -> str:
    """SHA-256 of the paper's file, 16 hex digits."""
    source = resolve(name)
    if not source.endswith(".py"):
        spec = importlib.util.find_spec(papers()[source])
        assert spec is not None and spec.origin is not None
        source = spec.origin
    return hashlib.sha256(Path(source).read_bytes()).hexdigest()[:16]


def config(module: Paper, settings: Mapping[str, Any]) -> Any:
    """The paper's `Config` with `settings`; texts are read as the type of the default; an unknown name is an error."""
    defaults = {f.name: f.default for f in fields_of(module.Config)}
    values = {}
    for name, value in settings.items():
        if name not in defaults:
            raise SensoriumError(f"unknown setting {name!r}{nearest(name, defaults)}")
        values[name] = _typed(name, value, defaults[name])
    return module.Config(**values)


def _typed(name: str, value: Any, default: Any) -> Any:
    """`value` as the type of `default`; texts are read, a number that would lose something is refused."""
    try:
        if isinstance(default, tuple):
            parts = value.split(",") if isinstance(value, str) else list(value)
            return tuple(_scalar(p, default[0]) for p in parts)
        return _scalar(value, default)
    except (ValueError, KeyError, TypeError):
        raise SensoriumError(f"setting {name}={value!r} is not of type {type(default).__name__}") from None


def _scalar(value: Any, default: Any) -> Any:
    if isinstance(default, bool):
        return {"true": True, "false": False}[str(value).lower()]
    if not isinstance(default, int | float | str):
        return value
    read = type(default)(value)
    if not isinstance(value, str) and read != value:
        raise ValueError
    return read


def attribute(name: str) -> Any:
    """ "package.module:name" -> the object: how workers receive bases, which stand on a higher floor."""
    module, _, leaf = name.partition(":")
    return getattr(importlib.import_module(module), leaf)
