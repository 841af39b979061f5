from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from sensorium.blocks.decode import Cache, Decoder, Generates, decode
from sensorium.blocks.prefix_lm import IMAGE, TEXT, PrefixLM, sayable
from sensorium.blocks.towers.frozen import Frozen
from sensorium.blocks.towers.image import ConvTower
from sensorium.core import Batch, Field, FieldInfo, Ids, Rng, SensoriumError, Tokens

VOCAB = 12


def ids(*rows: list[int]) -> Ids:
    found = torch.tensor([r + [-9] * (max(map(len, rows)) - len(r)) for r in rows])
    return Ids(found, found != -9)


def picture(seed: int, rows: int = 3) -> Field:
    g = torch.Generator().manual_seed(seed)
    return Field(torch.randint(0, 256, (rows, 3, 16, 16), dtype=torch.uint8, generator=g))


def made(says: tuple[str, ...] = ("text/answer",), **options: Any) -> PrefixLM:
    torch.manual_seed(0)
    return PrefixLM(ConvTower(4, 8), Decoder(VOCAB, 16, 2, 2, 64), says, **options).eval()


def batch(**more: Any) -> Batch:
    return {
        "image": picture(0), "text": ids([1, 2, 3], [4], [5, 6]), "text/question": ids([7], [8, 9], [7, 9]),
        "text/answer": ids([1, 2], [3], [4, 5]), **more,
    }  # fmt: skip


def loss(model: PrefixLM, b: Batch) -> float:
    with torch.no_grad():
        return float(sum(model.losses(b, Rng(0)).values()))


def test_a_row_is_image_question_begin_answer_end() -> None:
    """The loss against one decoder pass by hand, row by row and without padding."""
    model, b = made(), batch()
    d, said = model.decoder, []
    with torch.no_grad():
        image = model.projector(model.image(b["image"]))
        for row in range(3):
            asked, answer = (b[k].rows(torch.tensor([row])) for k in ("text/question", "text/answer"))
            asked, answer = asked.ids[asked.mask].tolist(), answer.ids[answer.mask].tolist()
            text = ids([*asked, d.begin, *answer, d.end])
            x = torch.cat([image.x[row : row + 1], d.embed(text).x], 1)
            log = d.logits(d(Tokens(x, torch.ones(x.shape[:2]).bool())))[0].log_softmax(-1)
            start = 4 + len(asked)
            said += [-log[start + k, one].item() for k, one in enumerate([*answer, d.end])]
    assert loss(model, b) == pytest.approx(sum(said) / len(said), abs=1e-5)


def test_a_caption_has_no_question_and_each_text_its_own_loss() -> None:
    both, b = made(("text", "text/answer")), batch()
    terms = both.losses(b, Rng(0))
    assert list(terms) == ["text", "answer"]
    assert terms["text"].item() == pytest.approx(loss(made(("text",)), b), abs=1e-6)
    assert terms["answer"].item() == pytest.approx(loss(made(), b), abs=1e-6)
    assert loss(made(("text",)), batch(**{"text/question": ids([1], [1], [1])})) == loss(made(("text",)), b)


def test_the_prompt_is_what_the_answer_was_learnt_after() -> None:
    model, b = made(), batch()
    p = model.prompt({k: v for k, v in b.items() if k in ("image", "text/question")}, "text/answer")
    assert isinstance(model, Generates) and p.tokens.kind is not None
    assert p.tokens.mask.sum(1).tolist() == [6, 7, 7]
    assert p.tokens.kind.tolist()[0] == [IMAGE] * 4 + [TEXT] * 3
    last = p.tokens.x[torch.arange(3), p.tokens.mask.sum(1) - 1]
    torch.testing.assert_close(last, model.decoder.words.weight[model.decoder.begin].expand(3, -1))
    assert decode(p, 4).ids.shape[0] == 3


