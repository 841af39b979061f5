"""Dynamic batching: what is asked within a few milliseconds of each other is computed together.

One queue and one thread per model: torch is never entered twice for one model, and an answer goes back to the future
that it was computed for, whatever else was in the batch.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from PIL.Image import Image

from sensorium.blocks.towers.frozen import role_of
from sensorium.core import Ids, SensoriumError, nearest
from sensorium.run.runs import Model

from .inputs import truncated
from .state import spaces_of

WINDOW = 0.005
"""Seconds that the first request of a batch waits for others."""
MOST = 32
"""Requests per batch."""
WAITING = 128
"""Requests that may wait for one model; more are told to come again."""
TURNS = 4
"""Groups of answers that one model writes at a time."""

Got = TypeVar("Got")
Work = Callable[[list[Any]], Sequence[Any]]
"""Values of one or several requests -> an answer to each, in order."""


class Busy(Exception):
    """The queue of a model is full."""


@dataclass
class Gate:
    """What takes many turns of a model's thread. While `most` of it go on, the rest waits, and then begins together."""

    most: int
    places: int
    waiting: int = 0
    _going: int = 0
    _freed: asyncio.Event = field(default_factory=asyncio.Event)

    async def free(self) -> bool:
        """Wait until another one may begin; whether there is a place to wait in."""
        if self.waiting >= self.places:
            return False
        self.waiting += 1
        try:
            while self._going >= self.most:
                self._freed.clear()
                await self._freed.wait()
        finally:
            self.waiting -= 1
        return True

    @contextmanager
    def going(self) -> Iterator[None]:
        """One of those that go on."""
        self._going += 1
        try:
            yield
        finally:
            self._going -= 1
            self._freed.set()


@dataclass(frozen=True)
class Embedded:
    """The vectors [T D] float32 of one value, how many tokens of a text were read (0 for a picture), and whether the
    text is longer than that."""

    vectors: NDArray[np.float32]
    tokens: int
    truncated: bool = False


@dataclass
class _Asked:
    lane: Hashable
    work: Work
    values: list[Any]
    answer: asyncio.Future[Sequence[Any]]


@dataclass
class _Worker:
    queue: asyncio.Queue[_Asked]
    thread: ThreadPoolExecutor
    task: asyncio.Task[None]
    gate: Gate


