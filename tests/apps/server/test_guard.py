"""What is refused before any route sees it."""

from __future__ import annotations

import gzip
import http.client
import json
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import pytest

from sensorium.apps.server import guard, listen
from sensorium.apps.server.guard import BODY

from .conftest import Ask

E = "/v1/embeddings"
HEAD = f"POST {E} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"


@contextmanager
def connected(url: str) -> Iterator[socket.socket]:
    host, port = urlsplit(url).netloc.split(":")
    with socket.create_connection((host, int(port)), timeout=20) as raw:
        yield raw


def rest(raw: socket.socket) -> bytes:
    """All that comes until the server closes."""
    parts = []
    try:
        while piece := raw.recv(1 << 16):
            parts.append(piece)
    except ConnectionError:
        pass
    return b"".join(parts)


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8000", "127.0.0.1.evil.example", "169.254.169.254", "0.0.0.0", ""]
)
def test_a_name_that_was_rebound_to_this_machine_is_refused(call: Ask, host: str) -> None:
    answer = call("GET", "/health", None, {"Host": host})
    assert answer.status == 403 and answer.error["type"] == "permission_error"


@pytest.mark.parametrize("host", ["localhost:1", "127.0.0.1", "[::1]:8000"])
def test_names_of_this_machine_are_answered(call: Ask, host: str) -> None:
    assert call("GET", "/health", None, {"Host": host}).status == 200


def test_a_page_from_elsewhere_is_refused_and_one_from_here_is_not(call: Ask, url: str) -> None:
    for origin in ("http://evil.example", "null", "http://127.0.0.1:1", "file://"):
        assert call("POST", E, {"model": "clip", "input": "a"}, {"Origin": origin}).status == 403, origin
    assert call("POST", E, {"model": "clip", "input": "a"}, {"Origin": url}).status == 200


def test_answers_cannot_be_framed_sniffed_or_run(call: Ask) -> None:
    for path in ("/health", "/no/such/route", "/docs", "/metrics"):
        headers = call("GET", path).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"
        assert "server" not in headers


@pytest.mark.parametrize("kind", ["text/plain", "application/xml", "", "application/jsonx"])
def test_other_types_are_415(call: Ask, kind: str) -> None:
    answer = call("POST", E, json.dumps({"model": "clip", "input": "a"}).encode(), {"Content-Type": kind})
    assert answer.status == 415 and "expected application/json" in answer.error["message"]


def test_a_type_with_parameters_is_read(call: Ask) -> None:
    headers = {"Content-Type": "application/json; charset=utf-8"}
    assert call("POST", E, {"model": "clip", "input": "a"}, headers).status == 200


def test_compressed_bodies_are_415(call: Ask) -> None:
    answer = call("POST", E, gzip.compress(b"0" * BODY * 2), {"Content-Encoding": "gzip"})
    assert answer.status == 415 and answer.error["message"] == "compressed bodies are not read"


def test_a_body_over_the_cap_is_413_by_its_length_unread(url: str) -> None:
    with connected(url) as raw:
        head = f"{HEAD}Content-Length: {BODY + 1}\r\n\r\n"
        raw.sendall(head.encode())
        answer = rest(raw)
    assert answer.startswith(b"HTTP/1.1 413") and b"the body is larger than 32 MiB" in answer


def test_a_chunked_body_over_the_cap_is_413(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "BODY", 100_000)
    head = f"{HEAD}Transfer-Encoding: chunked\r\n\r\n"
    with connected(url) as raw:
        raw.sendall(head.encode())
        for _ in range(101):
            raw.sendall(b"3e8\r\n" + b"0" * 1000 + b"\r\n")
        assert rest(raw).startswith(b"HTTP/1.1 413")


def test_a_body_of_exactly_the_cap_is_read(call: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    body = json.dumps({"model": "clip", "input": "a"}).encode()
    monkeypatch.setattr(guard, "BODY", len(body))
    assert call("POST", E, body).status == 200
    assert call("POST", E, body + b" ").status == 413


def test_a_body_that_does_not_come_is_408_and_closed(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "RECEIVE", 0.3)
    with connected(url) as raw:
        raw.sendall(f"{HEAD}Content-Length: 10\r\n\r\n{{".encode())
        start = time.monotonic()
        assert rest(raw).startswith(b"HTTP/1.1 408")
        assert time.monotonic() - start < 5


def test_length_and_chunks_together_are_400_and_closed(url: str) -> None:
    with connected(url) as raw:
        raw.sendall(f"{HEAD}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n".encode())
        start = time.monotonic()
        assert rest(raw).startswith(b"HTTP/1.1 400")
        assert time.monotonic() - start < 3


def test_a_head_that_does_not_come_is_closed(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listen, "HEAD", 0.3)
    with connected(url) as raw:
        raw.sendall(b"GET /health HTTP/1.1\r\nHost: local")
        start = time.monotonic()
        assert rest(raw) == b"" or b" 408" in rest(raw)
        assert time.monotonic() - start < 5


def test_a_later_head_that_does_not_come_is_closed_too(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listen, "HEAD", 0.3)
    with connected(url) as raw:
        raw.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert raw.recv(1 << 16).startswith(b"HTTP/1.1 200")
        start = time.monotonic()
        raw.sendall(b"GET /health HTTP/1.1\r\nHo")
        assert b"HTTP/1.1" not in rest(raw)
        assert time.monotonic() - start < 3


def test_a_connection_is_used_again(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listen, "HEAD", 0.2)
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=10)
    connection.connect()
    first = connection.sock
    for _ in range(4):
        connection.request("GET", "/health")
        assert connection.getresponse().read() == b'{"status":"ok"}'
        time.sleep(0.12)
    assert connection.sock is first  # it was never closed, though in all it lived longer than a head may take
    connection.close()


def test_many_range_parts_cost_nothing(call: Ask) -> None:
    start = time.monotonic()
    answer = call("GET", "/thumbs/squares?row=1", None, {"Range": "bytes=" + ",".join(f"{k}-{k}" for k in range(5000))})
    assert answer.status in (200, 400, 416) and time.monotonic() - start < 1
