"""/v1/chat/completions over a real socket, with the official client."""

from __future__ import annotations

import http.client
import json
import re
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

import openai
import pytest
import torch
from openai import OpenAI
from PIL import Image

from sensorium.apps.server.app import create
from sensorium.apps.server.state import Served
from sensorium.blocks.decode import decode
from sensorium.core import Field
from sensorium.data.media.image import fit
from sensorium.data.tokenise import encode
from sensorium.run.tasks import LONGEST_CAPTION

from .conftest import Answer, Ask, ask, live, url_of

PATH = "/v1/chat/completions"
QUESTION = "what is it"


@pytest.fixture(scope="module")
def client(whole: str) -> OpenAI:
    return OpenAI(base_url=whole + "/v1", api_key="none", max_retries=0)


@pytest.fixture
def say(whole: str) -> Ask:
    """Ask the server of every run: body."""
    return lambda body: ask(whole, "POST", PATH, body)


@pytest.fixture
def echo(able: Served) -> Iterator[Any]:
    """The decoder of echo, as it was afterwards: how slow it is, where it breaks, how often it was called."""
    decoder: Any = able.models["echo"].method.decoder
    yield decoder
    decoder.seconds, decoder.breaks = 0.0, -1


def pictures(able: Served, n: int) -> list[Image.Image]:
    return [able.data["squares"].image("image", k) for k in range(n)]


def shown(image: Image.Image) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url_of(image)}}


def user(*parts: Any) -> Any:
    """One message of the user."""
    return [{"role": "user", "content": parts[0] if isinstance(parts[0], str) else list(parts)}]


def told(able: Served, name: str, to: str, image: Image.Image, question: str = "") -> str:
    """What a run says of a picture, decoded as its scores are: the reference."""
    model = able.models[name]
    assert model.tokenizer is not None
    side = model.fields["image"].shape[-1]
    batch: dict[str, Any] = {"image": Field(torch.from_numpy(fit(image, side))[None])}
    if question:
        batch["text/question"] = encode(model.tokenizer, [question], 64)
    found = decode(model.method.prompt(model.method.frozen(batch), to), LONGEST_CAPTION)  # type: ignore[operator]
    return str(model.tokenizer.decode(found.ids[0][found.mask[0]].tolist())).strip()


def streamed(client: OpenAI, **asked: Any) -> tuple[list[str], list[Any]]:
    """The texts of a stream, and its chunks."""
    chunks = list(client.chat.completions.create(stream=True, **asked))
    return [c.choices[0].delta.content for c in chunks if c.choices and c.choices[0].delta.content], chunks


def test_a_card_tells_what_a_run_writes_and_paints(client: OpenAI) -> None:
    cards: dict[str, Any] = {card.id: card for card in client.models.list()}
    assert {name: (c.writes, c.paints) for name, c in cards.items() if c.writes or c.paints} == {
        "teller": ({"text": "caption"}, ""),
        "asker": ({"text/answer": "answer"}, ""),
        "painter": ({"text": "caption"}, "32x32"),
        "echo": ({"text/answer": "answer"}, ""),
        "tiles": ({}, "32x32"),
    }
    assert cards["clip"].writes == {} and cards["clip"].paints == ""


def test_the_client_reads_the_caption_that_the_run_gives(client: OpenAI, able: Served) -> None:
    want = [told(able, "teller", "text", image) for image in pictures(able, 8)]
    assert len(set(want)) > 3 and all(text.startswith("a ") for text in want)
    for image, text in zip(pictures(able, 8), want, strict=True):
        answer = client.chat.completions.create(model="teller", messages=user(shown(image)))
        (choice,) = answer.choices
        assert (choice.message.role, choice.message.content, choice.finish_reason) == ("assistant", text, "stop")
        assert answer.object == "chat.completion" and answer.id.startswith("chatcmpl-") and answer.model == "teller"
        assert abs(answer.created - time.time()) < 60


def test_the_client_reads_the_answer_that_the_run_gives(client: OpenAI, able: Served) -> None:
    image = pictures(able, 1)[0]
    answer = client.chat.completions.create(
        model="asker", messages=user(shown(image), {"type": "text", "text": QUESTION})
    )
    want = told(able, "asker", "text/answer", image, QUESTION)
    assert want and answer.choices[0].message.content == want


