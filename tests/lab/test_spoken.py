"""Toy speech as data sets: what is written is what was said, and the null set breaks the pairs of train alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sensorium.data.dataset import Dataset
from sensorium.data.limits import Limits
from sensorium.data.media import audio
from sensorium.lab import sets
from sensorium.lab.sets import data_set
from sensorium.lab.spoken import SPOKEN, Spoken, utterances
from sensorium.lab.world.sound.listening import check, read
from sensorium.lab.world.sound.phones import PAUSE, spell

FEW = Spoken(rows=(60, 20, 20), voices=5)


@pytest.fixture(autouse=True)
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SENSORIUM_HOME", str(tmp_path))
    monkeypatch.setattr(sets, "SPOKEN", {name: replace(made, rows=FEW.rows) for name, made in SPOKEN.items()})


@pytest.mark.parametrize("name", SPOKEN)
def test_a_set_is_an_ordinary_data_set(name: str) -> None:
    found = Dataset(data_set(name))
    assert len(found) == 100 and not found.quarantine and found.name == name
    assert found.kinds == {"audio": "audio", "text": "text", "text.de": "text", "label": "label"}
    assert {n: int((found.given == n).sum()) for n in ("train", "validation", "test")} == {
        "train": 60, "validation": 20, "test": 20,
    }  # fmt: skip
    assert len(set(found.groups.tolist())) == 100


def test_the_reader_hears_the_text() -> None:
    rows = utterances(replace(FEW, snr=np.inf), "train", 12)
    waves = [audio.load(data, Limits()).wave[0] for data in rows["audio"]]
    longest = max(map(len, waves))
    padded = np.stack([np.pad(w, (0, longest - len(w))) for w in waves])
    told = [(PAUSE, *(p for word in spell(text) for p in word), PAUSE) for text in rows["text"]]
    assert check(read(padded, np.array([len(w) for w in waves]), FEW.rate), told).error < 0.1


def test_the_label_is_the_noun_and_german_says_the_same() -> None:
    rows = utterances(FEW, "train", 40)
    assert all(text.endswith(shape) for text, shape in zip(rows["text"], rows["shape"], strict=True))
    nouns = {shape: {g.split()[-1] for g, s in zip(rows["german"], rows["shape"], strict=True) if s == shape}
             for shape in set(rows["shape"])}  # fmt: skip
    assert all(len(found) == 1 for found in nouns.values()) and len(nouns) == len(set.union(*nouns.values()))


def test_test_voices_speak_nowhere_else() -> None:
    heard = {part: set(utterances(FEW, part, 30)["speaker"]) for part in ("train", "validation", "test")}
    assert not heard["test"] & (heard["train"] | heard["validation"]) and len(heard["train"]) == 5


def test_the_null_set_breaks_the_pairs_of_train_alone() -> None:
    strange = replace(FEW, strange=True)
    for part, broken in (("train", True), ("test", False)):
        right, wrong = (utterances(made, part, 60) for made in (FEW, strange))
        assert right["audio"] == wrong["audio"] and right["shape"] == wrong["shape"]
        assert sorted(right["text"]) == sorted(wrong["text"]) and (right["text"] != wrong["text"]) == broken
        agree = np.mean([t.endswith(s) for t, s in zip(wrong["text"], wrong["shape"], strict=True)])
        assert agree < 0.4 if broken else agree == 1
