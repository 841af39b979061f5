from __future__ import annotations

import pytest
import torch
from scipy.stats import entropy
from torch import nn

from sensorium.blocks.adapt.regularise import distil, fisher, l2


def line(*weights: float) -> nn.Linear:
    layer = nn.Linear(len(weights), 1)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([weights]))
        layer.bias.zero_()
    return layer


def test_distance_by_hand_and_only_of_what_is_trained() -> None:
    module, anchor = line(1.0, 3.0), line(0.0, 1.0).state_dict()
    assert l2(module, anchor).item() == (1 + 4) / 2
    importance = {"weight": torch.tensor([[2.0, 0.5]]), "bias": torch.ones(1)}
    assert l2(module, anchor, importance).item() == (2 * 1 + 0.5 * 4) / 2
    l2(module, anchor, importance).backward()
    assert module.weight.grad is not None and module.weight.grad.tolist() == [[2.0, 1.0]]
    module.weight.requires_grad_(False)
    assert l2(module, anchor).item() == 0


def test_fisher_is_the_mean_squared_gradient() -> None:
    module, x = line(1.0, 2.0), torch.tensor([[1.0, 0.0], [3.0, -1.0]])
    found = fisher(module, (lambda row=row: module(row).sum() for row in x))
    assert found["weight"].tolist() == [[(1 + 9) / 2, (0 + 1) / 2]] and found["bias"].tolist() == [1.0]
    assert module.weight.grad is None
    nothing = fisher(module, [])
    assert not any(v.any() for v in nothing.values())


def test_distillation_is_the_divergence_from_the_teacher() -> None:
    g = torch.Generator().manual_seed(0)
    student, teacher = (torch.randn(5, 7, generator=g, requires_grad=True) for _ in range(2))
    expected = entropy(teacher.softmax(-1).detach().numpy(), student.softmax(-1).detach().numpy(), axis=1).mean()
    assert distil(student, teacher).item() == pytest.approx(expected, rel=1e-5)
    assert distil(teacher, teacher).item() == pytest.approx(0, abs=1e-7)
    distil(student, teacher).backward()
    assert teacher.grad is None and student.grad is not None
    torch.testing.assert_close(student.grad, (student.softmax(-1) - teacher.softmax(-1)).detach() / 5)
