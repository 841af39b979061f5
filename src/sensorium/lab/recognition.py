"""Whether what was learnt of speech holds for text."""

from __future__ import annotations

import numpy as np
import torch

from sensorium.core import Field, Predicts, SensoriumError
from sensorium.run.evaluate import Scored
from sensorium.run.tasks import Question


@torch.no_grad()
def transfer(asked: Question) -> Scored:
    """ "accuracy": labels named from the text alone, by a head that was trained on speech; "accuracy audio": the same
    from the speech."""
    method, truth = asked.plan.method, asked.plan.rows.columns["label"].rows(torch.from_numpy(asked.index))
    if not isinstance(method, Predicts) or "label" not in method.predicts:
        raise SensoriumError(f"{asked.plan.job.paper} predicts no label")
    assert isinstance(truth, Field)
    scores, items = {}, {}
    for metric, side in (("accuracy", "text"), ("accuracy audio", "audio")):
        said = torch.cat([method.predict(batch, "label").data.argmax(-1).cpu() for batch in asked.batches(side)])
        hit = (said == truth.data).double().numpy()
        if truth.mask is not None:  # a label that train never had cannot be said
            hit[~truth.mask.numpy()] = 0.0
        scores[metric], items[metric] = float(np.mean(hit)), hit
    return Scored(scores, items)