def test_usage_counts_the_tokens_of_question_and_answer(client: OpenAI, able: Served) -> None:
    tokenizer = able.models["echo"].tokenizer
    assert tokenizer is not None
    n = len(tokenizer.encode(QUESTION, add_special_tokens=False).ids)
    usage: Any = client.chat.completions.create(model="echo", messages=user(QUESTION)).usage
    assert (usage.prompt_tokens, usage.completion_tokens) == (n + 1, n)  # the question has its end mark
    assert usage.total_tokens == 2 * n + 1 and usage.truncated == 0


def test_a_stream_has_the_role_the_words_and_why_it_ended(client: OpenAI) -> None:
    texts, chunks = streamed(client, model="echo", messages=user(QUESTION))
    assert "".join(texts) == QUESTION and len(texts) > 2
    assert chunks[0].choices[0].delta.role == "assistant" and chunks[0].choices[0].delta.content == ""
    assert [c.choices[0].finish_reason for c in chunks] == [None] * (len(chunks) - 1) + ["stop"]
    assert len({c.id for c in chunks}) == 1 and {c.object for c in chunks} == {"chat.completion.chunk"}
    assert all(c.usage is None for c in chunks)


def test_a_stream_ends_with_its_usage_where_it_is_asked_for(client: OpenAI) -> None:
    once = client.chat.completions.create(model="echo", messages=user(QUESTION)).usage
    _, chunks = streamed(client, model="echo", messages=user(QUESTION), stream_options={"include_usage": True})
    assert chunks[-1].choices == [] and chunks[-1].usage == once
    assert all(c.usage is None for c in chunks[:-1])


def test_a_stream_is_made_of_events_and_a_mark_of_its_end(say: Ask) -> None:
    answer = say({"model": "echo", "messages": user(QUESTION), "stream": True})
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.headers["cache-control"] == "no-store"
    *events, end, rest = answer.body.decode().split("\n\n")
    assert end == "data: [DONE]" and rest == ""
    assert all(json.loads(event.removeprefix("data: "))["model"] == "echo" for event in events)


def test_a_stream_never_holds_half_a_character(client: OpenAI) -> None:
    question = "🙂 is 字字 é a 👩‍🚀?"
    texts, _ = streamed(client, model="echo", messages=user(question))
    assert "".join(texts) == question and len(texts) > 3
    assert not any("\ufffd" in text for text in texts)


def test_the_same_seed_gives_the_same_words_and_another_gives_others(client: OpenAI, able: Served) -> None:
    image = pictures(able, 1)[0]

    def drawn(seed: int | None, **more: Any) -> str:
        answer = client.chat.completions.create(
            model="teller", messages=user(shown(image)), temperature=1.5, seed=seed, max_tokens=9, **more
        )
        return str(answer.choices[0].message.content)

    first = [drawn(seed) for seed in range(6)]
    assert [drawn(seed) for seed in range(6)] == first and len(set(first)) > 2
    assert len({drawn(None) for _ in range(6)}) > 1  # without a seed every answer is drawn anew
    likeliest = told(able, "teller", "text", image)
    assert drawn(1, top_p=1e-9) == likeliest
    for cold in (0, 1e-9):
        answer = client.chat.completions.create(model="teller", messages=user(shown(image)), temperature=cold)
        assert answer.choices[0].message.content == likeliest


def test_an_answer_that_is_cut_says_so(client: OpenAI) -> None:
    for given in ({"max_tokens": 2}, {"max_completion_tokens": 2}, {"max_tokens": 9, "max_completion_tokens": 2}):
        answer: Any = client.chat.completions.create(model="echo", messages=user("a is a is a is"), **given)
        assert (answer.choices[0].message.content, answer.choices[0].finish_reason) == ("a is", "length")
        assert answer.usage.completion_tokens == 2
    whole = client.chat.completions.create(model="echo", messages=user("a is"), max_tokens=3)
    assert (whole.choices[0].message.content, whole.choices[0].finish_reason) == ("a is", "stop")


def test_no_answer_is_longer_than_what_the_run_has_learnt_to_write(client: OpenAI, able: Served) -> None:
    answer: Any = client.chat.completions.create(
        model="painter", messages=user(shown(pictures(able, 1)[0])), max_tokens=10**6
    )
    assert answer.usage.completion_tokens <= 64


