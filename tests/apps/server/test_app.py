"""The application as a whole: what it publishes it keeps to, whatever is sent."""

from __future__ import annotations

import json
import re
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from sensorium.apps.server import v1
from sensorium.apps.server.app import create
from sensorium.apps.server.batch import Busy
from sensorium.apps.server.state import Served

from .conftest import Ask, ask, coloured, live, url_of

ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
SHORT = settings(
    max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
POSTS = ("/v1/embeddings", "/v1/rerank", "/v1/chat/completions", "/v1/images/generations", "/search", "/predict")
NAMES = ["clip", "clip", "odd", "colours", "echo", "echo", "tiles", "tiles", "none"]
SAID = [{"role": "user", "content": "a red square"}]


def values(schema: dict[str, Any], schemas: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Values of a published schema, and now and then something else."""
    if "$ref" in schema:
        schema = schemas[schema["$ref"].rpartition("/")[2]]
    if options := schema.get("anyOf") or schema.get("oneOf"):
        return st.one_of([values(option, schemas) for option in options])
    if "const" in schema or "enum" in schema:
        return st.sampled_from(schema.get("enum") or [schema["const"]])
    low, high = int(schema.get("minimum", -5)), int(schema.get("maximum", 5000))
    of: dict[str, Any] = {
        "string": st.sampled_from(["clip", "filip", "colours", "squares", "fr", "label", "a red square", WHITE])
        | st.text(),
        "integer": st.integers(low, high),
        "number": st.floats(low, min(high, 2)) | st.floats(),
        "boolean": st.booleans(),
        "null": st.none(),
    }
    if schema.get("type") == "array":
        return st.lists(values(schema.get("items", {}), schemas), max_size=4)
    if schema.get("type") == "object" and "properties" in schema:
        needed = set(schema.get("required", ()))
        parts = {name: values(part, schemas) for name, part in schema["properties"].items()}
        parts |= {"model": st.sampled_from(NAMES)} if "model" in parts else {}
        parts |= {"messages": parts["messages"] | st.just(SAID)} if "messages" in parts else {}
        return st.fixed_dictionaries(
            {k: v for k, v in parts.items() if k in needed},
            optional={k: v for k, v in parts.items() if k not in needed},
        )
    if schema.get("type") == "object":
        return st.dictionaries(st.sampled_from(["image", "text", "label"]), st.just(WHITE) | ANY, max_size=3)
    return of.get(schema.get("type", ""), ANY)


WHITE = url_of(coloured(0))


@pytest.fixture(scope="module")
def api(whole: str) -> dict[str, Any]:
    """The published description."""
    return dict(ask(whole, "GET", "/openapi.json").json)


@pytest.fixture
def call(whole: str) -> Ask:
    """Ask a server of every run that there is: method, path, body."""
    return lambda *given, **more: ask(whole, *given, **more)


def body_of(api: dict[str, Any], path: str) -> dict[str, Any]:
    return dict(api["paths"][path]["post"]["requestBody"]["content"]["application/json"]["schema"])


def kept(api: dict[str, Any], method: str, path: str, answer: Any) -> None:
    """A documented status, never a failure; refusals in OpenAI's shape; answers with the fields that are promised."""
    documented = api["paths"][path][method]["responses"]
    assert str(answer.status) in documented and answer.status < 500, (answer.status, answer.body[:300])
    if answer.status >= 400:
        assert answer.error["message"]
        return
    if answer.headers.get("content-type", "").startswith("text/event-stream"):
        assert "text/event-stream" in documented["200"]["content"] and answer.body.endswith(b"data: [DONE]\n\n")
        return
    schema = documented[str(answer.status)]["content"].get("application/json", {}).get("schema", {})
    if "$ref" in schema:
        schema = api["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
        assert set(schema.get("required", ())) <= set(answer.json) <= set(schema["properties"])


def strict(body: Any) -> bytes:
    """JSON as Python writes it, NaN and lone surrogates included."""
    return json.dumps(body).encode()


@pytest.mark.parametrize("path", POSTS)
def test_arbitrary_bodies_get_documented_answers(call: Ask, api: dict[str, Any], path: str) -> None:
    @SHORT
    @given(ANY | st.binary(max_size=40))
    @example({"model": "clip", "input": "\ud800"})
    @example({"query": "\ud800", "model": "\0", "documents": ["\0"]})
    @example({"model": "clip", "input": "a", "dimensions": 1e300})
    @example({"inputs": [{"image": WHITE, "text": "\ud800"}]})
    @example({"model": "echo", "messages": [{"role": "user", "content": "\ud800"}]})
    @example({"model": "echo", "messages": SAID, "stop": "\ud800", "temperature": 1e300})
    @example({"model": "tiles", "prompt": "\ud800", "size": "\ud800"})
    @example({"model": "tiles", "prompt": "a", "seed": 1e300})
    def check(body: Any) -> None:
        kept(api, "post", path, call("POST", path, body if isinstance(body, bytes) else strict(body)))

    check()


@pytest.mark.parametrize("path", POSTS)
def test_bodies_of_the_published_schema_get_documented_answers(call: Ask, api: dict[str, Any], path: str) -> None:
    seen: set[int] = set()

    @SHORT
    @given(values(body_of(api, path), api["components"]["schemas"]))
    def check(body: Any) -> None:
        answer = call("POST", path, strict(body))
        seen.add(answer.status)
        kept(api, "post", path, answer)

    check()
    assert {200, 400} <= seen  # what is generated reaches the work, and also what is refused


def test_arbitrary_paths_and_queries_get_documented_answers(call: Ask, api: dict[str, Any]) -> None:
    gets = [path for path, methods in api["paths"].items() if "get" in methods]
    words = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)

    @SHORT
    @given(
        st.sampled_from(gets),
        words,
        st.dictionaries(st.sampled_from(["q", "top", "row", "id", "model", "data"]), words),
    )
    def check(path: str, name: str, query: dict[str, str]) -> None:
        part = quote(name, safe="") or "x"
        asked = re.sub(r"\{\w+\}", lambda _: part if part not in (".", "..") else "x", path)
        answer = call("GET", f"{asked}?{urlencode(query)}")
        if asked != path and answer.status == 404 and "no route" in answer.error["message"]:
            return  # an encoded slash makes it another path
        kept(api, "get", path, answer)

    check()


def test_what_is_published_has_no_status_that_is_never_given(api: dict[str, Any]) -> None:
    assert "422" not in json.dumps(api["paths"])
    assert "HTTPValidationError" not in json.dumps(api)
    assert set(api["paths"]) == {
        "/v1/models",
        "/v1/models/{model}",
        "/v1/embeddings",
        "/v1/rerank",
        "/v1/chat/completions",
        "/v1/images/generations",
        "/search",
        "/thumbs/{name}",
        "/predict",
        "/health",
        "/metrics",
    }


def test_every_field_of_a_request_is_described(api: dict[str, Any]) -> None:
    for path in POSTS:
        schema = body_of(api, path)
        if "$ref" in schema:
            schema = api["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
        for name, field in schema["properties"].items():
            assert field.get("description"), (path, name)


def test_the_page_of_routes_names_them_all_and_loads_nothing(call: Ask, api: dict[str, Any]) -> None:
    page = call("GET", "/docs").body.decode()
    for path in api["paths"]:
        assert path in page
    assert "dimensions" in page and "return_multivector" in page
    assert not re.search(r"<(script|link|img|style)|https?:|src=", page)


def test_unknown_routes_and_wrong_methods_have_the_shape_of_openai(call: Ask) -> None:
    for path in ("/v1/chat", "/v1/images/edits", "/v1/", "/v2", "/docs/", "/"):
        answer = call("POST", path, {})
        assert answer.status == 404 and answer.error["type"] == "not_found_error", path
    wrong = call("DELETE", "/v1/embeddings")
    assert (
        wrong.status == 405
        and wrong.headers["allow"] == "POST"
        and wrong.error["message"] == "no route DELETE /v1/embeddings"
    )


def test_counts_are_by_route_and_status(there: Served) -> None:
    with live(create(there, board=False)) as url:
        for _ in range(3):
            ask(url, "POST", "/v1/embeddings", {"model": "clip", "input": "a"})
        ask(url, "POST", "/v1/embeddings", {"model": "clip"})
        ask(url, "GET", "/v1/models/clip")
        for path in ("/secret/a", "/secret/b"):
            ask(url, "GET", path)
        answer = ask(url, "GET", "/metrics")
    text = answer.body.decode()
    assert answer.headers["content-type"].startswith("text/plain")
    for line in (
        'sensorium_requests_total{method="POST",route="/v1/embeddings",status="200"} 3.0',
        'sensorium_requests_total{method="POST",route="/v1/embeddings",status="400"} 1.0',
        'sensorium_requests_total{method="GET",route="/v1/models/{model}",status="200"} 1.0',
        'sensorium_requests_total{method="GET",route="other",status="404"} 2.0',
        'sensorium_request_seconds_count{route="/v1/embeddings"} 4.0',
        'sensorium_batch_requests_count{model="clip"} 3.0',
        'sensorium_queue_requests{model="filip"} 0.0',
    ):
        assert line in text, line
    assert "secret" not in text


def test_a_failure_tells_nothing_of_itself(there: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(*given: Any) -> Any:
        raise RuntimeError("/secret/path")

    monkeypatch.setattr(v1, "embed", broken)
    with live(create(there, board=False)) as url:
        answer = ask(url, "POST", "/v1/embeddings", {"model": "clip", "input": "a"})
        assert ask(url, "GET", "/health").json == {"status": "ok"}
    assert answer.status == 500 and answer.error["type"] == "server_error" and b"secret" not in answer.body


def test_too_much_at_once_is_503_with_when_to_come_again(there: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    async def full(*given: Any) -> Any:
        raise Busy("clip")

    monkeypatch.setattr(v1, "embed", full)
    with live(create(there, board=False)) as url:
        answer = ask(url, "POST", "/v1/embeddings", {"model": "clip", "input": "a"})
    assert answer.status == 503 and answer.headers["retry-after"] == "1"
    assert answer.error["message"] == "too many requests wait for clip; come again"
    assert (answer.error["type"], answer.error["param"]) == ("overloaded_error", None)


def test_a_browser_is_shown_the_board_and_a_program_its_answer(there: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    html = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
    with live(create(there)) as url:
        assert ask(url, "GET", "/search?q=red&top=1").json["results"]
        page = ask(url, "GET", "/search?q=red&top=1", None, html)
        assert page.status == 200 and page.headers["content-type"].startswith("text/html")
        assert ask(url, "GET", "/", None, html).status == 200
        monkeypatch.setitem(there.data, "a/squares", there.data["squares"])
        for name in ("squares", "a/squares", "a%2Fsquares"):
            opened = ask(url, "GET", f"/thumbs/{name}?row=1", None, html)  # in a tab of its own
            assert opened.status == 200 and opened.headers["content-type"] == "image/png", name
        assert ask(url, "GET", "/v1/models", None, html).json["object"] == "list"
    with live(create(there, board=False)) as url:
        assert ask(url, "GET", "/search?q=red&top=1", None, html).json["results"]


def test_a_browser_without_a_key_is_led_to_the_login(there: Served) -> None:
    key = "k" * 20
    html = {"Accept": "text/html"}
    with live(create(there, keys=frozenset({key}))) as url:
        led = ask(url, "GET", "/search?q=red&top=1", None, html)
        assert (led.status, led.headers["location"]) == (303, "/login?next=%2Fsearch%3Fq%3Dred%26top%3D1")
        assert ask(url, "GET", "/login", None, html).status == 200
        assert ask(url, "GET", "/papers").status == 401
        assert ask(url, "GET", "/papers", None, html | {"Cookie": f"sensorium_key={key}"}).status == 200
        for path in ("/static/../papers", "/static/%2e%2e/papers", "//papers", "/login/../papers", "/health/"):
            assert ask(url, "GET", path, None, html).status in (303, 404), path
