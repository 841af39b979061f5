from __future__ import annotations

import pytest
import torch
from torch import Tensor

from sensorium.blocks.decode import Generates, paint
from sensorium.blocks.denoiser import PictureDenoiser
from sensorium.blocks.towers.patches import LinearPatches, UNetPatches
from sensorium.blocks.towers.text import TextTower
from sensorium.core import Batch, Field, Ids, Rng, SensoriumError, Tokens

SIZE, VOCAB, DIM = 16, 12, 32


def made(unet: bool = True, **dials: float) -> PictureDenoiser:
    torch.manual_seed(0)
    patches = UNetPatches(2, DIM, 8) if unet else LinearPatches(4, DIM)
    return PictureDenoiser(TextTower(VOCAB, DIM, 1, 2, 8), patches, (SIZE, SIZE), DIM, 2, 2, **dials)


def drawn(n: int = 4, seed: int = 0) -> Batch:
    """Pictures of noise; captions of two words with padding on both sides."""
    g = torch.Generator().manual_seed(seed)
    image = torch.randint(0, 256, (n, 3, SIZE, SIZE), generator=g, dtype=torch.uint8)
    ids, at = torch.randint(0, VOCAB, (n, 4), generator=g), torch.arange(4)
    return {"image": Field(image), "text": Ids(ids, ((at > 0) & (at < 3)).expand(n, -1))}


def condition(n: int = 4, length: int = 3, seed: int = 1) -> Tokens:
    x = torch.randn(n, length, DIM, generator=torch.Generator().manual_seed(seed))
    return Tokens(x, torch.ones(n, length, dtype=torch.bool))


def noisy(n: int = 4) -> tuple[Tensor, Tensor]:
    g = torch.Generator().manual_seed(7)
    return torch.randn(n, 3, SIZE, SIZE, generator=g), torch.rand(n, generator=g)


@pytest.mark.parametrize("unet", [True, False])
def test_every_parameter_gets_a_gradient(unet: bool) -> None:
    method = made(unet).train()
    torch.stack(list(method(drawn(), Rng(0)).values())).sum().backward()
    assert [n for n, p in method.named_parameters() if p.grad is None or not p.grad.any()] == []


def test_any_tokens_lead_and_their_padding_does_not() -> None:
    method, given, (x, t) = made().eval(), condition(), noisy()
    first, other = (method.lead(c)(x, t) for c in (given, condition(seed=2)))
    assert first.shape == x.shape and (first - other).abs().amax((1, 2, 3)).min() > 1e-4
    wider = Tokens(torch.cat([given.x, torch.full((4, 2, DIM), 9.0)], 1), torch.nn.functional.pad(given.mask, (0, 2)))
    torch.testing.assert_close(method.lead(wider)(x, t), first, atol=1e-5, rtol=0)


def test_gradients_reach_the_condition() -> None:
    """What makes the tokens can be trained through a denoiser that is frozen."""
    method, given, image = made().eval().requires_grad_(False), condition(), drawn()["image"]
    assert isinstance(image, Field)
    x = given.x.clone().requires_grad_()
    method.denoising(image, Tokens(x, given.mask), Rng(0)).backward()  # type: ignore[no-untyped-call]
    assert x.grad is not None and bool((x.grad.abs().amax(2) > 0).all())


def test_guidance_goes_beyond_the_condition_and_ends_within_the_range() -> None:
    """The estimate at weight w is none + w (told - none), cut to what a picture can hold."""
    given, (x, t) = condition(), noisy()
    told = made(guidance=1.0).eval().lead(given)(x, t)
    none = made(guidance=0.0).eval().lead(given)(x, t)
    torch.testing.assert_close(none, made(guidance=0.0).eval().lead(condition(seed=5))(x, t))
    method = made(guidance=3.0).eval()
    nothing = Tokens(given.x, torch.zeros_like(given.mask))
    raw = [method.estimate(x, t, c) for c in (nothing, given)]
    torch.testing.assert_close(method.lead(given)(x, t), (raw[0] + 3 * (raw[1] - raw[0])).clamp(-1, 1))
    assert not torch.allclose(told, none)


def test_captions_are_left_out_at_the_share_that_is_asked() -> None:
    """All left out: the loss knows no caption; none left out: it does."""
    batch = drawn()
    text = batch["text"]
    assert isinstance(text, Ids)
    other = {**batch, "text": Ids((text.ids + 1) % VOCAB, text.mask)}
    for untold, same in ((1.0, True), (0.0, False)):
        method = made(untold=untold).eval()
        a, b = (method.losses(one, Rng(0))["picture"] for one in (batch, other))
        assert torch.equal(a, b) == same


def test_rows_without_a_picture_are_no_part_of_the_loss() -> None:
    method, batch = made().eval(), drawn()
    image = batch["image"]
    assert isinstance(image, Field)
    there = torch.tensor([True, True, False, True])
    losses = [
        method.losses({**batch, "image": Field(image.data * k, there)}, Rng(0))["picture"]
        for k in (1, there[:, None, None, None])
    ]
    torch.testing.assert_close(*losses)


def test_what_was_learnt_is_painted() -> None:
    """Two captions by heart, each with a picture of its own: a dark half, left or right."""
    image = torch.full((2, 3, SIZE, SIZE), 230, dtype=torch.uint8)
    image[0, :, :, :8], image[1, :, :, 8:] = 30, 30
    ids = torch.tensor([[3, 5], [4, 5]])
    batch: Batch = {"image": Field(image), "text": Ids(ids, torch.ones_like(ids).bool())}
    method = made(guidance=1.0)
    many = {k: v.rows(torch.arange(16) % 2) for k, v in batch.items()}
    optimiser = torch.optim.Adam(method.parameters(), 3e-3)
    for step in range(80):
        optimiser.zero_grad()
        method(many, Rng(0, step))["picture"].backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    method.eval()
    assert isinstance(method, Generates)
    found = paint(method.prompt({"text": batch["text"]}, "image"), 8, Rng(0)).data
    off = (found.float()[:, None] - image.float()).square().mean((2, 3, 4))
    assert off.argmin(1).tolist() == [0, 1] and off.diag().max() < 1500, off


def test_the_seed_decides_what_is_painted() -> None:
    method, text = made().eval(), {"text": drawn()["text"]}
    one, again, other = (paint(method.prompt(text, "image"), 4, Rng(seed)).data for seed in (0, 0, 1))
    assert one.dtype == torch.uint8 and torch.equal(one, again) and not torch.equal(one, other)


def test_what_is_not_generated_is_refused() -> None:
    with pytest.raises(SensoriumError, match="does not generate 'images'; did you mean 'image'"):
        made().prompt(drawn(), "images")