def test_an_answer_ends_before_a_stop(client: OpenAI) -> None:
    for stop, want in ((" is", "what"), (["zzz", "it"], "what is"), (["none"], QUESTION), ("w", "")):
        answer = client.chat.completions.create(model="echo", messages=user(QUESTION), stop=stop)
        assert (answer.choices[0].message.content, answer.choices[0].finish_reason) == (want, "stop")
        texts, _ = streamed(client, model="echo", messages=user(QUESTION), stop=stop)
        assert "".join(texts) == want


def test_earlier_turns_and_the_system_are_taken_and_the_last_picture_counts(client: OpenAI, able: Served) -> None:
    answers = {told(able, "asker", "text/answer", image, QUESTION): image for image in pictures(able, 8)}
    (want_first, first), (want_second, second) = list(answers.items())[:2]
    text = {"type": "text", "text": QUESTION}
    earlier: Any = [
        {"role": "system", "content": "be brief"},
        {"role": "developer", "content": [{"type": "text", "text": "be kind"}]},
        {"role": "user", "content": [shown(first), {"type": "text", "text": "where is it"}], "name": "me"},
        {"role": "assistant", "content": "left"},
    ]
    for last, want in (([text], want_first), ([text, shown(second)], want_second)):
        answer = client.chat.completions.create(model="asker", messages=[*earlier, *user(*last)])
        assert answer.choices[0].message.content == want
    answer = client.chat.completions.create(
        model="teller", messages=[*earlier, *user(shown(second), {**text, "text": ""})]
    )
    assert answer.choices[0].message.content == told(able, "teller", "text", second)


def test_only_the_last_picture_is_looked_at(say: Ask, able: Served) -> None:
    earlier = [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "http://a.test/x.png"}}]}]
    body = {"model": "teller", "messages": [*earlier, *user(shown(pictures(able, 1)[0]))]}
    assert say(body).status == 200
    refused = say({"model": "teller", "messages": earlier})
    assert refused.status == 400 and "messages[0]: this server fetches nothing" in refused.error["message"]


def test_a_long_question_says_that_it_was_cut(say: Ask) -> None:
    answer = say({"model": "echo", "messages": user("is " * 100)}).json
    assert answer["usage"]["truncated"] == 1 and answer["usage"]["prompt_tokens"] == 64
    assert answer["choices"][0]["message"]["content"] == "is " * 62 + "is"
    assert say({"model": "echo", "messages": user("is " * 63)}).json["usage"]["truncated"] == 0


WHITE = Image.new("RGB", (8, 8), "white")
SOUND = {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}}
ASSISTANT = {"role": "assistant", "content": "a"}
BAD: list[tuple[dict[str, Any], str, str]] = [
    ({"model": "clip"}, "clip does not write text; clip embeds image and text, ranks; teller and asker and", "model"),
    ({"model": "tiles"}, "tiles does not write text; tiles paints pictures; teller and", "model"),
    ({"model": "teller"}, "teller has no use for words; teller writes captions: send a picture alone", "messages"),
    ({"model": "teller", "messages": user("")}, "teller needs a picture, and no message holds one; te", "messages"),
    ({"model": "asker"}, "asker needs a picture, and no message holds one; asker writes answers", "messages"),
    ({"model": "asker", "messages": user(shown(WHITE))}, "asker answers questions, and the", "messages"),
    ({"messages": user(shown(WHITE), {"type": "text", "text": "a"})}, "echo sees no pictures; echo writes", "messages"),
    ({"messages": user(SOUND)}, "messages[0]: echo hears no sound; echo writes answers", "messages"),
    ({"messages": [*user("a"), ASSISTANT]}, "the last message is not the user's", "messages"),
    ({"messages": []}, "messages: given a value that does not fit; expected a list", "messages"),
    ({"messages": "hi"}, "messages: given 'hi'; expected a list of 1 to 256 messages", "messages"),
    ({"messages": [*user("a"), {**ASSISTANT, "role": "tool"}]}, "messages[1]: given 'tool'; expected", "messages"),
    ({"messages": user("a\0b")}, "messages[0]: holds a NUL character", "messages"),
    ({"messages": user("a" * 40_000)}, "messages[0]: 40,000 characters, limit 32,768", "messages"),
    ({"messages": user("a" * 32_000) * 40}, "messages: more than 1,000,000 characters in one request", "messages"),
    ({"n": 2}, "n: given 2; expected 1: one answer per request", "n"),
    ({"temperature": 2.5}, "temperature: given 2.5; expected a number from 0", "temperature"),
    ({"top_p": 0}, "top_p: given 0; expected a number above 0", "top_p"),
    ({"max_tokens": 0}, "max_tokens: given 0; expected a whole number from 1", "max_tokens"),
    ({"stop": ""}, "stop: given ''; expected a text of 1 to 100 characters", "stop"),
    ({"stop": ["a"] * 5}, "expected a text of 1 to 100 characters, or a list of up to 4", "stop"),
    ({"seed": 1 << 63}, "seed: given 9223372036854775808; expected a whole number", "seed"),
    ({"stream_options": {"usage": True}}, "stream_options: given True; expected {include_usage:", "stream_options"),
    ({"tools": []}, "unknown field 'tools'; ", "tools"),
]  # fmt: skip


