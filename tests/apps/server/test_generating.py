"""What generates, without a server: what is asked for, who waits, who is answered with whom."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import aclosing
from typing import Any, TypeVar

import pytest

from sensorium.apps.server.batch import Batcher, Busy
from sensorium.apps.server.generating import Asked, Line, Turn, begin, chat, images, paints, warm, writes
from sensorium.apps.server.state import Served
from sensorium.core import SensoriumError

Got = TypeVar("Got")
WORDS = ["what", "colour", "is", "it"]


@pytest.fixture
def echo(able: Served) -> Iterator[Any]:
    """The decoder of echo, as it was afterwards."""
    decoder: Any = able.models["echo"].method.decoder
    yield decoder
    decoder.seconds, decoder.breaks = 0.0, -1


def run(able: Served, use: Callable[[Batcher], Awaitable[Got]], **settings: Any) -> Got:
    """What `use` gives with a batcher that is closed afterwards."""

    async def main() -> Got:
        batcher = Batcher(able.models, **settings)
        try:
            return await use(batcher)
        finally:
            await batcher.close()

    return asyncio.run(main())


async def said(able: Served, batcher: Batcher, model: str, turns: list[Turn], **more: Any) -> str:
    return "".join([piece.text async for piece in chat(able, batcher, model, turns, **more)])


def written(lines: list[Line]) -> list[str]:
    """The answers of a batch."""
    texts = [""] * len(lines)
    while any(line.open for line in lines):
        for line, piece in lines[0].answers.step():
            texts[lines.index(line)] += piece.text
    return texts


def test_what_a_run_writes_and_paints_is_read_from_what_it_generates(able: Served) -> None:
    found = {name: (writes(model), paints(model)) for name, model in able.models.items()}
    assert found["teller"] == ({"text": "caption"}, False)
    assert found["echo"] == found["asker"] == ({"text/answer": "answer"}, False)
    assert found["painter"] == ({"text": "caption"}, True) and found["tiles"] == ({}, True)
    assert found["clip"] == found["colours"] == ({}, False)


def test_answers_in_a_batch_are_those_alone_whatever_their_length(able: Served) -> None:
    model, data = able.models["asker"], able.data["asked"]
    asked = [Asked(" ".join(WORDS[: 1 + k % 4]), data.image("image", k), 2 + k % 5) for k in range(12)]
    alone = [written(begin(model, "text/answer", [one]))[0] for one in asked]
    assert written(begin(model, "text/answer", asked)) == alone and len(set(alone)) > 5


def test_pieces_end_with_a_finish_and_counts(able: Served) -> None:
    async def use(batcher: Batcher) -> Any:
        return [piece async for piece in chat(able, batcher, "echo", [Turn("user", "what is it")])]

    pieces = run(able, use)
    assert "".join(piece.text for piece in pieces) == "what is it"
    assert [piece.finish for piece in pieces] == [None] * (len(pieces) - 1) + ["stop"]
    assert (pieces[-1].said, pieces[-1].read, pieces[-1].truncated) == (3, 4, False)


def test_leaving_the_pieces_ends_the_decoding(able: Served, echo: Any) -> None:
    echo.seconds = 0.01

    async def use(batcher: Batcher) -> tuple[int, int]:
        async with aclosing(chat(able, batcher, "echo", [Turn("user", "is " * 60)])) as pieces:
            async for _ in pieces:
                break
        await asyncio.sleep(0.05)
        before = echo.passes
        await asyncio.sleep(0.1)
        return before, echo.passes

    before, after = run(able, use)
    assert before == after


def test_more_than_may_wait_are_told_to_come_again(able: Served, echo: Any) -> None:
    echo.seconds = 0.02

    async def use(batcher: Batcher) -> Any:
        going = []
        for k in range(4):  # as many groups as go on at once
            going.append(asyncio.create_task(said(able, batcher, "echo", [Turn("user", f"is it is it is it {k}")])))
            await asyncio.sleep(0.05)
        more = [said(able, batcher, "echo", [Turn("user", f"is {k}")]) for k in range(4)]
        more.append(images(able, batcher, "tiles", "red"))  # type: ignore[arg-type]
        return await asyncio.gather(*going, *more, return_exceptions=True)

    found = run(able, use, waiting=2)
    assert found[:6] == [*(f"is it is it is it {k}" for k in range(4)), "is 0", "is 1"]
    assert all(isinstance(problem, Busy) for problem in found[6:8])
    assert len(found[8]) == 1  # another model has a gate of its own


def test_what_breaks_is_told_to_everyone_in_the_batch(able: Served, echo: Any) -> None:
    echo.breaks = 1

    async def use(batcher: Batcher) -> Any:
        asked = (said(able, batcher, "echo", [Turn("user", f"is it {k}")]) for k in range(3))
        return await asyncio.gather(*asked, return_exceptions=True)

    assert [type(problem) for problem in run(able, use)] == [RuntimeError] * 3


def test_conversations_that_cannot_be_answered_are_one_line(able: Served) -> None:
    async def use(batcher: Batcher) -> Any:
        return [
            await asyncio.gather(said(able, batcher, name, turns), return_exceptions=True)
            for name, turns in (("echo", []), ("nobody", [Turn("user", "a")]), ("echo", [Turn("assistant", "a")]))
        ]

    (none,), (unknown,), (last,) = run(able, use)
    assert all(isinstance(problem, SensoriumError) for problem in (none, unknown, last))
    assert "the last message is not the user's" in str(none) and str(none) == str(last)
    assert "unknown model 'nobody'" in str(unknown)


def test_warming_up_decodes_once_with_every_run_that_writes(able: Served, echo: Any) -> None:
    before = echo.passes
    warm(able)
    assert echo.passes == before + 1
