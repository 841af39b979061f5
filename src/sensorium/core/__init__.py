"""Types and protocols only; imports torch and nothing else of the library."""

from .errors import SensoriumError, nearest
from .method import Embeds, Method, Predicts, Ranks, Tower
from .paper import (
    Above,
    Arm,
    Bases,
    Budget,
    Claim,
    FieldInfo,
    Fields,
    NotBelow,
    Paper,
    Scores,
    Statement,
    Trial,
    cpu_seconds,
)
from .rng import Rng, derive
from .types import Batch, Field, Ids, Space, Terms, Tokens, Value, pooled

__all__ = [
    "Above",
    "Arm",
    "Bases",
    "Batch",
    "Budget",
    "Claim",
    "Embeds",
    "Field",
    "FieldInfo",
    "Fields",
    "Ids",
    "Method",
    "NotBelow",
    "Paper",
    "Predicts",
    "Ranks",
    "Rng",
    "Scores",
    "SensoriumError",
    "Space",
    "Statement",
    "Terms",
    "Tokens",
    "Tower",
    "Trial",
    "Value",
    "cpu_seconds",
    "derive",
    "nearest",
    "pooled",
]
