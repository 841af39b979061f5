"""Questions: answers checked against the facts by other means, and a blind predictor at chance."""

from __future__ import annotations

from collections import Counter, defaultdict

import numpy as np
import pytest

from sensorium.core import SensoriumError
from sensorium.lab.world.facts import COLOURS, GROUNDS, RELATIONS, SHAPES, SIZES, TEXTURES, Config, Facts, facts
from sensorium.lab.world.lang import KINDS, Questions, balance, questions, read, true_of
from sensorium.lab.world.lang.questions import unique

RICH = Config(sizes=("small", "large"), textures=("plain", "striped", "dotted"), grounds=("white", "grey", "black"))
CROWDED = Config(
    cells=3,
    fewest=1,
    most=4,
    colours=3,
    shapes=2,
    distinct=False,
    sizes=RICH.sizes,
    textures=RICH.textures,
    grounds=RICH.grounds,
)
NUMBERS = ("zero", "one", "two", "three", "four")


def blind(asked: Questions, kind: str) -> tuple[float, float, int]:
    """Accuracy of the commonest answer to the same words in the other half, chance, and on how many."""
    rows = [row for row, found in enumerate(asked.kind) if found == kind]
    seen: dict[str, Counter[str]] = defaultdict(Counter)
    for row in rows[::2]:
        seen[asked.text[row]][asked.answer[row]] += 1
        seen[""][asked.answer[row]] += 1
    guesses = [(seen[asked.text[row]] or seen[""]).most_common(1)[0][0] == asked.answer[row] for row in rows[1::2]]
    return float(np.mean(guesses)), 1 / len(asked.options[rows[0]]), len(guesses)


@pytest.mark.parametrize("kind", KINDS)
def test_the_question_alone_is_no_better_than_chance(kind: str) -> None:
    accuracy, chance, n = blind(questions(facts(0, 8000, RICH), (kind,)), kind)
    assert abs(accuracy - chance) < 4 * np.sqrt(chance * (1 - chance) / n)


@pytest.mark.parametrize("kind", KINDS)
def test_balance_brings_a_skewed_world_to_chance(kind: str) -> None:
    asked = questions(facts(0, 6000, CROWDED), (kind,))
    even = asked.rows(balance(asked))
    assert len(even) >= 100
    for text in set(even.text):
        counts = Counter(a for a, t in zip(even.answer, even.text, strict=True) if t == text)
        assert len(set(counts.values())) == 1 and len(counts) > 1
    assert np.array_equal(even.scene, asked.scene[balance(asked)])


def describes(words: str, world: Facts, i: int, k: int) -> bool:
    named = [w for w in words.split() if w in COLOURS or w in SHAPES]
    return all(w in (COLOURS[world.colour[i, k]], SHAPES[world.shape[i, k]]) for w in named)


def the(words: str, world: Facts, i: int) -> int:
    """The only object that the words describe."""
    (found,) = [k for k in range(int(world.n[i])) if describes(words, world, i, k)]
    return found


def expected(kind: str, text: str, world: Facts, i: int) -> str:
    """The answer, by words and loops."""
    words = text.rstrip("?")
    objects = range(int(world.n[i]))
    if kind == "count":
        return NUMBERS[world.n[i]]
    if kind == "number":
        return NUMBERS[sum(COLOURS[world.colour[i, k]] in words for k in objects)]
    if kind == "ground":
        return GROUNDS[world.ground[i]]
    if kind == "exists":
        return "yes" if any(describes(words, world, i, k) for k in objects) else "no"
    if kind == "compare":
        a, b = (next(w for w in part.split() if w in COLOURS) for part in words.split(" than "))
        many = Counter(COLOURS[world.colour[i, k]] for k in objects)
        return "yes" if many[a] > many[b] else "no"
    if kind == "binding":
        shape, colour = words.split()[2:]
        return "yes" if COLOURS[world.colour[i, the(shape, world, i)]] == colour else "no"
    if kind == "relation":
        relation = next(r for r in RELATIONS if f" {r} the " in words)
        a, b = (the(part, world, i) for part in words.split(relation))
        return "yes" if world.rows([i]).holds(a, b)[0, RELATIONS.index(relation)] else "no"
    k = the(words.split(" small")[0].split(" plain")[0], world, i)
    tables = {"colour": COLOURS, "shape": SHAPES, "size": SIZES, "texture": TEXTURES}
    return tables[kind][getattr(world, kind)[i, k]]


