"""The same home and squares as the papers' tests."""

from __future__ import annotations

from ..papers.conftest import data, home

__all__ = ["data", "home"]
