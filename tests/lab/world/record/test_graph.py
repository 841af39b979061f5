"""Knowledge: balanced relations, shortest paths as networkx finds them, answers followed step by step."""

from __future__ import annotations

import re

import networkx
import numpy as np
import pytest

from sensorium.core import SensoriumError
from sensorium.lab.world.facts import Config, facts
from sensorium.lab.world.guards import blind
from sensorium.lab.world.record.graph import BETWEEN, RELATIONS, VALUED, contexts, graph, path, questions

ONE = Config(fewest=1, most=1)


def test_relations_are_functions_and_values_are_shared_evenly() -> None:
    known = graph(0)
    for r, name in enumerate(RELATIONS):
        if name in BETWEEN:
            assert sorted(known.tail[r].tolist()) == list(range(48)) and (known.tail[r] != np.arange(48)).all()
        else:
            assert np.bincount(known.tail[r]).tolist() == [12] * 4
    assert not np.array_equal(graph(1).tail, known.tail) and np.array_equal(graph(0).tail, known.tail)
    assert known.triples()[0][:2] == ("the red circle", "follows") and len(known.triples()) == 4 * 48


def test_edges_are_the_triples_in_numbers() -> None:
    known = graph(0)
    edges = known.edges()
    assert edges.shape == (4 * 48, 3) and edges[:, 2].max() == 48 + 7
    for (head, relation, tail), (h, r, t) in zip(known.triples(), edges.tolist(), strict=True):
        assert (head, relation) == (known.name(h), RELATIONS[r])
        assert tail == (known.name(t) if t < 48 else VALUED[relation][(t - 48) % 4])


def test_paths_are_shortest() -> None:
    known = graph(3)
    oracle = networkx.DiGraph([(h, t) for h, r, t in known.edges().tolist() if r < len(BETWEEN)])
    lengths = dict(networkx.all_pairs_shortest_path_length(oracle))
    for start in range(0, 48, 5):
        for goal in range(48):
            steps = path(known, start, goal)
            assert steps is not None and len(steps) == lengths[start][goal]
            at = start
            for relation, there in steps:
                at = int(known.tail[relation, at])
                assert at == there
            assert at == goal


@pytest.mark.parametrize("hops", [1, 2])
@pytest.mark.parametrize("pointed", [True, False])
def test_answers_follow_the_graph(hops: int, pointed: bool) -> None:
    known, world = graph(0), facts(0, 400, ONE)
    asked = questions(known, world, hops, pointed)
    facts_ = {(h, r): t for h, r, t in known.triples()}
    for text, answer, options, row in zip(asked.text, asked.answer, asked.options, asked.scene.tolist(), strict=True):
        kind = known.name(int(world.colour[row, 0]) * 6 + int(world.shape[row, 0]))
        assert answer in options and (kind in text) != pointed
        if hops == 2:
            kind = facts_[kind, next(name for name in BETWEEN if name in text)]
        assert facts_[kind, "comes from" if text.startswith("where") else "is made of"] == answer


def test_pointed_questions_are_at_chance_without_the_picture() -> None:
    asked = questions(graph(0), facts(0, 6000, ONE), 2)
    assert blind(asked.text, asked.answer, 0.25).ok
    named = questions(graph(0), facts(0, 6000, ONE), 1, pointed=False)
    assert not blind(named.text, named.answer, 0.25).ok


@pytest.mark.parametrize("hops", [1, 2, 3])
def test_contexts_can_be_read_and_followed(hops: int) -> None:
    made = contexts(0, 120, entities=4, hops=hops)
    for text, question, answer, passed in zip(made.text, made.question, made.answer, made.path, strict=True):
        known = {}
        for line in text.rstrip(".").split(". "):
            head, relation, tail = re.fullmatch(rf"(\w+) ({'|'.join(RELATIONS)}) (.+)", line).groups()  # type: ignore[union-attr]
            known[head, relation] = tail
        assert len(known) == 4 * 4
        at = re.search(r"[A-Z]\w+", question)[0]  # type: ignore[index]
        steps = [w for w in question.split() if w.rstrip("?") in BETWEEN]
        assert len(steps) == hops - 1 == len(passed) - 1
        for step in steps:
            at = known[at, step.rstrip("?")]
        assert known[at, "comes from" if question.startswith("where") else "is made of"] == answer


def test_contexts_tell_nothing_by_themselves_and_are_pure() -> None:
    made = contexts(0, 4000)
    first = [question.split()[0] for question in made.question]
    assert blind(first, made.answer, 0.25).ok and blind(made.text, made.answer, 0.25).ok
    part = contexts(0, 10, start=30)
    assert part.text == made.text[30:40] and part.question == made.question[30:40]
    assert all(len(set(row)) == 4 for row in made.name.tolist())


def test_mistakes_are_named() -> None:
    for call, message in (
        (lambda: graph(0, 3, 3), "3 colours, 3 shapes"),
        (lambda: path(graph(0), 0, 99), "kind 99; expected 0 to 47"),
        (lambda: questions(graph(0), facts(0, 1), 3), "3 hops"),
        (lambda: questions(graph(0, 4, 4), facts(0, 1)), "expected 4 and 4"),
        (lambda: contexts(0, 1, entities=5), "5 entities"),
        (lambda: contexts(0, 1, hops=4), "4 hops"),
    ):
        with pytest.raises(SensoriumError, match=message):
            call()
