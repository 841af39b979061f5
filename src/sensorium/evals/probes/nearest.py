"""The nearest-neighbour probe. Shape legend: N train rows, M test rows, D features, C classes."""

from __future__ import annotations

import numpy as np

from sensorium.core.errors import SensoriumError

from .linear import Floats, Ints, checked


def knn_scores(train: Floats, labels: Ints, test: Floats, k: int = 20, temperature: float = 0.07) -> Floats:
    """[N D], [N] class numbers, [M D] -> [M C] votes of the k nearest by cosine, each e^(cosine / temperature).

    Rows sum to 1; classes are those that `labels` hold, in their order. Source: arXiv 1805.01978, whose k and
    temperature DINO keeps. Fewer than k rows all vote.
    """
    checked(train, labels, test)
    if k < 1 or not temperature > 0:
        raise SensoriumError(f"k {k} and temperature {temperature:g}; expected 1 or more and above 0")
    classes, y = np.unique(labels, return_inverse=True)
    near = _unit(test) @ _unit(train).T
    chosen = np.argsort(-near, 1, kind="stable")[:, :k]
    closeness = np.take_along_axis(near, chosen, 1)
    votes = np.exp((closeness - closeness.max(1, keepdims=True)) / temperature)
    found = (np.eye(len(classes))[y[chosen]] * votes[..., None]).sum(1)
    return np.asarray(found / found.sum(1, keepdims=True), np.float64)


def knn_probe(train: Floats, labels: Ints, test: Floats, k: int = 20, temperature: float = 0.07) -> Ints:
    """[N D], [N], [M D] -> [M] the class with the most votes of each test row."""
    scores = knn_scores(train, labels, test, k, temperature)
    return np.asarray(np.unique(labels)[scores.argmax(1)], np.int64)


def _unit(x: Floats) -> Floats:
    return np.asarray(x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12), np.float64)