@pytest.mark.parametrize(("given", "says", "param"), BAD, ids=lambda value: str(value)[:40])
@pytest.mark.parametrize("stream", [False, True])
def test_what_cannot_be_answered_is_told_in_one_line(
    say: Ask, given: dict[str, Any], says: str, param: str, stream: bool
) -> None:
    answer = say({"model": "echo", "messages": user("a"), "stream": stream, **given})
    assert answer.status == 400 and says in answer.error["message"]
    assert (answer.error["param"], answer.error["type"]) == (param, "invalid_request_error")


def test_the_client_meets_its_own_errors(client: OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as absent:
        client.chat.completions.create(model="ech", messages=user("a"))
    assert absent.value.code == "model_not_found" and "did you mean 'echo'?" in absent.value.message
    with pytest.raises(openai.BadRequestError, match="clip does not write text"):
        client.chat.completions.create(model="clip", messages=user("a"), stream=True)


def test_thirty_two_clients_get_the_answers_that_each_gets_alone(whole: str, able: Served) -> None:
    """Questions, captions, drawn ones, whole and streamed, of several lengths, all at once."""
    words = ["what", "colour", "is", "it"]
    images = pictures(able, 8)
    bodies: list[dict[str, Any]] = []
    for k in range(8):
        question = " ".join(words[(k + j) % 4] for j in range(1 + 2 * k)) + f" {k}"
        bodies += [
            {"model": "echo", "messages": user(question), "stream": k % 2 == 0},
            {"model": "teller", "messages": user(shown(images[k])), "stream": k % 2 == 1},
            {"model": "teller", "messages": user(shown(images[k])), "temperature": 1.2, "seed": k, "max_tokens": 3 + k},
            {"model": "echo", "messages": user(question + " ?"), "stop": "it", "max_tokens": 4 + k},
        ]
    alone = [spoken(ask(whole, "POST", PATH, body)) for body in bodies]
    assert len(set(alone)) > 16
    start = threading.Barrier(len(bodies))

    def together(body: dict[str, Any]) -> str:
        start.wait()
        return spoken(ask(whole, "POST", PATH, body))

    with ThreadPoolExecutor(len(bodies)) as pool:
        assert list(pool.map(together, bodies)) == alone


def spoken(answer: Answer) -> str:
    """The text of an answer, whole or streamed, and why it ended."""
    assert answer.status == 200, answer.body
    if answer.headers["content-type"] == "application/json":
        choice = answer.json["choices"][0]
        return f"{choice['message']['content']}/{choice['finish_reason']}"
    events = [json.loads(line[6:]) for line in answer.body.decode().splitlines() if line.startswith("data: {")]
    deltas = [event["choices"][0]["delta"].get("content", "") for event in events]
    return f"{''.join(deltas)}/{events[-1]['choices'][0]['finish_reason']}"


def test_what_waits_meanwhile_is_decoded_together(able: Served, echo: Any) -> None:
    echo.seconds = 0.05

    def late(k: int) -> str:
        time.sleep(0.03 * k)
        return spoken(ask(url, "POST", PATH, {"model": "echo", "messages": user(f"what is {k}")}))

    with live(create(able, board=False)) as url, ThreadPoolExecutor(16) as pool:
        before = echo.passes
        assert list(pool.map(late, range(16))) == [f"what is {k}/stop" for k in range(16)]
    assert echo.passes - before < 40  # each alone takes four passes or more


def test_a_long_answer_stops_nobody_else(able: Served, echo: Any) -> None:
    echo.seconds = 0.1
    done: dict[str, float] = {}

    def timed(name: str, url: str, *given: Any) -> None:
        start = time.monotonic()
        assert ask(url, *given).status == 200
        done[name] = time.monotonic() - start

    with live(create(able, board=False)) as url:
        long = {"model": "echo", "messages": user("is " * 30), "stream": True}
        writing = threading.Thread(target=timed, args=("long", url, "POST", PATH, long))
        writing.start()
        time.sleep(0.5)
        timed("health", url, "GET", "/health")
        timed("embeddings", url, "POST", "/v1/embeddings", {"model": "clip", "input": "a"})
        timed("short", url, "POST", PATH, {"model": "echo", "messages": user("is it")})
        assert writing.is_alive()
        writing.join(20)
    assert done["long"] > 3 and done["health"] < 0.5 and done["embeddings"] < 0.5
    assert done["short"] < 1.5  # its three passes come between those of the long one


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_leaves_stops_the_decoding(able: Served, echo: Any, stream: bool) -> None:
    echo.seconds = 0.05
    with live(create(able, board=False)) as url:
        connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=10)
        body = json.dumps({"model": "echo", "messages": user("is " * 60), "stream": stream})
        connection.request("POST", PATH, body, {"Content-Type": "application/json"})
        if stream:
            answer = connection.getresponse()
            assert answer.readline().startswith(b"data: ")
            answer.close()
        time.sleep(0.3)
        before = echo.passes
        connection.close()
        time.sleep(0.4)
        stopped = echo.passes
        assert stopped - before < 6
        time.sleep(0.3)
        assert echo.passes == stopped
        assert spoken(ask(url, "POST", PATH, {"model": "echo", "messages": user("is it")})) == "is it/stop"


