"""One tokeniser per data set: BPE with byte fallback on NFC text, trained on train texts."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

import numpy as np
import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from sensorium.core import Ids, SensoriumError

VERSION = 1
PAD, START, END = "<pad>", "<s>", "</s>"
_BYTES = [f"<0x{k:02X}>" for k in range(256)]
_LEAST = 512  # 259 of them are pad, start, end and the bytes


def fit_tokenizer(texts: Iterable[str], n: int, vocab: int = 8000) -> Tokenizer:
    """A tokeniser of min(vocab, 2 per text) entries for `n` texts, at least 512; ids 0, 1, 2 are pad, start, end."""
    if not n:
        raise SensoriumError("no texts to fit a tokeniser on")
    size = max(_LEAST, min(vocab, 2 * n))
    tok = Tokenizer(models.BPE(byte_fallback=True))
    tok.normalizer = normalizers.NFC()
    tok.pre_tokenizer = pre_tokenizers.Metaspace()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=[PAD, START, END, *_BYTES],
        limit_alphabet=max(64, (size - 259) // 2),
        show_progress=False,
    )
    tok.train_from_iterator(texts, trainer)
    return _plain_bytes(tok)


def encode(tok: Tokenizer, texts: Sequence[str], length: int) -> Ids:
    """Texts -> ids [N length], cut to `length` with the end token last; an empty text is a row without a real token."""
    if length < 1:
        raise SensoriumError(f"text length {length}; expected 1 or more")
    end, pad = (int(tok.token_to_id(name) or 0) for name in (END, PAD))
    ids = np.full((len(texts), length), pad, np.int64)
    counts = np.zeros(len(texts), np.int64)
    for k, found in enumerate(tok.encode_batch(list(texts), add_special_tokens=False)):
        row = [*found.ids[: length - 1], end] if found.ids else []
        ids[k, : len(row)] = row
        counts[k] = len(row)
    return Ids(torch.from_numpy(ids), torch.from_numpy(np.arange(length) < counts[:, None]))


def _plain_bytes(tok: Tokenizer) -> Tokenizer:
    """Specials put the bytes into the vocabulary; left special, the text "<0x41>" would read as one byte."""
    body = json.loads(tok.to_str())
    body["added_tokens"] = [t for t in body["added_tokens"] if t["content"] in (PAD, START, END)]
    out = Tokenizer.from_str(json.dumps(body))
    out.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Metaspace()])
    return out
