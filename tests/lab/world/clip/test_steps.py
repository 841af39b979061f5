"""Steps and narrations: times exact, faults as asked for."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from sensorium.core import SensoriumError
from sensorium.lab.world.clip.steps import ALIGNED, CHATTER, Line, Narration, Voice, narrate, steps, transcript
from sensorium.lab.world.clip.timeline import KINDS, Config, clips


def test_steps_carry_the_times_of_their_events() -> None:
    world = clips(0, 100)
    done = steps(world, rate=10.0)
    assert np.allclose(done.segments[..., 0] * 10, world.begin - 1) and np.allclose(
        done.segments[..., 1] * 10, world.end
    )
    verbs = ("move", "add", "remove", "paint", "bounce")
    assert all(
        text.split()[0] == verbs[k]
        for row, t in zip(world.kind.tolist(), done.text, strict=True)
        for k, text in zip(row, t, strict=True)
    )


def test_a_task_is_its_sequence_of_kinds_and_has_one_name() -> None:
    world = clips(0, 500)
    done = steps(world)
    assert np.array_equal(done.task, world.kind[:, 0] * len(KINDS) + world.kind[:, 1])
    names = {task: done.name(row) for row, task in enumerate(done.task.tolist())}
    assert len(set(names.values())) == len(names) == 25
    held = Config(held=0.2)
    train, test = (set(steps(clips(0, 500, held, part=part)).task.tolist()) for part in ("train", "test"))
    assert not train & test


def test_an_aligned_narration_says_each_step_in_its_segment() -> None:
    world = clips(0, 50)
    done, spoken = steps(world), narrate(world, ALIGNED)
    for row, lines in enumerate(spoken.lines):
        assert [line.step for line in lines] == [0, 1]
        for line in lines:
            assert (line.start, line.end) == tuple(done.segments[row, line.step])
            assert line.text.endswith(done.text[row][line.step])


def test_a_shift_is_exact_and_known() -> None:
    world = clips(0, 200)
    done, spoken = steps(world), narrate(world, Voice(offset=0.5, spread=0.25))
    for row, lines in enumerate(spoken.lines):
        for line in lines:
            assert np.isclose(line.start - done.segments[row, line.step, 0], spoken.offset[row])
    assert spoken.offset.min() >= 0.25 and spoken.offset.max() <= 0.75 and spoken.offset.std() > 0.1
    early = narrate(world, Voice(offset=-3.0))
    assert min(line.start for lines in early.lines for line in lines) < 0


def test_missing_and_chatter_come_at_their_rates() -> None:
    world = clips(0, 2000, Config(frames=12))
    lines = [line for row in narrate(world, Voice(missing=0.3, chatter=0.5)).lines for line in row]
    told = sum(line.step >= 0 for line in lines)
    assert abs(told / 4000 - 0.7) < 0.03
    chat = [line for line in lines if line.step < 0]
    assert chat and all(line.text in CHATTER and line.end > line.start for line in chat)
    assert not any(line.step < 0 for row in narrate(world).lines for line in row)


def test_lines_do_not_overlap_and_are_pure_under_chunking() -> None:
    voice = Voice(offset=0.3, spread=0.2, missing=0.2, chatter=0.8)
    whole = narrate(clips(0, 60), voice, seed=4)
    assert narrate(clips(0, 20, start=20), voice, seed=4).lines == whole.lines[20:40]
    for lines in whole.lines:
        assert all(a.end <= b.start + 1e-9 for a, b in pairwise(lines))


def test_time_tags_are_counted_by_hand() -> None:
    spoken = Narration([(Line("a", 0.0, 0.5, 0), Line("b", 1.9, 2.6, 1))], np.zeros(1))
    assert transcript(spoken) == ["a. b"]
    assert transcript(spoken, 4, 2.0) == ["<0> <1> a. <3> <3> b"]
    with pytest.raises(SensoriumError, match="4 time tags over 0"):
        transcript(spoken, 4)


def test_impossible_voices_are_refused() -> None:
    for dials in ({"missing": 1.5}, {"chatter": -0.1}, {"spread": -1.0}, {"offset": float("nan")}):
        with pytest.raises(SensoriumError):
            replace(ALIGNED, **dials)
