"""Spans: which tokens of a text name something."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tokenizers import Tokenizer


def token_spans(tokenizer: Tokenizer, text: str, spans: Sequence[Sequence[Any]]) -> list[tuple[int, int]]:
    """Characters of a text, one stretch [start, end) per box or a list of them -> tokens per box (first, one past the
    last).

    A token belongs to a box if it holds one of its characters that is no space; several stretches give all tokens from
    the first to the last; (0, 0) where there is none. Offsets count `text` as given, whatever its normal form.
    """
    offsets = tokenizer.encode(text, add_special_tokens=False).offsets
    found = []
    for box in spans:
        parts = [box] if box and isinstance(box[0], int) else box
        inside = [k for k, (a, b) in enumerate(offsets) if any(text[max(a, s) : min(b, e)].strip() for s, e in parts)]
        found.append((inside[0], inside[-1] + 1) if inside else (0, 0))
    return found
