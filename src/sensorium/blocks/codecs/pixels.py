"""Pictures as float signals about [-1, 1], and back."""

from __future__ import annotations

import torch
from torch import Tensor

from sensorium.core import Field, SensoriumError


def signal(field: Field) -> Tensor:
    """u8 [B 3 H W] -> float32 [B 3 H W]: (value - 127) / 128, as the image towers see it."""
    if field.data.ndim != 4 or field.data.shape[1] != 3:
        raise SensoriumError(f"pictures of shape {list(field.data.shape)}; expected [B 3 H W]")
    return (field.data.float() - 127) / 128


def picture(x: Tensor) -> Field:
    """Float [B 3 H W] -> u8 Field [B 3 H W]; what lies outside is cut off."""
    return Field((x.float() * 128 + 127).round().clamp(0, 255).to(torch.uint8))
