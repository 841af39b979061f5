"""EVLM: what the shared LM says until the gates open, what is trained, what each part changes, what answers cost."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from fastapi.testclient import TestClient
from torch import Tensor, nn

from sensorium.apps.server.app import create
from sensorium.apps.server.state import served
from sensorium.blocks.decode import Prompt, decode
from sensorium.blocks.fusion.gated import TanhGate
from sensorium.blocks.prefix_lm import PrefixLM
from sensorium.blocks.shared import decoder_of
from sensorium.core import Batch, Field, FieldInfo, Ids, Method, Rng, SensoriumError
from sensorium.data.dataset import Dataset
from sensorium.lab.bases import Towers, hashes
from sensorium.lab.sets import PARTS, Recipe, scenes
from sensorium.lab.world.facts import Config
from sensorium.run.fit import Fit
from sensorium.run.load import paper
from sensorium.run.plan import Job, plan
from sensorium.run.runs import execute
from sensorium.run.tasks import Question, scored, trivial

M: Any = paper("evlm")
SIZE, VOCAB, B = 32, 1645, 6
TEXT = FieldInfo("text", vocab=VOCAB, length=64)
FIELDS = {
    "image": FieldInfo("image", shape=(3, SIZE, SIZE)), "text": TEXT, "text/question": TEXT, "text/answer": TEXT,
}  # fmt: skip


def bases() -> Towers:
    return Towers({}, FIELDS, hashes(M.BASES, {}))


def made(open_to: float | None = None, **config: Any) -> Method:
    torch.manual_seed(0)
    method = M.build(M.Config(**config), FIELDS, bases())
    for gate in method.modules() if open_to is not None else ():
        if isinstance(gate, TanhGate):
            nn.init.constant_(gate.openness, open_to)
    return method  # type: ignore[no-any-return]


def ids(length: int, seed: int) -> Ids:
    """Rows of different lengths, padded on both sides."""
    g = torch.Generator().manual_seed(seed)
    count = torch.randint(1, length + 1, (B, 1), generator=g)
    at = torch.arange(length + 2)
    return Ids(torch.randint(3, VOCAB, (B, length + 2), generator=g), (at > 0) & (at <= count))


def drawn(**also: Field) -> Batch:
    g = torch.Generator().manual_seed(1)
    image = Field(torch.randint(0, 256, (B, 3, SIZE, SIZE), generator=g, dtype=torch.uint8))
    texts = {"text": ids(6, 2), "text/question": ids(5, 3), "text/answer": ids(2, 4)}
    return {"image": image, **also, **texts, "row": Field(torch.arange(B)), "group": Field(torch.arange(B))}


@torch.no_grad()
def losses(method: Method, batch: Batch) -> dict[str, float]:
    return {k: v.item() for k, v in method.eval().losses(batch, Rng(0)).items()}


def test_until_the_gates_open_it_says_what_the_language_model_says_after_media_tokens() -> None:
    method, batch = made(), drawn()
    p = method.prompt(batch, "text/answer")  # type: ignore[operator]
    alone = decoder_of(bases().get("causal-lm"))
    with torch.no_grad():
        assert torch.equal(alone(p.tokens), p.decoder(p.tokens, tap=p.tap))
        opened = made(0.5).prompt(batch, "text/answer")  # type: ignore[operator]
        assert not torch.allclose(alone(opened.tokens), opened.decoder(opened.tokens, tap=opened.tap), atol=1e-3)


def test_the_picture_decides_once_the_gates_are_open() -> None:
    batch = drawn()
    image = batch["image"]
    assert isinstance(image, Field)
    other = {**batch, "image": Field(image.data.flip(0))}
    shut, opened = made(), made(0.5)
    assert losses(shut, batch) == pytest.approx(losses(shut, other), abs=1e-6)
    assert abs(losses(opened, batch)["answer"] - losses(opened, other)["answer"]) > 1e-3


@pytest.mark.parametrize(("lm", "eye"), [("frozen", "trained"), ("trained", "frozen")])
def test_what_is_frozen_is_neither_trained_nor_saved(lm: str, eye: str) -> None:
    method = made(lm=lm, eye=eye)
    for part, how in (("decoder.", lm), ("eye.", eye)):
        trained = [n for n, p in method.named_parameters() if n.startswith(part) and p.requires_grad]
        saved = [n for n in method.state_dict() if n.startswith(part)]
        assert bool(trained) is bool(saved) is (how == "trained")


def test_every_trainable_parameter_learns_once_the_gates_have_moved() -> None:
    method, batch = made().train(), drawn()
    optim = torch.optim.Adam(method.parameters(), 1e-3)
    learns: set[str] = set()
    for _ in range(2):
        optim.zero_grad()
        torch.stack(list(method(batch, Rng(0)).values())).sum().backward()
        learns = {n for n, p in method.named_parameters() if p.grad is not None and p.grad.any()}
        optim.step()
    assert {n for n, _ in method.named_parameters()} - learns == set()


PARTS_REMOVED: dict[str, dict[str, Any]] = {
    "experts": {"experts": 0},
    "gates": {"gate": "open"},
    "several layers": {"reads": "last"},
    "media tokens": {"media": 1},
    "cross-attention": {"joined": "prefix"},
}


@pytest.mark.parametrize("part", PARTS_REMOVED)
def test_without_a_part_the_loss_is_another(part: str) -> None:
    batch = drawn()
    whole, without = losses(made(0.5), batch), losses(made(0.5, **PARTS_REMOVED[part]), batch)
    assert abs(whole["answer"] - without["answer"]) > 1e-4
    assert (without.get("balance", 0.0) == 0) is (part in ("experts", "cross-attention"))


@pytest.mark.parametrize(
    ("reads", "seen", "want"),
    [
        ("whole", 4, [0, 2, 3]),
        ("whole", 3, [0, 1, 2]),
        ("hierarchical", 4, [2, 3, 3]),
        ("hierarchical", 12, [6, 9, 11]),
        ("hierarchical", 1, [0, 0, 0]),
        ("last", 4, [3, 3, 3]),
    ],
)
def test_which_layer_of_the_tower_a_layer_reads(reads: str, seen: int, want: list[int]) -> None:
    assert [M.READS[reads](n, 3, seen) for n in range(3)] == want
    assert made(reads="last").reads == [3, 3, 3] and made().reads == [2, 3, 3]


def wider(value: Ids, left: int, right: int) -> Ids:
    pad = torch.nn.functional.pad
    return Ids(pad(value.ids, (left, right), value=7), pad(value.mask, (left, right)))


def test_padding_and_order_change_nothing_when_the_gates_are_open() -> None:
    method, batch = made(0.5), drawn()
    padded = {k: wider(v, 2, 1) if isinstance(v, Ids) else v for k, v in batch.items()}
    assert losses(method, padded) == pytest.approx(losses(method, batch), abs=1e-5)
    order = torch.tensor([3, 5, 0, 1, 4, 2])
    moved = {k: v.rows(order) for k, v in batch.items()}
    assert losses(method, moved) == pytest.approx(losses(method, batch), abs=1e-5)


def said(method: Method, batch: Batch, rows: Tensor, beams: int = 1) -> list[list[int]]:
    p = method.prompt({k: v.rows(rows) for k, v in batch.items()}, "text/answer")  # type: ignore[operator]
    assert isinstance(p, Prompt)
    found = decode(p, 4, beams=beams)
    return [i[m].tolist() for i, m in zip(found.ids, found.mask, strict=True)]


@pytest.mark.parametrize("beams", [1, 2])
def test_rows_are_answered_as_each_alone(beams: int) -> None:
    method, batch = made(0.9).eval(), drawn()
    together = said(method, batch, torch.arange(B), beams)
    assert together == [said(method, batch, torch.tensor([n]), beams)[0] for n in range(B)]


def test_a_second_picture_is_read_and_one_that_is_missing_is_not() -> None:
    method, batch = made(0.5), drawn()
    image = batch["image"]
    assert isinstance(image, Field)
    two, none = Field(image.data.flip(0)), Field(image.data.flip(0), torch.zeros(B, dtype=torch.bool))
    one = losses(method, batch)
    assert losses(method, drawn(**{"image.two": none})) == pytest.approx(one, abs=1e-5)
    assert abs(losses(method, drawn(**{"image.two": two}))["answer"] - one["answer"]) > 1e-3


def test_data_without_questions_teaches_captions_alone() -> None:
    plain = {k: v for k, v in FIELDS.items() if "/" not in k}
    torch.manual_seed(0)
    method = M.build(M.Config(), plain, bases())
    batch = {k: v for k, v in drawn().items() if "/" not in k}
    assert set(method.generates) == {"text"} and set(losses(method, batch)) == {"text", "balance"}


def test_the_compared_prefix_has_equal_parts() -> None:
    """The same LM and the same tower; visual tokens stand in the sequence."""
    ours, other, batch = made(stride=4), made(stride=4, joined="prefix"), drawn()
    assert isinstance(other, PrefixLM)
    ask = batch["text/question"]
    assert isinstance(ask, Ids)
    longest = int(ask.mask.sum(1).max()) + 1
    with torch.no_grad():
        assert other.prompt(batch, "text/answer").tokens.x.shape[1] == 64 + longest
        assert ours.prompt(batch, "text/answer").tokens.x.shape[1] == 4 + longest  # type: ignore[operator]
        assert torch.equal(other.image(batch["image"]).x, ours.eye(batch["image"])[-1].x)  # type: ignore[operator]


@pytest.mark.parametrize(
    ("config", "line"),
    [
        ({"reads": "lats"}, "reads 'lats'.*last"),
        ({"gate": "tan"}, "gate 'tan'.*tanh"),
        ({"joined": "prefx"}, "joined 'prefx'.*prefix"),
        ({"lm": "froze"}, "lm 'froze'.*frozen"),
        ({"eye": "train"}, "eye 'train'.*trained"),
        ({"stride": 5}, "stride of 5"),
    ],
)
def test_a_setting_that_does_not_exist_is_one_clear_line(config: dict[str, Any], line: str) -> None:
    with pytest.raises(SensoriumError, match=line):
        made(**config)


def world(folder: Path, rows: dict[str, int]) -> Dataset:
    """One object per scene and a question on its colour or shape."""
    recipe = Recipe(config=Config(fewest=1, most=1), form="short", asked=("colour", "shape"))
    folder.mkdir()
    for part in PARTS:
        pq.write_table(pa.table(dict(scenes(recipe, part, rows[part]))), folder / f"{part}.parquet")
    roles = {"image": "image", "text": "text", "group": "scene", "text/question": "question", "text/answer": "answer"}
    return Dataset(folder, roles)


def asked(data: Dataset, steps: int = 1, **config: Any) -> Question:
    towers = {"image": "scratch", "text": "scratch"}
    p = plan(Job("evlm", "", towers, 3e-3, steps * 64, 0, {"says": ("text/answer",), **config}, batch=64), data)
    for _ in Fit(p.method, p.stages, p.job.trial) if steps > 1 else ():
        pass
    return Question(p, data, p.split.test, torch.device("cpu"))


def test_more_visual_tokens_cost_less_than_in_the_sequence(tmp_path: Path) -> None:
    data = world(tmp_path / "asked", {"train": 120, "validation": 8, "test": 70})
    of = {
        (joined, stride): M.spent(asked(data, joined=joined, stride=stride)).scores
        for joined in ("cross", "prefix")
        for stride in (8, 4)
    }
    flops = {k: v["flops"] for k, v in of.items()}
    assert flops["prefix", 4] - flops["prefix", 8] > 3 * (flops["cross", 4] - flops["cross", 8]) > 0
    assert flops["cross", 4] < 0.8 * flops["prefix", 4]
    # Three layers of 128 keep a key and a value of every visual token, wherever it stands.
    held = {k: v["held"] for k, v in of.items()}
    assert held["prefix", 4] - held["prefix", 8] == held["cross", 4] - held["cross", 8] == 3 * 2 * 128 * (64 - 16)


def test_a_run_is_trained_opened_again_and_chatted_with(tmp_path: Path) -> None:
    data = world(tmp_path / "asked", {"train": 96, "validation": 8, "test": 24})
    job = Job("evlm", "", {"image": "scratch", "text": "scratch"}, 3e-3, 96, 0, batch=32, task="answer")
    scores = execute(job, data, tmp_path / "run").test
    assert {"exact", "cider"} <= set(scores)
    app = create(served([tmp_path / "run"], say=lambda line: None), board=False)
    png = io.BytesIO()
    data.image("image", 0).save(png, "PNG")
    picture = "data:image/png;base64," + base64.b64encode(png.getvalue()).decode()
    ask = [
        {"type": "image_url", "image_url": {"url": picture}},
        {"type": "text", "text": data.texts("text/question")[0]},
    ]
    with TestClient(app, base_url="http://127.0.0.1:8000") as client:
        body = {"model": "run", "messages": [{"role": "user", "content": ask}], "max_tokens": 4}
        told = client.post("/v1/chat/completions", json=body)
    assert told.status_code == 200, told.text
    assert told.json()["choices"][0]["message"]["content"]


@pytest.mark.slow
def test_answers_beat_the_commonest_answer_to_each_question(tmp_path: Path) -> None:
    data = world(tmp_path / "asked", {"train": 4000, "validation": 50, "test": 300})
    found = asked(data, 150)
    blind = trivial("blind majority", data, found.plan.split.train, found.index)["exact"]
    assert blind < 0.35 and scored("answer", found).scores["exact"] > blind + 0.3
