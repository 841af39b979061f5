"""/predict reads keys and kinds from a run, whatever its class."""

from __future__ import annotations

import base64
import io
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from sensorium.apps.server.app import create
from sensorium.apps.server.batch import Batcher
from sensorium.apps.server.predict import asks_of, warm
from sensorium.apps.server.state import Served
from sensorium.core import Field
from sensorium.data.media.image import fit
from sensorium.data.tokenise import encode

from .conftest import Ask, ask, coloured, live, url_of


def scores(there: Served, image: Image.Image, text: str = "") -> torch.Tensor:
    """What the run itself says, fed by hand."""
    model = there.models["colours"]
    batch: dict[str, Any] = {"image": Field(torch.from_numpy(fit(image, 32))[None])}
    if text:
        assert model.tokenizer is not None
        batch["text"] = encode(model.tokenizer, [text], 64)
    with torch.no_grad():
        return model.method.predict(batch, "label").data[0]  # type: ignore[operator]


def test_labels_are_those_of_the_run_with_their_scores(call: Ask, there: Served) -> None:
    images = [coloured(k) for k in range(3)]
    body = {"inputs": [{"image": url_of(i)} for i in images]}
    answer = call("POST", "/predict", body).json
    assert (answer["model"], answer["of"], answer["kind"]) == ("colours", "label", "label")
    classes = there.models["colours"].fields["label"].classes
    for k, (said, image) in enumerate(zip(answer["data"], images, strict=True)):
        want = scores(there, image)
        assert said["index"] == k and said["label"] == classes[int(want.argmax())]
        assert said["scores"] == pytest.approx(dict(zip(classes, want.tolist(), strict=True)), abs=1e-5)
        assert list(said["scores"].values()) == sorted(said["scores"].values(), reverse=True)


def test_rows_with_and_without_an_optional_key_keep_their_order(call: Ask, there: Served) -> None:
    image = coloured(7)
    texts = ["", "a red square", "", "a blue square"]
    body = {"inputs": [{"image": url_of(image)} | ({"text": t} if t else {}) for t in texts]}
    for said, text in zip(call("POST", "/predict", body).json["data"], texts, strict=True):
        assert max(said["scores"].values()) == pytest.approx(float(scores(there, image, text).max()), abs=1e-5)


def drawn() -> Image.Image:
    """60 x 30 white with a black patch from (12, 6) to (36, 24); as 32 x 32 it has white bars above and below."""
    image = Image.new("RGB", (64, 32), "white")
    image.paste("black", (12, 6, 36, 24))
    return image


def test_values_boxes_and_masks_are_told_in_their_own_way(call: Ask) -> None:
    row = {"image": url_of(drawn()), "text": "a"}
    (value,) = call("POST", "/predict", {"model": "sides", "inputs": [row]}).json["data"]
    assert value["value"] == pytest.approx(1 - 24 * 18 / (64 * 64), abs=0.05)
    assert set(value) == {"index", "value"}
    (boxes,) = call("POST", "/predict", {"model": "sides", "of": "boxes", "inputs": [row]}).json["data"]
    assert len(boxes["boxes"]) == 1  # the second one is not there
    np.testing.assert_allclose(boxes["boxes"][0], [12, 6, 36, 24], atol=4)
    (masks,) = call("POST", "/predict", {"model": "sides", "of": "mask", "inputs": [row]}).json["data"]
    white, black = (np.asarray(Image.open(io.BytesIO(base64.b64decode(m.partition(",")[2])))) for m in masks["masks"])
    assert white.shape == (32, 32) and set(np.unique(white)) == {0, 255}
    assert (white == 255 - black).all() and black[16, 12] == 255 and black[2, 2] == 0
    (spans,) = call("POST", "/predict", {"model": "sides", "of": "spans", "inputs": [row]}).json["data"]
    assert spans["spans"] == [[0, 2]]


def test_boxes_lie_within_a_tall_picture_too(call: Ask) -> None:
    image = drawn().transpose(Image.Transpose.TRANSPOSE)
    body = {"model": "sides", "of": "boxes", "inputs": [{"image": url_of(image), "text": "a"}]}
    np.testing.assert_allclose(call("POST", "/predict", body).json["data"][0]["boxes"][0], [6, 12, 24, 36], atol=4)


def test_a_value_that_is_not_there_is_left_out(call: Ask) -> None:
    body = {"model": "sides", "inputs": [{"image": url_of(drawn()), "text": "long " * 200}]}
    assert call("POST", "/predict", body).json["data"] == [{"index": 0}]


def test_what_a_run_needs_is_read_from_its_paper(there: Served) -> None:
    assert asks_of(there.models["colours"]) == {"image": "image", "text": "text optional"}
    assert list(asks_of(there.models["sides"])) == ["image", "text"]  # it predicts spans and a value itself


def test_warming_up_predicts_once_with_every_run_that_predicts(there: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    for name in ("colours", "sides"):
        method = there.models[name].method
        own = method.predict
        monkeypatch.setattr(method, "predict", lambda batch, of, own=own: (asked.append(of), own(batch, of))[1])
    warm(there)
    assert asked == ["label", "value"]


P = url_of(coloured(1))
BAD: list[tuple[dict[str, Any], str, str]] = [
    ({}, "inputs is missing; expected a list of 1 to 256 objects", "inputs"),
    ({"inputs": []}, "inputs: given a value that does not fit; expected a list of 1 to 256 objects", "inputs"),
    ({"inputs": [{"image": P}, {}]}, "inputs[1]: image (image) is missing", "inputs"),
    ({"inputs": [{"image": P, "txt": "a"}]}, "inputs[0]: unknown key 'txt'; did you mean 'text'?", "inputs"),
    ({"inputs": [{"image": P, "label": "red"}]}, "inputs[0]: unknown key 'label'", "inputs"),
    ({"inputs": [{"image": 3}]}, "inputs[0].image: expected a data: URL of a picture", "inputs"),
    ({"inputs": [{"image": "data:image/png;base64,AAAA"}]}, "inputs[0].image: not a picture", "inputs"),
    ({"inputs": [{"image": P, "text": ""}]}, "inputs[0].text: an empty text", "inputs"),
    ({"inputs": [{"image": P}], "of": "labels"}, "of: colours does not predict 'labels'; did you mean 'label'?", "of"),
    ({"inputs": [{"image": P}], "model": "clip"}, "clip predicts nothing; clip embeds image and text, ranks", "model"),
    ({"inputs": [{"image": P}] * 257}, "expected a list of 1 to 256 objects", "inputs"),
]


@pytest.mark.parametrize(("body", "says", "param"), BAD)
def test_what_is_wrong_is_told(call: Ask, body: dict[str, Any], says: str, param: str) -> None:
    answer = call("POST", "/predict", body)
    assert answer.status == 400
    assert says in answer.error["message"] and answer.error["param"] == param


def test_predictions_are_batched(there: Served) -> None:
    app = create(there, board=False)
    batcher: Batcher = app.state.batcher
    sizes: list[int] = []
    batcher.watch, batcher.window = lambda model, n: sizes.append(n), 0.3
    with live(app) as url, ThreadPoolExecutor(8) as pool:
        images = [coloured(k) for k in range(8)]
        asked = [pool.submit(ask, url, "POST", "/predict", {"inputs": [{"image": url_of(i)}]}) for i in images]
        found = [a.result().json["data"][0]["scores"] for a in asked]
    assert max(sizes) > 1
    classes = there.models["colours"].fields["label"].classes
    for said, image in zip(found, images, strict=True):
        assert said == pytest.approx(dict(zip(classes, scores(there, image).tolist(), strict=True)), abs=1e-5)
