"""Search over HTTP gives what the command line gives."""

from __future__ import annotations

import io
import uuid
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from PIL import Image

from sensorium.apps.search import find
from sensorium.apps.server import search as searching
from sensorium.apps.server.app import create
from sensorium.apps.server.search import warm
from sensorium.apps.server.state import Served, served
from sensorium.core import SensoriumError

from .conftest import Answer, Ask, ask, coloured, live, png, url_of

JSON = {"Accept": "application/json"}


def multipart(call: Ask, fields: dict[str, str], file: bytes, name: str = "image", filename: str = "a.png") -> Answer:
    mark = uuid.uuid4().hex
    lines = [
        f'--{mark}\r\nContent-Disposition: form-data; name="{k}"\r\n\r\n{v}\r\n'.encode() for k, v in fields.items()
    ]
    head = f'--{mark}\r\nContent-Disposition: form-data; name="{name}"; filename="{filename}"\r\n\r\n'.encode()
    body = b"".join([*lines, head, file, f"\r\n--{mark}--\r\n".encode()])
    return call("POST", "/search", body, {"Content-Type": f"multipart/form-data; boundary={mark}"})


def hits(answer: Answer) -> list[tuple[Any, ...]]:
    assert answer.status == 200, answer.body
    return [(r["id"], r["score"], r["text"], r["seen"]) for r in answer.json["results"]]


def wanted(
    there: Served, model: str, tmp_path: Path, text: str | None, image: Image.Image | None, top: int
) -> list[Any]:
    path = tmp_path / "query.png"
    if image is not None:
        image.save(path)
    found = find(there.models[model], there.data["squares"], text, path if image is not None else None, top)
    return [(h.id, h.score, h.text, h.seen) for h in found]


@pytest.mark.parametrize("model", ["clip", "filip", "odd"])
@pytest.mark.parametrize("what", ["words", "picture", "both"])
def test_rows_and_scores_are_those_of_find(call: Ask, there: Served, tmp_path: Path, model: str, what: str) -> None:
    text = None if what == "picture" else "a red square"
    image = None if what == "words" else coloured(11)
    body = {"model": model, "top": 7} | ({"query": text} if text else {}) | ({"image": url_of(image)} if image else {})
    got, want = hits(call("POST", "/search", body)), wanted(there, model, tmp_path, text, image, 7)
    assert [(g[0], g[2], g[3]) for g in got] == [(w[0], w[2], w[3]) for w in want]
    assert [g[1] for g in got] == pytest.approx([w[1] for w in want], abs=2e-4)


def test_every_way_to_ask_finds_the_same(call: Ask) -> None:
    picture = coloured(12)
    posted = hits(call("POST", "/search", {"query": "a blue square", "top": 3}))
    assert hits(call("GET", f"/search?q={quote('a blue square')}&top=3")) == posted
    both = hits(call("POST", "/search", {"query": "a blue square", "image": url_of(picture), "top": 3}))
    assert hits(multipart(call, {"query": "a blue square", "top": "3"}, png(picture))) == both
    assert hits(multipart(call, {"query": "a blue square", "top": "3"}, png(picture), filename="../../x.png")) == both


def test_the_first_run_and_its_own_data_are_searched_unless_named(call: Ask) -> None:
    answer = call("GET", "/search?q=red&top=1").json
    assert (answer["model"], answer["data"]) == ("clip", "squares")
    assert call("GET", "/search?q=red&model=filip&data=squares").json["model"] == "filip"


def test_a_language_is_read_under_its_own_key(call: Ask, there: Served) -> None:
    assert hits(call("GET", f"/search?q={quote('carré')}&language=fr&top=2"))
    bad = call("GET", "/search?q=x&language=de")
    assert bad.status == 400 and bad.error["message"] == "clip was trained without text.de; its languages: fr"


BAD: list[tuple[int, dict[str, Any], str, str | None]] = [
    (400, {}, "nothing to search with: give words, a picture, or both", None),
    (400, {"query": " "}, "query: an empty text", "query"),
    (400, {"query": "a", "top": 0}, "top: given 0; expected a whole number from 1 to 1000", "top"),
    (400, {"query": "a", "topp": 1}, "unknown field 'topp'; did you mean 'top'?", "topp"),
    (400, {"query": 3}, "query: given 3; expected words", "query"),
    (404, {"query": "a", "model": "clop"}, "unknown model 'clop'; did you mean 'clip'?", "model"),
    (404, {"query": "a", "data": "squares2"}, "unknown data set or index 'squares2'; did you mean 'squares'?", "data"),
    (400, {"query": "a", "model": "colours"}, "colours does not rank; colours predicts label", None),
    (400, {"query": "a", "where": "x = 1"}, "where needs an index; squares is a data set", None),
    (400, {"query": "a", "hybrid": True}, "hybrid needs an index; squares is a data set", None),
    (400, {"image": "data:image/png;base64,AAAA"}, "image: not a picture", "image"),
]


@pytest.mark.parametrize(("status", "body", "says", "param"), BAD)
def test_what_is_wrong_is_told(call: Ask, status: int, body: Any, says: str, param: str | None) -> None:
    answer = call("POST", "/search", body)
    assert answer.status == status
    assert says in answer.error["message"] and answer.error["param"] == param


