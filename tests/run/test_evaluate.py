"""Scores of rigged methods, by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from sensorium.core import Batch, Field, FieldInfo, Method, Rng, SensoriumError, Space, Terms, Tokens, pooled
from sensorium.data.rows import Rows
from sensorium.run.evaluate import SHORT, Scored, Sought, retrieval

N = 12


class Rigged(Method):
    """Texts and pictures are row numbers; `tables` holds the score of each text for each picture, by key."""

    def __init__(self, tables: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.tables = dict(tables)
        self.modes: list[bool] = []

    def losses(self, batch: Batch, rng: Rng) -> Terms:
        return {}

    def rank(self, queries: Batch, items: Batch) -> Tensor:
        self.modes.append(self.training)
        ((query, q),), ((item, i),) = queries.items(), items.items()
        assert isinstance(q, Field) and isinstance(i, Field)
        if query == "image":
            return self.tables[item][i.data][:, q.data].T
        return self.tables[query][q.data][:, i.data]


class Embedding(Rigged):
    """Also embeds; a parameter makes it a trained method."""

    def __init__(self, image: Tensor, text: Tensor, *, many: bool = False, trained: bool = True) -> None:
        super().__init__({"text": text @ image.T})
        self.vectors = {"image": image, "text": text}
        self.spaces = {k: Space(image.shape[1], many=many) for k in self.vectors}
        self.weight = nn.Parameter(torch.zeros(1), requires_grad=trained)

    def embed(self, batch: Batch, of: str) -> Tokens:
        value = batch[of]
        assert isinstance(value, Field)
        return pooled(self.vectors[of][value.data])


def rows(keys: Sequence[str] = ("image", "text"), index: Sequence[int] | None = None) -> Rows:
    columns = {k: Field(torch.arange(N)) for k in keys}
    return Rows(columns, np.array(index if index is not None else range(N)), {}, np.arange(N))


def sought(n: int = N, **more: Any) -> Sought:
    return Sought(**{"text": [f"t{k}" for k in range(n)], "image": list(range(n)), "variants": {}, **more})


def right(wrong: Mapping[int, int] = {}) -> Tensor:
    """The identity, except that text k prefers picture wrong[k] over its own."""
    table = torch.eye(N)
    for text, image in wrong.items():
        table[text, image] = 2
    return table


def test_a_perfect_method() -> None:
    found = retrieval(Rigged({"text": right()}), rows(), sought())
    assert found.scores == {"r@1": 1, "r@5": 1, "r@10": 1, "median_rank": 1, "mrr": 1}
    assert set(found.items) == {"r@1", "r@10"} and found.items["r@1"].tolist() == [1.0] * N


def test_both_directions_count_half_each() -> None:
    """Text 0 prefers picture 1: text 0 finds its own second, and so picture 1 finds text 0 before its own."""
    found = retrieval(Rigged({"text": right({0: 1})}), rows(), sought())
    assert found.scores["r@1"] == pytest.approx(11 / 12)
    assert found.scores["mrr"] == pytest.approx((11 + 0.5) / 12)
    assert found.items["r@1"].tolist() == [0.5, 0.5] + [1.0] * 10
    assert found.scores["r@5"] == 1


def test_one_direction_alone_can_fail() -> None:
    """Text 0 scores all pictures over its own, weakly: pictures still find their own texts."""
    table = right() * 5
    table[0] = torch.tensor([1.0] + [2.0] * 11)
    found = retrieval(Rigged({"text": table}), rows(), sought())
    assert found.scores["r@1"] == pytest.approx((11 / 12 + 1) / 2)
    assert found.scores["r@10"] == pytest.approx((11 / 12 + 1) / 2)  # rank 12 of 12
    assert found.items["r@10"].tolist() == [0.5] + [1.0] * 11


def test_equal_texts_and_equal_pictures_count_as_right() -> None:
    method = Rigged({"text": right({0: 1})})
    same_text = sought(text=["a", "a", *[f"t{k}" for k in range(2, N)]])
    same_image = sought(image=[7, 7, *range(20, 30)])
    for what in (same_text, same_image):
        assert retrieval(method, rows(), what).scores["r@1"] == 1


def test_rows_are_those_of_the_selection() -> None:
    """Picture 1, which misleads text 0, is not among these rows."""
    found = retrieval(Rigged({"text": right({0: 1})}), rows(index=[0, 2, 3]), sought(3))
    assert found.scores["r@1"] == 1 and len(found.items["r@1"]) == 3


# Fresh rows


def test_fresh_rows_are_averaged_apart() -> None:
    fresh = np.zeros(N, dtype=bool)
    fresh[[0, 1, 2, 3]] = True
    found = retrieval(Rigged({"text": right({0: 1})}), rows(), sought(fresh=fresh))
    assert found.scores["fresh r@1"] == pytest.approx((0.5 + 0.5 + 1 + 1) / 4)
    items = found.items["fresh r@1"]
    assert items[:4].tolist() == [0.5, 0.5, 1, 1] and np.isnan(items[4:]).all()


@pytest.mark.parametrize("fresh", [None, np.zeros(N, dtype=bool)])
def test_without_fresh_rows_there_is_no_such_column(fresh: Any) -> None:
    assert "fresh r@1" not in retrieval(Rigged({"text": right()}), rows(), sought(fresh=fresh)).scores


# Variants


def variant(there: Sequence[int], table: Tensor) -> Scored:
    french = [f"f{k}" if k in there else "" for k in range(N)]
    method = Rigged({"text": right(), "text.fr": table})
    return retrieval(method, rows(("image", "text", "text.fr")), sought(variants={"text.fr": french}))


def test_a_variant_is_scored_among_the_rows_that_have_it() -> None:
    """Eleven rows have it. Text 3 finds its picture last of eleven, so beyond ten; pictures find all their texts."""
    there = [k for k in range(N) if k != 1]
    table = right() * 5
    table[3] = torch.full((N,), 2.0).index_fill(0, torch.tensor([3]), 1.0)
    table[:, 1] = 50  # the picture of the row without the variant would come before all others
    found = variant(there, table)
    assert found.scores["r@10 text.fr"] == pytest.approx((10 / 11 + 1) / 2)
    items = found.items["r@10 text.fr"]
    assert np.isnan(items[1]) and items[3] == 0.5 and np.nansum(items) == 10.5
    assert found.scores["r@1"] == 1  # the main column reads `text`


def test_equal_texts_of_a_variant_count_as_right() -> None:
    table = right() * 5
    table[3] = torch.full((N,), 2.0).index_fill(0, torch.tensor([3]), 1.0)
    method = Rigged({"text": right(), "text.fr": table})
    french = ["" if k == 1 else "même" if k in (3, 4) else f"f{k}" for k in range(N)]
    found = retrieval(method, rows(("image", "text", "text.fr")), sought(variants={"text.fr": french}))
    # Text 3 may find picture 4 instead: half of nine ties and the one ahead, so rank 6.
    assert found.scores["r@10 text.fr"] == 1


def test_a_variant_of_fewer_than_two_rows_or_without_a_column_is_left_out() -> None:
    assert "r@10 text.fr" not in variant([4], right()).scores
    french = sought(variants={"text.fr": [f"f{k}" for k in range(N)]})
    assert "r@10 text.fr" not in retrieval(Rigged({"text": right()}), rows(), french).scores


# Short vectors


def wide() -> tuple[Tensor, Tensor]:
    """28 coordinates, of which the first 12 and the last 12 name the row, the last ones louder."""
    vectors = torch.cat([torch.eye(N), torch.zeros(N, SHORT - N), 9 * torch.eye(N)], 1)
    return vectors, vectors.clone()


def test_the_cut_column_of_a_perfect_method() -> None:
    assert retrieval(Embedding(*wide()), rows(), sought()).scores[f"r@10@{SHORT}"] == 1


def test_the_cut_column_by_hand() -> None:
    """Text 0, cut, is nearer to every other picture than to its own: rank 12, while each picture finds its text."""
    image, text = wide()
    text[0, :N] = torch.tensor([-0.1] + [0.1] * 11)
    found = retrieval(Embedding(image, text), rows(), sought())
    assert found.scores["r@10"] == 1
    # Picture 0, cut: text 0 scores below 0, the eleven others 0, so its text comes last too.
    assert found.scores[f"r@10@{SHORT}"] == pytest.approx((11 / 12 + 11 / 12) / 2)
    assert found.items[f"r@10@{SHORT}"].tolist() == [0.0] + [1.0] * 11


@pytest.mark.parametrize(
    "method",
    [
        Embedding(*wide(), many=True),
        Embedding(*wide(), trained=False),
        Embedding(torch.eye(N), torch.eye(N)),
        Rigged({"text": right()}),
    ],
    ids=["many vectors", "untrained", "narrow", "embeds nothing"],
)
def test_where_cutting_means_nothing_there_is_no_such_column(method: Method) -> None:
    assert f"r@10@{SHORT}" not in retrieval(method, rows(), sought()).scores


# The method


def test_scores_are_taken_in_eval_mode_without_gradient() -> None:
    method = Rigged({"text": right().requires_grad_()})
    method.train()
    retrieval(method, rows(), sought())
    assert method.modes == [False, False]


def test_a_method_that_cannot_rank_is_one_clear_line() -> None:
    class Mute(Method):
        def losses(self, batch: Batch, rng: Rng) -> Terms:
            return {}

    with pytest.raises(SensoriumError, match="cannot rank"):
        retrieval(Mute(), rows(), sought())


# The choice between a text and its negative


def test_choice_counts_pictures_that_prefer_their_text() -> None:
    right, wrong = torch.eye(N), torch.eye(N) * 0.5
    wrong[0, 0], wrong[1, 1] = 2.0, 1.0  # one lost, one tie
    method = Rigged({"text": right, "text/negative": wrong})
    with_field = {"text/negative": FieldInfo("text")}
    there = torch.ones(N, 1, dtype=torch.bool)
    there[2] = False  # a row without a negative
    columns = {k: Field(torch.arange(N)) for k in ("image", "text")}
    columns["text/negative"] = Field(torch.arange(N), there)
    found = retrieval(method, Rows(columns, np.arange(N), with_field, np.arange(N)), sought())
    assert found.items["choice"].tolist()[:2] == [0.0, 0.5] and np.isnan(found.items["choice"][2])
    assert found.scores["choice"] == pytest.approx((N - 3 + 0.5) / (N - 1))
    derived = retrieval(method, Rows(columns, np.arange(N), {}, np.arange(N)), sought())
    assert "choice" not in derived.scores  # negatives of our own making are no test
