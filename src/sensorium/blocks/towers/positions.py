"""Positions without parameters."""

from __future__ import annotations

import torch
from torch import Tensor

from sensorium.core import SensoriumError


def sines(pos: Tensor, dim: int, period: float = 100.0) -> Tensor:
    """[... P] -> [... dim]: sines and cosines of each coordinate, entries of root mean square 1.

    Wavelengths run geometrically from 2π to 2π * `period`. Unit scale, since positions of 0.02 drown beside content of
    order 1. `dim` must be a multiple of 2P.
    """
    parts = 2 * pos.shape[-1]
    if dim % parts:
        raise SensoriumError(f"width {dim} does not hold {pos.shape[-1]}-D positions; expected a multiple of {parts}")
    step = torch.arange(dim // parts, device=pos.device) / max(1, dim // parts - 1)
    angle = pos[..., None].float() * period**-step  # [... P dim/2P]
    return (torch.cat([angle.sin(), angle.cos()], -1) * 2**0.5).flatten(-2)


def grid(rows: int, columns: int, device: torch.device | None = None) -> Tensor:
    """-> [rows*columns 2] float32: (row, col) of each cell, row by row."""
    return torch.cartesian_prod(torch.arange(rows, device=device), torch.arange(columns, device=device)).float()
