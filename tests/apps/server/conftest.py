"""Small runs behind a real socket, and a client that is a few lines of the standard library."""

from __future__ import annotations

import base64
import http.client
import io
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
from fastapi import FastAPI
from PIL import Image

import sensorium as sm
from sensorium.apps.server import listen
from sensorium.apps.server.app import create
from sensorium.apps.server.state import Served, served
from sensorium.data.dataset import Dataset

from ...papers.conftest import squares

PAPERS = Path(__file__).parent / "papers"


@dataclass(frozen=True)
class Answer:
    """What the server said."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> dict[str, Any]:
        """The error, which has OpenAI's shape and nothing else."""
        assert set(self.json) == {"error"} and set(self.json["error"]) == {"message", "type", "param", "code"}, (
            self.body
        )
        assert "\n" not in self.json["error"]["message"]
        return dict(self.json["error"])


Ask = Callable[..., Answer]


def ask(url: str, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None) -> Answer:
    """One request; a body that is not bytes is sent as JSON."""
    content = body if isinstance(body, bytes | None) else json.dumps(body).encode()
    kind = {"Content-Type": "application/json"} if content is not None else {}
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=30)
    try:
        connection.request(method, path, content, kind | (headers or {}))
        answer = connection.getresponse()
        return Answer(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())
    finally:
        connection.close()


@contextmanager
def live(app: FastAPI) -> Iterator[str]:
    """The application on a free port; its URL."""
    listening = listen.bound("127.0.0.1", 0)
    listening.listen(512)
    server = listen.server_of(app)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    url = listen.url_of(listening)
    thread.start()
    try:
        yield url
    finally:
        server.should_exit = True
        thread.join(10)
        assert not thread.is_alive()


def coloured(seed: int, size: tuple[int, int] = (40, 24)) -> Image.Image:
    """A picture that no other seed gives."""
    noise = np.random.default_rng(seed).integers(0, 256, (3, 4, 3), dtype=np.uint8)
    return Image.fromarray(noise).resize(size, Image.Resampling.NEAREST)


def png(image: Image.Image) -> bytes:
    out = io.BytesIO()
    image.save(out, "PNG")
    return out.getvalue()


def url_of(image: Image.Image) -> str:
    return "data:image/png;base64," + base64.b64encode(png(image)).decode()


@pytest.fixture(autouse=True, scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Stored results go to a temporary folder, and no key is set outside."""
    with pytest.MonkeyPatch.context() as patch:
        path = tmp_path_factory.mktemp("home")
        patch.setenv("SENSORIUM_HOME", str(path))
        patch.delenv("SENSORIUM_KEYS", raising=False)
        yield path


@pytest.fixture(scope="session")
def folder(home: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixty squares with a text, most with a French one, and a label."""
    return squares(tmp_path_factory.mktemp("data") / "squares")


@pytest.fixture(scope="session")
def runs(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """clip (one vector), filip (many), odd (its own ranking), colours (predicts a label), sides (boxes …)."""
    out = tmp_path_factory.mktemp("runs")
    data = Dataset(folder)
    papers = {"clip": "clip", "filip": "filip"} | {n: str(PAPERS / f"{n}.py") for n in ("odd", "colours", "sides")}
    for name, paper in papers.items():
        sm.train(paper, data, samples=32, batch=16, towers="scratch", out=out / name, say=lambda line: None)
    return {name: out / name for name in papers}


@pytest.fixture(scope="session")
def there(runs: dict[str, Path]) -> Served:
    """Every run, and the squares."""
    return served(list(runs.values()))


@pytest.fixture(scope="session")
def asked(home: Path, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Sixty squares with a question each, and its answer."""
    told = {"question": lambda k, row: "what is it", "answer": lambda k, row: row["text"]}
    path = squares(tmp_path_factory.mktemp("data") / "asked", **told)
    return Dataset(path, {"image": "file_name", "text": "text", "text/question": "question", "text/answer": "answer"})


@pytest.fixture(scope="session")
def writers(folder: Path, asked: Dataset, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """teller (captions), asker (answers), painter (captions and paints), echo (repeats a question), tiles (paints)."""
    out, seen = tmp_path_factory.mktemp("runs"), Dataset(folder)
    small = {"dim": 32, "layers": 2, "heads": 2}
    made: dict[str, tuple[str, Dataset, int, dict[str, Any]]] = {
        "teller": ("baseline/prefix-lm", seen, 1200, small),
        "asker": ("baseline/prefix-lm", asked, 2000, small),
        "painter": ("transfusion", seen, 64, {**small, "patches": "linear"}),
        "echo": (str(PAPERS / "echo.py"), asked, 32, {}),
        "tiles": (str(PAPERS / "tiles.py"), seen, 32, {}),
    }
    for name, (paper, data, samples, config) in made.items():
        settings: dict[str, Any] = {"config": config, "rate": 3e-3, "batch": 16, "towers": "scratch"}
        sm.train(paper, data, samples=samples, out=out / name, say=lambda line: None, **settings)
    return {name: out / name for name in made}


@pytest.fixture(scope="session")
def able(runs: dict[str, Path], writers: dict[str, Path]) -> Served:
    """Every run, those that generate among them."""
    return served([*runs.values(), *writers.values()])


@pytest.fixture(scope="session")
def whole(able: Served) -> Iterator[str]:
    """A server of every run that there is, without keys."""
    with live(create(able, board=False)) as url:
        yield url


@pytest.fixture(scope="session")
def url(there: Served) -> Iterator[str]:
    """A server of every run, without keys."""
    with live(create(there, board=False)) as url:
        yield url


@pytest.fixture
def call(url: str) -> Ask:
    """Ask that server: method, path, body, headers."""
    return lambda *given, **more: ask(url, *given, **more)
