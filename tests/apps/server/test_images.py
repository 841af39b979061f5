"""/v1/images/generations over a real socket, with the official client."""

from __future__ import annotations

import base64
import io
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import openai
import pytest
import torch
from openai import OpenAI
from PIL import Image

from sensorium.apps.server import generating
from sensorium.apps.server.app import create
from sensorium.apps.server.state import Served
from sensorium.blocks.mixed import laid
from sensorium.core import Rng, derive
from sensorium.data.tokenise import encode

from .conftest import Ask, ask, live

PATH = "/v1/images/generations"


@pytest.fixture(scope="module")
def client(whole: str) -> OpenAI:
    return OpenAI(base_url=whole + "/v1", api_key="none", max_retries=0)


@pytest.fixture
def paint(whole: str) -> Ask:
    """Ask the server of every run: body."""
    return lambda body: ask(whole, "POST", PATH, body)


def picture(found: str | None) -> Image.Image:
    data = base64.b64decode(str(found), validate=True)
    assert data.startswith(b"\x89PNG")
    return Image.open(io.BytesIO(data))


def painted(client: OpenAI, name: str, prompt: str, **more: Any) -> list[Image.Image]:
    answer = client.images.generate(model=name, prompt=prompt, **more)
    return [picture(one.b64_json) for one in answer.data or ()]


@pytest.mark.parametrize("name", ["painter", "tiles"])
def test_the_client_gets_pictures_of_the_runs_own_size(client: OpenAI, name: str) -> None:
    answer: Any = client.images.generate(model=name, prompt="a red square", n=2)
    assert answer.size == "32x32" and answer.output_format == "png" and abs(answer.created - time.time()) < 60
    found = [picture(one.b64_json) for one in answer.data]
    assert [(p.size, p.mode) for p in found] == [((32, 32), "RGB")] * 2
    assert not np.array_equal(*map(np.asarray, found))


def test_a_picture_is_what_the_run_paints(client: OpenAI, able: Served) -> None:
    model = able.models["tiles"]
    assert model.tokenizer is not None
    batch = {"text": encode(model.tokenizer, ["a red square"], 64)}
    with torch.no_grad():
        found = laid(model.method.prompt(batch, "image"), Rng(derive("picture", 7, 0)))  # type: ignore[operator]
    (got,) = painted(client, "tiles", "a red square", extra_body={"seed": 7})
    assert np.array_equal(np.asarray(got), found.data[0].permute(1, 2, 0).numpy())


@pytest.mark.parametrize("name", ["painter", "tiles"])
def test_the_same_seed_gives_the_same_pictures_however_many(client: OpenAI, name: str) -> None:
    def drawn(seed: int, n: int) -> list[bytes]:
        return [p.tobytes() for p in painted(client, name, "a red square", n=n, extra_body={"seed": seed})]

    three = drawn(1, 3)
    assert drawn(1, 2) == three[:2] and drawn(1, 1) == three[:1] and drawn(2, 3) != three
    assert painted(client, name, "a red square")[0].tobytes() != painted(client, name, "a red square")[0].tobytes()


def test_many_clients_get_the_pictures_that_each_gets_alone(client: OpenAI) -> None:
    asked = [(("painter", "tiles")[k % 2], f"a {('red', 'blue', 'green')[k % 3]} square", k) for k in range(12)]

    def drawn(one: tuple[str, str, int]) -> bytes:
        name, prompt, seed = one
        return painted(client, name, prompt, extra_body={"seed": seed})[0].tobytes()

    alone = [drawn(one) for one in asked]
    assert len(set(alone)) > 6
    with ThreadPoolExecutor(12) as pool:
        assert list(pool.map(drawn, asked)) == alone


def test_a_long_prompt_says_that_it_was_cut(client: OpenAI) -> None:
    answer: Any = client.images.generate(model="tiles", prompt="red " * 70)
    assert answer.truncated is True
    assert client.images.generate(model="tiles", prompt="red").truncated is False  # type: ignore[attr-defined]