def test_an_answer_that_breaks_off_says_so_and_the_next_one_is_given(able: Served, echo: Any) -> None:
    with live(create(able, board=False)) as url:
        client = OpenAI(base_url=url + "/v1", api_key="none", max_retries=0)
        echo.breaks = 3
        texts = []
        with pytest.raises(openai.APIError, match="the server failed to go on; its log says why"):
            for chunk in client.chat.completions.create(model="echo", messages=user(QUESTION), stream=True):
                texts.append(chunk.choices[0].delta.content or "")
        assert "".join(texts) and QUESTION.startswith("".join(texts))
        answer = ask(url, "POST", PATH, {"model": "echo", "messages": user(QUESTION)})
        assert answer.status == 500 and b"secret" not in answer.body
        echo.breaks = -1
        assert spoken(ask(url, "POST", PATH, {"model": "echo", "messages": user(QUESTION)})) == f"{QUESTION}/stop"


def test_the_server_ends_once_a_stream_has_ended(able: Served, echo: Any) -> None:
    echo.seconds = 0.05
    found: list[Answer] = []
    with live(create(able, board=False)) as url:
        body = {"model": "echo", "messages": user("is " * 20), "stream": True}
        flying = threading.Thread(target=lambda: found.append(ask(url, "POST", PATH, body)))
        flying.start()
        time.sleep(0.3)
        assert flying.is_alive()
    flying.join(10)
    assert spoken(found[0]) == "is " * 19 + "is/stop"


def test_requests_and_tokens_are_counted(able: Served) -> None:
    with live(create(able, board=False)) as url:
        for stream in (False, True):
            ask(url, "POST", PATH, {"model": "echo", "messages": user("is it"), "stream": stream})
        ask(url, "POST", PATH, {"model": "clip", "messages": user("is it")})
        text = ask(url, "GET", "/metrics").body.decode()
    assert f'sensorium_requests_total{{method="POST",route="{PATH}",status="200"}} 2.0' in text
    assert f'sensorium_requests_total{{method="POST",route="{PATH}",status="400"}} 1.0' in text
    assert re.search(r'sensorium_generated_total\{model="echo",what="tokens"\} 4.0', text)
    assert 'sensorium_batch_requests_count{model="echo"} 2.0' in text
