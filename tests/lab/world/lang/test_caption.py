"""Captions: true, chunked alike, with exact spans, in bounds, in every language and form."""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sensorium.core import SensoriumError
from sensorium.lab.world.facts import Config, facts
from sensorium.lab.world.lang import (
    FORMS,
    LANGUAGES,
    TAGS,
    caption,
    code_switch,
    language_of,
    longest,
    parallel,
    read,
    row_by_row,
    sentences,
    spans,
    tokens,
    unpaired,
    vocabulary,
)
from sensorium.lab.world.lang.grammar import Noun
from sensorium.lab.world.lang.lexicon import DIGITS, folded

RICH = Config(sizes=("small", "large"), textures=("plain", "striped", "dotted"), grounds=("white", "grey", "black"))
WORLD = facts(1, 60, RICH)
EVERY = [(form, language) for form in FORMS for language in TAGS]


@st.composite
def configs(draw: st.DrawFn) -> Config:
    cells = draw(st.integers(1, 5))
    most = draw(st.integers(1, min(4, cells**2)))
    distinct = draw(st.booleans())
    return Config(
        cells=cells,
        fewest=draw(st.integers(0, most)),
        most=most,
        colours=draw(st.integers(most, 8)),
        shapes=draw(st.integers(most, 6)),
        sizes=RICH.sizes[: draw(st.integers(1, 2))],
        textures=RICH.textures[: draw(st.integers(1, 3))],
        grounds=RICH.grounds[: draw(st.integers(1, 3))],
        distinct=distinct,
    )


@pytest.mark.parametrize(("form", "language"), EVERY)
def test_any_chunk_of_the_world_gets_the_same_captions(form: str, language: str) -> None:
    whole = caption(WORLD, form, language, 3)
    assert caption(WORLD.rows(slice(17, 40)), form, language, 3) == whole[17:40]
    assert caption(WORLD.rows([50, 2, 2]), form, language, 3) == [whole[50], whole[2], whole[2]]
    assert caption(facts(1, 10, RICH, start=30), form, language, 3) == whole[30:40]


def test_no_scenes_have_no_captions() -> None:
    none = facts(0, 0)
    assert [caption(none, form) for form in FORMS] == [[]] * len(FORMS)
    assert spans(none) == sentences(none) == []


def test_the_seed_changes_the_order_of_mention_and_nothing_else() -> None:
    a, b = caption(WORLD, "list", seed=0), caption(WORLD, "list", seed=1)
    assert a != b
    for one, two in zip(a, b, strict=True):
        kinds = [{(m.colour, m.shape) for m in read(text, "en").mentions} for text in (one, two)]
        assert kinds[0] == kinds[1]


@settings(max_examples=40, deadline=None)
@given(config=configs(), form=st.sampled_from(FORMS), language=st.sampled_from(TAGS), seed=st.integers(0, 9))
def test_captions_are_true_in_bounds_and_of_known_words(config: Config, form: str, language: str, seed: int) -> None:
    world = facts(seed, 12, config)
    texts = caption(world, form, language, seed)
    assert row_by_row(texts, world, language).all()
    assert max(len(text.split()) for text in texts) <= longest(config, form, language)
    assert {folded(token.text) for text in texts for token in tokens(text)} - {DIGITS} <= vocabulary(language)


@pytest.mark.parametrize("form", ["one", "short", "list", "long"])
@pytest.mark.parametrize("language", TAGS)
def test_spans_are_the_words_of_the_facts(form: str, language: str) -> None:
    lang = LANGUAGES[TAGS.index(language)]
    for scene, (text, found) in enumerate(
        zip(caption(WORLD, form, language), spans(WORLD, form, language), strict=True)
    ):
        for start, end, slot, factor in found:
            words = text[start:end]
            if factor in ("shape", "colour", "size", "texture"):
                word = lang.word(factor, int(getattr(WORLD, factor)[scene, slot]))
                assert words in word.forms.values()
                assert not isinstance(word, Noun) or factor == "shape"
            elif factor == "object":
                mention = read(words, language).mentions
                assert [(m.colour, m.shape) for m in mention] == [(WORLD.colour[scene, slot], WORLD.shape[scene, slot])]
            elif factor == "place":
                assert words == lang.place(int(WORLD.row[scene, slot]), int(WORLD.col[scene, slot]), 2)
            elif factor == "ground":
                assert words == lang.grounds[WORLD.ground[scene]]
            else:
                assert factor == "relation"
                assert words in {f"{r.before}{r.after}" for r in lang.relations}
        assert [s.start for s in found] == sorted(s.start for s in found)