@dataclass
class Batcher:
    """Queues of `models`. `watch(model, requests)` is told of every batch, `made(model, what, number)` of every token
    and picture that is generated."""

    models: Mapping[str, Model]
    window: float = WINDOW
    most: int = MOST
    waiting: int = WAITING
    watch: Callable[[str, int], object] = lambda model, requests: None
    made: Callable[[str, str, int], object] = lambda model, what, number: None
    _workers: dict[str, _Worker] = field(default_factory=dict)

    async def embed(
        self, model: str, key: str, values: Sequence[str | Image]
    ) -> NDArray[np.float32] | list[NDArray[np.float32]]:
        """Texts or pictures -> [N D], or a list of [T D] where the run gives many vectors per value."""
        found = [e.vectors for e in await self.embedded(model, key, values)]
        return found if spaces_of(self._model(model))[role_of(key)].many else np.concatenate(found)

    async def embedded(self, model: str, key: str, values: Sequence[str | Image]) -> list[Embedded]:
        """Texts or pictures -> vectors and token counts, one per value."""
        run = self._model(model)
        return list(await self.ask(model, ("embed", key), partial(embed_all, run, key), values))

    async def ask(self, model: str, lane: Hashable, work: Work, values: Sequence[Any]) -> Sequence[Any]:
        """`work(values)` on the model's thread. Requests of one lane are joined, so their `work` must be the same.

        Raises:
            Busy: too many requests wait.
        """
        worker = self._worker(model)
        answer: asyncio.Future[Sequence[Any]] = asyncio.get_running_loop().create_future()
        try:
            worker.queue.put_nowait(_Asked(lane, work, list(values), answer))
        except asyncio.QueueFull:
            raise Busy(model) from None
        return await answer

    async def free(self, model: str) -> Gate:
        """The gate of a model, once what takes many turns of its thread may begin.

        Raises:
            Busy: too many requests wait.
        """
        gate = self._worker(model).gate
        if not await gate.free():
            raise Busy(model)
        return gate

    async def turn(self, model: str, work: Callable[[], Got]) -> Got:
        """`work()` on the model's thread, between batches."""
        return await asyncio.get_running_loop().run_in_executor(self._worker(model).thread, work)

    def queued(self, model: str) -> int:
        """How many requests wait for a model."""
        worker = self._workers.get(model)
        return worker.queue.qsize() + worker.gate.waiting if worker else 0

    async def close(self) -> None:
        """End the threads; what still waits is cancelled."""
        for worker in self._workers.values():
            worker.task.cancel()
            await asyncio.gather(worker.task, return_exceptions=True)
            worker.thread.shutdown()
            while not worker.queue.empty():
                worker.queue.get_nowait().answer.cancel()
        self._workers.clear()

    def _model(self, name: str) -> Model:
        if name not in self.models:
            raise SensoriumError(f"unknown model {name!r}{nearest(name, self.models)}")
        return self.models[name]

    def _worker(self, model: str) -> _Worker:
        self._model(model)
        if model not in self._workers:
            queue: asyncio.Queue[_Asked] = asyncio.Queue(self.waiting)
            thread = ThreadPoolExecutor(1, thread_name_prefix=model)
            task = asyncio.get_running_loop().create_task(self._serve(model, queue, thread))
            self._workers[model] = _Worker(queue, thread, task, Gate(TURNS, self.waiting))
        return self._workers[model]

    async def _serve(self, model: str, queue: asyncio.Queue[_Asked], thread: ThreadPoolExecutor) -> None:
        loop = asyncio.get_running_loop()
        while True:
            batch = await self._gather(queue)
            self.watch(model, len(batch))
            lanes: dict[Hashable, list[_Asked]] = {}
            for asked in batch:
                lanes.setdefault(asked.lane, []).append(asked)
            for group in lanes.values():
                await loop.run_in_executor(thread, _answer, loop, group)

    async def _gather(self, queue: asyncio.Queue[_Asked]) -> list[_Asked]:
        """The next request and those that come within the window, as far as anyone still waits for them."""
        batch = [await queue.get()]
        end = asyncio.get_running_loop().time() + self.window
        while len(batch) < self.most:
            try:
                async with asyncio.timeout_at(end):
                    batch.append(await queue.get())
            except TimeoutError:
                break
        return [asked for asked in batch if not asked.answer.cancelled()]


def embed_all(model: Model, key: str, values: Sequence[str | Image]) -> list[Embedded]:
    """Texts or pictures -> their vectors, as one batch of a run."""
    column = model.read(key, values)
    (read,) = column.values()
    tokens = model.embed(column)
    counts, cut = [0] * len(values), [False] * len(values)
    if isinstance(read, Ids):
        counts, cut = read.mask.sum(1).tolist(), truncated([str(v) for v in values], read, partial(_ids, model, key))
    # one vector per value is there even where no token is real
    kept = tokens.mask if spaces_of(model)[role_of(key)].many else torch.ones_like(tokens.mask)
    rows = zip(tokens.x, kept, counts, cut, strict=True)
    return [Embedded(x[real].float().numpy(), int(n), short) for x, real, n, short in rows]


def _ids(model: Model, key: str, texts: Sequence[str]) -> Ids:
    (read,) = model.read(key, texts).values()
    assert isinstance(read, Ids)
    return read


def _answer(loop: asyncio.AbstractEventLoop, group: Sequence[_Asked]) -> None:
    """Compute a group together; where that fails, each alone, so that only the one at fault is told."""
    try:
        found = _split(group, group[0].work([v for asked in group for v in asked.values]))
    except Exception as problem:
        if len(group) == 1:
            loop.call_soon_threadsafe(_tell, group[0].answer, problem)
            return
        for asked in group:
            _answer(loop, [asked])
        return
    for asked, answer in zip(group, found, strict=True):
        loop.call_soon_threadsafe(_tell, asked.answer, answer)


def _split(group: Sequence[_Asked], answers: Sequence[Any]) -> list[Sequence[Any]]:
    parts, start = [], 0
    for asked in group:
        parts.append(answers[start : start + len(asked.values)])
        start += len(asked.values)
    return parts


def _tell(answer: asyncio.Future[Sequence[Any]], found: Sequence[Any] | Exception) -> None:
    if answer.done():  # whoever asked has gone
        return
    if isinstance(found, Exception):
        answer.set_exception(found)
    else:
        answer.set_result(found)
