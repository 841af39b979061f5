"""What a model that writes knows of a generated world: how well it foresees texts, answers, and describes pictures."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch.nn import functional as F

from sensorium.blocks.decode import decode
from sensorium.blocks.decode.interleave import Part, alone, interleave
from sensorium.blocks.shared import decoder_of
from sensorium.core import Field, Ids, SensoriumError
from sensorium.data.tokenise import encode
from sensorium.evals.metrics.qa import squad_exact
from sensorium.run.evaluate import Scored
from sensorium.run.tasks import AT_ONCE, LONGEST_ANSWER, LONGEST_CAPTION, Question, generated, trivial

from .language import asking
from .world.facts import COLOURS, SHAPES
from .world.lang import check
from .world.reader import read

STOPS = r"[.,]"
"""What ends an answer within a text."""


def language(asked: Question) -> Scored:
    """Scores of a causal LM: "perplexity" per word of the texts, their ends counted, and "unigram perplexity", by how
    frequent words are in train; "answers" to questions on what a text states, and "blind majority", each question's
    commonest answer in train. Of the colours and shapes among the answers: "looked up", those that are right, "goes
    on", as the text itself goes on, and "stated guess", one drawn of those that the text names.
    """
    return Scored(_perplexity(asked) | _answers(asked), {})


def described(asked: Question) -> Scored:
    """Scores of a model that describes pictures: "caption colours" and "caption shapes", the shares of those that it
    tells which its picture has, and "another's"; where there are questions, "answers" and "blind majority".
    """
    pixels = asked.plan.rows.columns["image"].rows(torch.from_numpy(asked.index))
    if not isinstance(pixels, Field):
        raise SensoriumError(f"{asked.plan.job.paper} reads stored features; expected pictures")
    seen = read(pixels.data.numpy())
    said = generated(asked, "text", LONGEST_CAPTION, "image")
    own, other = check(said, seen), check([*said[1:], said[0]], seen)
    scores = {}
    for factor in ("colour", "shape"):
        scores[f"caption {factor}s"] = float(np.nan_to_num(own.precision(factor)))
        scores[f"another's {factor}s"] = float(np.nan_to_num(other.precision(factor)))
    return Scored(scores | _answered(asked, "image"), {})


@torch.no_grad()
def _perplexity(asked: Question) -> dict[str, float]:
    """Of words that train has; the unigram gives what it never saw one share of a word."""
    decoder, total = decoder_of(asked.plan.method), 0.0
    for batch in asked.batches("text"):
        text = batch["text"]
        assert isinstance(text, Ids)
        seq = interleave(decoder.embed, [Part(alone(decoder.begin, text.mask.any(1))), Part(text, learn=True)])
        after = seq.learn[:, 1:]
        logits = decoder.logits(decoder(seq.tokens)[:, :-1][after])
        total += float(F.cross_entropy(logits.float(), seq.ids[:, 1:][after], reduction="sum"))
    train, test = (_words(asked.data.texts("text"), index) for index in (asked.plan.split.train, asked.index))
    counts = Counter(train)
    shares = np.array([max(counts[word], 1) for word in test]) / len(train)
    return {
        "perplexity": float(np.exp(total / len(test))),
        "unigram perplexity": float(np.exp(-np.log(shares).mean())),
    }


def _words(texts: Sequence[str], index: np.ndarray) -> list[str]:
    """The words of some texts, and "" for the end of each."""
    return [word for i in index.tolist() for word in (*texts[i].split(), "")]


def _answers(asked: Question) -> dict[str, float]:
    texts, answers = asked.data.texts("text"), asked.data.texts("text/answer")
    chances = {i: _chance(texts[i], answers[i]) for i in asked.index.tolist()}
    of = replace(asked, index=np.array([i for i, chance in chances.items() if chance], np.int64))
    said = generated(of, "text/answer", LONGEST_ANSWER, "text", "text/question")
    on = _goes_on(of, [*map(asking, of.texts("text"), of.texts("text/question"))])
    return _answered(asked, "text") | {
        "looked up": _right(of, said),
        "goes on": _right(of, on),
        "stated guess": float(np.mean([chance for chance in chances.values() if chance])),
    }


def _chance(text: str, answer: str) -> float:
    """How often an answer is hit that is drawn among the colours, or shapes, that a text names; 0 for other answers."""
    for names in (COLOURS, SHAPES):
        if answer in names:
            return 1 / max(1, len(set(names) & set(re.findall(r"\w+", text))))
    return 0.0


def _right(asked: Question, said: Sequence[str]) -> float:
    return float(squad_exact(said, [[text] for text in asked.texts("text/answer")]).mean())


def _answered(asked: Question, about: str) -> dict[str, float]:
    """Answers to what is asked about a key, where the data asks anything."""
    if "text/answer" not in asked.data.kinds:
        return {}
    of = _with_answers(asked)
    said = generated(of, "text/answer", LONGEST_ANSWER, about, "text/question")
    train = _answering(of, of.plan.split.train)
    return {
        "answers": _right(of, said),
        "blind majority": trivial("blind majority", of.data, train, of.index)["exact"],
    }


def _with_answers(asked: Question) -> Question:
    return replace(asked, index=_answering(asked, asked.index))


def _answering(asked: Question, index: np.ndarray) -> np.ndarray:
    texts = asked.data.texts("text/answer")
    return np.array([i for i in index.tolist() if texts[i]], np.int64)


@torch.no_grad()
def _goes_on(asked: Question, texts: Sequence[str]) -> list[str]:
    """How a model goes on with each text, up to the first of STOPS."""
    method, tokenizer = asked.plan.method, asked.plan.tokenizer
    assert tokenizer is not None
    said: list[str] = []
    for start in range(0, len(texts), AT_ONCE):
        ids = encode(tokenizer, texts[start : start + AT_ONCE], asked.plan.fields["text"].length).to(asked.device)
        found = decode(method.prompt({"text": ids}, "text/rest"), LONGEST_ANSWER).to("cpu")  # type: ignore[operator]
        said += tokenizer.decode_batch([i[m].tolist() for i, m in zip(found.ids, found.mask, strict=True)])
    return [re.split(STOPS, text)[0].strip() for text in said]
