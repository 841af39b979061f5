"""Papers on checkpoints of others: train, race, load again, by one option."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

import sensorium as sm
from sensorium.core import SensoriumError
from sensorium.data.split import split
from sensorium.evals.retrieval import relevance, score_retrieval
from sensorium.lab.bases import choose
from sensorium.lab.pretrained import recorded
from sensorium.run import race as racing
from sensorium.run.runs import Model

from ...papers.conftest import squares
from .conftest import Made

PAIRS = [("clip", "clip"), ("siglip", "siglip"), ("vit", "xlm-roberta"), ("dinov2", "bert")]
FEW = 48


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> sm.Dataset:
    return sm.Dataset(str(squares(tmp_path_factory.mktemp("data") / "squares")))


def trained(paper: str, data: sm.Dataset, towers: str, out: Path) -> Model:
    return sm.train(paper, data, samples=FEW, batch=12, towers=towers, out=out, say=lambda _: None)


def scores(model: Model, data: sm.Dataset) -> dict[str, float]:
    """What a loaded run gets on the test rows."""
    test = split(data, 0, "given").test
    image, text = ({k: v.rows(torch.tensor(test)) for k, v in model.column(data, k).items()} for k in ("image", "text"))
    right = relevance([data.texts("text")[i] for i in test], data.content("image")[test])
    return score_retrieval(model.rank(text, image), model.rank(image, text), right).scores


@pytest.mark.parametrize("paper", ["clip", "filip"])
@pytest.mark.parametrize(("image", "text"), PAIRS)
def test_any_tower_stands_in_any_paper_and_loads_to_equal_scores(
    paper: str, image: str, text: str, data: sm.Dataset, made: Made, home: Path, tmp_path: Path
) -> None:
    towers = str(made(image)) if image == text else f"{made(image)},{made(text)}"
    model = trained(paper, data, towers, tmp_path / "run")
    stored = json.loads((tmp_path / "run" / "scores.json").read_text())["test"]
    found = scores(sm.load(str(tmp_path / "run")), data)
    assert {"r@1", "r@10"} <= found.keys()
    assert {k: v for k, v in stored.items() if k in found} == pytest.approx(found, abs=1e-6)
    names = model.record["job"]["towers"]
    assert names == {"image": recorded(str(made(image))), "text": recorded(str(made(text)))}
    assert model.record["towers"].keys() == {"image", "text"}
    files = {p.parent.name for p in (home / "features").rglob("*.safetensors")}
    assert set(model.record["towers"].values()) <= files
    assert not any("vision" in k or "embeddings" in k for k in model.method.state_dict())


def test_features_of_a_folder_are_computed_once(data: sm.Dataset, made: Made, tmp_path: Path) -> None:
    seen: list[str] = []

    def progress(what: str, done: int, total: int) -> None:
        seen.append(what)

    for run in ("first", "second"):
        sm.train(
            "clip",
            data,
            samples=FEW,
            batch=12,
            towers=str(made("clip")),
            out=tmp_path / run,
            progress=progress,
            say=lambda _: None,
        )
        assert any("features" in what for what in seen) is (run == "first")
        seen.clear()


def test_a_loaded_run_reads_new_pictures_and_words(data: sm.Dataset, made: Made, tmp_path: Path) -> None:
    model = trained("clip", data, str(made("siglip")), tmp_path / "run")
    for key, values in (("image", [data.image("image", i) for i in range(3)]), ("text", list(data.texts("text")[:3]))):
        stored = {k: v.rows(torch.arange(3)) for k, v in model.column(data, key).items()}
        torch.testing.assert_close(model.embed(model.read(key, values)).x, model.embed(stored).x, atol=5e-3, rtol=0)


class Here:
    def submit(self, do: Callable[..., Any], *given: Any) -> Future[Any]:
        future: Future[Any] = Future()
        future.set_result(do(*given))
        return future


@contextmanager
def pool(workers: int) -> Iterator[Here]:
    yield Here()


def test_a_race_on_a_folder_says_so_and_its_best_run_loads(
    data: sm.Dataset, made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(racing, "MOST_SAMPLES", FEW)
    monkeypatch.setattr(racing, "worker_pool", pool)
    said: list[str] = []
    board = sm.race(
        ["clip", "ridge"],
        data,
        budget="30m",
        seeds=2,
        batch=12,
        towers=f"image={made('dinov2')},text={made('clip')}",
        out=tmp_path / "race",
        say=said.append,
    )
    names = {"image": recorded(str(made("dinov2"))), "text": recorded(str(made("clip")))}
    assert board.race["towers"] == names and f"towers: image {names['image']}, text {names['text']}" in said
    assert {e["label"] for e in board.table["entrants"]} == {"clip", "ridge"}
    assert board.best.record["job"]["towers"] == names


def test_a_run_whose_folder_moved_or_changed_says_so(
    data: sm.Dataset, own: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = own("clip")
    trained("clip", data, str(folder), tmp_path / "run")
    monkeypatch.chdir("/")
    assert sm.load(str(tmp_path / "run")).record["job"]["towers"]["image"].startswith(f"{folder}@")
    shutil.move(folder, tmp_path / "elsewhere")
    with pytest.raises(SensoriumError, match=r"my-clip is gone; this run began from its weights \w{16}: put it back"):
        sm.load(str(tmp_path / "run"))
    shutil.move(tmp_path / "elsewhere", folder)
    weights = load_file(folder / "model.safetensors")
    save_file({k: v * 2 for k, v in weights.items()}, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(SensoriumError, match=r"has changed: its hash is \w{16}, this run began from \w{16}"):
        sm.load(str(tmp_path / "run"))


def test_towers_are_chosen_by_role(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    clip, bert = (recorded(str(made(name))) for name in ("clip", "bert"))
    assert choose(str(made("clip"))) == {"image": clip, "text": clip}
    assert choose(f"text={made('clip')}") == {"image": "scratch", "text": clip}
    assert choose(f"{made('clip')},text={made('bert')}") == {"image": clip, "text": bert}
    assert choose(f"{made('bert')},image=pair-encoder/trained") == {"image": "pair-encoder/trained", "text": bert}
    assert choose(f"{made('clip')},text=scratch") == {"image": clip, "text": "scratch"}
    monkeypatch.chdir(made("clip").parent)
    assert choose("./clip") == choose(str(made("clip")))


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        ("picture={vit}", r"unknown role 'picture'; expected one of image, text"),
        ("text={vit}", r"embeds image, not text"),
        ("image={bert}", r"embeds text, not image"),
        ("{clip}/trained", r"is a checkpoint, which stays frozen; only shared starts have /trained"),
        ("/no/such/folder", r"no such folder of a tower: /no/such/folder$"),
        ("owner/name", r"no such folder of a tower: owner/name; get it with: sensorium weights get owner/name"),
        ("smollm2-135m", r"weights 'smollm2-135m' \(causal LM\) are no tower of image or text"),
        ("image=minillm", r"unknown tower 'minillm'; did you mean 'minilm'"),
    ],
)
def test_a_slip_in_what_is_asked_for_is_one_line(asked: str, why: str, made: Made) -> None:
    with pytest.raises(SensoriumError, match=why):
        choose(asked.format(**{name: made(name) for name in ("vit", "bert", "clip")}))
