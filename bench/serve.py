"""Load on a served run: many clients at once, and how long the slowest waits.

python bench/serve.py RUN [RUN …] [--clients 32] [--requests 640]

Each client holds one connection and asks again as soon as it is answered. The clients run in this process and share the
machine with the server, so on two cores the times hold both.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

import numpy as np

WORDS = ("red", "dog", "house", "something to eat", "a person who runs", "music", "sad", "blue car")


def embeddings(model: str, k: int) -> tuple[str, dict[str, Any]]:
    """A text that no other request has."""
    return "/v1/embeddings", {"model": model, "input": f"{WORDS[k % len(WORDS)]} {k}"}


def search(model: str, k: int) -> tuple[str, dict[str, Any]]:
    """Words that no other request has."""
    return "/search", {"model": model, "query": f"{WORDS[k % len(WORDS)]} {k}"}


def load(url: str, ask: Callable[[str, int], tuple[str, dict[str, Any]]], model: str, clients: int, n: int) -> str:
    """`n` requests of `clients` clients, in one line."""

    def client(start: int) -> list[float]:
        connection, seconds = http.client.HTTPConnection(urlsplit(url).netloc, timeout=60), []
        for k in range(start, n, clients):
            path, body = ask(model, k)
            begin = time.perf_counter()
            connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
            answer = connection.getresponse()
            content = answer.read()
            seconds.append(time.perf_counter() - begin)
            if answer.status != 200:
                raise SystemExit(f"{path} answered {answer.status}: {content[:200]!r}")
        return seconds

    begin = time.perf_counter()
    with ThreadPoolExecutor(clients) as pool:
        seconds = [s for part in pool.map(client, range(clients)) for s in part]
    wall = time.perf_counter() - begin
    p50, p99 = np.percentile(seconds, (50, 99))
    return f"p50 {1000 * p50:6.0f} ms  p99 {1000 * p99:6.0f} ms  {len(seconds) / wall:6.0f} requests/s"


def cpu_of(process: int) -> float:
    """CPU-seconds of another process so far."""
    with open(f"/proc/{process}/stat") as file:
        user, system = file.read().rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    """Serve, load, print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("runs", nargs="+")
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--requests", type=int, default=640)
    asked = parser.parse_args()
    program = [sys.executable, "-c", "from sensorium.cli import main; main()"]
    command = [*program, "serve", *asked.runs, "--port", "0", "--no-board"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        url = server.stdout.readline().split()[0]
        try:
            for run in asked.runs:
                name = os.path.basename(os.path.abspath(run))
                for ask in (embeddings, search):
                    if ask is embeddings and many(url, name):
                        continue
                    load(url, ask, name, asked.clients, asked.clients)
                    before = cpu_of(server.pid)
                    line = load(url, ask, name, asked.clients, asked.requests)
                    cost = asked.requests / (cpu_of(server.pid) - before)
                    print(f"{name} {ask.__name__:<10} {asked.clients} clients  {line}  {cost:5.0f} per server CPU-s")
        finally:
            server.terminate()


def many(url: str, model: str) -> bool:
    """Whether a run gives many vectors, which /v1/embeddings gives only when asked for."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)
    connection.request("GET", f"/v1/models/{model}")
    return any(space["multivector"] for space in json.loads(connection.getresponse().read())["embeds"].values())


if __name__ == "__main__":
    main()
