"""Shared starts: shipped weights are those of their record, load as towers, and say what they lack."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from sensorium.blocks.decode import decode
from sensorium.blocks.prefix_lm import PrefixLM
from sensorium.blocks.towers.frozen import Frozen
from sensorium.core import Batch, Field, FieldInfo, Ids, SensoriumError, Tokens
from sensorium.data.tokenise import encode
from sensorium.lab import bases, starts
from sensorium.lab.sets import recipe, scenes
from sensorium.lab.starts import SHIPPED, STARTS, Opened, is_there, missing, opened, record_of
from sensorium.lab.world.facts import facts
from sensorium.lab.world.lang import check, questions, row_by_row
from sensorium.lab.world.scene import render


@pytest.mark.parametrize("name", STARTS)
def test_what_is_shipped_is_what_was_recorded(name: str) -> None:
    if not is_there(name):
        pytest.skip(f"a recipe whose weights are not shipped: sensorium bases train {name} makes them")
    record, of = record_of(name), opened(name)
    assert record.files["model.safetensors"] == of.sha and record.date and record.cost["cpu_s"] > 0
    size = sum(p.stat().st_size for p in (SHIPPED / name).iterdir())
    assert size < 3_000_000
    assert not of.method.training and not any(p.requires_grad for p in of.method.parameters())
    made = STARTS[name]
    assert record.recipe["paper"] == made.arm.paper and record.recipe["samples"] == made.samples
    for p in made.properties.values():
        assert {p.score, p.above} <= set(record.properties)


def test_the_starts_that_papers_build_on_are_shipped() -> None:
    assert all(is_there(name) for name in ("pair-encoder", "causal-lm", "prefix-mllm"))


def test_the_pair_encoder_finds_the_caption_of_a_scene_it_never_saw() -> None:
    of = opened("pair-encoder")
    world = facts(7, 60, recipe("world/scenes").config, part="test")
    texts = scenes(replace(recipe("world/scenes"), seed=7), "test", 60)["text"]
    pixels = torch.from_numpy(render(world, 32, seed=7))
    image = bases.open_bases(dict.fromkeys(("image", "text"), "pair-encoder"), of.fields)
    pictures, words = (image.encoder(role, "pooled") for role in ("image", "text"))
    assert pictures.size == 32 and words.tokenise is not None  # type: ignore[attr-defined]
    a = pictures(Field(pixels)).x[:, 0]
    b = words(words.tokenise(texts)).x[:, 0]  # type: ignore[attr-defined]
    torch.testing.assert_close(a.norm(dim=1), torch.ones(60))
    assert ((a @ b.T).argmax(1) == torch.arange(60)).float().mean() > 0.9


def test_its_words_keep_their_tokens(tmp_path: Path) -> None:
    words = starts.tower("pair-encoder", "text", "tokens")
    assert words.tokenise is not None
    ids: Ids = words.tokenise(["a red circle", ""])
    found: Tokens = words(ids)
    assert found.x.shape == (*ids.ids.shape, 64) and torch.equal(found.mask, ids.mask) and not ids.mask[1].any()
    with pytest.raises(SensoriumError, match="does not embed audio; it embeds image, text"):
        starts.tower("pair-encoder", "audio", "pooled")


def test_a_name_is_chosen_for_all_its_roles_and_a_slip_is_told() -> None:
    assert bases.choose("pair-encoder") == {"image": "pair-encoder", "text": "pair-encoder"}
    with pytest.raises(SensoriumError, match="unknown tower 'pair-encodr'; did you mean 'pair-encoder'"):
        bases.choose("pair-encodr")
    with pytest.raises(SensoriumError, match="unknown base 'pair'; did you mean 'pair-encoder'"):
        record_of("pair")


def copied(tmp_path: Path) -> Path:
    shutil.copytree(SHIPPED / "pair-encoder", tmp_path / "pair-encoder")
    return tmp_path


@pytest.mark.parametrize("file", starts.FILES)
def test_another_file_than_the_recorded_one_is_refused(file: str, tmp_path: Path) -> None:
    path = copied(tmp_path) / "pair-encoder" / file
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(bytes(data))
    with pytest.raises(SensoriumError, match=f"{file} has hash .*, expected .*: reinstall"):
        opened("pair-encoder", tmp_path)
    path.unlink()
    with pytest.raises(SensoriumError, match=f"{file} has hash"):
        opened("pair-encoder", tmp_path)


def test_weights_that_are_not_there_say_how_to_make_them(tmp_path: Path) -> None:
    with pytest.raises(SensoriumError, match="make them with: sensorium bases train pair-encoder"):
        record_of("pair-encoder", tmp_path)
    (tmp_path / "pair-encoder").mkdir()
    (tmp_path / "pair-encoder" / "base.json").write_text("{")
    with pytest.raises(SensoriumError, match="is not the record of a base"):
        record_of("pair-encoder", tmp_path)


def test_what_a_start_lacks_is_said_of_what_is_needed_alone() -> None:
    record = replace(record_of("pair-encoder"), properties={"probe image": 0.9, "probe text": 0.3, "probe guess": 0.3})
    assert len(missing(record)) == 1 and "binding in texts: probe text 0.30, expected 1.5 times" in missing(record)[0]
    assert missing(record, ["binding in pictures"]) == []
    with pytest.raises(SensoriumError, match="does not speak of 'binding in text'; did you mean 'binding in texts'"):
        missing(record, ["binding in text"])
    assert missing(replace(record, properties={}))  # what was not measured is not there


def test_a_start_is_trained_by_its_recipe_and_its_properties_are_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sensorium.lab import sets

    monkeypatch.setenv("SENSORIUM_HOME", str(tmp_path / "home"))
    few = {name: replace(r, rows=(400, 60, 200)) for name, r in sets.RECIPES.items()}
    monkeypatch.setattr(sets, "RECIPES", few)
    record = starts.train("pair-encoder", tmp_path, samples=640)
    assert json.loads((tmp_path / "pair-encoder" / "base.json").read_text())["files"] == dict(record.files)
    assert {"probe image", "probe text", "probe guess"} <= set(record.properties)
    of = opened("pair-encoder", tmp_path)
    assert isinstance(of.fields["text"], FieldInfo) and of.sha == record.files["model.safetensors"]
    again = starts.train("pair-encoder", tmp_path / "again", samples=640)
    assert again.files == record.files and again.properties == record.properties


def test_the_prefix_mllm_tells_and_answers_what_a_new_scene_shows() -> None:
    of, n = opened("prefix-mllm"), 60
    assert of.tokenizer is not None and record_of("prefix-mllm").bases == {"pair-encoder": opened("pair-encoder").sha}
    world = facts(11, n, recipe("world/questions").config, part="test")
    asked = questions(world, ["colour"], 11)
    images = Field(torch.from_numpy(render(world, 32, seed=11)))
    words = encode(of.tokenizer, asked.text, of.fields["text"].length)
    of_scene = images.rows(torch.from_numpy(asked.scene))
    told = said(of, {"image": images}, "text", 24)
    answered = said(of, {"image": of_scene, "text/question": words}, "text/answer", 6)
    found = check(told, world)
    assert found.precision("colour") > 0.95 and found.precision("shape") > 0.95
    assert row_by_row(told, world).mean() > 0.7, "relations too, most of the time"
    assert np.mean([a == b for a, b in zip(answered, asked.answer, strict=True)]) > 0.9


def said(of: Opened, batch: Batch, to: str, longest: int) -> list[str]:
    assert of.tokenizer is not None
    found = decode(of.method.prompt(batch, to), longest)  # type: ignore[operator]
    texts = of.tokenizer.decode_batch([i[m].tolist() for i, m in zip(found.ids, found.mask, strict=True)])
    return [text.strip() for text in texts]


def test_the_eye_of_the_prefix_mllm_is_its_own() -> None:
    """Attacks and saliency go through it to the pixels."""
    method = opened("prefix-mllm").method
    assert isinstance(method, PrefixLM) and not isinstance(method.image, Frozen)
    assert any(name.startswith("image.") for name in method.state_dict())


def test_opening_a_start_draws_nothing_that_others_would_draw() -> None:
    opened.cache_clear()
    torch.manual_seed(3)
    first = torch.randn(4)
    torch.manual_seed(3)
    opened("vq")
    torch.testing.assert_close(torch.randn(4), first)