def test_a_bad_file_and_a_file_elsewhere_are_told(call: Ask) -> None:
    assert multipart(call, {}, b"no picture").error["message"] == "image: text, not a picture"
    assert multipart(call, {}, b"x", name="other").error["message"] == "a file in 'other'; expected it in 'image'"
    assert call("POST", "/search", b"x", {"Content-Type": "multipart/form-data"}).status == 400
    for path, says, param in (
        ("/search", "q is missing; expected words", "q"),
        ("/search?q=a&top=x", "top: given 'x'; expected a whole number from 1 to 1000", "top"),
        ("/thumbs/squares?row=x", "row: given 'x'; expected the number of a row", "row"),
    ):
        answer = call("GET", path)
        assert (answer.status, answer.error["message"], answer.error["param"]) == (400, says, param)


def test_thumbs_are_small_pictures_that_a_browser_keeps(call: Ask, there: Served) -> None:
    (first,) = call("GET", "/search?q=red&top=1").json["results"]
    answer = call("GET", first["thumb_url"])
    image = Image.open(io.BytesIO(answer.body))
    row = list(there.data["squares"].ids).index(first["id"])
    assert image.tobytes() == there.data["squares"].image("image", row).tobytes()  # 32 pixels: smaller than a thumb
    assert answer.headers["content-type"] == "image/png" and "max-age" in answer.headers["cache-control"]
    again = call("GET", first["thumb_url"], None, {"If-None-Match": answer.headers["etag"]})
    assert again.status == 304 and again.body == b""


@pytest.mark.parametrize("path", ["none?row=1", "squares?row=60", "squares?row=-1", "squares", "..%2f..%2fetc?row=1"])
def test_a_thumb_that_is_not_there_is_404(call: Ask, path: str) -> None:
    assert call("GET", f"/thumbs/{path}").error["type"] == "not_found_error"


def test_warming_up_leaves_nothing_for_the_first_request(
    runs: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    there = served([runs["clip"], runs["odd"], runs["colours"]])
    warm(there)
    assert there.plain == {"clip": True, "odd": False, "colours": False}
    assert set(there.items) == {("clip", "squares"), ("odd", "squares")}
    monkeypatch.setattr(type(there.models["clip"]), "column", None)
    with live(create(there, board=False)) as url:
        assert ask(url, "GET", "/search?q=red").status == 200


def test_a_run_that_can_search_is_taken_unless_another_is_named(runs: dict[str, Path]) -> None:
    there = served([runs["colours"], runs["filip"]])
    assert searching.model_of(there, "", "squares") == "filip"
    assert searching.model_of(there, "colours", "squares") == "colours"


def test_nothing_to_search_in_is_told(runs: dict[str, Path], tmp_path: Path) -> None:
    there = served([runs["clip"]])
    there.data.clear()
    with live(create(there, board=False)) as url:
        answer = ask(url, "GET", "/search?q=red")
    assert answer.status == 400 and "no data set and no index is served" in answer.error["message"]


def test_an_index_is_searched_by_the_run_that_wrote_it(runs: dict[str, Path], tmp_path: Path) -> None:
    pytest.importorskip("lancedb")
    from sensorium.apps.index import build

    there = served(list(runs.values())[:2])
    build(there.models["filip"], there.data["squares"], tmp_path / "kept")
    said: list[str] = []
    there = served([runs["clip"], runs["filip"]], indexes=[tmp_path / "kept"], say=said.append)
    assert there.writers == {"kept": "filip"} and said == []
    with live(create(there, board=False)) as url:
        body: dict[str, Any] = {"query": "a red square", "data": "kept", "top": 5}
        answer = ask(url, "POST", "/search", body)
        assert answer.json["model"] == "filip"
        want = hits(ask(url, "POST", "/search", body | {"data": "squares", "model": "filip"}))
        assert [h[0] for h in hits(answer)] == [h[0] for h in want]
        assert [h[1] for h in hits(answer)] == pytest.approx([h[1] for h in want], abs=2e-4)
        filtered = ask(url, "POST", "/search", body | {"where": "label = 'red'"}).json["results"]
        assert filtered and {r["values"]["label"] for r in filtered} == {"red"}
        thumb = ask(url, "GET", filtered[0]["thumb_url"])
        assert thumb.status == 200 and Image.open(io.BytesIO(thumb.body)).size == (32, 32)
        assert ask(url, "GET", "/thumbs/kept?id=none").status == 404
        other = ask(url, "POST", "/search", body | {"model": "clip"})
        assert other.error["message"] == "kept was written by filip; clip cannot read its vectors"
        bad = ask(url, "POST", "/search", body | {"where": "lable = 'red'"})
        assert bad.status == 400 and "label" in bad.error["message"]
    alone = served([runs["clip"]], indexes=[tmp_path / "kept"], say=said.append)
    assert alone.writers == {} and "cannot be searched: it was written by" in said[0]
    with pytest.raises(SensoriumError, match="kept was written by a run that is not served"):
        searching.model_of(alone, "", "kept")
