"""What the server counts, in a registry of its own."""

from __future__ import annotations

from functools import partial
from time import perf_counter

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .batch import MOST, Batcher

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)


class Metrics:
    """Requests by route and status, their seconds, the size of batches, the length of queues, what was generated."""

    def __init__(self, batcher: Batcher) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "sensorium_requests", "Answered requests.", ("method", "route", "status"), registry=self.registry
        )
        self.seconds = Histogram(
            "sensorium_request_seconds", "Seconds per request.", ("route",), registry=self.registry, buckets=SECONDS
        )
        self.batches = Histogram(
            "sensorium_batch_requests",
            "Requests per batch.",
            ("model",),
            registry=self.registry,
            buckets=[2**k for k in range(MOST.bit_length())],
        )
        self.generated = Counter(
            "sensorium_generated", "Tokens and pictures generated.", ("model", "what"), registry=self.registry
        )
        queue = Gauge("sensorium_queue_requests", "Requests that wait.", ("model",), registry=self.registry)
        for model in batcher.models:
            queue.labels(model).set_function(partial(batcher.queued, model))
        batcher.watch, batcher.made = self.batched, self.made

    def batched(self, model: str, requests: int) -> None:
        """Count a batch."""
        self.batches.labels(model).observe(requests)

    def made(self, model: str, what: str, number: int) -> None:
        """Count tokens or pictures."""
        self.generated.labels(model, what).inc(number)

    def answered(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count a request."""
        self.requests.labels(method, route, str(status)).inc()
        self.seconds.labels(route).observe(seconds)

    def response(self) -> Response:
        """Everything in Prometheus' text format."""
        return Response(generate_latest(self.registry), media_type=CONTENT_TYPE_LATEST)


class Metered:
    """Counts what `app` answers, by the pattern of its route, never by the path that was asked."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self.app, self.metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        status, start = 500, perf_counter()

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self.app(scope, receive, watched)
        finally:
            route = getattr(scope.get("route"), "path", "other")
            method = scope["method"] if scope["method"] in ("GET", "POST", "HEAD") else "other"
            self.metrics.answered(method, route, status, perf_counter() - start)
