"""What frozen features hold: each factor of a generated world's scenes, said by the captions or not, which pixels show
what, and the labels of a person's own data. Probes are fitted on train rows; nothing of the method is trained.

Shape legend: N scenes, P patches, H W pixels, D width.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from sensorium.blocks.similarity import pool
from sensorium.core import Batch, Embeds, SensoriumError, Tokens
from sensorium.evals.metrics.classification import auroc
from sensorium.evals.probes.linear import linear_values
from sensorium.evals.probes.nearest import knn_scores
from sensorium.evals.probes.report import probed
from sensorium.run.evaluate import Scored
from sensorium.run.tasks import Question

from .sets import recipe
from .world.facts import Facts, scenes
from .world.lang.plan import plan
from .world.scene import masks

FITTED = 2000
"""Train rows that a probe of whole pictures is fitted on; a quarter of them for patches."""
Ints = NDArray[np.int64]


@runtime_checkable
class Latent(Protocol):
    """What has patches to show, before any head."""

    def latent(self, batch: Batch, key: str) -> Tokens:
        """Raw value of `key` -> Tokens [B P D], row by row."""
        ...


def world_of(asked: Question) -> Facts:
    """What is true of the scenes of the rows asked about.

    Raises:
        SensoriumError: data that is no generated set, or whose rows are of several parts.
    """
    made = recipe(asked.data.name)
    parts = {str(part) for part in asked.data.given[asked.index]}
    if len(parts) != 1:
        raise SensoriumError(f"rows of {', '.join(sorted(parts))}; expected those of one part of {asked.data.name}")
    (part,) = parts
    first = np.flatnonzero(asked.data.given == part)[0]
    return scenes(made.seed, np.asarray(asked.index - first, np.int64), made.config, part)


def factors_of(world: Facts) -> dict[str, Ints]:
    """Factor -> its value in each scene [N]; of the factors that vary, in a world of one object per scene.

    Raises:
        SensoriumError: several objects, of which a factor of the scene would be ambiguous.
    """
    if not (world.n == 1).all():
        raise SensoriumError(f"scenes of up to {world.n.max()} objects; expected one object per scene")
    place = world.row[:, 0].astype(np.int64) * world.config.cells + world.col[:, 0]
    each = {name: getattr(world, name)[:, 0].astype(np.int64) for name in ("colour", "shape", "size", "texture")}
    each |= {"place": place, "ground": world.ground.astype(np.int64)}
    return {name: values for name, values in each.items() if len(np.unique(values)) > 1}


def said_of(world: Facts, form: str) -> set[str]:
    """The factors that captions of a form say."""
    said = plan(world, form)
    named = {"colour": said.colour, "shape": said.shape, "size": said.size, "texture": said.texture}
    named |= {"place": said.row, "ground": said.ground}
    return {name for name, values in named.items() if (values >= 0).any()}


def factors(asked: Question) -> Scored:
    """Scores "auroc F" of a linear probe and "knn F", the accuracy of nearest neighbours, for every factor F; their
    means "auroc said" and "knn said" over what captions say, "auroc unsaid" and "knn unsaid" over the rest.

    Features are the method's embedding of the picture; probes are fitted on the first train rows.
    """
    method = asked.plan.method
    if not isinstance(method, Embeds):
        raise SensoriumError(f"{asked.plan.job.paper} embeds nothing, so no probe can read it")
    fitted = _first(asked, FITTED)
    x, z = (_embedded(method, q) for q in (fitted, asked))
    before, truth = factors_of(world_of(fitted)), factors_of(world_of(asked))
    said = said_of(world_of(asked), recipe(asked.data.name).form)
    linear = {name: probed(x, before[name], z, truth[name])["auroc"] for name in truth}
    near = {name: probed(x, before[name], z, truth[name], knn_scores)["accuracy"] for name in truth}
    scores = {f"auroc {name}": value for name, value in linear.items()}
    scores |= {f"knn {name}": value for name, value in near.items()}
    for which, names in (("said", said & linear.keys()), ("unsaid", linear.keys() - said)):
        scores |= _means(which, sorted(names), linear, near)
    return Scored(scores, {})


def labels(asked: Question) -> Scored:
    """Scores "auroc K" and "knn K" for every key K of the data that is a label ("label.sex", "label.view" …): probes of
    the embedding of the picture, fitted on the first train rows; rows without the label are left out.

    Raises:
        SensoriumError: data without a label.
    """
    method = asked.plan.method
    if not isinstance(method, Embeds):
        raise SensoriumError(f"{asked.plan.job.paper} embeds nothing, so no probe can read it")
    keys = [key for key, kind in asked.data.kinds.items() if kind == "label"]
    if not keys:
        raise SensoriumError(f"{asked.data.name} has no label to probe for; name one with label.NAME=COLUMN")
    fitted = _first(asked, FITTED)
    x, z = (_embedded(method, q) for q in (fitted, asked))
    scores: dict[str, float] = {}
    for key in keys:
        before, truth = np.array(fitted.texts(key)), np.array(asked.texts(key))
        classes = sorted({*before.tolist(), *truth.tolist()} - {""})
        use, test = before != "", truth != ""
        y, t = (np.searchsorted(classes, v).astype(np.int64) for v in (before[use], truth[test]))
        scores[f"auroc {key}"] = probed(x[use], y, z[test], t)["auroc"]
        scores[f"knn {key}"] = probed(x[use], y, z[test], t, knn_scores)["accuracy"]
    return Scored(scores, {})


def _means(which: str, names: list[str], linear: Mapping[str, float], near: Mapping[str, float]) -> dict[str, float]:
    if not names:
        return {}
    return {
        f"auroc {which}": float(np.mean([linear[n] for n in names])),
        f"knn {which}": float(np.mean([near[n] for n in names])),
    }


def segments(asked: Question) -> Scored:
    """Score "pixel auroc": how often a pixel of an object scores above one of the ground, over all pictures, where a
    linear probe of each patch says how much of it an object covers, stretched over the pixels.
    """
    method = asked.plan.method
    if not isinstance(method, Latent):
        raise SensoriumError(f"{asked.plan.job.paper} shows no patches, so no probe can read them")
    fitted = _first(asked, FITTED // 4)
    x, z = (_patches(method, q) for q in (fitted, asked))
    before, truth = (_objects(q) for q in (fitted, asked))
    covered = _of_patches(before, *x.shape[1:3])
    found = linear_values(x.reshape(-1, x.shape[3]), covered.reshape(-1, 1), z.reshape(-1, z.shape[3]))
    maps = torch.from_numpy(found.reshape(len(z), 1, *z.shape[1:3]))
    said = F.interpolate(maps, truth.shape[1:], mode="bilinear", align_corners=False).numpy()
    return Scored({"pixel auroc": auroc(said.ravel(), truth.ravel())}, {})


def _objects(asked: Question) -> NDArray[np.bool_]:
    """[N H W]: the pixels in which an object is seen."""
    made = recipe(asked.data.name)
    return np.asarray(masks(world_of(asked), made.size, made.style) > 0)


def _of_patches(objects: NDArray[np.bool_], rows: int, columns: int) -> NDArray[np.float64]:
    """[N H W] -> [N rows columns]: the share of each patch that an object covers."""
    n, high, wide = objects.shape
    if high % rows or wide % columns:
        raise SensoriumError(f"{rows} x {columns} patches of {high} x {wide} pixels; expected patches of whole pixels")
    parts = objects.reshape(n, rows, high // rows, columns, wide // columns)
    return np.asarray(parts.mean((2, 4)), np.float64)


def _first(asked: Question, most: int) -> Question:
    """The first train rows in place of those asked about."""
    return replace(asked, index=asked.plan.split.train[:most], sought=None)


@torch.no_grad()
def _embedded(method: Embeds, asked: Question) -> NDArray[np.float64]:
    return torch.cat([pool(method.embed(b, "image")).cpu() for b in asked.batches("image")]).double().numpy()


@torch.no_grad()
def _patches(method: Latent, asked: Question) -> NDArray[np.float64]:
    """[N rows columns D] of the method's patches."""
    found = [method.latent(b, "image") for b in asked.batches("image")]
    x = torch.cat([t.x.cpu() for t in found])
    if (pos := found[0].pos) is None:
        raise SensoriumError(f"{asked.plan.job.paper} does not say where its patches lie")
    rows, columns = (int(n) + 1 for n in pos.reshape(-1, 2).amax(0))
    return np.asarray(x.reshape(len(x), rows, columns, -1).double().numpy())
