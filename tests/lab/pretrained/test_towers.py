"""Towers from checkpoint folders give their models' own outputs; what cannot be read is one line."""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from sensorium.blocks.towers.frozen import Frozen
from sensorium.core import Field, Ids, SensoriumError
from sensorium.lab.bases import choose, open_bases
from sensorium.lab.pretrained.folders import recorded
from sensorium.lab.pretrained.towers import KINDS, tower

from .conftest import LENGTH, MEAN, MODELS, SIZE, STD, Made, model

TEXTS = ["a red square", "two", "the blue circle in the left corner of a green square", "green zebra"]
IMAGES = [n for n in MODELS if n in KINDS["image"]]
READERS = [n for n in MODELS if n in KINDS["text"] and n not in ("clip", "siglip")]


def pixels(n: int = 3) -> Tensor:
    return torch.randint(0, 256, (n, 3, SIZE, SIZE), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def opened(folder: Path, role: str, read: str) -> Frozen:
    return tower(recorded(str(folder)), role, read)


def ids(of: Frozen, texts: list[str]) -> Ids:
    assert of.tokenise is not None
    return of.tokenise(texts)


def looked(name: str, raw: Tensor) -> tuple[Tensor, Tensor]:
    """Vector and patches as transformers' own model gives them."""
    made = model(name)
    x = (raw.float() / 255 - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None]
    with torch.no_grad():
        if name in ("clip", "siglip"):
            vector = made.get_image_features(pixel_values=x).pooler_output
            patches = made.vision_model(pixel_values=x).last_hidden_state
            return vector, patches[:, 1:] if name == "clip" else patches
        said = made(pixel_values=x).last_hidden_state
        return said[:, 0], said[:, -((SIZE // 8) ** 2) :]


@pytest.mark.parametrize("name", IMAGES)
def test_an_image_tower_gives_what_the_model_gives(name: str, made: Made) -> None:
    vector, patches = looked(name, pixels())
    pooled, tokens = (opened(made(name), "image", read) for read in ("pooled", "tokens"))
    assert pooled.size == SIZE and pooled.dim == vector.shape[1] and tokens.dim == patches.shape[2]
    torch.testing.assert_close(pooled(Field(pixels())).x[:, 0], vector, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(tokens(Field(pixels())).x, patches, atol=1e-4, rtol=1e-4)
    assert patches.shape[1] == (SIZE // 8) ** 2


def test_pixels_are_prepared_as_transformers_own_processor_does(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    transformers = pytest.importorskip("transformers")
    processor = transformers.CLIPImageProcessorPil.from_pretrained(made("clip"), do_resize=False, do_center_crop=False)
    want = torch.as_tensor(processor(list(pixels().numpy()), return_tensors="pt")["pixel_values"])
    with torch.no_grad():
        expected = model("clip").get_image_features(pixel_values=want).pooler_output
    found = opened(made("clip"), "image", "pooled")(Field(pixels())).x[:, 0]
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


def test_a_picture_that_is_not_there_is_no_token(made: Made) -> None:
    found = opened(made("vit"), "image", "tokens")(Field(pixels(), torch.tensor([True, False, True])))
    assert found.mask.any(1).tolist() == [True, False, True] and not found.x[1].any()


def test_a_picture_larger_than_those_trained_on_stretches_the_positions(own: Made) -> None:
    folder = own("clip")
    said = json.loads((folder / "preprocessor_config.json").read_text())
    said |= {"crop_size": {"height": 48, "width": 48}, "size": {"shortest_edge": 64}}
    (folder / "preprocessor_config.json").write_text(json.dumps(said))
    of = opened(folder, "image", "tokens")
    assert of.size == 48
    assert of(Field(torch.zeros(1, 3, 48, 48, dtype=torch.uint8))).x.shape[1] == 36


def alone(name: str, of: Frozen, text: str) -> tuple[Tensor, Tensor]:
    """The first and the mean of the words of one text without padding, by transformers' own model."""
    row = ids(of, [text])
    assert row.mask.all()
    with torch.no_grad():
        said = model(name)(input_ids=row.ids, attention_mask=row.mask.long()).last_hidden_state[0]
    return said[0], said


@pytest.mark.parametrize("name", READERS)
def test_a_text_tower_gives_what_the_model_gives_of_each_text_alone(name: str, made: Made) -> None:
    pooled, tokens = (opened(made(name), "text", read) for read in ("pooled", "tokens"))
    together, words = pooled(ids(pooled, TEXTS)), tokens(ids(tokens, TEXTS))
    for k, text in enumerate(TEXTS):
        first, said = alone(name, pooled, text)
        torch.testing.assert_close(together.x[k, 0], first, atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(words.x[k][words.mask[k]], said, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", [*READERS, "clip", "siglip"])
def test_the_side_of_the_padding_changes_nothing(name: str, made: Made) -> None:
    for read in ("pooled", "tokens"):
        of = opened(made(name), "text", read)
        right = ids(of, TEXTS)
        lengths = right.mask.sum(1).tolist()
        moved = [torch.roll(right.ids[k], right.ids.shape[1] - n) for k, n in enumerate(lengths)]
        left = Ids(torch.stack(moved), right.mask.flip(1))
        a, b = of(right), of(left)
        torch.testing.assert_close(b.x[b.mask], a.x[a.mask], atol=1e-5, rtol=1e-5)
        other = of(Ids(torch.where(right.mask, right.ids, 5), right.mask))  # what stands in the padding is not read
        torch.testing.assert_close(other.x, a.x)


@pytest.mark.parametrize("name", ["clip", "siglip"])
def test_the_text_half_of_a_pair_gives_what_the_model_gives(name: str, made: Made) -> None:
    pooled, tokens = (opened(made(name), "text", read) for read in ("pooled", "tokens"))
    rows, whole = ids(pooled, TEXTS), model(name)
    found, words = pooled(rows).x[:, 0], tokens(rows)
    for k in range(len(TEXTS)):
        real = rows.ids[k : k + 1, : int(rows.mask[k].sum())]
        if name == "siglip":  # trained on texts padded to the full length, padding seen
            real = torch.nn.functional.pad(real, (0, LENGTH - real.shape[1]), value=1)
        with torch.no_grad():
            expected = whole.get_text_features(input_ids=real).pooler_output[0]
            said = whole.text_model(input_ids=real).last_hidden_state[0, : int(rows.mask[k].sum())]
        torch.testing.assert_close(found[k], expected, atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(words.x[k][words.mask[k]], said, atol=1e-4, rtol=1e-4)
    assert found.shape[1] == opened(made(name), "image", "pooled").dim  # one space


def test_clip_weighs_a_picture_and_a_text_as_transformers_does(made: Made) -> None:
    image, text = (opened(made("clip"), role, "pooled") for role in ("image", "text"))
    rows = ids(text, TEXTS)
    x = (pixels().float() / 255 - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None]
    with torch.no_grad():
        want = model("clip")(input_ids=rows.ids, attention_mask=rows.mask.long(), pixel_values=x)
    a, b = (torch.nn.functional.normalize(t.x[:, 0], dim=-1) for t in (image(Field(pixels())), text(rows)))
    torch.testing.assert_close(a @ b.T * model("clip").logit_scale.exp(), want.logits_per_image, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", ["clip", "siglip", "bert", "xlm-roberta"])
def test_the_order_of_a_batch_permutes_what_comes_out(name: str, made: Made) -> None:
    of = opened(made(name), "text", "pooled")
    torch.testing.assert_close(of(ids(of, TEXTS[::-1])).x, of(ids(of, TEXTS)).x.flip(0), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kind", ["clip", "siglip"])
@pytest.mark.parametrize(("half", "role"), [("vision", "image"), ("text", "text")])
def test_half_a_pair_is_a_tower_of_its_own(kind: str, half: str, role: str, made: Made, tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    whole = transformers.AutoConfig.from_pretrained(made(kind))
    names = {"clip": "CLIP{}ModelWithProjection", "siglip": "Siglip{}Model"}
    config = getattr(whole, f"{half}_config")
    config.projection_dim = 16
    part = getattr(transformers, names[kind].format(half.title())).from_pretrained(made(kind), config=config)
    shutil.copytree(made(kind), tmp_path / "half", ignore=shutil.ignore_patterns("config.json", "*.safetensors"))
    part.save_pretrained(tmp_path / "half")
    assert choose(str(tmp_path / "half")) == {role: recorded(str(tmp_path / "half"))} | {
        other: "scratch" for other in ("image", "text") if other != role
    }
    value: Any = Field(pixels()) if role == "image" else ids(opened(made(kind), "text", "pooled"), TEXTS)
    for read in ("pooled", "tokens"):
        found, want = opened(tmp_path / "half", role, read)(value), opened(made(kind), role, read)(value)
        torch.testing.assert_close(found.x, want.x)


def pooling(folder: Path, **said: Any) -> Path:
    (folder / "1_Pooling").mkdir(exist_ok=True)
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(said))
    modules = ["Transformer", "Pooling", "Normalize"]
    listed = [{"idx": k, "type": f"sentence_transformers.models.{m}"} for k, m in enumerate(modules)]
    (folder / "modules.json").write_text(json.dumps(listed))
    return folder


@pytest.mark.parametrize(
    ("said", "made_of"),
    [
        ({"pooling_mode_mean_tokens": True, "pooling_mode_cls_token": False}, lambda x: x.mean(0)),
        ({"pooling_mode": "mean"}, lambda x: x.mean(0)),
        ({"pooling_mode_cls_token": True}, lambda x: x[0]),
        ({"pooling_mode_max_tokens": True}, lambda x: x.amax(0)),
    ],
)
def test_a_sentence_encoder_pools_as_its_files_say(said: Any, made_of: Callable[[Tensor], Tensor], own: Made) -> None:
    of = opened(pooling(own("bert"), **said), "text", "pooled")
    found = of(ids(of, TEXTS)).x[:, 0]
    for k, text in enumerate(TEXTS):
        want = torch.nn.functional.normalize(made_of(alone("bert", of, text)[1]), dim=-1)
        torch.testing.assert_close(found[k], want, atol=1e-5, rtol=1e-5)


def test_texts_are_cut_where_the_checkpoint_says(own: Made) -> None:
    folder = own("xlm-roberta")
    long = " ".join(["a"] * 50)
    assert ids(opened(folder, "text", "tokens"), [long]).ids.shape[1] == LENGTH
    (folder / "tokenizer_config.json").unlink()
    assert ids(opened(folder, "text", "tokens"), [long]).ids.shape[1] == LENGTH  # two of its positions are padding's
    (folder / "sentence_bert_config.json").write_text('{"max_seq_length": 5}')
    of = opened(folder, "text", "tokens")
    assert ids(of, [long]).ids.shape[1] == 5 and of(ids(of, [long])).x.shape[1] == 5


def test_a_tokeniser_in_another_form_is_read(own: Made) -> None:
    folder = own("bert")
    want = ids(opened(folder, "text", "pooled"), TEXTS[:1]).ids[0, 1:-1]
    table = json.loads((folder / "tokenizer.json").read_text())["model"]["vocab"]
    (folder / "vocab.txt").write_text("\n".join("[UNK]" if w == "<unk>" else w for w in sorted(table, key=table.get)))
    (folder / "tokenizer.json").unlink()
    (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "BertTokenizer"}')
    assert torch.equal(ids(opened(folder, "text", "pooled"), TEXTS[:1]).ids[0, 1:-1], want)


def test_half_precision_and_pickled_weights_are_read_as_float32(own: Made) -> None:
    folder = own("vit")
    first = opened(folder, "image", "pooled")(Field(pixels())).x
    narrow = {k: v.to(torch.bfloat16) for k, v in load_file(folder / "model.safetensors").items()}
    save_file(narrow, folder / "model.safetensors", {"format": "pt"})
    second = opened(folder, "image", "pooled")(Field(pixels())).x
    assert second.dtype == torch.float32 and 0 < (second - first).abs().max() < 0.3
    torch.save(narrow, folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    torch.testing.assert_close(opened(folder, "image", "pooled")(Field(pixels())).x, second)


def test_weights_in_parts_are_read_and_a_lost_part_is_told(own: Made, made: Made) -> None:
    folder = own("vit", max_shard_size="20KB")
    assert not (folder / "model.safetensors").is_file()
    want = opened(made("vit"), "image", "pooled")(Field(pixels())).x
    torch.testing.assert_close(opened(folder, "image", "pooled")(Field(pixels())).x, want)
    next(folder.glob("model-*.safetensors")).unlink()
    with pytest.raises(SensoriumError, match=r"lacks model-.*, which its model\.safetensors\.index\.json names"):
        recorded(str(folder))


class Trap:
    def __reduce__(self) -> tuple[Any, ...]:
        return (exec, ("raise SystemExit('this must not run')",))


def test_a_pickle_that_holds_more_than_weights_is_refused(own: Made) -> None:
    folder = own("vit")
    (folder / "model.safetensors").unlink()
    torch.save({"x": Trap()}, folder / "pytorch_model.bin")
    with pytest.raises(SensoriumError, match=r"pytorch_model\.bin is refused: a pickle that holds more than weights"):
        opened(folder, "image", "pooled")(Field(pixels()))
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Trap()))
    with pytest.raises(SensoriumError, match="is refused"):
        opened(folder, "image", "pooled")(Field(pixels()))


def edited(folder: Path, file: str, **said: Any) -> Path:
    path = folder / file
    path.write_text(json.dumps((json.loads(path.read_text()) if path.is_file() else {}) | said))
    return folder


def narrowed(folder: Path) -> Path:
    kept = load_file(folder / "model.safetensors")
    lost = [k for k in kept if "visual_projection" in k or "text_projection" in k]
    save_file({k: v for k, v in kept.items() if k not in lost}, folder / "model.safetensors", {"format": "pt"})
    return folder


def without(folder: Path, *files: str) -> Path:
    for file in files:
        (folder / file).unlink()
    return folder


@pytest.mark.parametrize(
    ("name", "role", "spoil", "why"),
    [
        (
            "vit",
            "image",
            lambda f: edited(f, "config.json", model_type="vitt"),
            "'vitt', which no tower reads; did you",
        ),
        ("vit", "image", lambda f: without(f, "preprocessor_config.json"), "it has no preprocessor_config.json"),
        (
            "vit",
            "image",
            lambda f: edited(f, "preprocessor_config.json", image_mean=None),
            "does not say size, image_me",
        ),
        ("vit", "image", lambda f: without(f, "config.json"), "it has no config.json"),
        ("vit", "image", lambda f: without(f, "model.safetensors"), "has no weights: expected model.safetensors"),
        ("vit", "text", lambda f: f, "embeds image, not text"),
        ("clip", "image", narrowed, r"lack visual_projection\.weight"),
        ("clip", "text", narrowed, r"lack text_projection\.weight"),
        ("bert", "text", lambda f: without(f, "tokenizer.json"), "has no tokeniser: expected tokenizer.json"),
        ("bert", "text", lambda f: (f / "tokenizer.json").write_text("{}") and f, "tokenizer.json does not parse"),
        ("bert", "text", lambda f: edited(f, "config.json", hidden_size=48), "cannot be opened|another shape"),
        ("bert", "text", lambda f: pooling(f, pooling_mode_lasttoken=True), "pools by lasttoken; expected one of mean"),
        ("siglip", "text", lambda f: edited(f, "tokenizer_config.json", pad_token="<no>"), "names no pad_token"),
    ],
)
def test_what_is_wrong_with_a_folder_is_one_line(name: str, role: str, spoil: Any, why: str, own: Made) -> None:
    folder = spoil(own(name))
    with pytest.raises(SensoriumError, match=why) as problem:
        of = opened(folder, role, "pooled")
        of(Field(pixels()) if role == "image" else ids(of, TEXTS))
    assert "\n" not in str(problem.value)


def test_missing_projections_do_not_matter_to_patches(own: Made, made: Made) -> None:
    found = opened(narrowed(own("clip")), "image", "tokens")(Field(pixels())).x
    torch.testing.assert_close(found, opened(made("clip"), "image", "tokens")(Field(pixels())).x)


def test_a_moved_folder_and_other_weights_are_told(own: Made, tmp_path: Path) -> None:
    folder = own("clip")
    names = choose(str(folder))
    assert open_bases(names, {}).encoder("image").dim == 16
    shutil.move(folder, tmp_path / "elsewhere")
    with pytest.raises(SensoriumError, match=r"is gone; this run began from its weights .*: put it back there"):
        open_bases(names, {}).encoder("image")
    shutil.move(tmp_path / "elsewhere", folder)
    assert open_bases(names, {}).encoder("text").dim == 16
    other = {k: v + 1 for k, v in load_file(folder / "model.safetensors").items()}
    save_file(other, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(SensoriumError, match=r"has changed: its hash is .*, this run began from"):
        open_bases(names, {}).encoder("image")


def test_the_name_of_stored_features_is_that_of_the_content_and_of_what_is_read(own: Made, made: Made) -> None:
    copy = own("clip")
    assert opened(copy, "image", "pooled").identity == opened(made("clip"), "image", "pooled").identity
    names = {opened(copy, role, read).identity for role in ("image", "text") for read in ("pooled", "tokens")}
    assert len(names) == 4
    edited(copy, "preprocessor_config.json", image_mean=[0.5, 0.5, 0.5])
    assert opened(copy, "image", "pooled").identity not in names