@pytest.mark.parametrize("language", TAGS)
def test_long_captions_state_every_fact_once(language: str) -> None:
    for scene, (text, found) in enumerate(
        zip(caption(WORLD, "long", language), sentences(WORLD, "long", language), strict=True)
    ):
        n = int(WORLD.n[scene])
        assert len(found) == n + 1
        stated = [state for sentence in found for state in sentence.states]
        each = ("colour", "place", "shape", "size", "texture")
        assert sorted(stated) == sorted([(-1, "ground")] + [(slot, f) for slot in range(n) for f in each])
        assert " ".join(text[s.start : s.end] for s in found) == text
        assert all(text[s.end - 1] == "." for s in found)


def test_parallel_captions_state_the_same_facts() -> None:
    lines = parallel(WORLD, "long")
    assert list(lines) == list(TAGS)
    for texts in zip(*lines.values(), strict=True):
        readings = [read(text, tag) for text, tag in zip(texts, TAGS, strict=True)]
        kinds = [[(m.colour, m.shape, m.size, m.texture, m.row, m.col) for m in r.mentions] for r in readings]
        assert all(k == kinds[0] for k in kinds) and kinds[0]


def test_unpaired_texts_use_each_language_about_equally_and_only_one_per_scene() -> None:
    world = facts(0, 1000)
    texts, tags = unpaired(world, "short", ("en", "fi", "ru"))
    assert [language_of(text) for text in texts] == tags
    assert min(np.unique(tags, return_counts=True)[1]) > 280
    paired = parallel(world, "short", ("en", "fi", "ru"))
    assert texts == [paired[tag][row] for row, tag in enumerate(tags)]


@pytest.mark.parametrize("form", ["short", "list", "long"])
def test_code_switched_texts_stay_true_and_their_stretches_cover_them(form: str) -> None:
    texts, stretches = code_switch(WORLD, ("en", "fr", "ru"), form)
    assert row_by_row(texts, WORLD).all()
    seen = set()
    for text, found in zip(texts, stretches, strict=True):
        assert "".join(text[a:b] for a, b, _ in found) == text
        assert all(x.language != y.language for x, y in pairwise(found))
        for start, end, tag in found:
            words = {folded(token.text) for token in tokens(text[start:end])}
            assert words <= vocabulary(tag)
        seen |= {tag for *_, tag in found}
    assert seen == {"en", "fr", "ru"}


def test_relations_are_told_along_the_axis_on_which_objects_differ_most() -> None:
    world = facts(0, 300, Config(cells=4))
    for scene, text in enumerate(caption(world)):
        said = read(text, "en", 4)
        (a, relation, b), *_ = said.relations
        slots = [
            next(k for k in range(3) if (world.colour[scene, k], world.shape[scene, k]) == (m.colour, m.shape))
            for m in (said.mentions[a], said.mentions[b])
        ]
        true = int(world.rows([scene]).relation(*slots)[0])
        assert true in (-1, relation)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: caption(WORLD, "shrot"), "caption form 'shrot'; did you mean 'short'?"),
        (lambda: caption(WORLD, "short", "dee"), "language 'dee'; did you mean 'de'?"),
        (lambda: code_switch(WORLD, ()), "no languages; expected some of en, de, fr, fi, ru"),
    ],
)
def test_bad_input_is_named(call: Callable[[], object], message: str) -> None:
    with pytest.raises(SensoriumError) as error:
        call()
    assert str(error.value) == message


def test_captions_per_cpu_second_are_printed() -> None:
    world = facts(5, 5000, RICH)
    lines = []
    for form in FORMS:
        start = time.process_time()
        texts = caption(world, form, "de")
        lines.append(f"{form:6} {len(texts) / max(time.process_time() - start, 1e-6):10,.0f} captions per CPU-second")
        assert len(set(texts)) > 1
    print("\n".join(lines))
