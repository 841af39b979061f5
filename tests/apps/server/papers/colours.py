"""Colours: names the label of a picture, from its mean colour or, where there is one, from its text."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn
from torch.nn.functional import cross_entropy

from sensorium.core import Bases, Batch, Field, Fields, Ids, Method, Rng, Terms

NEEDS = {"image": "image", "text": "text optional", "label": "label"}
PARTS: dict[str, str] = {}
CLAIMS: dict[str, object] = {}


@dataclass(frozen=True)
class Config:
    """Nothing to set."""


class Colours(Method):
    """A linear classifier."""

    def __init__(self, classes: int, vocab: int) -> None:
        super().__init__()
        self.colour, self.words = nn.Linear(3, classes), nn.EmbeddingBag(vocab, classes, mode="mean")
        self.predicts = {"label": "label"}

    def losses(self, batch: Batch, rng: Rng) -> Terms:
        truth = batch["label"]
        assert isinstance(truth, Field)
        return {"label": cross_entropy(self.predict(batch, "label").data, truth.data)}

    def predict(self, batch: Batch, of: str) -> Field:
        image, text = batch["image"], batch.get("text")
        assert isinstance(image, Field)
        scores = self.colour(image.data.float().div(255).mean((2, 3)))
        if isinstance(text, Ids):
            scores = scores + self.words(text.ids, per_sample_weights=None)
        return Field(scores)


def build(config: Config, fields: Fields, bases: Bases) -> Colours:
    return Colours(len(fields["label"].classes), fields["text"].vocab)
