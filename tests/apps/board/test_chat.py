"""A conversation without a script and as events: it lives in the form, and both ways give the same answer."""

from __future__ import annotations

import html
import io
import json
import re
from collections.abc import Sequence
from pathlib import Path

import pytest
from PIL import Image

from sensorium.apps.board import chat
from sensorium.apps.board.chat import MOST_PICTURES, MOST_TURNS, Message, turn_of, url_of
from sensorium.core import SensoriumError

from .conftest import HOSTILE, Answer, Site, ask
from .test_image import said
from .test_pages import Page

MARK = "a-boundary-of-the-tests"


def sent(site: Site, path: str, fields: Sequence[tuple[str, str]], image: bytes | None = None) -> Answer:
    """A form whose fields may come several times."""
    parts = [f'--{MARK}\r\nContent-Disposition: form-data; name="{k}"\r\n\r\n{v}\r\n'.encode() for k, v in fields]
    if image is not None:
        head = f'--{MARK}\r\nContent-Disposition: form-data; name="image"; filename="x.png"\r\n'
        parts.append(f"{head}Content-Type: image/png\r\n\r\n".encode() + image + b"\r\n")
    body = b"".join([*parts, f"--{MARK}--\r\n".encode()])
    return ask(site.url + path, body, Content_Type=f"multipart/form-data; boundary={MARK}", Origin=site.url)


def held(text: str) -> list[tuple[str, str]]:
    """The fields of a page that hold its conversation."""
    turn = (
        r'<input type="hidden" name="role" value="(\w+)"><input type="hidden" name="seen" value="([^"]*)">'
        r'<textarea name="said" hidden>\n(.*?)</textarea>'
    )
    found = [(role, seen, html.unescape(words)) for role, seen, words in re.findall(turn, text, re.S)]
    return [pair for role, seen, words in found for pair in (("role", role), ("seen", seen), ("said", words))]


def shown(text: str) -> list[str]:
    return [html.unescape(words) for words in re.findall(r'<p class="said">(.*?)</p>', text, re.S)]


def events(answer: Answer) -> list[dict[str, str]]:
    assert answer.headers["Content-Type"].startswith("text/event-stream")
    return [json.loads(part.removeprefix("data: ")) for part in answer.text.split("\n\n")[:-1]]


@pytest.fixture
def red(folder: Path) -> bytes:
    return (folder / "05.png").read_bytes()


def test_a_conversation_goes_on_from_what_the_page_holds(studio: Site, red: bytes) -> None:
    picture = Image.open(io.BytesIO(red)).convert("RGB")
    first = sent(studio, "/chat/form", [("run", "answerer"), ("text", "which colour")], red)
    assert first.status == 200 and Page(first.text).wrong == []
    assert shown(first.text) == ["which colour", said(studio.served, "answerer", "which colour", picture)]
    assert first.text.count('<img src="data:image/png;base64,') == 1
    assert "<option selected>answerer</option>" in first.text
    then = sent(studio, "/chat/form", [*held(first.text), ("run", "answerer"), ("text", "which shape")])
    assert shown(then.text)[:2] == shown(first.text)
    assert shown(then.text)[2:] == ["which shape", said(studio.served, "answerer", "which shape", picture)]
    assert then.text.count('<img src="data:image/png;base64,') == 1  # the picture is the first message's


def test_what_is_streamed_is_the_same_in_pieces(studio: Site, red: bytes) -> None:
    fields = [("run", "teller"), ("most", "40")]
    whole = sent(studio, "/chat/form", fields, red)
    told = events(sent(studio, "/chat/stream", fields, red))
    assert list(told[0]) == ["turns"] and held(told[0]["turns"]) == [*held(whole.text)[:5], ("said", "")]
    pieces = [event["text"] for event in told[1:]]
    assert "".join(pieces).strip() == shown(whole.text)[1].strip() != "" and len(pieces) > 2
    assert {event["note"] for event in told[1:]} == {""}


def test_an_answer_that_is_cut_says_so(studio: Site, red: bytes) -> None:
    fields = [("run", "teller"), ("most", "1")]
    assert "cut after 1 tokens" in Page(sent(studio, "/chat/form", fields, red).text).words
    assert events(sent(studio, "/chat/stream", fields, red))[-1]["note"] == "cut after 1 tokens"


def test_a_seed_gives_the_same_words_again(studio: Site, red: bytes) -> None:
    def text(seed: int) -> str:
        fields = [("run", "teller"), ("temperature", "2"), ("seed", str(seed)), ("most", "30")]
        return shown(sent(studio, "/chat/form", fields, red).text)[1]

    assert text(1) == text(1) and len({text(seed) for seed in range(4)}) > 1


def test_a_row_is_a_picture_to_begin_with(studio: Site) -> None:
    page = ask(f"{studio.url}/chat?data=scenes&row=3&run=answerer").text
    attached = re.search(r'name="attached" value="(data:[^"]+)" checked', page)
    assert attached and "<option selected>answerer</option>" in page
    found = sent(studio, "/chat/form", [("run", "teller"), ("attached", attached[1])])
    assert shown(found.text)[1] == said(studio.served, "teller", "", studio.served.data["scenes"].image("image", 3))


