from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from types import ModuleType

import pytest
import torch

from sensorium.blocks.decode import Canvas, Generates, Prompt, decode
from sensorium.blocks.decode.diffuse import paint
from sensorium.blocks.mixed import Mosaic, following, laid
from sensorium.core import Batch, Budget, Field, FieldInfo, Ids, Method, Rng, SensoriumError, Trial
from sensorium.papers.baseline import image_tokens
from sensorium.papers.unify import transfusion
from sensorium.run.fit import Fit, Stage

SIZE, VOCAB = 16, 12
FIELDS = {"image": FieldInfo("image", shape=(3, SIZE, SIZE)), "text": FieldInfo("text", vocab=VOCAB, length=8)}
SMALL = {"dim": 32, "layers": 2, "heads": 2}
KINDS = {
    "linear": (transfusion, transfusion.Config(**SMALL, patches="linear", side=4)),
    "unet": (transfusion, transfusion.Config(**SMALL, patches="unet", side=4, width=8)),
    "tokens": (image_tokens, image_tokens.Config(**SMALL, codes=16, tokeniser=0.4)),
}
EACH = pytest.mark.parametrize("kind", KINDS)
DIFFUSED = pytest.mark.parametrize("kind", ["linear", "unet"])


def made(kind: str, **changes: object) -> Method:
    module, config = KINDS[kind]
    torch.manual_seed(0)
    return module.build(replace(config, **changes), FIELDS, None)  # type: ignore[arg-type, type-var]


def drawn(n: int = 6, seed: int = 0) -> Batch:
    """Pictures of noise; captions of one to five words with padding on both sides."""
    g = torch.Generator().manual_seed(seed)
    image = torch.randint(0, 256, (n, 3, SIZE, SIZE), generator=g, dtype=torch.uint8)
    ids, count = torch.randint(3, VOCAB, (n, 7), generator=g), torch.randint(1, 6, (n, 1), generator=g)
    at = torch.arange(7)
    return {
        "image": Field(image),
        "text": Ids(ids, (at > 0) & (at <= count)),
        "row": Field(torch.arange(n)),
        "group": Field(torch.arange(n)),
    }


def changed(batch: Batch, **values: Ids | Field) -> Batch:
    return {**batch, **values}


@EACH
def test_every_trainable_parameter_gets_a_gradient(kind: str) -> None:
    method = made(kind).train()
    torch.stack(list(method(drawn(), Rng(0)).values())).sum().backward()
    assert [n for n, p in method.named_parameters() if p.requires_grad and (p.grad is None or not p.grad.any())] == []


@EACH
def test_padding_changes_nothing(kind: str) -> None:
    method, batch = made(kind).eval(), drawn()
    text = batch["text"]
    assert isinstance(text, Ids)
    pad = torch.nn.functional.pad
    wider = Ids(pad(text.ids, (2, 3), value=7), pad(text.mask, (2, 3)))
    for name, value in method.losses(changed(batch, text=wider), Rng(0)).items():
        torch.testing.assert_close(value, method.losses(batch, Rng(0))[name], atol=1e-5, rtol=0)


@EACH
def test_the_seed_decides(kind: str) -> None:
    losses = [
        {k: v.item() for k, v in made(kind).eval().losses(drawn(), Rng(seed, step)).items()}
        for seed, step in ((0, 0), (0, 0), (0, 1), (1, 0))
    ]
    assert losses[0] == losses[1] and losses[0] != losses[2] and losses[0] != losses[3]


@EACH
def test_rows_without_a_picture_or_a_caption_are_no_part_of_that_loss(kind: str) -> None:
    method, batch = made(kind).eval(), drawn()
    text, image = batch["text"], batch["image"]
    assert isinstance(text, Ids) and isinstance(image, Field)
    there = torch.tensor([True, True, True, True, False, False])
    black = image.data * there[:, None, None, None]
    one, other = (
        method.losses(changed(batch, image=Field(data, there)), Rng(0))["picture"] for data in (image.data, black)
    )
    torch.testing.assert_close(one, other)
    untold = Ids(text.ids, torch.zeros_like(text.mask))
    terms = method.losses(changed(batch, text=untold, image=Field(image.data, ~there)), Rng(0))
    assert terms["text"].item() == 0 and terms["picture"].item() > 0


