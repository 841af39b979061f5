"""Tables whose target depends on chosen columns by a known rule, and their rows as text.

Shape legend: N rows, P numeric columns, Q columns of levels, C = P + Q columns. Row i of a part depends on
(seed, part, i) and the config alone.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri

from sensorium.core import SensoriumError, derive, nearest

from ..facts import numbered, uniform

RULES = ("single", "sum", "interaction", "null")
"""single: one column decides; sum: the majority of three; interaction: whether two agree, of which neither alone tells
anything; null: no column does."""
DOMAINS = {
    "things": (
        ("length", "weight", "age", "price", "speed", "depth", "heat", "charge"),
        {
            "metal": ("iron", "copper", "tin", "gold"),
            "grade": ("poor", "fair", "good", "fine"),
            "maker": ("north", "south", "east", "west"),
            "season": ("spring", "summer", "autumn", "winter"),
        },
    ),
    "places": (
        ("height", "rain", "noise", "rent", "traffic", "distance", "light", "crowd"),
        {
            "soil": ("sand", "clay", "chalk", "peat"),
            "style": ("plain", "old", "modern", "grand"),
            "river": ("upper", "middle", "lower", "delta"),
            "market": ("fish", "fruit", "cloth", "tools"),
        },
    ),
}
"""Names of the numeric columns, and of the others with their levels, by domain."""
LEVELS = 4
TEMPLATES = ("{column} is {value}", "{column}: {value}", "it has {value} as its {column}")
JOINS = (", ", "; ", " and ")
_NUMBER = r"-?\d+\.\d\d"


@dataclass(frozen=True)
class Config:
    """Difficulty dials."""

    numeric: int = 4
    levelled: int = 2
    rule: str = "interaction"
    noise: float = 0.0
    """Share of targets that are flipped: the best accuracy there can be is 1 - noise."""
    domain: str = "things"
    columns: int = 0
    """Names which columns the rule uses; another number, another choice."""

    def __post_init__(self) -> None:
        if self.rule not in RULES:
            raise SensoriumError(f"rule of tables {self.rule!r}{nearest(self.rule, RULES)}")
        if self.domain not in DOMAINS:
            raise SensoriumError(f"domain of tables {self.domain!r}{nearest(self.domain, DOMAINS)}")
        numbers, levels = DOMAINS[self.domain]
        for what, given, low, high in (
            ("numeric columns", self.numeric, 0, len(numbers)),
            ("columns of levels", self.levelled, 0, len(levels)),
            ("columns", self.numeric + self.levelled, _NEEDS[self.rule], len(numbers) + len(levels)),
            ("noise", self.noise, 0, 0.5),
        ):
            if not low <= given <= high:
                raise SensoriumError(f"{what} {given}; expected {low} to {high} for rule {self.rule!r}")


_NEEDS = {"single": 1, "sum": 3, "interaction": 2, "null": 1}


@dataclass(frozen=True, eq=False)
class Table:
    """N rows."""

    numeric: np.ndarray
    """float64 [N P]: standard normal, to two decimals, never 0."""
    level: np.ndarray
    """int8 [N Q], 0 to LEVELS - 1."""
    target: np.ndarray
    """bool [N]."""
    config: Config
    seed: int
    index: np.ndarray
    part: str = "train"

    def __len__(self) -> int:
        return len(self.target)

    @property
    def names(self) -> tuple[str, ...]:
        """Of the columns [C], the numeric ones first."""
        numbers, levels = DOMAINS[self.config.domain]
        return (*numbers[: self.config.numeric], *tuple(levels)[: self.config.levelled])

    def high(self) -> np.ndarray:
        """bool [N C]: above 0, or one of the two upper levels: what a rule sees of each column, true of half."""
        return np.concatenate([self.numeric > 0, self.level >= LEVELS // 2], 1)


TABLE = Config()


def table(seed: int, n: int, config: Config = TABLE, start: int = 0, part: str = "train") -> Table:
    """Rows `start` to `start + n` of a part; columns are independent, targets true of half.

    Raises:
        SensoriumError: a part that is not one of PARTS, a negative n or start.
    """
    index = numbered(n, start, part, "rows")
    p, q = config.numeric, config.levelled
    luck = uniform(index, p + q + 2, seed, part, "table")
    value = ndtri(luck[:, :p].clip(1e-9, 1 - 1e-9))
    numeric = np.sign(value) * np.maximum(np.abs(value).round(2), 0.01)
    level = (luck[:, p : p + q] * LEVELS).astype(np.int8)
    made = Table(numeric, level, np.zeros(n, bool), config, seed, index, part)
    right = _ruled(made.high()[:, list(used(config))], config.rule, luck[:, -2] < 0.5)
    return Table(numeric, level, right ^ (luck[:, -1] < config.noise), config, seed, index, part)


def used(config: Config) -> tuple[int, ...]:
    """The columns that the rule uses."""
    count = 0 if config.rule == "null" else _NEEDS[config.rule]
    rng = np.random.Generator(np.random.Philox(derive("table columns", config.columns, config.rule)))
    return tuple(sorted(rng.permutation(config.numeric + config.levelled)[:count].tolist()))


def _ruled(high: np.ndarray, rule: str, coin: np.ndarray) -> np.ndarray:
    if rule == "null":
        return coin
    if rule == "single":
        return np.asarray(high[:, 0])
    return np.asarray(high.sum(1) > 1 if rule == "sum" else high[:, 0] == high[:, 1])


def cells(rows: Table) -> list[list[str]]:
    """[N][C]: every value as it is written."""
    levels = list(DOMAINS[rows.config.domain][1].values())[: rows.config.levelled]
    return [
        [f"{x:.2f}" for x in numbers] + [names[at] for names, at in zip(levels, own, strict=True)]
        for numbers, own in zip(rows.numeric.tolist(), rows.level.tolist(), strict=True)
    ]


def text(rows: Table, mask: np.ndarray | None = None, template: int = 0, seed: int = 0) -> list[str]:
    """Each row in words, its columns in random order; columns under a False of `mask`, bool [N C], are left out.

    "nothing is known" where none is left. Exact: `parse` gives the values back.

    Raises:
        SensoriumError: a template that is not there, or a mask of another shape.
    """
    if not 0 <= template < len(TEMPLATES):
        raise SensoriumError(f"template {template}; expected 0 to {len(TEMPLATES) - 1}")
    names = rows.names
    real = np.ones((len(rows), len(names)), bool) if mask is None else mask
    if real.shape != (len(rows), len(names)):
        raise SensoriumError(f"mask {list(real.shape)}; expected {[len(rows), len(names)]}")
    order = uniform(rows.index, len(names), rows.seed, rows.part, seed, "table text").argsort(1).tolist()
    how, join = TEMPLATES[template], JOINS[template]
    return [
        join.join(how.format(column=names[c], value=own[c]) for c in places if real[n, c]) or "nothing is known"
        for n, (places, own) in enumerate(zip(order, cells(rows), strict=True))
    ]


def linearised(rows: Table, mask: np.ndarray | None = None) -> list[str]:
    """ "length[0.31], metal[tin]": the input of data-to-text, as in the E2E challenge."""
    real = np.ones((len(rows), len(rows.names)), bool) if mask is None else mask
    return [
        ", ".join(f"{name}[{value}]" for name, value, there in zip(rows.names, own, kept, strict=True) if there)
        for own, kept in zip(cells(rows), real.tolist(), strict=True)
    ]


def parse(written: str, domain: str = "things") -> dict[str, str]:
    """A text of any template, or a generated one like it -> {column: value}; what is no column or level is left out.

    Raises:
        SensoriumError: an unknown domain.
    """
    if domain not in DOMAINS:
        raise SensoriumError(f"domain of tables {domain!r}{nearest(domain, DOMAINS)}")
    numbers, levels = DOMAINS[domain]
    known = {**dict.fromkeys(numbers, _NUMBER), **{name: "|".join(own) for name, own in levels.items()}}
    out = {}
    for name, value in known.items():
        either = rf"\b{name}(?: is |: |\[)({value})(?![\w.])|\bit has ({value}) as its {name}\b"
        if match := re.search(either, written.casefold()):
            out[name] = match[1] or match[2]
    return out


@dataclass(frozen=True)
class Check:
    """Columns told right, told wrong, and not told, over all rows."""

    right: int
    wrong: int
    missing: int


def check(texts: list[str], rows: Table, mask: np.ndarray | None = None) -> Check:
    """Text i against row i: what data-to-text leaves out, gets wrong, or makes up (told though under False)."""
    if len(texts) != len(rows):
        raise SensoriumError(f"{len(texts)} texts for {len(rows)} rows; expected one text per row")
    real = np.ones((len(rows), len(rows.names)), bool) if mask is None else mask
    counts = [0, 0, 0]
    for written, own, kept in zip(texts, cells(rows), real.tolist(), strict=True):
        said = parse(written, rows.config.domain)
        for name, value, there in zip(rows.names, own, kept, strict=True):
            if name not in said:
                counts[2] += there
            else:
                counts[not (there and said[name] == value)] += 1
    return Check(*counts)