TILES = {"model": "tiles", "prompt": "a"}
BAD: list[tuple[dict[str, Any], str, str | None]] = [
    ({"model": "clip"}, "clip does not paint pictures; clip embeds image and text, ranks; painter and", "model"),
    ({"model": "teller"}, "teller does not paint pictures; teller writes captions; painter and", "model"),
    ({"size": "1024x1024"}, "size: given '1024x1024'; tiles paints 32x32, or auto", "size"),
    ({"response_format": "url"}, "response_format: given 'url'; expected b64_json: this", "response_format"),
    ({"n": 9}, "n: given 9; expected a whole number from 1 to 8", "n"),
    ({"n": 0}, "n: given 0; expected a whole number from 1 to 8", "n"),
    ({"prompt": " "}, "prompt: an empty text", "prompt"),
    ({"prompt": ""}, "prompt: given ''; expected a text", "prompt"),
    ({"prompt": "a\0"}, "prompt: holds a NUL character", "prompt"),
    ({"seed": 0.5}, "seed: given 0.5; expected a whole number", "seed"),
    ({"seeds": 1}, "unknown field 'seeds'; did you mean 'seed'?", "seeds"),
]  # fmt: skip


@pytest.mark.parametrize(("given", "says", "param"), BAD, ids=lambda value: str(value)[:40])
def test_what_cannot_be_painted_is_told_in_one_line(
    paint: Ask, given: dict[str, Any], says: str, param: str | None
) -> None:
    answer = paint({**TILES, **given})
    assert answer.status == 400 and says in answer.error["message"]
    assert (answer.error["param"], answer.error["type"]) == (param, "invalid_request_error")


def test_what_openai_clients_may_send_is_taken(paint: Ask) -> None:
    for given in ({"size": "auto"}, {"size": "32x32"}, {"size": None, "n": None}, {"response_format": "b64_json"}):
        assert paint({**TILES, **given}).status == 200, given


def test_the_client_meets_its_own_errors(client: OpenAI) -> None:
    with pytest.raises(openai.NotFoundError, match=r"unknown model 'tile'; did you mean 'tiles'"):
        client.images.generate(model="tile", prompt="a")


def test_no_run_that_can_is_said_too(runs: dict[str, Any], url: str) -> None:
    answer = ask(url, "POST", PATH, {"model": "clip", "prompt": "a"})
    assert answer.error["message"].endswith("; no served run can")


def test_others_are_answered_between_two_pictures_and_a_client_that_leaves_ends_the_work(
    able: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[int] = []

    def slow(*given: Any) -> Image.Image:
        time.sleep(0.25)
        made.append(1)
        return Image.new("RGB", (32, 32))

    monkeypatch.setattr(generating, "painted", slow)
    with live(create(able, board=False)) as url:
        leaving = threading.Thread(target=_left, args=(url, {"model": "painter", "prompt": "a", "n": 8}))
        leaving.start()
        time.sleep(0.3)
        start = time.monotonic()
        body = {"model": "painter", "messages": [{"role": "user", "content": [_shown()]}], "max_tokens": 1}
        assert ask(url, "POST", "/v1/chat/completions", body).status == 200
        assert time.monotonic() - start < 1  # eight pictures take two seconds
        leaving.join()
        time.sleep(0.4)
        before = len(made)
        time.sleep(0.4)
        assert len(made) == before < 8
        ask(url, "POST", PATH, {"model": "tiles", "prompt": "a", "n": 2})
        text = ask(url, "GET", "/metrics").body.decode()
    assert 'sensorium_generated_total{model="tiles",what="pictures"} 2.0' in text
    assert f'route="{PATH}",status="200"' in text


def _shown() -> dict[str, Any]:
    from .conftest import coloured, url_of

    return {"type": "image_url", "image_url": {"url": url_of(coloured(1))}}


def _left(url: str, body: dict[str, Any]) -> None:
    """Ask, and leave after a second."""
    with pytest.raises(openai.APITimeoutError):
        OpenAI(base_url=url + "/v1", api_key="none", max_retries=0, timeout=1).images.generate(**body)
