"""Documents of the language set: what they ask is answered by their own text and by nothing else."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from sensorium.data.dataset import Dataset
from sensorium.lab import sets
from sensorium.lab.language import KINDS, asking, documents
from sensorium.lab.world.facts import COLOURS, SHAPES, Config
from sensorium.lab.world.lang import read
from sensorium.lab.world.talk import dialogues

N = 600
MADE = documents(Config(), "train", N)


def rows(*kinds: str) -> list[tuple[str, str, str]]:
    return [
        (MADE["text"][k], MADE["question"][k], MADE["answer"][k]) for k in range(N) if KINDS[k % len(KINDS)] in kinds
    ]


def stated(caption: str) -> dict[str, str]:
    """Shape by colour and colour by shape, as a caption says."""
    found = {COLOURS[m.colour]: SHAPES[m.shape] for m in read(caption, "en").mentions}
    return found | {shape: colour for colour, shape in found.items()}


def test_a_row_is_the_same_in_any_chunk() -> None:
    few = documents(Config(), "train", 50)
    assert all(MADE[column][:50] == values for column, values in few.items())
    assert documents(Config(), "test", 50)["text"] != few["text"]
    assert documents(Config(), "train", 50, seed=1)["text"] != few["text"]


def test_notes_say_what_goes_with_what() -> None:
    for text, question, answer in rows("noted"):
        caption, _, notes = text.partition(" : ")
        truth = stated(caption)
        pairs = [note.split() for note in notes.split(" , ")]
        assert all(truth[cue] == found for cue, found in [*pairs, (question, answer)])


def test_a_text_goes_on_to_its_question_as_to_those_before() -> None:
    (text, question, _), *_ = rows("noted")
    assert asking(text, question).split(" , ")[-1] == question and asking(text, question).startswith(text)
    (text, question, _), *_ = (row for row in rows("asked") if "?" in row[0])
    assert asking(text, question) == f"{text} {question}" and text.endswith(".")


def test_questions_are_answered_by_the_caption() -> None:
    seen: Counter[str] = Counter()
    for text, question, answer in rows("asked"):
        caption, *_ = text.split(".")
        truth, words = stated(caption), question.rstrip("?").split()
        if question.startswith("what colour"):
            assert truth[words[-1]] == answer
        elif question.startswith("what is"):
            assert truth[words[3]] == answer
        elif question.startswith("is there"):
            assert (truth.get(words[-2]) == words[-1]) == (answer == "yes")
        else:
            assert (truth[words[2]] == words[3]) == (answer == "yes")
        seen[" ".join(words[:2])] += 1
        assert question not in text
    assert {"what colour", "what is", "is there", "is the"} <= set(seen) and min(seen.values()) > 10


def test_what_is_asked_without_its_text_is_a_guess() -> None:
    asked = rows("noted", "asked")
    of: dict[str, Counter[str]] = {}
    for _, question, answer in asked:
        of.setdefault(question, Counter())[answer] += 1
    best = sum(found.most_common(1)[0][1] for found in of.values() if sum(found.values()) > 5)
    every = sum(sum(found.values()) for found in of.values() if sum(found.values()) > 5)
    assert best / every < 0.5


def test_orders_places_stories_and_dialogues_take_turns() -> None:
    assert all(answer and "background" in text for text, _, answer in rows("ordered", "placed"))
    assert all(answer.startswith("at the ") or answer in COLOURS for _, _, answer in rows("placed"))
    assert all(
        question == answer == "" and " is a" in text and "then " in text for text, question, answer in rows("story")
    )
    for text, question, _ in rows("dialogue"):
        turns = dialogues.read(text[text.index("user:") :])
        assert not question and len(turns) >= 2 and {t.speaker for t in turns} == {"user", "assistant"}
    assert {len(read(text).mentions) for text, _, _ in rows("caption")} >= {2, 3}


def test_the_set_has_no_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SENSORIUM_HOME", str(tmp_path))
    few = {"world/language": replace(sets.recipe("world/language"), rows=(60, 20, 20))}
    monkeypatch.setattr(sets, "RECIPES", few)
    data = Dataset(sets.data_set("world/language"))
    assert dict(data.kinds) == {"text": "text", "text/question": "text", "text/answer": "text"}
    assert len(data) == 100 and sorted(set(data.texts("text"))) == sorted(
        {
            t
            for part, n in (("train", 60), ("validation", 20), ("test", 20))
            for t in documents(Config(), part, n)["text"]
        }
    )
