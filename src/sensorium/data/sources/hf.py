"""Hugging Face data sets in memory: written once as Parquet, so that a run and its workers can name them by path."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sensorium.core import SensoriumError
from sensorium.data.cache import home, replacing

from .table import SPLITS


def exported(data: Any) -> Path:
    """A `datasets.Dataset` or `DatasetDict` -> a folder of train.parquet, test.parquet … with all bytes inside.

    Pictures and sounds are never decoded on the way. The folder is named by the data set's own fingerprint.
    """
    parts = dict(data) if isinstance(data, Mapping) else {"train": data}
    if not parts or not all(hasattr(p, "to_parquet") and hasattr(p, "features") for p in parts.values()):
        raise SensoriumError(f"a data set of type {type(data).__name__}; expected a path or a Hugging Face data set")
    if unknown := [name for name in parts if name not in SPLITS]:
        raise SensoriumError(f"split {unknown[0]!r} is unknown; expected {', '.join(SPLITS)}")
    mark = "-".join(str(part._fingerprint) for part in parts.values())
    folder = home() / "datasets" / mark[:80]
    for name, part in parts.items():
        path = folder / f"{name}.parquet"
        if not path.is_file():
            with replacing(path) as tmp:
                _embedded(part).to_parquet(str(tmp))
    return folder


def _embedded(part: Any) -> Any:
    """The bytes of every picture and sound in the table itself."""
    from datasets import Audio, Image, Video
    from datasets.table import embed_table_storage

    for name, feature in part.features.items():
        if isinstance(feature, Image | Audio | Video):
            part = part.cast_column(name, type(feature)(decode=False))
    arrow = part.with_format("arrow")
    return arrow.map(embed_table_storage, batched=True).with_format(None)
