"""Derived keys: negatives by swapping a word within slots mined on train texts; texts sheared to another's length."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from hashlib import blake2b

from .words import normal

_WORD = re.compile(r"\w+(?:['’-]\w+)*")
_LONGEST = 16  # words; longer heads share no template worth the memory


def negatives(texts: Sequence[str], train: Sequence[int]) -> list[str | None]:
    """Per text the same text with one word swapped, or None where nothing can be mined.

    Only the head, the part before the first comma, is mined and changed. Two train heads that differ in one word make
    these words exchangeable. No negative equals a train head or the head itself (case and white space aside), and a
    negative depends on the train texts and its own text alone.
    """
    heads = [_head(texts[i]) for i in train]
    taken = {normal(head) for head in heads}
    partners, forms = _mine(heads)
    return [_swap(text, partners, forms, taken) for text in texts]


def sheared(texts: Sequence[str], originals: Sequence[str]) -> list[str]:
    """Each text cut after as many words as its original has (Liu et al. 2023, arXiv 2311.18765)."""
    cut = []
    for text, original in zip(texts, originals, strict=True):
        words = list(_WORD.finditer(text))
        most = len(_WORD.findall(original))
        cut.append(text if len(words) <= most else text[: words[most - 1].end()] if most else "")
    return cut


def _head(text: str) -> str:
    return text.partition(",")[0]


def _mine(heads: Sequence[str]) -> tuple[Mapping[str, list[str]], Mapping[str, str]]:
    """Train heads -> exchangeable words per word, sorted; and the commonest spelling of each word."""
    slots: dict[tuple[str, ...], set[str]] = defaultdict(set)
    spellings: dict[str, Counter[str]] = defaultdict(Counter)
    for head in heads:
        found = _WORD.findall(head)
        words = [normal(word) for word in found]
        for spelled, word in zip(found, words, strict=True):
            spellings[word][spelled] += 1
        if 2 <= len(words) <= _LONGEST:  # one word alone has no slot: everything would fit it
            for k, word in enumerate(words):
                slots[(*words[:k], "", *words[k + 1 :])].add(word)
    partners: dict[str, set[str]] = defaultdict(set)
    for found_words in slots.values():
        for word in found_words if len(found_words) > 1 else ():
            partners[word] |= found_words - {word}
    forms = {word: min(c, key=lambda s: (-c[s], s)) for word, c in spellings.items()}
    return {word: sorted(others) for word, others in partners.items()}, forms


def _swap(text: str, partners: Mapping[str, list[str]], forms: Mapping[str, str], taken: set[str]) -> str | None:
    head = _head(text)
    spans = [m for m in _WORD.finditer(head) if normal(m[0]) in partners]
    if not spans:
        return None
    number = int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "little")
    own = normal(head)
    for k in range(len(spans)):
        span = spans[(number + k) % len(spans)]
        others = partners[normal(span[0])]
        start = (number >> 16) % len(others)
        for other in others[start:] + others[:start]:
            changed = head[: span.start()] + _spelled(forms[other], span[0]) + head[span.end() :]
            if normal(changed) not in taken and normal(changed) != own:
                return changed + text[len(head) :]
    return None


def _spelled(form: str, like: str) -> str:
    """A capital first letter is taken over from the word that is replaced."""
    return form[0].upper() + form[1:] if like[0].isupper() else form
