"""From what a request holds to what a run reads."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from sensorium.apps.server.inputs import truncated
from sensorium.core import Ids
from sensorium.data.tokenise import encode, fit_tokenizer

SHORT = settings(max_examples=150, deadline=None, derandomize=True)
WORDS = st.lists(st.sampled_from(["red", "redder", "a", "square", "🙂", "unredsquared", "bluegreen"]), min_size=1)
LENGTH = 8


@pytest.fixture(scope="module")
def pairs() -> Tokenizer:
    """BPE, as every data set has."""
    return fit_tokenizer(["a red square", "a redder square", "a bluish green"] * 20, 60)


@pytest.fixture(scope="module")
def pieces() -> Tokenizer:
    """WordPiece with marks around a text, as BERT has, that cuts and pads to the longest."""
    words = ["[UNK]", "[CLS]", "[SEP]", "[PAD]", "a", "red", "##der", "square", "##s", "##square", "##d", "un", "##red"]
    found = Tokenizer(models.WordPiece({word: k for k, word in enumerate(words)}, unk_token="[UNK]"))
    found.normalizer = normalizers.BertNormalizer()
    found.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    found.post_processor = processors.TemplateProcessing("[CLS] $A [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)])
    return found


def cut(tokenizer: Tokenizer, texts: list[str]) -> Ids:
    """Ids with marks, cut to `LENGTH` and padded to the longest."""
    rows = [r.ids for r in tokenizer.encode_batch(texts)]
    rows = [r if len(r) <= LENGTH else [*r[: LENGTH - 1], r[-1]] for r in rows]
    longest = max(map(len, rows))
    ids = torch.tensor([r + [3] * (longest - len(r)) for r in rows])
    return Ids(ids, ids != 3)


@SHORT
@given(st.lists(WORDS.map(" ".join), min_size=1, max_size=4))
@example(["a red square a red square a"])
def test_what_is_cut_is_what_has_more_tokens_than_are_read(pairs: Tokenizer, texts: list[str]) -> None:
    read = partial(encode, pairs, length=LENGTH)
    counts = [len(pairs.encode(text, add_special_tokens=False).ids) + 1 for text in texts]
    assert truncated(texts, read(texts), read) == [n > LENGTH for n in counts]


@SHORT
@given(st.lists(WORDS.map(" ".join), min_size=1, max_size=4))
@example(["a\u200b"])
@example(["a a a a a unredsquared"])
def test_the_same_holds_with_marks_and_for_word_pieces(pieces: Tokenizer, texts: list[str]) -> None:
    read = partial(cut, pieces)
    counts = [len(pieces.encode(text).ids) for text in texts]
    assert truncated(texts, read(texts), read) == [n > LENGTH for n in counts]


def test_one_word_alone_is_cut_where_it_fills_what_is_read(pairs: Tokenizer) -> None:
    read = partial(encode, pairs, length=LENGTH)
    texts = ["🙂🙂", "🙂"]  # four bytes each, the mark of a word, and that of the end
    assert truncated(texts, read(texts), read) == [True, False]
    assert truncated(["🙂"], read(["🙂"]), read) == [False]
