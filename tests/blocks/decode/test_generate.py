from __future__ import annotations

from collections.abc import Mapping
from itertools import product
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from sensorium.blocks.decode import (
    Decoder,
    Generates,
    Prompt,
    Tap,
    at_least,
    decode,
    greedy,
    no_repeat,
    repetition,
    sample,
    steps,
    trie,
)
from sensorium.blocks.decode.generate import best, nucleus
from sensorium.core import Batch, Ids, SensoriumError, Tokens

END, NEW = 19, 12


def asked(b: int = 4, t: int = 6, seed: int = 0) -> Ids:
    """Prompts of ids, padded on the left as `transformers` wants them."""
    g = torch.Generator().manual_seed(seed)
    ids = torch.randint(0, 18, (b, t), generator=g)
    return Ids(ids, torch.arange(t) >= torch.arange(b)[:, None] % 4)


def unpadded(b: int, seed: int) -> Ids:
    """From vectors, `transformers` takes a prompt's left padding off what is said before it penalises repetition."""
    ids = asked(b, seed=seed)
    return Ids(ids.ids, torch.ones_like(ids.mask))


def said(theirs: Any, ids: Ids, n: int = NEW, **options: Any) -> list[list[int]]:
    """What `transformers` says, without the end; from vectors, so that rules count only what is said."""
    found = theirs.generate(
        inputs_embeds=theirs.model.embed_tokens(ids.ids), attention_mask=ids.mask.long(), max_new_tokens=n,
        **{"do_sample": False, **options},
    )  # fmt: skip
    stops = options.get("eos_token_id", [END])
    rows = []
    for row in found.tolist():
        ends = [k for k, one in enumerate(row) if one in stops]
        rows.append(row[: ends[0]] if ends else row)
    return rows


def rows(found: Ids) -> list[list[int]]:
    assert not found.ids[~found.mask].any()
    assert torch.equal(found.mask, found.mask.cumprod(1).bool()), "what is said has no holes"
    return [ids[mask].tolist() for ids, mask in zip(found.ids, found.mask, strict=True)]


def prompt(ours: Decoder, ids: Ids) -> Prompt:
    return Prompt(ours, ours.embed(ids))


def test_greedy_equals_transformers(theirs: Any, ours: Decoder) -> None:
    ids = asked(24)
    want = said(theirs, ids)
    assert rows(decode(prompt(ours, ids), NEW)) == want
    lengths = {len(row) for row in want}
    assert len(lengths) > 2 and NEW in lengths, "some rows end early and some do not"


@pytest.mark.parametrize("stop", [[3], [3, 7, 11]])
def test_stop_ids_equal_transformers(theirs: Any, ours: Decoder, stop: list[int]) -> None:
    ids = asked(24, seed=1)
    want = said(theirs, ids, eos_token_id=stop)
    assert rows(decode(prompt(ours, ids), NEW, stop=stop)) == want
    assert min(map(len, want)) < NEW


@pytest.mark.parametrize(
    ("rules", "options"),
    [
        ([repetition(1.7)], {"repetition_penalty": 1.7}),
        ([no_repeat(2)], {"no_repeat_ngram_size": 2}),
        ([no_repeat(1)], {"no_repeat_ngram_size": 1}),
        ([at_least(8, [END])], {"min_new_tokens": 8}),
        ([repetition(1.3), no_repeat(3)], {"repetition_penalty": 1.3, "no_repeat_ngram_size": 3}),
    ],
)
def test_rules_equal_transformers(theirs: Any, ours: Decoder, rules: list[Any], options: dict[str, Any]) -> None:
    ids = unpadded(16, seed=2)
    want = said(theirs, ids, **options)
    assert want != said(theirs, ids), "the rule matters"
    assert rows(decode(prompt(ours, ids), NEW, rules=rules)) == want


@pytest.mark.parametrize(("beams", "longer"), [(2, 1.0), (4, 1.0), (3, 0.0), (3, 2.0)])
def test_beams_equal_transformers(theirs: Any, ours: Decoder, beams: int, longer: float) -> None:
    ids = asked(16, seed=3)
    want = said(theirs, ids, num_beams=beams, length_penalty=longer)
    assert want != said(theirs, ids)
    assert rows(decode(prompt(ours, ids), NEW, beams=beams, longer=longer)) == want


