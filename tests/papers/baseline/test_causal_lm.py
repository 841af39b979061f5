"""The causal LM against decoder passes by hand, and from a text-only set to answers."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from sensorium.blocks.decode import Decoder, Generates, decode
from sensorium.core import Batch, Field, Ids, Rng, SensoriumError, Tokens
from sensorium.data.dataset import Dataset
from sensorium.papers.baseline.causal_lm import CausalLM
from sensorium.run.plan import Job, plan
from sensorium.run.runs import execute, load

VOCAB = 12


def ids(*rows: list[int]) -> Ids:
    found = torch.tensor([r + [-9] * (max(map(len, rows)) - len(r)) for r in rows])
    return Ids(found, found != -9)


def made(answers: bool = True) -> CausalLM:
    torch.manual_seed(0)
    return CausalLM(Decoder(VOCAB, 16, 2, 2, 64), answers).eval()


def batch() -> Batch:
    return {
        "text": ids([1, 2, 3], [4], [5, 6]), "text/question": ids([7], [8, 9], []), "text/answer": ids([1, 2], [3], []),
        "row": Field(torch.arange(3)),
    }  # fmt: skip


def terms(model: CausalLM, b: Batch) -> dict[str, float]:
    with torch.no_grad():
        return {k: float(v) for k, v in model.losses(b, Rng(0)).items()}


def by_hand(model: CausalLM, row: list[int], learnt: list[int]) -> list[float]:
    """What it costs to say the ids at some places of one row, each from those before."""
    d = model.decoder
    with torch.no_grad():
        log = d.logits(d(d.embed(ids(row))))[0].log_softmax(-1)
    return [-log[k - 1, row[k]].item() for k in learnt]


def test_a_row_is_begin_text_question_begin_answer_end() -> None:
    model = made()
    begin, end = model.decoder.begin, model.decoder.end
    rows = [
        ([begin, 1, 2, 3, 7, begin, 1, 2, end], [1, 2, 3, 4, 8], [6, 7]),
        ([begin, 4, 8, 9, begin, 3, end], [1, 2, 3, 6], [5]),
        ([begin, 5, 6, end], [1, 2, 3], []),
    ]
    text = [one for row, learnt, _ in rows for one in by_hand(model, row, learnt)]
    answer = [one for row, _, learnt in rows for one in by_hand(model, row, learnt)]
    found = terms(model, batch())
    assert found["text"] == pytest.approx(sum(text) / len(text), abs=1e-5)
    assert found["answer"] == pytest.approx(sum(answer) / len(answer), abs=1e-5)


def test_text_alone_is_learnt_to_its_end() -> None:
    model, b = made(answers=False), {"text": ids([1, 2, 3], [4])}
    begin, end = model.decoder.begin, model.decoder.end
    costs = by_hand(model, [begin, 1, 2, 3, end], [1, 2, 3, 4]) + by_hand(model, [begin, 4, end], [1, 2])
    assert terms(model, b) == {"text": pytest.approx(sum(costs) / len(costs), abs=1e-5)}
    assert dict(model.generates) == {"text/rest": "text"}


def test_padding_and_order_change_nothing() -> None:
    model, b = made(), batch()
    wider = {k: Ids(torch.nn.functional.pad(v.ids, (2, 3), value=-9), torch.nn.functional.pad(v.mask, (2, 3)))
             for k, v in b.items() if isinstance(v, Ids)}  # fmt: skip
    moved = {k: v.rows(torch.tensor([2, 0, 1])) for k, v in b.items()}
    assert terms(model, wider) == pytest.approx(terms(model, b), abs=1e-5)
    assert terms(model, moved) == pytest.approx(terms(model, b), abs=1e-5)


def test_every_weight_gets_gradient() -> None:
    model = made().train()
    torch.stack(list(model.losses(batch(), Rng(0)).values())).sum().backward()
    assert [n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()] == []


def test_prompts_are_what_was_learnt_before() -> None:
    model, b = made(), batch()
    assert isinstance(model, Generates)
    d = model.decoder

    def read(tokens: Tokens) -> list[list[int]]:
        nearest = torch.cdist(tokens.x, d.words.weight[None]).argmin(-1)
        return [row[mask].tolist() for row, mask in zip(nearest, tokens.mask, strict=True)]

    with torch.no_grad():
        answer = read(model.prompt(b, "text/answer").tokens)
        asked = read(model.prompt({"text/question": b["text/question"]}, "text/answer").tokens)
        begun = read(model.prompt(b, "text/rest").tokens)
        fresh = read(model.prompt({"row": b["row"]}, "text/rest").tokens)
    assert answer[:2] == [[d.begin, 1, 2, 3, 7, d.begin], [d.begin, 4, 8, 9, d.begin]]
    assert asked == [[7, d.begin], [8, 9, d.begin], [d.begin]]
    assert begun == [[d.begin, 1, 2], [d.begin], [d.begin, 5]], "the last token ends a text, and is left out"
    assert fresh == [[d.begin]] * 3
    with pytest.raises(SensoriumError, match="cannot say 'text/answr'; did you mean 'text/answer'"):
        model.prompt(b, "text/answr")


def test_it_learns_to_look_up_what_the_text_says() -> None:
    """Question 8 asks for the first token of the text, 9 for the last."""
    model = made().train()
    g = torch.Generator().manual_seed(0)
    optimiser = torch.optim.AdamW(model.parameters(), 1e-2)
    for _ in range(200):
        optimiser.zero_grad()
        sum(model.losses(asked(64, g), Rng(0)).values()).backward()  # type: ignore[union-attr]
        optimiser.step()
    b = asked(100, g)
    found = decode(model.eval().prompt(b, "text/answer"), 1)
    assert (found.ids[:, 0] == b["text/answer"].ids[:, 0]).float().mean() > 0.9  # type: ignore[union-attr]


def asked(n: int, g: torch.Generator) -> Batch:
    text = torch.stack([torch.randperm(8, generator=g)[:3] for _ in range(n)])
    which = torch.randint(0, 2, (n, 1), generator=g)
    every = torch.ones(n, 3, dtype=torch.bool)
    return {
        "text": Ids(text, every),
        "text/question": Ids(which + 8, every[:, :1]),
        "text/answer": Ids(text.gather(1, which * 2), every[:, :1]),
    }


def test_a_set_of_texts_alone_trains_saves_and_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SENSORIUM_HOME", str(tmp_path / "home"))
    words = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]
    texts = [" ".join([*words, *words][k % 10 : k % 10 + 5] + ["and so on"] * (20 * (k % 2))) for k in range(300)]
    (tmp_path / "texts").mkdir()
    pq.write_table(pa.table({"text": [f"{text} {k}" for k, text in enumerate(texts)]}), tmp_path / "texts/all.parquet")
    data = Dataset(tmp_path / "texts")
    job = Job("baseline/causal-lm", "", {}, 1e-2, 64 * 30, 0, {"dim": 32, "layers": 2}, batch=64)
    p = plan(job, data)
    assert p.fields["text"].length > 64 and p.tokenizer is not None
    longest = max(len(p.tokenizer.encode(text, add_special_tokens=False).ids) for text in data.texts("text"))
    assert longest < p.fields["text"].length, "no text is cut"
    execute(job, data, tmp_path / "run")
    made = load(tmp_path / "run")
    assert made.tokenizer is not None
    begun = made.tokenizer.encode("three four</s>").ids
    said = decode(made.method.prompt({"text": ids(begun)}, "text/rest"), 2)  # type: ignore[operator]
    assert made.tokenizer.decode(said.ids[0].tolist()).split()[:2] == ["five", "six"]