def parts(batch: Batch) -> tuple[Ids, torch.Tensor, torch.Tensor, torch.Tensor]:
    text = batch["text"]
    assert isinstance(text, Ids)
    text = transfusion.packed(text)
    n, g = len(text), torch.Generator().manual_seed(5)
    return text, torch.randn(n, 3, SIZE, SIZE, generator=g), torch.rand(n, generator=g), torch.ones(n).bool()


@DIFFUSED
def test_permuting_the_batch_permutes_the_answers(kind: str) -> None:
    method = made(kind).eval()
    assert isinstance(method, transfusion.Transfusion)
    text, x, t, there = parts(drawn())
    first, order = torch.tensor([1, 0, 1, 1, 0, 0]).bool(), torch.tensor([3, 5, 0, 1, 4, 2])
    logits, clean = method.both(text, x, t, there, first)
    other_logits, other_clean = method.both(text.rows(order), x[order], t[order], there, first[order])
    torch.testing.assert_close(other_clean, clean[order], atol=1e-5, rtol=1e-5)
    told = following(text, 0).mask
    torch.testing.assert_close(other_logits[told[order]], logits[order][told[order]], atol=1e-5, rtol=1e-5)


def test_causal_across_and_both_ways_within_the_picture() -> None:
    """Of the last patch: the first patch knows it, words before the picture do not, words after it do."""
    method = made("linear").eval()
    assert isinstance(method, transfusion.Transfusion)
    text, x, t, there = parts(drawn())
    other = x.clone()
    other[:, :, -4:, -4:] += 1
    for first in (True, False):
        order = torch.full((len(x),), first)
        logits, clean = method.both(text, x, t, there, order)
        new_logits, new_clean = method.both(text, other, t, there, order)
        assert (clean - new_clean)[:, :, :4, :4].abs().amax((1, 2, 3)).min() > 1e-5
        assert bool(((logits - new_logits)[:, 0].abs().amax(1) > 1e-5).all()) != first
    later = Ids(text.ids.clone(), text.mask)
    later.ids[:, 0] = (later.ids[:, 0] + 1) % VOCAB
    for first in (True, False):
        order = torch.full((len(x),), first)
        moved = (method.both(text, x, t, there, order)[1] - method.both(later, x, t, there, order)[1]).abs()
        assert bool((moved.amax((1, 2, 3)) > 1e-5).all()) == first


@DIFFUSED
def test_a_caption_is_asked_of_the_whole_picture(kind: str) -> None:
    """The cached prompt says what a whole pass says."""
    method, batch = made(kind).eval(), drawn()
    assert isinstance(method, transfusion.Transfusion) and isinstance(method, Generates)
    prompt = method.prompt({"image": batch["image"]}, "text")
    assert isinstance(prompt, Prompt)
    image = batch["image"]
    assert isinstance(image, Field)
    said = decode(prompt, 4, stop=())
    none, yes = torch.zeros(6).bool(), torch.ones(6).bool()
    logits = method.both(said, transfusion.signal(image), torch.zeros(6), yes, none)[0]
    assert torch.equal(logits[:, :4].argmax(-1), said.ids)
    assert torch.equal(decode(prompt, 4, stop=()).ids, said.ids)


@EACH
def test_pictures_are_painted_from_captions_alone(kind: str) -> None:
    method, batch = made(kind).eval(), drawn()
    assert isinstance(method, Generates)
    one, again, other = (painted(method, batch, seed) for seed in (0, 0, 1))
    assert one.shape == (6, 3, SIZE, SIZE) and one.dtype == torch.uint8
    assert torch.equal(one, again) and not torch.equal(one, other)


def painted(method: Method, batch: Batch, seed: int = 0) -> torch.Tensor:
    assert isinstance(method, Generates)
    found = method.prompt({"text": batch["text"]}, "image")
    if isinstance(found, Canvas):
        return paint(found, 8, Rng(seed)).data
    assert isinstance(found, Mosaic)
    return laid(found, Rng(seed)).data


