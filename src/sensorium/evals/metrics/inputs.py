"""What metrics are given: checked once, told in one line."""

from __future__ import annotations

from collections.abc import Sequence, Sized
from importlib import import_module
from types import ModuleType

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sensorium.core.errors import SensoriumError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


def same_length(**inputs: Sized) -> int:
    """The length that all named inputs share; an error that names each length where they differ."""
    lengths = {name: len(values) for name, values in inputs.items()}
    if len(set(lengths.values())) > 1:
        given = " and ".join(f"{n} {name.replace('_', ' ')}" for name, n in lengths.items())
        raise SensoriumError(f"{given}; expected one of each per item")
    return next(iter(lengths.values()))


def floats(name: str, values: ArrayLike, dims: int = 1) -> Floats:
    """Numbers without NaN -> float64 of `dims` dimensions. An empty list is empty in every number of dimensions."""
    array = shaped(name, values, dims)
    if np.isnan(array).any():
        raise SensoriumError(f"{name} holds NaN; expected numbers")
    return array


def shaped(name: str, values: ArrayLike, dims: int) -> Floats:
    """Numbers, NaN allowed -> float64 of `dims` dimensions."""
    try:
        array = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise SensoriumError(f"{name} is no table of numbers: {str(error)[:80]}") from None
    if array.shape == (0,):
        return array.reshape((0,) * dims)
    if array.ndim != dims:
        raise SensoriumError(f"{name} has shape {list(array.shape)}; expected {dims} dimension{'s' * (dims > 1)}")
    return array


def flags(name: str, values: ArrayLike, dims: int = 1) -> Bools:
    """True and False, or 1 and 0 -> bool of `dims` dimensions."""
    array = floats(name, values, dims)
    if not ((array == 0) | (array == 1)).all():
        raise SensoriumError(f"{name} holds {array[(array != 0) & (array != 1)][0]:g}; expected True or False")
    return array.astype(np.bool_)


def classes(name: str, values: ArrayLike, count: int | None = None) -> Ints:
    """[N] class numbers, 0 ≤ c < `count` -> int64."""
    array = floats(name, values)
    if len(wrong := array[(array != np.floor(array)) | np.isinf(array)]):
        raise SensoriumError(f"{name} holds {wrong[0]:g}; expected class numbers")
    limit = np.inf if count is None else count
    if len(wrong := array[(array < 0) | (array >= limit)]):
        raise SensoriumError(f"{name} holds class {wrong[0]:.0f}; expected 0 ≤ class" + f" < {count}" * bool(count))
    return array.astype(np.int64)


def reference_lists(references: Sequence[Sequence[str]]) -> None:
    """An error unless each item has a list of one or more strings."""
    for n, texts in enumerate(references):
        if isinstance(texts, str) or not len(texts):
            raise SensoriumError(f"references[{n}] is {texts!r}; expected a list of one or more strings")


def mean(values: ArrayLike) -> float:
    """[N] -> the mean of what is not NaN; NaN if nothing is left."""
    array = np.asarray(values, dtype=np.float64)
    kept = array[~np.isnan(array)]
    return float(kept.mean()) if len(kept) else float("nan")


def share(part: float, whole: float) -> float:
    """part / whole; NaN for nothing out of nothing."""
    return float(part) / float(whole) if whole else float("nan")


def optional(module: str) -> ModuleType:
    """A module of the extra `eval`; an error that says how to install it."""
    try:
        return import_module(module)
    except ImportError:
        raise SensoriumError(f"needs {module.partition('.')[0]}; pip install 'sensorium[eval]'") from None
