"""Tiny random checkpoints in Hugging Face form, made here: nothing is fetched."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors

WORDS = ("a", "red", "blue", "green", "square", "circle", "in", "the", "corner", "left", "right", "of", "two")
SIZE, WIDE = 32, {"hidden_size": 24, "intermediate_size": 40, "num_hidden_layers": 2, "num_attention_heads": 4}
EYE = {**WIDE, "image_size": SIZE, "patch_size": 8}
MEAN, STD = [0.48, 0.45, 0.40], [0.26, 0.25, 0.27]
Made = Callable[..., Path]


@pytest.fixture(autouse=True, scope="session")
def offline() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_HUB_OFFLINE", "1")
        yield


@pytest.fixture(autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("SENSORIUM_HOME", str(path))
    return path


def words(begin: str, end: str, pad: str, first: tuple[str, ...]) -> Tokenizer:
    """A tokeniser of whole words; `first` are its first ids, `begin` may be empty."""
    table = {name: k for k, name in enumerate((*first, "<unk>", *WORDS))}
    found = Tokenizer(models.WordLevel(table, unk_token="<unk>"))
    found.pre_tokenizer = pre_tokenizers.Whitespace()
    marks = [(name, table[name]) for name in (begin, end) if name]
    found.post_processor = processors.TemplateProcessing(f"{begin} $A {end}".strip(), special_tokens=marks)
    found.enable_padding(
        direction="left", pad_id=table[pad], pad_token=pad
    )  # ours are padded on the right all the same
    return found


BERT = ("[CLS]", "[SEP]", "[PAD]", ("[PAD]", "[CLS]", "[SEP]"))
ROBERTA = ("<s>", "</s>", "<pad>", ("<s>", "<pad>", "</s>"))
CLIP = ("<bos>", "<eos>", "<eos>", ("!", "<bos>", "<eos>"))
SIGLIP = ("", "</s>", "</s>", ("<pad>", "</s>"))
VOCAB = 24
LENGTH = 12


def _pair(name: str) -> dict[str, Any]:
    texts = {**WIDE, "vocab_size": VOCAB, "max_position_embeddings": LENGTH}
    if name == "clip":
        texts |= {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 2}
        return {"text_config": texts, "vision_config": EYE, "projection_dim": 16}
    return {"text_config": texts | {"projection_size": 24, "pad_token_id": 1}, "vision_config": EYE}


_READER = {**WIDE, "vocab_size": VOCAB}
MODELS: Mapping[str, tuple[str, dict[str, Any], tuple[Any, ...] | None]] = {
    "vit": ("ViTModel", EYE, None),
    "deit": ("DeiTModel", EYE, None),
    "dinov2": ("Dinov2Model", EYE, None),
    "dinov2_with_registers": ("Dinov2WithRegistersModel", {**EYE, "num_register_tokens": 3}, None),
    "clip": ("CLIPModel", _pair("clip"), CLIP),
    "siglip": ("SiglipModel", _pair("siglip"), SIGLIP),
    "bert": ("BertModel", {**_READER, "max_position_embeddings": LENGTH}, BERT),
    "electra": ("ElectraModel", {**_READER, "embedding_size": 24, "max_position_embeddings": LENGTH}, BERT),
    "albert": ("AlbertModel", {**_READER, "embedding_size": 12, "max_position_embeddings": LENGTH}, BERT),
    "distilbert": (
        "DistilBertModel",
        {"dim": 24, "hidden_dim": 40, "n_layers": 2, "n_heads": 4, "vocab_size": VOCAB}
        | {"max_position_embeddings": LENGTH},
        BERT,
    ),
    "roberta": ("RobertaModel", {**_READER, "max_position_embeddings": LENGTH + 2, "pad_token_id": 1}, ROBERTA),
    "camembert": ("CamembertModel", {**_READER, "max_position_embeddings": LENGTH + 2, "pad_token_id": 1}, ROBERTA),
    "xlm-roberta": ("XLMRobertaModel", {**_READER, "max_position_embeddings": LENGTH + 2, "pad_token_id": 1}, ROBERTA),
    "mpnet": ("MPNetModel", {**_READER, "max_position_embeddings": LENGTH + 2, "pad_token_id": 1}, ROBERTA),
}  # fmt: skip


def model(name: str, seed: int = 0) -> Any:
    """A model of transformers with random weights, large enough that no two outputs agree by chance."""
    transformers = pytest.importorskip("transformers")
    kind, settings, _ = MODELS[name]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        made = getattr(transformers, kind)(getattr(transformers, kind).config_class(**settings)).eval()
        for value in made.parameters():
            value.data += 0.2 * torch.randn_like(value)
    return made


def write(folder: Path, name: str, **saved: Any) -> Path:
    """`model(name)` as its owners would keep it: weights, settings, tokeniser."""
    made = model(name, saved.pop("seed", 0))
    made.save_pretrained(folder, **saved)
    if MODELS[name][2] is not None:
        begin, end, pad, first = MODELS[name][2]
        words(begin, end, pad, first).save(str(folder / "tokenizer.json"))
        (folder / "tokenizer_config.json").write_text(json.dumps({"pad_token": pad, "model_max_length": LENGTH}))
    if MODELS[name][0].startswith(("ViT", "DeiT", "Dino", "CLIP", "Siglip")):
        said = {"size": {"height": SIZE, "width": SIZE}, "image_mean": MEAN, "image_std": STD}
        (folder / "preprocessor_config.json").write_text(json.dumps(said))
    return folder


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """Name -> its folder, written once."""
    root = tmp_path_factory.mktemp("checkpoints")

    def folder(name: str) -> Path:
        return root / name if (root / name).is_dir() else write(root / name, name)

    return folder


@pytest.fixture
def own(tmp_path: Path) -> Made:
    """Name -> a folder of one's own, to spoil."""

    def folder(name: str, **saved: Any) -> Path:
        return write(tmp_path / f"my-{name}", name, **saved)

    return folder