def test_training_teaches_it_to_say_what_it_was_shown() -> None:
    """Four pictures and two questions by heart: the answer depends on both."""
    model = made().train()
    image = picture(1, 4)
    b = batch(
        image=Field(image.data.repeat_interleave(2, 0)),
        **{"text/question": ids(*[[8], [9]] * 4), "text/answer": ids([1], [2, 3], [4], [1], [5, 5], [6], [2], [4, 1])},
    )
    optimiser = torch.optim.AdamW(model.parameters(), 5e-3)
    for _ in range(150):
        optimiser.zero_grad()
        sum(model.losses(b, Rng(0)).values()).backward()  # type: ignore[union-attr]
        optimiser.step()
    found = decode(model.eval().prompt(b, "text/answer"), 5)
    answers = [i[m].tolist() for i, m in zip(found.ids, found.mask, strict=True)]
    assert answers == [[1], [2, 3], [4], [1], [5, 5], [6], [2], [4, 1]]


def test_every_image_of_a_row_goes_in() -> None:
    model, b = made(), batch()
    two = batch(**{"image.two": picture(5)})
    assert loss(model, two) != loss(model, b)
    assert model.prompt(two, "text/answer").tokens.mask.sum(1).tolist() == [10, 11, 11]
    none = batch(**{"image.two": Field(picture(5).data, torch.zeros(3, dtype=torch.bool))})
    assert loss(model, none) == pytest.approx(loss(model, b), abs=1e-6)
    wrong = batch(**{"image/negative": picture(5)})
    assert loss(model, wrong) == loss(model, b)


def test_padding_changes_nothing() -> None:
    model, b = made(), batch()
    wider = {k: Ids(torch.nn.functional.pad(v.ids, (2, 3), value=-9), torch.nn.functional.pad(v.mask, (2, 3)))
             for k, v in b.items() if isinstance(v, Ids)}  # fmt: skip
    assert loss(model, {**b, **wider}) == pytest.approx(loss(model, b), abs=1e-5)


def test_rows_permute_and_a_row_without_an_answer_teaches_nothing() -> None:
    model, b, order = made(), batch(), torch.tensor([2, 0, 1])
    assert loss(model, {k: v.rows(order) for k, v in b.items()}) == pytest.approx(loss(model, b), abs=1e-5)
    answer = b["text/answer"]
    assert isinstance(answer, Ids)
    silent = {**b, "text/answer": replace(answer, mask=answer.mask & torch.tensor([[True], [False], [True]]))}
    rest = torch.tensor([0, 2])
    assert loss(model, silent) == pytest.approx(loss(model, {k: v.rows(rest) for k, v in b.items()}), abs=1e-5)


def test_every_weight_gets_gradient() -> None:
    model = made(("text", "text/answer")).train()
    torch.stack(list(model.losses(batch(), Rng(0)).values())).sum().backward()
    assert [n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()] == []


def test_a_frozen_tower_is_computed_once() -> None:
    tower = ConvTower(4, 8).requires_grad_(False)
    frozen = Frozen("image", "a tower", 8, lambda: tower)
    torch.manual_seed(0)
    model = PrefixLM(frozen, Decoder(VOCAB, 16, 2, 2, 64), ["text/answer"]).eval()
    before = loss(model, batch())
    stored = model.frozen(batch(**{"image.two": picture(5)}))
    assert isinstance(stored["image"], Tokens) and isinstance(stored["image.two"], Tokens)
    assert isinstance(stored["text/answer"], Ids)
    assert loss(model, {**batch(), "image": stored["image"]}) == before
    b = batch()
    assert all(made().frozen(b)[k] is b[k] for k in b), "a tower that learns is computed anew"


def test_prompts_are_decoded_with_the_cache_that_was_passed() -> None:
    asked: list[Tokens] = []

    class Mine(Cache):
        pass

    def of(tokens: Tokens) -> type[Cache]:
        asked.append(tokens)
        return Mine

    p = made(cache=of).prompt(batch(), "text/answer")
    assert isinstance(p.cache(), Mine) and asked == [p.tokens]
    assert type(made().prompt(batch(), "text/answer").cache()) is Cache


def test_what_it_cannot_say_is_named() -> None:
    with pytest.raises(SensoriumError, match="cannot say 'text'; did you mean 'text/answer'"):
        made().prompt(batch(), "text")


def test_answers_are_learnt_where_there_are_questions() -> None:
    text = FieldInfo("text")
    assert sayable({"image": FieldInfo("image"), "text": text}) == ["text"]
    assert sayable({"text": text, "text/question": text}) == ["text"]
    assert sayable({"text": text, "text/question": text, "text/answer": text}) == ["text/answer"]
