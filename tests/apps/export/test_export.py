"""Exports are read by tools that we did not write, and say what the run says."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import sensorium as sm
from sensorium.apps.export import export
from sensorium.blocks.decode import decode
from sensorium.blocks.shared import decoder_of
from sensorium.core import Field, Ids, SensoriumError
from sensorium.run.runs import Model

from ...papers.conftest import squares


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> sm.Dataset:
    return sm.Dataset(squares(tmp_path_factory.mktemp("data") / "squares"))


def trained(paper: str, data: sm.Dataset, **settings: object) -> Model:
    return sm.train(paper, data, samples=64, batch=16, towers="scratch", config=settings, say=lambda line: None)


@pytest.fixture(scope="module")
def pair(data: sm.Dataset) -> Model:
    return trained("clip", data, dim=16)


@pytest.fixture(scope="module")
def writer(data: sm.Dataset) -> Model:
    return trained("baseline/causal-lm", data, dim=32, layers=2, heads=4)


def test_weights_are_the_runs_own_and_its_words_lie_beside(pair: Model, tmp_path: Path) -> None:
    done = export(pair, "safetensors", tmp_path / "out")
    assert done.files == ("README.md", "model.safetensors", "run.json", "tokenizer.json")
    kept, own = load_file(done.folder / "model.safetensors"), pair.method.state_dict()
    assert set(kept) == set(own) and all(torch.equal(kept[name], own[name]) for name in own)


def test_graphs_embed_as_the_run_does_for_any_number_of_rows_and_tokens(pair: Model, tmp_path: Path) -> None:
    pytest.importorskip("onnx", reason="onnx is not installed")
    pytest.importorskip("onnxscript", reason="onnxscript is not installed")
    runtime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    done = export(pair, "onnx", tmp_path / "out")
    assert done.files == ("README.md", "image.onnx", "text.onnx", "tokenizer.json")
    side = pair.fields["image"].shape[-1]
    noise = np.random.Generator(np.random.Philox(3))
    for rows in (1, 5):
        pixels = noise.integers(0, 256, (rows, 3, side, side), np.uint8)
        (found,) = runtime.InferenceSession(done.folder / "image.onnx").run(None, {"pixels": pixels})
        own = pair.embed({"image": Field(torch.from_numpy(pixels))}).x[:, 0].numpy()
        np.testing.assert_allclose(found, own, atol=1e-5)
        assert (found * own).sum(1).min() > 0.9999
    graph = runtime.InferenceSession(done.folder / "text.onnx")
    text = pair.read("text", ["a red square", "blue", "a green square on a red one"])["text"]
    assert isinstance(text, Ids)
    own = pair.embed({"text": text}).x[:, 0].numpy()
    for length in (int(text.mask.sum(1).max()), text.ids.shape[1]):  # padding changes nothing there either
        (found,) = graph.run(None, {"ids": text.ids[:, :length].numpy(), "mask": text.mask[:, :length].numpy()})
        np.testing.assert_allclose(found, own, atol=1e-5)


def test_many_vectors_come_with_their_mask(data: sm.Dataset, tmp_path: Path) -> None:
    pytest.importorskip("onnxscript", reason="onnxscript is not installed")
    runtime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    late = trained("filip", data, dim=16)
    done = export(late, "onnx", tmp_path / "out")
    text = late.read("text", ["a red square", "blue"])["text"]
    assert isinstance(text, Ids)
    given = {"ids": text.ids.numpy(), "mask": text.mask.numpy()}
    tokens, there = runtime.InferenceSession(done.folder / "text.onnx").run(None, given)
    own = late.embed({"text": text})
    np.testing.assert_array_equal(there, own.mask.numpy())
    np.testing.assert_allclose(tokens[there], own.x[own.mask].numpy(), atol=1e-5)


@pytest.mark.parametrize("padded", [False, True])
def test_a_decoder_of_words_is_a_llama_to_transformers(writer: Model, tmp_path: Path, padded: bool) -> None:
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    done = export(writer, "hf", tmp_path / "out")
    theirs = transformers.AutoModelForCausalLM.from_pretrained(done.folder).eval()
    assert type(theirs).__name__ == "LlamaForCausalLM"
    words = transformers.AutoTokenizer.from_pretrained(done.folder)
    decoder = decoder_of(writer.method)
    read = words(["a red"], return_tensors="pt")
    assert read.input_ids[0, 0] == decoder.begin == words.bos_token_id
    ids, mask = read.input_ids, read.attention_mask.bool()
    if padded:
        ids, mask = torch.cat([ids[:, :1], ids], 1), torch.cat([~mask[:, :1], mask], 1)
    with torch.no_grad():
        own = decoder.logits(decoder(decoder.embed(Ids(ids, mask))))
        found = theirs(input_ids=ids, attention_mask=mask.long()).logits
        torch.testing.assert_close(found[mask], own[mask], atol=1e-4, rtol=0)
        said = theirs.generate(**read, do_sample=False, max_new_tokens=8)[0, read.input_ids.shape[1] :]
    text = writer_ids(writer, ids[:, 1 + padded :])
    with torch.no_grad():
        ours = decode(writer.method.prompt({"text": text}, "text/rest"), 8)  # type: ignore[operator]
    n = int(ours.mask[0].sum())
    assert n and said.tolist()[:n] == ours.ids[0, :n].tolist()


def writer_ids(writer: Model, ids: torch.Tensor) -> Ids:
    """A text as the run reads it: with the mark that ends it, which a prompt leaves off again."""
    assert writer.tokenizer is not None
    ended = torch.cat([ids, torch.full((1, 1), writer.tokenizer.token_to_id("</s>"))], 1)
    return Ids(ended, torch.ones_like(ended, dtype=torch.bool))


def test_the_tokeniser_knows_the_marks_and_opens_a_text(writer: Model, tmp_path: Path) -> None:
    done = export(writer, "hf", tmp_path / "out")
    config = json.loads((done.folder / "config.json").read_text())
    decoder = decoder_of(writer.method)
    assert (config["bos_token_id"], config["eos_token_id"]) == (decoder.begin, decoder.end)
    assert (
        config["vocab_size"]
        == decoder.end + 1
        == load_file(done.folder / "model.safetensors")["lm_head.weight"].shape[0]
    )


def test_the_card_tells_method_data_scores_and_licence(pair: Model, tmp_path: Path) -> None:
    text = (export(pair, "safetensors", tmp_path / "out").folder / "README.md").read_text()
    for line in ("# CLIP", "arXiv 2103.00020", "dim 16", f"fingerprint {pair.record['data']}", "64 samples", "| r@1 |"):
        assert line in text
    assert "Data: unknown: the data set names none" in text and "No claim of it was measured yet" in text


@pytest.mark.parametrize(
    ("which", "to", "words"),
    [
        ("pair", "onx", "format 'onx'; did you mean 'onnx'?"),
        ("pair", "hf", r"does not fit a Llama checkpoint: it holds no decoder of words"),
        ("writer", "onnx", "embeds nothing, and onnx holds what embeds"),
    ],
)
def test_what_a_format_cannot_hold_is_one_line_and_leaves_nothing(
    which: str, to: str, words: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    with pytest.raises(SensoriumError, match=words) as refused:
        export(request.getfixturevalue(which), to, tmp_path / "out")
    assert "\n" not in str(refused.value) and not list(tmp_path.iterdir())


def test_a_run_that_sees_pictures_is_no_llama(data: sm.Dataset, tmp_path: Path) -> None:
    seeing = trained("baseline/prefix-lm", data, dim=32, layers=1, heads=2)
    with pytest.raises(SensoriumError, match="has no place there; try safetensors"):
        export(seeing, "hf", tmp_path / "out")


def test_nothing_is_written_over(pair: Model, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("kept")
    with pytest.raises(SensoriumError, match="is in use; export writes to a new folder"):
        export(pair, "safetensors", tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["mine.txt"]
