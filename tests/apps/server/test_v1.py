"""/v1, asked by the official client over a socket."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
import openai
import pytest
from openai import OpenAI
from PIL import Image

from sensorium.apps.server.state import Served
from sensorium.run.runs import Model

from .conftest import Ask, coloured, url_of

TEXTS = ["a red square left", "a blue square", "something to eat"]


@pytest.fixture
def client(url: str) -> OpenAI:
    return OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0)


def embedded(model: Model, role: str, values: list[Any]) -> np.ndarray:
    return model.embed(model.read(role, values)).x[:, 0].numpy()


def part(image: Any) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url_of(image)}}


def test_models_say_what_they_can_do(client: OpenAI, call: Ask, there: Served) -> None:
    assert [m.id for m in client.models.list()] == list(there.models) == ["clip", "filip", "odd", "colours", "sides"]
    clip, filip = client.models.retrieve("clip").model_dump(), client.models.retrieve("filip").model_dump()
    assert clip["embeds"]["text"] == {"dimensions": 256, "multivector": False, "most_tokens": 64}
    assert filip["embeds"]["image"] == {"dimensions": 64, "multivector": True}
    assert call("GET", "/v1/models/colours").json["predicts"] == {"label": "label"}
    assert call("GET", "/v1/models/colours").json["ranks"] is False
    with pytest.raises(openai.NotFoundError, match=r"unknown model 'clop'; did you mean 'clip'?"):
        client.models.retrieve("clop")


@pytest.mark.parametrize("encoding", ["float", "base64"])
def test_embeddings_are_those_of_the_run(client: OpenAI, there: Served, encoding: Any) -> None:
    answer = client.embeddings.create(model="clip", input=TEXTS, encoding_format=encoding)
    got = [e.embedding for e in answer.data]
    if encoding == "base64":
        got = [np.frombuffer(base64.b64decode(e), "<f4") if isinstance(e, str) else e for e in got]
    np.testing.assert_allclose(np.array(got), embedded(there.models["clip"], "text", TEXTS), atol=1e-6)
    assert [e.index for e in answer.data] == [0, 1, 2]


def test_the_client_reads_one_text(client: OpenAI, there: Served) -> None:
    (one,) = client.embeddings.create(model="clip", input=TEXTS[0]).data
    np.testing.assert_allclose(one.embedding, embedded(there.models["clip"], "text", TEXTS[:1])[0], atol=1e-6)


def test_texts_and_pictures_come_back_in_the_order_of_the_input(client: OpenAI, there: Served) -> None:
    pictures = [coloured(1), coloured(2, (300, 20))]
    given: Any = [part(pictures[0]), TEXTS[0], {"type": "text", "text": TEXTS[1]}, {"image": url_of(pictures[1])}]
    got = [e.embedding for e in client.embeddings.create(model="clip", input=given).data]
    model = there.models["clip"]
    images, texts = embedded(model, "image", pictures), embedded(model, "text", TEXTS[:2])
    np.testing.assert_allclose(got, [images[0], texts[0], texts[1], images[1]], atol=1e-5)


def test_cut_vectors_have_length_one_and_keep_their_direction(client: OpenAI, there: Served) -> None:
    (cut,) = client.embeddings.create(model="clip", input=TEXTS[0], dimensions=7).data
    whole = embedded(there.models["clip"], "text", TEXTS[:1])[0, :7]
    np.testing.assert_allclose(cut.embedding, whole / np.linalg.norm(whole), atol=1e-6)


def test_usage_counts_the_tokens_of_texts(client: OpenAI, there: Served) -> None:
    given: Any = [TEXTS[0], part(coloured(3)), TEXTS[2]]
    tokenizer = there.models["clip"].tokenizer
    assert tokenizer is not None
    counted = sum(len(tokenizer.encode(t, add_special_tokens=False).ids) + 1 for t in (TEXTS[0], TEXTS[2]))
    usage = client.embeddings.create(model="clip", input=given).usage
    assert usage.prompt_tokens == usage.total_tokens == counted


def test_many_vectors_are_given_when_they_are_asked_for(call: Ask, there: Served) -> None:
    body = {"model": "filip", "input": TEXTS, "return_multivector": True}
    want = there.models["filip"].embed(there.models["filip"].read("text", TEXTS))
    for data, x, mask in zip(call("POST", "/v1/embeddings", body).json["data"], want.x, want.mask, strict=True):
        assert "embedding" not in data
        np.testing.assert_allclose(data["embeddings"], x[mask].numpy(), atol=1e-6)
    coded = call("POST", "/v1/embeddings", body | {"encoding_format": "base64"}).json["data"][0]["embeddings"]
    rows = [np.frombuffer(base64.b64decode(row), "<f4") for row in coded]
    np.testing.assert_allclose(rows, want.x[0][want.mask[0]].numpy(), atol=1e-6)
    error = call("POST", "/v1/embeddings", {"model": "filip", "input": "a"})
    assert error.status == 400 and "return_multivector: true, or use /v1/rerank or /search" in error.error["message"]


@pytest.mark.parametrize("name", ["clip", "filip", "odd"])
def test_rerank_gives_the_scores_of_the_run_in_falling_order(call: Ask, there: Served, name: str) -> None:
    model, picture = there.models[name], coloured(4)
    documents = [TEXTS[1], {"text": TEXTS[2]}, {"image": url_of(picture)}, part(picture), TEXTS[0]]
    body = {"model": name, "query": TEXTS[0], "documents": documents}
    answer = call("POST", "/v1/rerank", body).json
    query = model.read("text", [TEXTS[0]])
    texts = model.rank(query, model.read("text", [TEXTS[1], TEXTS[2], TEXTS[0]]))[0].tolist()
    image = model.rank(query, model.read("image", [picture]))[0].tolist()[0]
    want = [texts[0], texts[1], image, image, texts[2]]
    scores = [r["relevance_score"] for r in answer["results"]]
    assert scores == sorted(scores, reverse=True)
    for result in answer["results"]:
        assert result["relevance_score"] == pytest.approx(want[result["index"]], abs=1e-5)
    assert sorted(r["index"] for r in answer["results"]) == list(range(5))
    first = call("POST", "/v1/rerank", body | {"top_n": 2}).json["results"]
    assert [r["index"] for r in first] == [r["index"] for r in answer["results"][:2]]


def test_rerank_returns_documents_when_asked_and_takes_a_picture_as_query(call: Ask) -> None:
    body = {
        "model": "clip",
        "query": {"image": url_of(coloured(5))},
        "documents": ["b", {"image": url_of(coloured(5))}],
    }
    assert "document" not in call("POST", "/v1/rerank", body).json["results"][0]
    first = call("POST", "/v1/rerank", body | {"return_documents": True}).json["results"]
    assert first[0]["index"] == 1 and first[0]["relevance_score"] == pytest.approx(1, abs=1e-5)
    assert first[1]["document"] == {"text": "b"}


E = "/v1/embeddings"
R = "/v1/rerank"
GIVEN: list[tuple[Any, str]] = [
    ([], "expected a text, or a list of 1 to 2048"),
    (["a", 7], "input[1]: given 7; expected a text, or a list"),
    ([[1, 2]], "input[0]: given"),
    (["a", " "], "input[1]: an empty text"),
    ("", "input: an empty text"),
    ("a\0b", "input: holds a NUL character"),
    ("a" * 40_000, "input: 40,000 characters, limit 32,768"),
    (["a" * 32_000] * 40, "input: more than 1,000,000 characters in one request"),
    (["a"] * 2049, "expected a text, or a list of 1 to 2048"),
    ([{"image": "data:,"}] * 257, "input: more than 256 pictures in one request"),
    ({"type": "image_url", "image_url": {"url": "ftp://x/y"}}, "input: not a data: URL"),
    (["a", {"image": "http://127.0.0.1/x"}], "input[1]: this server fetches nothing; send a data: URL, or start it"),
    ({"image": "http://127.0.0.1/x.png"}, "with --allow-fetch HOSTS"),
    ({"image": "data:image/png;base64,AA=A"}, "input: not valid base64"),
    ({"image": "data:text/html;base64,AAAA"}, "input: a data: URL of text/html, not of a picture"),
    ({"image": "data:image/png,xyz"}, "input: not a data: URL in base64"),
    ({"image": "data:image/png;base64,AAAA"}, "input: not a picture in PNG"),
]


@pytest.mark.parametrize(("given", "says"), GIVEN, ids=lambda value: str(value)[:30])
def test_an_input_that_is_not_read_is_told_in_one_line(call: Ask, given: Any, says: str) -> None:
    answer = call("POST", E, {"model": "clip", "input": given})
    assert answer.status == 400 and answer.error["param"] == "input"
    assert says in answer.error["message"] and len(answer.error["message"]) < 200


CLIP = {"model": "clip", "input": "a"}
RANK = {"model": "clip", "query": "a", "documents": ["b"]}
BAD: list[tuple[str, Any, str, str | None]] = [
    (E, {"model": "clip"}, "input is missing; expected a text, or a list", "input"),
    (E, {"input": "a"}, "model is missing; expected the name of a served model", "model"),
    (E, CLIP | {"model": 3}, "model: given 3; expected the name of a served model", "model"),
    (E, CLIP | {"dimension": 2}, "unknown field 'dimension'; did you mean 'dimensions'?", "dimension"),
    (E, CLIP | {"dimensions": 0}, "dimensions: given 0; expected a whole number", "dimensions"),
    (E, CLIP | {"dimensions": 257}, "dimensions: given 257; expected 1 to 256", "dimensions"),
    (E, CLIP | {"encoding_format": "hex"}, "given 'hex'; expected float or base64", "encoding_format"),
    (E, CLIP | {"model": "colours"}, "colours does not embed text; colours predicts label", "input"),
    (R, RANK | {"documents": []}, "documents: given a value that does not fit; expected a list of 1", "documents"),
    (R, RANK | {"documents": ["b", ""]}, "documents[1]: an empty text", "documents"),
    (R, RANK | {"query": 7}, "query: given 7; expected a text", "query"),
    (R, RANK | {"top_n": 0}, "top_n: given 0; expected a whole number", "top_n"),
    (R, RANK | {"model": "colours"}, "colours does not rank; colours predicts label", None),
    (E, [1], "the body is not a JSON object", None),
    (E, "a", "the body is not a JSON object", None),
]


@pytest.mark.parametrize(("path", "body", "says", "param"), BAD, ids=lambda value: str(value)[:30])
def test_what_is_wrong_is_told_in_one_line(call: Ask, path: str, body: Any, says: str, param: str | None) -> None:
    answer = call("POST", path, body)
    assert answer.status == 400
    assert says in answer.error["message"]
    assert (answer.error["param"], answer.error["type"]) == (param, "invalid_request_error")


def test_bodies_that_no_parser_should_meet_are_refused(call: Ask) -> None:
    for body in (b"{", b"\xff", b"[" * 100_000, b'{"model": NaN}', b""):
        assert call("POST", E, body).status == 400, body[:10]
    surrogate = call("POST", E, b'{"model": "clip", "input": "\\ud800"}')
    assert surrogate.status == 400 and surrogate.error["message"] == "input: lone surrogate"


def test_the_client_meets_its_own_errors(client: OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as absent:
        client.embeddings.create(model="none", input="a")
    assert (absent.value.code, absent.value.param) == ("model_not_found", "model")
    with pytest.raises(openai.BadRequestError) as bad:
        client.embeddings.create(model="clip", input="")
    assert bad.value.param == "input"


def test_a_text_that_was_cut_says_so(client: OpenAI, call: Ask) -> None:
    given = ["a red square", "red " * 70, "red " * 62 + "red", "red " * 63 + "red"]
    found: Any = client.embeddings.create(model="clip", input=given)
    assert [e.truncated for e in found.data] == [False, True, False, True]
    assert found.usage.truncated == 2 and found.usage.prompt_tokens == 4 + 3 * 64
    body = {"model": "filip", "input": given, "return_multivector": True}
    assert [e["truncated"] for e in call("POST", E, body).json["data"]] == [False, True, False, True]
    ranked = call("POST", R, {"model": "clip", "query": "red " * 70, "documents": [given[0], given[1]]}).json
    assert ranked["usage"]["truncated"] == 2
    picture: Any = client.embeddings.create(model="clip", input=[{"image": url_of(coloured(1))}])  # type: ignore[list-item]
    assert picture.usage.truncated == 0 and not picture.data[0].truncated


def test_bombs_are_refused_from_their_headers(call: Ask) -> None:
    huge = url_of(Image.new("1", (20_000, 1000)))
    answer = call("POST", E, {"model": "clip", "input": {"image": huge}})
    assert answer.status == 400 and answer.error["message"] == "input: 20000 x 1000 pixels, limit 12 megapixels"