def test_nothing_that_is_said_is_carried_out(studio: Site, red: bytes) -> None:
    fields = [("run", "answerer"), ("text", f"</textarea>{HOSTILE}")]
    found = sent(studio, "/chat/form", fields, red)
    assert HOSTILE not in found.text and shown(found.text)[0] == f"</textarea>{HOSTILE}"
    assert dict(held(found.text)[:3])["said"] == f"</textarea>{HOSTILE}" and Page(found.text).wrong == []
    assert HOSTILE not in events(sent(studio, "/chat/stream", fields, red))[0]["turns"]


def test_lines_stay_lines(studio: Site, red: bytes) -> None:
    found = sent(studio, "/chat/form", [("run", "answerer"), ("text", "\r\nwhich\r\ncolour")], red)
    assert shown(found.text)[0] == "which\ncolour"
    again = sent(studio, "/chat/form", [*held(found.text), ("run", "answerer"), ("text", "which shape")])
    assert shown(again.text)[0] == "which\ncolour"


def turns(n: int, image: str = "") -> list[tuple[str, str]]:
    return [pair for _ in range(n) for pair in (("role", "user"), ("seen", image), ("said", "a"))]


BLANK = url_of(Image.new("RGB", (4, 4)))
BAD = {
    "nothing": ([("run", "teller")], "nothing was said"),
    "to a captioner": ([("run", "teller"), ("text", "hello"), ("attached", BLANK)], "teller has no use for words"),
    "no picture": ([("run", "answerer"), ("text", "which colour")], "answerer needs a picture"),
    "a run that does not write": ([("run", "late"), ("text", "a")], "late does not write; late embeds image and text"),
    "an unknown run": ([("run", "tellr"), ("text", "a")], "did you mean 'teller'?"),
    "too long": ([("run", "answerer"), ("text", "a" * 8001)], "at most 8,000 are read"),
    "hot": ([("run", "answerer"), ("text", "a"), ("temperature", "9")], "expected a number from 0 to 2"),
    "too many tokens": ([("run", "answerer"), ("text", "a"), ("most", "513")], "expected a whole number from 1 to 512"),
    "a torn conversation": ([("role", "user"), ("text", "a")], "is not whole"),
    "another role": ([("role", "root"), ("seen", ""), ("said", "a"), ("text", "a")], "is not whole"),
    "too many turns": ([*turns(MOST_TURNS - 1), ("text", "a")], f"at most {MOST_TURNS} messages"),
    "too many pictures": ([*turns(MOST_PICTURES, BLANK), ("text", "a")], f"at most {MOST_PICTURES} pictures"),
    "no data URL": ([("run", "answerer"), ("text", "a"), ("attached", "https://example.org/x.png")], "not readable"),
    "not a picture": ([("run", "answerer"), ("text", "a"), ("attached", "data:image/png;base64,AAAA")], "not readable"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_what_cannot_be_answered_is_told_and_what_was_typed_stays(studio: Site, name: str) -> None:
    fields, line = BAD[name]
    found = sent(studio, "/chat/form", fields)
    assert found.status in (400, 404) and line in Page(found.text).words and Page(found.text).wrong == []
    typed = dict(fields).get("text", "")
    if 0 < len(typed) < 8000 and "role" not in dict(fields):
        assert f"\n{typed}</textarea></label>" in found.text
    told = events(sent(studio, "/chat/stream", fields))[-1]
    assert line in told["problem"]


def test_a_picture_of_a_conversation_is_small() -> None:
    large = url_of(Image.new("RGB", (2000, 1000), "red"))
    assert turn_of(Message("user", "a", large)).images[0].size == (chat.SIDE, chat.SIDE // 2)
    with pytest.raises(SensoriumError, match="limit"):
        turn_of(Message("user", "a", "data:image/png;base64," + _png(Image.new("RGB", (chat.SIDE + 1, chat.SIDE)))))


def _png(image: Image.Image) -> str:
    import base64

    out = io.BytesIO()
    image.save(out, "PNG")
    return base64.b64encode(out.getvalue()).decode()


def test_where_no_run_writes_the_page_says_which_would(site: Site) -> None:
    text = ask(f"{site.url}/chat").text
    said = Page(text).words
    assert "Chat needs a run that generates text" in said and "late embeds image and text, ranks" in said
    assert "<form" not in text
    found = sent(site, "/chat/form", [("text", "a")])
    assert found.status == 400 and "no served run writes" in Page(found.text).words


def test_what_each_run_reads_is_said(studio: Site) -> None:
    said = Page(ask(f"{studio.url}/chat").text).words
    assert "teller reads a picture: give a picture without words" in said
    assert "answerer reads a picture and a question: it answers the last question about the last picture." in said
    assert "finder predicts" in said.partition("What cannot chat")[2]