def test_beams_under_rules_and_several_stops_equal_transformers(theirs: Any, ours: Decoder) -> None:
    ids = unpadded(12, seed=4)
    options = {"num_beams": 3, "repetition_penalty": 1.5, "eos_token_id": [3, END]}
    want = said(theirs, ids, **options)
    assert rows(decode(prompt(ours, ids), NEW, beams=3, rules=[repetition(1.5)], stop=[3, END])) == want


def logp(ours: Decoder, ids: Ids, text: tuple[int, ...]) -> Tensor:
    """Sum of the log-probabilities of a text after each prompt [B]."""
    b = len(ids)
    more = torch.tensor(text).expand(b, -1)
    whole = Ids(torch.cat([ids.ids, more], 1), torch.cat([ids.mask, torch.ones_like(more, dtype=torch.bool)], 1))
    scores = ours.logits(ours(ours.embed(whole))).log_softmax(-1)[:, ids.ids.shape[1] - 1 : -1]
    return scores.gather(2, more[..., None])[..., 0].sum(1)


def test_beams_wide_enough_find_the_best_text_of_all(ours: Decoder) -> None:
    ids, few = asked(3, seed=5), [2, 5, 9, END]
    texts = [(*t, END) for n in range(3) for t in product(few[:3], repeat=n)] + list(product(few[:3], repeat=3))
    with torch.no_grad():
        scores = torch.stack([logp(ours, ids, t) / len(t) for t in texts])
        only = decode(prompt(ours, ids), 3, beams=64, allow=lambda row, said: few)
        # Scores are of the whole vocabulary: `allow` hides ids without sharing out what they had.
        want = [[one for one in texts[k] if one != END] for k in scores.argmax(0).tolist()]
    assert rows(only) == want


def test_one_beam_is_greedy_and_more_beams_are_never_less_likely(ours: Decoder) -> None:
    ids = asked(8, seed=6)
    with torch.no_grad():
        plain, wide = (rows(decode(prompt(ours, ids), 5, beams=k, stop=[])) for k in (1, 8))
        each = [
            [logp(ours, ids.rows(torch.tensor([k])), tuple(text)).item() for k, text in enumerate(texts)]
            for texts in (plain, wide)
        ]
    assert all(b >= a - 1e-5 for a, b in zip(*each, strict=True)) and each[0] != each[1]


def test_padding_side_does_not_matter(ours: Decoder) -> None:
    left = asked(8, seed=7)
    order = (~left.mask).long().argsort(stable=True)
    right = Ids(left.ids.gather(1, order), left.mask.gather(1, order))
    assert not torch.equal(left.mask, right.mask)
    for beams in (1, 3):
        assert rows(decode(prompt(ours, left), NEW, beams=beams)) == rows(decode(prompt(ours, right), NEW, beams=beams))


def test_a_row_says_the_same_alone(ours: Decoder) -> None:
    ids = asked(6, seed=8)
    for beams in (1, 3):
        together = rows(decode(prompt(ours, ids), NEW, beams=beams))
        alone = [rows(decode(prompt(ours, ids.rows(torch.tensor([k]))), NEW, beams=beams))[0] for k in range(6)]
        assert together == alone


def test_cached_decoding_equals_reading_all_anew(ours: Decoder) -> None:
    ids = asked(5, seed=9)
    found = rows(decode(prompt(ours, ids), 8, stop=[]))
    whole = Ids(ids.ids, ids.mask)
    for k in range(8):
        with torch.no_grad():
            nxt = ours.logits(ours(ours.embed(whole)))[:, -1].argmax(-1, keepdim=True)
        assert nxt[:, 0].tolist() == [row[k] for row in found]
        whole = Ids(torch.cat([whole.ids, nxt], 1), torch.cat([whole.mask, torch.ones_like(nxt).bool()], 1))


def test_steps_are_the_columns_of_decode(ours: Decoder) -> None:
    p = prompt(ours, asked(24))
    columns = list(steps(p, NEW))
    whole = decode(p, NEW)
    assert torch.equal(torch.cat([c.ids for c in columns], 1), whole.ids)
    assert torch.equal(torch.cat([c.mask for c in columns], 1), whole.mask)
    assert all(c.ids.shape == (24, 1) for c in columns)