@pytest.mark.parametrize("config", [RICH, CROWDED], ids=["distinct", "crowded"])
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "where"])
def test_answers_follow_from_the_facts(kind: str, config: Config) -> None:
    world = facts(2, 150, config)
    asked = questions(world, (kind,))
    assert len(asked) > 40
    for text, answer, options, scene in zip(asked.text, asked.answer, asked.options, asked.scene.tolist(), strict=True):
        assert answer == expected(kind, text, world, scene)
        assert answer in options


@pytest.mark.parametrize("config", [RICH, CROWDED], ids=["distinct", "crowded"])
def test_places_answer_where(config: Config) -> None:
    world = facts(2, 150, config)
    asked = questions(world, ("where",))
    for text, answer, scene in zip(asked.text, asked.answer, asked.scene.tolist(), strict=True):
        kind = text.removeprefix("where is the ").rstrip("?")
        assert true_of(f"a {kind} is {answer}.", world.rows([scene]), "en").all()
        assert sum(true_of(f"a {kind} is {option}.", world.rows([scene]), "en")[0] for option in asked.options[0]) == 1


def test_slots_point_at_the_object_asked_about() -> None:
    world = facts(3, 200, RICH)
    asked = questions(world, ("colour", "shape", "where", "size", "relation"))
    for text, scene, slot in zip(asked.text, asked.scene.tolist(), asked.slot.tolist(), strict=True):
        (mention, *_) = read(text.replace("is the ", "the ").rstrip("?"), "en").mentions
        assert mention.shape in (-1, world.shape[scene, slot]) and mention.colour in (-1, world.colour[scene, slot])


def test_any_chunk_gets_the_same_questions() -> None:
    world = facts(1, 60, RICH)
    whole, part = questions(world, seed=5), questions(world.rows(slice(20, 40)), seed=5)
    inside = np.flatnonzero((whole.scene >= 20) & (whole.scene < 40))
    assert part.text == [whole.text[row] for row in inside] and part.answer == [whole.answer[row] for row in inside]
    assert len(questions(facts(0, 0))) == 0


def test_questions_name_no_combination_that_the_part_never_draws() -> None:
    config = Config(held=0.3)
    train = {
        text
        for text, kind in zip(*(lambda q: (q.text, q.kind))(questions(facts(0, 3000, config))), strict=True)
        if kind == "exists"
    }
    test = {
        text
        for text, kind in zip(
            *(lambda q: (q.text, q.kind))(questions(facts(0, 3000, config, part="test"))), strict=True
        )
        if kind == "exists"
    }
    assert train and test and not train & test


def test_references_are_unique() -> None:
    world = facts(0, 300, CROWDED)
    alone = unique(world, "shape")
    for i in range(300):
        shapes = Counter(world.shape[i, : world.n[i]].tolist())
        assert alone[i].tolist() == [k < world.n[i] and shapes[int(world.shape[i, k])] == 1 for k in range(4)]


def test_questions_without_choice_are_refused() -> None:
    with pytest.raises(SensoriumError, match="question kind 'color'; did you mean 'colour'"):
        questions(facts(0, 5), ("color",))
    with pytest.raises(SensoriumError, match="'size' questions have one answer in this world; expected some of colour"):
        questions(facts(0, 5), ("size",))
    assert "size" not in set(questions(facts(0, 50)).kind)
