"""Requests that come together are computed together, and every answer goes back to who asked."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

import numpy as np
import pytest

from sensorium.apps.server.batch import Batcher, Busy, Gate
from sensorium.apps.server.state import Served
from sensorium.core import SensoriumError

from .conftest import Ask, coloured, url_of

Got = TypeVar("Got")
WORDS = [f"a {colour} square {k}" for k in range(8) for colour in ("red", "green", "blue", "black")]


def run(there: Served, use: Callable[[Batcher], Awaitable[Got]], **settings: Any) -> Got:
    """What `use` gives with a batcher that is closed afterwards."""

    async def main() -> Got:
        batcher = Batcher(there.models, **settings)
        try:
            return await use(batcher)
        finally:
            await batcher.close()

    return asyncio.run(main())


def test_what_comes_together_is_one_batch(there: Served) -> None:
    sizes: list[int] = []

    async def use(batcher: Batcher) -> Any:
        return await asyncio.gather(*(batcher.embed("clip", "text", [w]) for w in WORDS))

    found = run(there, use, watch=lambda model, n: sizes.append(n))
    assert sizes == [32]
    want = there.models["clip"].embed(there.models["clip"].read("text", WORDS)).x[:, 0]
    np.testing.assert_allclose(np.concatenate(found), want.numpy(), atol=1e-6)


def test_a_batch_holds_no_more_than_its_size(there: Served) -> None:
    sizes: list[int] = []

    async def use(batcher: Batcher) -> Any:
        return await asyncio.gather(*(batcher.embed("clip", "text", [w]) for w in WORDS))

    run(there, use, most=12, watch=lambda model, n: sizes.append(n))
    assert sizes == [12, 12, 8]


def test_sixty_four_distinct_requests_at_once_get_what_each_gets_alone(call: Ask) -> None:
    """Texts and pictures, of two runs, embedded and searched for, all mixed."""
    bodies: list[tuple[str, dict[str, Any]]] = []
    for k in range(16):
        bodies += [
            ("/v1/embeddings", {"model": "clip", "input": f"{WORDS[k]} and {k}"}),
            ("/v1/embeddings", {"model": "clip", "input": [{"image": url_of(coloured(k))}, f"word {k}"]}),
            ("/v1/embeddings", {"model": "filip", "input": f"{k} {WORDS[k]}", "return_multivector": True}),
            ("/search", {"query": f"square {k}", "model": ("clip", "filip")[k % 2], "top": 5}),
        ]
    alone = [call("POST", *body).json for body in bodies]
    start = threading.Barrier(len(bodies))

    def together(body: tuple[str, dict[str, Any]]) -> Any:
        start.wait()
        return call("POST", *body).json

    with ThreadPoolExecutor(len(bodies)) as pool:
        found = list(pool.map(together, bodies))
    assert len({str(a) for a in alone}) == len(bodies)  # no two requests have the same answer
    for (path, _), one, many in zip(bodies, alone, found, strict=True):
        if path == "/search":
            assert [r["score"] for r in many["results"]] == pytest.approx(
                [r["score"] for r in one["results"]], abs=1e-3
            )
            continue
        for a, b in zip(one["data"], many["data"], strict=True):
            key = "embedding" if "embedding" in a else "embeddings"
            np.testing.assert_allclose(b[key], a[key], atol=1e-5)
        assert one["usage"] == many["usage"]


def fails(values: Sequence[Any]) -> list[Any]:
    if "bad" in values:
        raise SensoriumError("a bad value")
    return [v.upper() for v in values]


def test_one_that_fails_fails_alone(there: Served) -> None:
    async def use(batcher: Batcher) -> Any:
        asked = (batcher.ask("clip", "upper", fails, [w]) for w in ("a", "bad", "b"))
        return await asyncio.gather(*asked, return_exceptions=True)

    first, second, third = run(there, use)
    assert (first, third) == (["A"], ["B"])
    assert isinstance(second, SensoriumError)


def test_lanes_are_not_mixed(there: Served) -> None:
    async def use(batcher: Batcher) -> Any:
        lanes = (partial(add, n) for n in (1, 10, 100))
        return await asyncio.gather(*(batcher.ask("clip", w.args, w, [k, k]) for w in lanes for k in range(3)))

    found = run(there, use)
    assert found == [[n + k, n + k] for n in (1, 10, 100) for k in range(3)]


def add(n: int, values: Sequence[int]) -> list[int]:
    return [n + v for v in values]


def test_a_full_queue_is_busy_and_the_others_are_answered(there: Served) -> None:
    go = threading.Event()

    def slow(values: Sequence[Any]) -> Sequence[Any]:
        assert go.wait(10)
        return values

    async def use(batcher: Batcher) -> Any:
        first = asyncio.create_task(batcher.ask("clip", "slow", slow, [0]))  # type: ignore[arg-type]
        await asyncio.sleep(0.05)  # it is with the thread now, and the queue is empty
        asked = [asyncio.create_task(batcher.ask("clip", "slow", slow, [k])) for k in range(1, 7)]  # type: ignore[arg-type]
        await asyncio.sleep(0)
        assert batcher.queued("clip") == 4
        go.set()
        return await asyncio.gather(first, *asked, return_exceptions=True)

    found = run(there, use, waiting=4, most=2)
    assert found[:5] == [[0], [1], [2], [3], [4]]
    assert all(isinstance(f, Busy) for f in found[5:])


def test_whoever_gave_up_is_not_computed_for(there: Served) -> None:
    seen: list[Any] = []

    def note(values: Sequence[Any]) -> Sequence[Any]:
        seen.extend(values)
        return values

    async def use(batcher: Batcher) -> Any:
        gone = asyncio.create_task(batcher.ask("clip", "note", note, ["gone"]))  # type: ignore[arg-type]
        kept = asyncio.create_task(batcher.ask("clip", "note", note, ["kept"]))  # type: ignore[arg-type]
        await asyncio.sleep(0)
        gone.cancel()
        return await kept

    assert run(there, use, window=0.05) == ["kept"]
    assert seen == ["kept"]


def test_models_do_not_wait_for_each_other(there: Served) -> None:
    go = threading.Event()

    def slow(values: Sequence[Any]) -> Sequence[Any]:
        assert go.wait(10)
        return values

    async def use(batcher: Batcher) -> Any:
        held = asyncio.create_task(batcher.ask("filip", "slow", slow, [1]))  # type: ignore[arg-type]
        quick = await asyncio.wait_for(batcher.embed("clip", "text", ["a"]), 5)
        go.set()
        return quick, await held

    quick, held = run(there, use)
    assert quick.shape == (1, 256) and held == [1]


def test_a_gate_lets_through_together_what_waited_while_enough_went_on() -> None:
    async def main() -> list[Any]:
        gate, begun = Gate(most=2, places=3), []

        async def one(name: str) -> bool:
            placed = await gate.free()
            begun.append((name, placed))
            return placed

        with gate.going():
            assert await gate.free()
            with gate.going():
                waiting = [asyncio.create_task(one(name)) for name in "abcd"]
                await asyncio.sleep(0.01)
                assert begun == [("d", False)] and gate.waiting == 3
                waiting[0].cancel()
                await asyncio.sleep(0.01)
                assert gate.waiting == 2
            await asyncio.sleep(0.01)
            assert begun[1:] == [("b", True), ("c", True)] and gate.waiting == 0
        return await asyncio.gather(*waiting, return_exceptions=True)

    cancelled, *rest = asyncio.run(main())
    assert isinstance(cancelled, asyncio.CancelledError) and rest == [True, True, False]


def test_turns_of_a_thread_come_between_batches(there: Served) -> None:
    order: list[str] = []

    def note(name: str) -> str:
        order.append(name)
        time.sleep(0.01)
        return name

    async def use(batcher: Batcher) -> Any:
        async def many() -> None:
            for k in range(6):
                assert await batcher.turn("clip", partial(note, f"turn {k}")) == f"turn {k}"

        going = asyncio.create_task(many())
        await asyncio.sleep(0.02)
        await batcher.ask("clip", "note", lambda values: [note("batch")], [0])
        await going

    run(there, use)
    assert 0 < order.index("batch") < 6 and len(order) == 7


def test_many_vectors_and_empty_texts(there: Served) -> None:
    async def use(batcher: Batcher) -> Any:
        return await batcher.embed("filip", "text", ["a red square", "a"]), await batcher.embed(
            "clip", "text", ["", "a"]
        )

    many, one = run(there, use)
    assert [m.shape[1] for m in many] == [64, 64] and len(many[0]) > len(many[1])
    assert one.shape == (2, 256) and not one[0].any() and one[1].any()


def test_an_unknown_model_is_named(there: Served) -> None:
    async def use(batcher: Batcher) -> Any:
        return await batcher.embed("clop", "text", ["a"])

    with pytest.raises(SensoriumError, match=r"unknown model 'clop'; did you mean 'clip'?"):
        run(there, use)