def test_nothing_said_is_a_row_of_no_ids(ours: Decoder) -> None:
    p = prompt(ours, asked(3))
    for beams in (1, 2):
        assert decode(p, 0, beams=beams).ids.shape == (3, 0)
        assert decode(p, 5, beams=beams, allow=lambda row, said: [END]).ids.shape == (3, 0)


def test_grad_mode_is_left_as_it_was(ours: Decoder) -> None:
    stream = steps(prompt(ours, asked(2)), 4, stop=[])
    next(stream)
    assert torch.is_grad_enabled()


# Drawing


def test_draws_follow_the_distribution() -> None:
    scores = torch.tensor([0.5, 0.3, 0.2]).log().expand(20_000, -1)
    drawn = sample(torch.Generator().manual_seed(0))(scores).bincount(minlength=3) / 20_000
    assert drawn.tolist() == pytest.approx([0.5, 0.3, 0.2], abs=0.015)
    colder = sample(torch.Generator().manual_seed(0), temperature=0.5)(scores).bincount(minlength=3) / 20_000
    assert colder.tolist() == pytest.approx([0.25 / 0.38, 0.09 / 0.38, 0.04 / 0.38], abs=0.015)


@given(st.integers(0, 2**32), st.integers(1, 9), st.floats(0.05, 1.0))
def test_what_is_left_to_draw_from_equals_transformers(seed: int, k: int, p: float) -> None:
    warpers = pytest.importorskip("transformers.generation.logits_process")
    scores = torch.randn(4, 9, generator=torch.Generator().manual_seed(seed))
    want = warpers.TopKLogitsWarper(k)(None, scores)
    assert torch.equal(best(scores, k), want)
    if p < 1:
        want = warpers.TopPLogitsWarper(p)(None, want)
    assert torch.equal(nucleus(best(scores, k), p).isinf(), want.isinf())


def test_nucleus_by_hand() -> None:
    scores = torch.tensor([[0.1, 0.5, 0.25, 0.15]]).log()
    assert nucleus(scores, 0.5).isinf().tolist() == [[True, False, True, True]]
    assert nucleus(scores, 0.6).isinf().tolist() == [[True, False, False, True]]
    assert nucleus(scores, 0.01).isinf().tolist() == [[True, False, True, True]], "one is always left"


def test_an_explicit_generator_alone_decides(ours: Decoder) -> None:
    p = prompt(ours, asked(6))

    def drawn(seed: int) -> list[list[int]]:
        return rows(decode(p, NEW, pick=sample(torch.Generator().manual_seed(seed))))

    first = drawn(0)
    torch.manual_seed(99)
    assert drawn(0) == first and drawn(1) != first


def test_one_id_to_draw_from_is_greedy(ours: Decoder) -> None:
    p = prompt(ours, asked(6))
    assert rows(decode(p, NEW, pick=sample(torch.Generator(), top_k=1))) == rows(decode(p, NEW))


# What is allowed


def test_a_trie_allows_its_texts_and_nothing_else(ours: Decoder) -> None:
    texts = [[3], [3, 4], [5, 6, 7]]
    allow = trie(texts, END)
    assert sorted(allow(0, [])) == [3, 5] and sorted(allow(0, [3])) == [4, END]
    assert list(allow(0, [5, 6])) == [7] and list(allow(0, [5, 6, 7])) == [END] and list(allow(0, [9])) == [END]
    ids = asked(24, seed=10)
    for beams in (1, 3):
        found = rows(decode(prompt(ours, ids), 6, allow=allow, beams=beams))
        assert all(row in texts for row in found)
    with torch.no_grad():
        scores = torch.stack([logp(ours, ids, (*t, END)) / (len(t) + 1) for t in texts])
    assert found == [texts[k] for k in scores.argmax(0).tolist()]
    assert len({tuple(row) for row in found}) > 1


@pytest.mark.parametrize("beams", [1, 4])
def test_nobody_is_asked_what_follows_a_text_that_ended_or_was_not_allowed(ours: Decoder, beams: int) -> None:
    follow: dict[tuple[int, ...], list[int]] = {(): [3], (3,): [4, 5], (3, 4): [END], (3, 5): [6], (3, 5, 6): [END]}
    found = decode(prompt(ours, asked(8)), 6, beams=beams, allow=lambda row, said: follow[tuple(said)])
    assert {tuple(row) for row in rows(found)} <= {(3, 4), (3, 5, 6)}


