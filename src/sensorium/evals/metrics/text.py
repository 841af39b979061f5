"""Generated texts against references, and the diversity of many. Shape legend: N texts."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from scipy.sparse import csr_matrix

from sensorium.core.errors import SensoriumError, nearest

from .edit import nfc
from .inputs import Floats, Ints, optional, reference_lists, same_length, share

Tokenise = Callable[[str], Sequence[str]]


def words(text: str) -> list[str]:
    """Lower-case words of any script, without punctuation: the stand-in for the PTB tokeniser of coco-caption."""
    return re.findall(r"[^\W_]+(?:['’-][^\W_]+)*", nfc(text).lower())


def exact_match(hypotheses: Sequence[str], references: Sequence[Sequence[str]]) -> Floats:
    """[N], [N] lists -> [N] 1 where the text equals a reference in NFC, blanks at the ends apart."""
    _check(hypotheses, references)
    pairs = zip(hypotheses, references, strict=True)
    return np.array([nfc(h).strip() in {nfc(r).strip() for r in texts} for h, texts in pairs], dtype=np.float64)


def bleu(hypotheses: Sequence[str], references: Sequence[Sequence[str]], tokenise: str = "13a") -> float:
    """[N], [N] lists -> sacrebleu's corpus BLEU, 0 to 100; NaN for none. `tokenise` is one of sacrebleu's names."""
    module = optional("sacrebleu.metrics")
    if tokenise not in (names := module.BLEU.TOKENIZERS):
        raise SensoriumError(f"no tokeniser {tokenise!r}{nearest(tokenise, names)}")
    if not _check(hypotheses, references):
        return float("nan")
    return float(module.BLEU(tokenize=tokenise, force=True).corpus_score(list(hypotheses), _streams(references)).score)


def chrf(hypotheses: Sequence[str], references: Sequence[Sequence[str]], word_order: int = 0) -> float:
    """[N], [N] lists -> sacrebleu's chrF, 0 to 100; NaN for none. `word_order` 2 makes it chrF++."""
    module = optional("sacrebleu.metrics")
    if not _check(hypotheses, references):
        return float("nan")
    return float(module.CHRF(word_order=word_order).corpus_score(list(hypotheses), _streams(references)).score)


def rouge(
    hypotheses: Sequence[str],
    references: Sequence[Sequence[str]],
    kind: str = "rougeL",
    tokenise: Tokenise | None = None,
) -> Floats:
    """[N], [N] lists -> [N] F1 of rouge-score against the best reference, 0 to 1.

    `kind`: rouge1 to rouge9, rougeL, rougeLsum. Its tokeniser keeps only a-z and 0-9: pass `words` for other scripts.
    """
    scorers = optional("rouge_score.rouge_scorer")
    if kind not in (kinds := [*(f"rouge{n}" for n in range(1, 10)), "rougeL", "rougeLsum"]):
        raise SensoriumError(f"no kind {kind!r}{nearest(kind, kinds)}")
    _check(hypotheses, references)
    scorer = scorers.RougeScorer([kind], tokenizer=None if tokenise is None else _Tokeniser(tokenise))
    pairs = zip(hypotheses, references, strict=True)
    return np.array([scorer.score_multi(texts, h)[kind].fmeasure for h, texts in pairs], dtype=np.float64)


def cider_d(hypotheses: Sequence[str], references: Sequence[Sequence[str]], tokenise: Tokenise = words) -> Floats:
    """[N], [N] lists -> [N] CIDEr-D, 0 to 10 (Vedantam et al. 2015); document frequencies are of these references.

    pycocoevalcap's `CiderScorer` on equal tokens: 1- to 4-grams, clipped, length penalty of sigma 6. One item alone has
    no frequencies and scores 0.
    """
    items = _check(hypotheses, references)
    owner = np.repeat(np.arange(items), _sizes(references))
    tokens = [list(tokenise(text)) for text in [*hypotheses, *(r for texts in references for r in texts)]]
    lengths = _sizes(tokens)
    penalty = np.exp(-((lengths[:items][owner] - lengths[items:]) ** 2) / (2 * 6.0**2))
    cosines = np.zeros(len(owner))
    for document, gram in ngrams(tokens, 4):
        counts = _counts(document, gram, len(tokens))
        weighted = counts.multiply(_idf(document, gram, owner, items, counts.shape[1])).tocsr()
        norms = np.sqrt(np.asarray(weighted.multiply(weighted).sum(1)).ravel())
        guess, truth = weighted[:items][owner], weighted[items:]
        dots = np.asarray(guess.minimum(truth).multiply(truth).sum(1)).ravel()
        both = norms[:items][owner] * norms[items:]
        cosines += np.divide(dots, both, out=np.zeros_like(dots), where=both > 0)
    per_item = np.bincount(owner, penalty * cosines, minlength=items)
    return 10 * per_item / 4 / np.maximum(np.bincount(owner, minlength=items), 1)


