"""A run that keeps many vectors, a race of two, the pictures they learnt from; all behind a real socket."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import HTTPRedirectHandler, Request, build_opener

import numpy as np
import pytest
import uvicorn
from PIL import Image, ImageDraw

from sensorium import api
from sensorium.apps.server.app import create
from sensorium.apps.server.state import Served, served
from sensorium.data.dataset import Dataset
from sensorium.data.media import masks
from sensorium.run import race as racing

from .tabs import CHROMIUM

HOSTILE = "<script>document.title='taken'</script>"
COLOURS = {
    "red": (220, 30, 30), "green": (30, 180, 40), "blue": (30, 60, 220),
    "black": (10, 10, 10), "yellow": (230, 220, 40), "purple": (140, 40, 160),
}  # fmt: skip
SHAPES = ("square", "circle", "bar")
PLACES = {"left": (2, 12), "right": (20, 12), "top": (12, 2), "bottom": (12, 20)}
PAPERS = Path(__file__).parents[1] / "server" / "papers"
ROWS = 72
SAMPLES, RACED = 320, 128


def picture(colour: str, shape: str, place: str, seed: int) -> Image.Image:
    """A shape of ten pixels on a pale ground that no other seed shares."""
    noise = np.random.default_rng(seed).integers(190, 256, (8, 9, 3), dtype=np.uint8)
    image = Image.fromarray(noise).resize((32, 32), Image.Resampling.NEAREST)
    x, y = PLACES[place]
    box = (x, y + 4, x + 10, y + 7) if shape == "bar" else (x, y, x + 10, y + 10)
    draw = ImageDraw.Draw(image)
    (draw.ellipse if shape == "circle" else draw.rectangle)(box, fill=COLOURS[colour])
    return image


def shapes(path: Path) -> Path:
    """A folder with metadata.jsonl: one caption holds a script, one row has no readable picture."""
    path.mkdir(parents=True)
    every = [(c, s, p) for c in COLOURS for s in SHAPES for p in PLACES]
    rows = []
    for k, place in enumerate(np.random.default_rng(0).permutation(len(every))[:ROWS].tolist()):
        words = every[place]
        picture(*words, k).resize((96, 96), Image.Resampling.NEAREST).save(path / f"{k:02}.png")
        said = f"a {words[0]} {words[1]} {words[2]}" + (f" {HOSTILE}" if k == 7 else "")
        rows.append({"file_name": f"{k:02}.png", "caption": said})
    (path / "torn.png").write_bytes(b"\x89PNG torn")
    rows.append({"file_name": "torn.png", "caption": f"torn {HOSTILE}"})
    (path / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def scenes(path: Path) -> Path:
    """All shapes, each with a question, its answer, its colour, and the box and mask of the phrase that names it."""
    path.mkdir(parents=True)
    every = [(c, s, p) for c in COLOURS for s in SHAPES for p in PLACES]
    rows = []
    for k, at in enumerate(np.random.default_rng(1).permutation(len(every)).tolist()):
        colour, shape, place = words = every[at]
        picture(*words, 100 + k).resize((96, 96), Image.Resampling.NEAREST).save(path / f"{k:02}.png")
        x, y = (3 * v for v in PLACES[place])
        box = (x, y + 12, x + 33, y + 24) if shape == "bar" else (x, y, x + 33, y + 33)
        pixels = np.zeros((96, 96), bool)
        pixels[box[1] : box[3], box[0] : box[2]] = True
        phrase = f"a {colour} {shape}"
        asked = ("which colour", colour) if k % 2 else ("which shape", shape)
        row = {"file_name": f"{k:02}.png", "caption": f"{phrase} {place}", "colour": colour}
        named = {"boxes": [box], "spans": [[0, len(phrase)]], "masks": masks.stored([masks.runs(pixels)])}
        rows.append(row | dict(zip(("question", "answer"), asked, strict=True)) | named)
    (path / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


class _Here:
    """Runs carried out in this process: no worker has to be started."""

    def submit(self, do: Callable[..., Any], *given: Any) -> Future[Any]:
        future: Future[Any] = Future()
        future.set_result(do(*given))
        return future


@contextmanager
def _pool(workers: int) -> Iterator[_Here]:
    yield _Here()


@pytest.fixture(autouse=True, scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Stored results go to a temporary folder."""
    with pytest.MonkeyPatch.context() as patch:
        path = tmp_path_factory.mktemp("home")
        patch.setenv("SENSORIUM_HOME", str(path))
        yield path