def test_each_row_has_its_own_choices(ours: Decoder) -> None:
    tries = [trie([[k, k + 1]], END) for k in range(4)]
    found = decode(prompt(ours, asked(4)), 5, allow=lambda row, said: tries[row](row, said))
    assert rows(found) == [[0, 1], [1, 2], [2, 3], [3, 4]]
    beams = decode(prompt(ours, asked(4)), 5, beams=2, allow=lambda row, said: tries[row](row, said))
    assert rows(beams) == rows(found)


# Guidance


def test_guidance_equals_transformers(theirs: Any, ours: Decoder) -> None:
    ids, other = unpadded(8, seed=11), unpadded(8, seed=12)
    found = decode(prompt(ours, ids), 6, unlike=prompt(ours, other), guidance=2.5, stop=[])
    whole, against = ids.ids, other.ids
    with torch.no_grad():
        for k in range(6):
            a, b = (theirs(x).logits[:, -1].log_softmax(-1) for x in (whole, against))
            nxt = (2.5 * (a - b) + b).argmax(-1, keepdim=True)
            assert torch.equal(found.ids[:, k : k + 1], nxt)
            whole, against = torch.cat([whole, nxt], 1), torch.cat([against, nxt], 1)
    assert rows(found) != rows(decode(prompt(ours, ids), 6, stop=[]))


def test_guidance_of_one_changes_nothing(ours: Decoder) -> None:
    p, other = prompt(ours, asked(8)), prompt(ours, asked(8, seed=12))
    for beams in (1, 3):
        led = decode(p, NEW, unlike=other, guidance=1.0, beams=beams)
        assert rows(led) == rows(decode(p, NEW, beams=beams))


# Prompts


def test_memory_and_tap_go_along() -> None:
    torch.manual_seed(2)
    decoder = Decoder(18, 32, 2, 4, 64, memory=True).eval()
    memory = Tokens(3 * torch.randn(4, 3, 32), torch.ones(4, 3, dtype=torch.bool))

    class Push(Tap):
        layers = (1,)

        def stream(self, layer: int, h: Tensor, at: int) -> Tensor:
            return h + torch.arange(32) * 0.3

    def found(memory: Tokens, tap: Tap | None = None, beams: int = 1) -> list[list[int]]:
        return rows(decode(Prompt(decoder, decoder.embed(asked(4)), memory, tap), 6, beams=beams, stop=[]))

    base = found(memory)
    assert found(memory.rows(torch.tensor([1, 2, 3, 0]))) != base != found(memory, Push())
    turned = torch.tensor([3, 2, 1, 0])
    p = Prompt(decoder, decoder.embed(asked(4).rows(turned)), memory.rows(turned))
    for beams in (1, 3):
        assert rows(decode(p, 6, beams=beams, stop=[])) == found(memory, beams=beams)[::-1]


def test_bad_asking_is_refused_in_one_line(ours: Decoder) -> None:
    p, draw = prompt(ours, asked(2)), sample(torch.Generator())
    with pytest.raises(SensoriumError, match="0 beams"):
        decode(p, 3, beams=0)
    with pytest.raises(SensoriumError, match="2 beams with drawn ids"):
        decode(p, 3, beams=2, pick=draw)
    empty = Ids(torch.zeros(2, 3, dtype=torch.long), torch.tensor([[True] * 3, [False] * 3]))
    with pytest.raises(SensoriumError, match="row 1 of the prompt has no real token"):
        decode(prompt(ours, empty), 3)
    for options in ({"temperature": 0.0}, {"top_k": -1}, {"top_p": 0.0}, {"top_p": 1.5}):
        with pytest.raises(SensoriumError, match=next(iter(options))):
            sample(torch.Generator(), **options)  # type: ignore[arg-type]


def test_generates_is_read_from_a_method() -> None:
    class Says:
        generates: Mapping[str, str] = {"text": "text"}

        def prompt(self, batch: Batch, to: str) -> Prompt:
            raise NotImplementedError

    assert isinstance(Says(), Generates) and not isinstance(object(), Generates)


def test_greedy_is_the_best() -> None:
    assert greedy(torch.tensor([[1.0, 3.0, 2.0], [0.0, -1.0, -2.0]])).tolist() == [1, 0]
