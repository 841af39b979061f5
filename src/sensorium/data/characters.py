"""A tokeniser of characters: any script, one id per code point of NFC text, bytes for those that train never had."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from tokenizers import Tokenizer, decoders, models, normalizers

from sensorium.core import SensoriumError

from .tokenise import END, PAD, START

LENGTH = 256
"""Characters after which a text is cut; the end token is the last of them."""
MOST = 8000
"""Different characters that get an id of their own, the commonest first."""
_BYTES = [f"<0x{k:02X}>" for k in range(256)]


def fit_characters(texts: Iterable[str], length: int = LENGTH) -> Tokenizer:
    """A tokeniser with an id for each character of the texts; ids 0, 1, 2 are pad, start, end, then come 256 bytes.

    Spaces are characters, and a text that spells out "<pad>" is five of them. The tokeniser itself holds the length, so
    that it is saved with a run.

    Raises:
        SensoriumError: no character at all, or a length below 2.
    """
    if length < 2:
        raise SensoriumError(f"text length {length}; expected 2 or more")
    normal = normalizers.NFC()
    counts = Counter(c for text in texts for c in normal.normalize_str(text))
    if not counts:
        raise SensoriumError("no texts to fit a tokeniser on")
    known = sorted(sorted(counts), key=lambda c: -counts[c])[:MOST]
    vocab = {name: k for k, name in enumerate([PAD, START, END, *_BYTES, *sorted(known)])}
    tok = Tokenizer(models.BPE(vocab=vocab, merges=[], byte_fallback=True))
    tok.normalizer = normal
    tok.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Fuse()])
    tok.enable_truncation(length - 1)
    return tok


def length_of(tokenizer: Tokenizer | None, otherwise: int) -> int:
    """The most ids of a text, the end token included: the tokeniser's own where it has one."""
    cut = tokenizer.truncation if tokenizer is not None else None
    return int(cut["max_length"]) + 1 if cut else otherwise