@pytest.fixture(scope="session")
def folder(home: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """72 coloured shapes, and one that is set aside."""
    return shapes(tmp_path_factory.mktemp("data") / "shapes")


@pytest.fixture(scope="session")
def late(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that keeps a vector for each patch and word."""
    out = tmp_path_factory.mktemp("runs") / "late"
    given = {"samples": SAMPLES, "batch": 16, "towers": "scratch", "rate": 3e-3, "split": "redrawn", "out": out}
    api.train("filip", str(folder), say=lambda line: None, **given)  # type: ignore[arg-type]
    return out


@pytest.fixture(scope="session")
def race(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """clip against ridge, both from scratch."""
    out = tmp_path_factory.mktemp("races") / "first"
    out.mkdir()
    towers = {"image": "scratch", "text": "scratch"}
    settings = racing.Settings(str(folder), budget="30m", seeds=2, papers=("clip", "ridge"), towers=towers, batch=16)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(racing, "MOST_SAMPLES", RACED)
        patch.setattr(racing, "worker_pool", _pool)
        racing.Race(settings, out, lambda line: None, lambda *_: None).run()
    return out


@pytest.fixture(scope="session")
def makers(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Tiny runs: teller writes captions, answerer answers, painter paints and captions, finder predicts boxes and a
    colour from words, colours a colour from the picture alone."""
    out, path = tmp_path_factory.mktemp("makers"), scenes(tmp_path_factory.mktemp("data") / "scenes")
    roles = {"image": "file_name", "text": "caption", "label": "colour", "text/question": "question"}
    roles |= {"text/answer": "answer", "boxes": "boxes", "spans": "spans"}
    rich, small = Dataset(path, roles), {"dim": 32, "layers": 1, "heads": 2}
    runs: dict[str, tuple[str, Dataset | str, int, dict[str, Any]]] = {
        "teller": ("prefix-lm", str(folder), 640, small),
        "answerer": ("prefix-lm", rich, 640, small),
        "painter": ("transfusion", str(folder), 160, small | {"width": 8}),
        "finder": ("mdetr", rich, 320, small | {"fused": 1, "queries": 4}),
        "colours": (str(PAPERS / "colours.py"), rich, 160, {}),
    }
    for name, (paper, data, samples, config) in runs.items():
        given = {"samples": samples, "batch": 16, "rate": 3e-3, "split": "redrawn", "config": config}
        api.train(paper, data, towers="scratch", out=out / name, say=lambda line: None, **given)
    return [out / name for name in runs]


@dataclass(frozen=True)
class Site:
    """A server that listens: its address and what it serves."""

    url: str
    served: Served


@contextmanager
def listening(there: Served, keys: frozenset[str] = frozenset()) -> Iterator[Site]:
    """A server on a free port, in a thread, until the block is left."""
    config = uvicorn.Config(create(there, keys=keys), host="127.0.0.1", port=0, log_level="error")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        threading.Event().wait(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield Site(f"http://127.0.0.1:{port}", there)
    finally:
        server.should_exit = True
        thread.join(10)


@pytest.fixture(scope="session")
def there(late: Path, race: Path) -> Served:
    """Both runs and the race, with the data they were trained on."""
    return served([late, race], say=lambda line: None)


@pytest.fixture(scope="session")
def site(there: Served) -> Iterator[Site]:
    """Without keys, as on one's own machine."""
    with listening(there) as found:
        yield found


@pytest.fixture(scope="session")
def studio(late: Path, makers: list[Path]) -> Iterator[Site]:
    """A run that ranks and those that write, paint and predict, with the data of all."""
    with listening(served([late, *makers], say=lambda line: None)) as found:
        yield found


@dataclass(frozen=True)
class Answer:
    """What came back, redirects not followed."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def text(self) -> str:
        """The body as text."""
        return self.body.decode()


class _Stay(HTTPRedirectHandler):
    def redirect_request(self, *given: Any) -> None:
        return None


def ask(url: str, body: bytes | None = None, **headers: str) -> Answer:
    """A request as a browser without scripts sends it."""
    sent = {"Accept": "text/html", **{k.replace("_", "-"): v for k, v in headers.items()}}
    try:
        with build_opener(_Stay).open(Request(url, body, sent), timeout=30) as found:
            return Answer(found.status, found.headers, found.read())
    except HTTPError as problem:
        with problem:
            return Answer(problem.code, problem.headers, problem.read())


def form(fields: Mapping[str, str], image: bytes | None = None) -> tuple[bytes, str]:
    """A multipart form and its content type."""
    mark = "a-boundary-of-the-tests"
    parts = [
        f'--{mark}\r\nContent-Disposition: form-data; name="{k}"\r\n\r\n{v}\r\n'.encode() for k, v in fields.items()
    ]
    if image is not None:
        head = f'--{mark}\r\nContent-Disposition: form-data; name="image"; filename="x.png"\r\n'
        parts.append(f"{head}Content-Type: image/png\r\n\r\n".encode() + image + b"\r\n")
    return b"".join([*parts, f"--{mark}--\r\n".encode()]), f"multipart/form-data; boundary={mark}"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Headless Chromium."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playing:
        found = playing.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield found
        found.close()
