"""The retrieval task: texts find images and images find texts. Shape legend: T texts, I images."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import NamedTuple

import torch
from torch import Tensor

from .ranking import rank_of_best, summarise


class Retrieval(NamedTuple):
    """Means over both directions, and each query's rank (0: it had no right item)."""

    scores: dict[str, float]
    rank_text: Tensor
    rank_image: Tensor


def _codes(keys: Iterable[Hashable]) -> Tensor:
    """[N] keys of any hashable sort -> [N] int64, equal where the keys are. (In arrays 64-bit hashes may round.)"""
    listed = keys.tolist() if hasattr(keys, "tolist") else keys
    seen: dict[Hashable, int] = {}
    return torch.tensor([seen.setdefault(k, len(seen)) for k in listed], dtype=torch.int64)


def relevance(text_keys: Iterable[Hashable], image_keys: Iterable[Hashable]) -> Tensor:
    """[N], [N] keys of paired rows (sequences, arrays or tensors) -> [N N] bool, texts by images.

    Text t and image i belong together if they are one row, or their rows share the text or the image: equal keys count
    as right.
    """
    text, image = _codes(text_keys), _codes(image_keys)
    if len(text) != len(image):
        raise ValueError(f"{len(text)} text keys and {len(image)} image keys; expected one of each per row")
    return (text[:, None] == text[None]) | (image[:, None] == image[None])


def score_retrieval(text_to_image: Tensor, image_to_text: Tensor, relevant: Tensor) -> Retrieval:
    """[T I], [I T] scores, [T I] bool -> r@1, r@5, r@10, median_rank, mrr as means of both directions; ranks [T], [I].

    For a symmetric similarity the second table is the first, transposed.
    """
    rank_text, rank_image = rank_of_best(text_to_image, relevant), rank_of_best(image_to_text, relevant.T)
    texts, images = summarise(rank_text), summarise(rank_image)
    return Retrieval({name: (texts[name] + images[name]) / 2 for name in texts}, rank_text, rank_image)