def pairs() -> Batch:
    """Three captions, each with a picture of one colour at its own place."""
    image = torch.full((3, 3, SIZE, SIZE), 230, dtype=torch.uint8)
    for k, (y, x) in enumerate(((0, 0), (8, 0), (8, 8))):
        image[k, :, y : y + 8, x : x + 8] = 40
        image[k, k, y : y + 8, x : x + 8] = 200
    ids = torch.tensor([[3, 6], [4, 7], [5, 8]])
    rows = Field(torch.arange(3))
    return {"image": Field(image), "text": Ids(ids, torch.ones_like(ids).bool()), "row": rows, "group": rows}


class Same:
    """Eight times the three pairs in every batch."""

    def batch(self, step: int) -> Batch:
        return {k: v.rows(torch.arange(24) % 3) for k, v in pairs().items()}  # type: ignore[union-attr]


def trained(kind: str, steps: int, rate: float) -> Method:
    method = made(kind, guidance=1.0)
    trial = Trial(rate, Budget(24 * steps), 0, 24)
    stages = [Stage(Same(), trial.budget, trial.batch)]
    if kind == "tokens":
        assert isinstance(method, image_tokens.ImageTokens)
        stages = [replace(s, data=Same()) for s in image_tokens.stages(method.config, method, Rowed(), trial)]  # type: ignore[arg-type]
    for _ in Fit(method, stages, trial):
        pass
    return method.eval()


class Rowed:
    """As many rows as a batch: `stages` makes streams of them, which are replaced."""

    def __len__(self) -> int:
        return 24


@pytest.fixture(scope="module", params=[("unet", 250, 3e-3), ("tokens", 300, 3e-3)], ids=["unet", "tokens"])
def learnt(request: pytest.FixtureRequest) -> Iterator[Method]:
    yield trained(*request.param)


@pytest.mark.slow
def test_what_was_learnt_is_painted_and_told(learnt: Method) -> None:
    """Three pairs by heart: each caption gives its picture, each picture its caption."""
    batch = pairs()
    image, text = batch["image"], batch["text"]
    assert isinstance(image, Field) and isinstance(text, Ids) and isinstance(learnt, Generates)
    off = (painted(learnt, batch).float()[:, None] - image.data.float()).square().mean((2, 3, 4))
    assert off.argmin(1).tolist() == [0, 1, 2] and off.diag().max() < 2500, off
    prompt = learnt.prompt({"image": image}, "text")
    assert isinstance(prompt, Prompt)
    assert decode(prompt, 5).ids.tolist() == text.ids.tolist()


def test_a_codebook_is_trained_first_and_then_rests() -> None:
    method = made("tokens")
    assert isinstance(method, image_tokens.ImageTokens)
    trial = Trial(1e-3, Budget(72), 0, 24)
    stages = [replace(s, data=Same()) for s in image_tokens.stages(method.config, method, Rowed(), trial)]  # type: ignore[arg-type]
    seen = []
    for step in Fit(method, stages, trial):
        seen.append((sorted(step.terms), method.tokeniser.codebook.codes.clone(), method.marks.detach().clone()))
    assert [terms for terms, *_ in seen] == [["commit", "rebuild"], ["picture", "text"], ["picture", "text"]]
    assert torch.equal(seen[0][1], seen[2][1]) and not torch.equal(seen[0][2], seen[2][2])


def test_unknown_patches_are_refused() -> None:
    with pytest.raises(SensoriumError, match="patches 'unets'; did you mean 'unet'"):
        made("unet", patches="unets")
    with pytest.raises(SensoriumError, match="side 6; a U-Net halves"):
        made("unet", side=6)


@pytest.mark.parametrize("module", [transfusion, image_tokens], ids=["transfusion", "tokens"])
def test_the_defaults_build(module: ModuleType) -> None:
    assert module.build(module.Config(), {**FIELDS, "image": FieldInfo("image", shape=(3, 32, 32))}, None)


@EACH
def test_what_is_not_generated_is_refused(kind: str) -> None:
    method = made(kind)
    assert isinstance(method, Generates)
    with pytest.raises(SensoriumError, match="does not generate 'images'; did you mean 'image'"):
        method.prompt(drawn(), "images")