def distinct_n(texts: Sequence[str], n: int, tokenise: Tokenise = words) -> float:
    """[N] -> different n-grams over all n-grams of the set (Li et al. 2016); NaN if there is none."""
    *_, (_, gram) = ngrams([list(tokenise(text)) for text in texts], n)
    return share(len(np.unique(gram)), len(gram))


def self_bleu(texts: Sequence[str], n: int = 4, tokenise: Tokenise = words) -> float:
    """[N] -> mean BLEU-n, 0 to 1, of each text against all others: lower is more diverse. NaN for fewer than two.

    Zhu et al. 2018: nltk's `sentence_bleu` with smoothing method 1.
    """
    tokens = [list(tokenise(text)) for text in texts]
    if len(tokens) < 2:
        return float("nan")
    lengths = _sizes(tokens)
    log, unigrams = np.zeros(len(tokens)), np.zeros(len(tokens))
    for order, (document, gram) in enumerate(ngrams(tokens, n), 1):
        hits = _clipped(document, gram, len(tokens))
        unigrams = hits if order == 1 else unigrams
        log += np.log(np.where(hits == 0, 0.1, hits) / np.maximum(lengths - order + 1, 1)) / n
    brevity = np.minimum(0, 1 - _closest(lengths) / np.maximum(lengths, 1))
    return float(np.where(unigrams > 0, np.exp(log + brevity), 0.0).mean())


def ngrams(tokens: Sequence[Sequence[str]], longest: int) -> Iterator[tuple[Ints, Ints]]:
    """[N] token lists -> for n = 1 to `longest`: the text of each n-gram and its number, equal for equal n-grams."""
    if longest < 1:
        raise SensoriumError(f"n is {longest}; expected 1 or more")
    ids: dict[str, int] = {}
    token = np.array([ids.setdefault(t, len(ids)) for text in tokens for t in text], dtype=np.int64)
    document = np.repeat(np.arange(len(tokens)), _sizes(tokens))
    gram = token
    for n in range(longest):
        if n:
            gram = np.unique(gram[:-1] * len(ids) + token[n:], return_inverse=True)[1]
        whole = document[: len(gram)] == document[n:]
        yield document[: len(gram)][whole], gram[whole]


def _check(hypotheses: Sequence[str], references: Sequence[Sequence[str]]) -> int:
    reference_lists(references)
    return same_length(hypotheses=hypotheses, references=references)


def _sizes(lists: Sequence[Sequence[str]]) -> Ints:
    return np.array([len(entries) for entries in lists], dtype=np.int64)


def _streams(references: Sequence[Sequence[str]]) -> list[list[str | None]]:
    """Lists per text -> sacrebleu's streams: the first references of all texts, the second ones …"""
    most = max(len(texts) for texts in references)
    return [[texts[n] if n < len(texts) else None for texts in references] for n in range(most)]


class _Tokeniser:
    """rouge-score wants an object with this method."""

    def __init__(self, tokenise: Tokenise) -> None:
        self.tokenize = tokenise


def _counts(document: Ints, gram: Ints, documents: int) -> csr_matrix:
    return csr_matrix((np.ones(len(gram)), (document, gram)), shape=(documents, int(gram.max(initial=-1)) + 1))


def _idf(document: Ints, gram: Ints, owner: Ints, items: int, grams: int) -> Floats:
    """[grams] log of items over items with the n-gram in a reference, one if there is none."""
    of_reference = document >= items
    found = np.unique(owner[document[of_reference] - items] * grams + gram[of_reference]) % max(grams, 1)
    return np.asarray(np.log(max(items, 1)) - np.log(np.maximum(np.bincount(found, minlength=grams), 1)))


def _clipped(document: Ints, gram: Ints, documents: int) -> Floats:
    """[N] n-grams of each text that another text has, each at most as often as the other text that has it most."""
    counts = _counts(document, gram, documents).tocoo()
    counts.sum_duplicates()
    order = np.lexsort((-counts.data, counts.col))
    row, col, count = counts.row[order], counts.col[order], counts.data[order]
    first = np.append(True, col[1:] != col[:-1])[: len(col)]
    most = np.zeros(counts.shape[1])
    second = np.zeros(counts.shape[1])
    most[col[first]] = count[first]
    after = np.flatnonzero(first[:-1] & ~first[1:]) + 1
    second[col[after]] = count[after]
    elsewhere = np.where(first, second[col], most[col])
    return np.bincount(row, np.minimum(count, elsewhere), minlength=documents).astype(np.float64)


def _closest(lengths: Ints) -> Ints:
    """[N] -> for each text the length nearest to its own among the others, the shorter of two."""
    sizes, at, often = np.unique(lengths, return_inverse=True, return_counts=True)
    gap = np.abs(sizes[:, None] - sizes[None]).astype(np.float64)
    np.fill_diagonal(gap, np.where(often > 1, 0, np.inf))
    return np.asarray(sizes[gap.argmin(1)][at], dtype=np.int64)
