from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from transformers.loss import loss_for_object_detection as theirs

from sensorium.blocks.towers.masks import MaskHead, PixelFeatures, dice, enlarged, focal
from sensorium.core import Field, SensoriumError, Tokens

DIM = 16


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def picture(rows: int = 2, side: int = 16) -> Field:
    return Field(torch.randint(256, (rows, 3, side, side), generator=torch.Generator().manual_seed(1)).byte())


def seen(rows: int = 2, side: int = 2) -> Tokens:
    return Tokens(draw(rows, side * side, DIM), torch.ones(rows, side * side, dtype=torch.bool))


def test_losses_by_hand() -> None:
    """Two pixels at logits 0 and ln 3, chances 1/2 and 3/4; the object is the second."""
    logits = torch.tensor([0.0, math.log(3)]).reshape(1, 1, 1, 2)
    truth, real = torch.tensor([False, True]).reshape(1, 1, 1, 2), torch.ones(1, 1, dtype=torch.bool)
    outside, inside = 0.75 * 0.5**2 * math.log(2), 0.25 * 0.25**2 * math.log(4 / 3)
    assert float(focal(logits, truth, real)) == pytest.approx((outside + inside) / 2)
    assert float(dice(logits, truth, real)) == pytest.approx(1 - (2 * 0.75 + 1) / (1.25 + 1 + 1))


def test_losses_are_those_of_transformers() -> None:
    logits, truth = 3 * draw(5, 1, 6, 7), draw(5, 1, 6, 7, seed=1) > 0
    real = torch.ones(5, 1, dtype=torch.bool)
    flat, target = logits.flatten(1), truth.flatten(1).float()
    torch.testing.assert_close(dice(logits, truth, real), theirs.dice_loss(flat, target, 5))
    torch.testing.assert_close(focal(logits, truth, real), theirs.sigmoid_focal_loss(flat, target, 5))


@pytest.mark.parametrize("loss", [focal, dice])
def test_objects_that_are_not_there_count_for_nothing(loss: object) -> None:
    assert callable(loss)
    logits, truth = 3 * draw(2, 3, 4, 4), draw(2, 3, 4, 4, seed=1) > 0
    real = torch.tensor([[True, False, False], [True, True, False]])
    alone = torch.stack(
        [
            loss(logits[b : b + 1, k : k + 1], truth[b : b + 1, k : k + 1], real[:1, :1])
            for b, k in real.nonzero().tolist()
        ]
    )
    torch.testing.assert_close(loss(logits, truth, real), alone.mean())
    assert float(loss(logits, truth, torch.zeros_like(real))) == 0


@pytest.mark.parametrize("loss", [focal, dice])
def test_gradients_are_right_and_lead_towards_the_mask(loss: object) -> None:
    assert callable(loss)
    truth = draw(1, 2, 3, 3, seed=1) > 0
    real = torch.tensor([[True, False]])
    logits = draw(1, 2, 3, 3).double().requires_grad_(True)
    assert torch.autograd.gradcheck(lambda x: loss(x, truth, real), logits)
    loss(logits, truth, real).backward()
    assert logits.grad is not None and not logits.grad[:, 1].any()
    assert ((logits.grad[0, 0] < 0) == truth[0, 0]).all()


def test_a_mask_is_the_product_of_its_query_and_each_pixel() -> None:
    torch.manual_seed(0)
    head, held, features = MaskHead(DIM), draw(2, 3, DIM), draw(2, DIM, 4, 5, seed=2)
    found = head(held, features)
    assert found.shape == (2, 3, 4, 5)
    want = head.query(held[1, 2]) @ features[1, :, 3, 4] / DIM**0.5 + head.bias(held[1, 2])[0]
    torch.testing.assert_close(found[1, 2, 3, 4], want)


@pytest.mark.parametrize("stride", [1, 2, 4, 8])
def test_features_read_pixels_and_tokens_where_they_are(stride: int) -> None:
    torch.manual_seed(0)
    model, image, tokens = PixelFeatures(DIM, stride), picture(), seen()
    found = model(image, tokens, (2, 2))
    assert found.shape == (2, DIM, 16 // stride, 16 // stride)
    moved = image.data.clone()
    moved[0, :, -1, -1] = 255 - moved[0, :, -1, -1]
    change = (model(Field(moved), tokens, (2, 2)) - found).abs().amax(1)
    assert change[0, -1, -1] > 1e-4 and change[1].max() == 0
    assert change[0, 0, 0] == 0 or stride == 8
    other = tokens.x.clone()
    other[0, 0] += 1
    change = (model(image, Tokens(other, tokens.mask), (2, 2)) - found).abs().amax(1)
    assert change[0, 0, 0] > 1e-4 and change[1].max() == 0


def test_padded_tokens_are_not_read() -> None:
    torch.manual_seed(0)
    model, image, tokens = PixelFeatures(DIM, 4), picture(), seen()
    mask = torch.tensor([[True] * 4, [False] * 4])
    junk = tokens.x.masked_fill(~mask[..., None], float("nan"))
    zero = tokens.x.masked_fill(~mask[..., None], 0)
    torch.testing.assert_close(model(image, Tokens(junk, mask), (2, 2)), model(image, Tokens(zero, mask), (2, 2)))


def test_every_parameter_is_trained() -> None:
    torch.manual_seed(0)
    features, head = PixelFeatures(DIM, 4), MaskHead(DIM)
    logits = enlarged(head(draw(2, 3, DIM), features(picture(), seen(), (2, 2))), (16, 16))
    assert logits.shape == (2, 3, 16, 16)
    truth, real = draw(2, 3, 16, 16, seed=3) > 0, torch.ones(2, 3, dtype=torch.bool)
    (focal(logits, truth, real) + dice(logits, truth, real)).backward()
    every = [*features.named_parameters(), *head.named_parameters()]
    assert [n for n, p in every if p.grad is None or not p.grad.any()] == []


def test_a_size_that_does_not_split_is_told() -> None:
    with pytest.raises(SensoriumError, match="stride 3 of a mask; expected one of 1, 2, 4, 8"):
        PixelFeatures(DIM, 3)
    with pytest.raises(SensoriumError, match="a picture of 18 x 18 does not split by a stride of 4"):
        PixelFeatures(DIM, 4)(picture(side=18), seen(), (2, 2))
