from __future__ import annotations

from copy import deepcopy

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.cluster.vq import kmeans2, vq
from torch import Tensor

from sensorium.blocks.codecs.vq import Codebook, PictureTokeniser
from sensorium.core import Field, SensoriumError


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def codebook(codes: Tensor, used: float = 1.0, **dials: float) -> Codebook:
    book = Codebook(*codes.shape, **dials)
    book.codes.copy_(codes)
    book.used.fill_(used)
    return book


def pictures(n: int = 16, seed: int = 0) -> Field:
    """Squares of one of four colours at one of 64 places."""
    draw = np.random.default_rng(seed)
    out = np.full((n, 3, 16, 16), 255, np.uint8)
    for k in range(n):
        y, x = 4 * draw.integers(0, 3, 2)
        out[k, :, y : y + 8, x : x + 8] = np.array([[200, 20, 20], [20, 200, 20], [20, 20, 200], [20, 20, 20]])[
            draw.integers(4), :, None, None
        ]
    return Field(torch.from_numpy(out))


def test_ids_and_codes_by_hand() -> None:
    """Codes 0 and 4 on a line: 1 is nearer to the first, 3 to the second, 2 to both and goes to the first."""
    book = codebook(torch.tensor([[0.0], [4.0]]))
    codes, ids = book(torch.tensor([[[1.0], [3.0], [2.0]]]))
    assert ids.tolist() == [[0, 1, 0]] and codes.flatten().tolist() == [0, 4, 0]


@settings(deadline=None)
@given(st.integers(0, 1000), st.integers(1, 9), st.integers(1, 5))
def test_ids_are_the_nearest(seed: int, size: int, dim: int) -> None:
    x, codes = torch.randn(20, dim, generator=generator(seed)), torch.randn(size, dim, generator=generator(seed + 1))
    _, far = vq(x.numpy(), codes.numpy())
    found = codebook(codes).ids(x)
    torch.testing.assert_close((x - codes[found]).norm(dim=1), torch.from_numpy(far).float(), atol=1e-5, rtol=1e-5)


def test_the_gradient_passes_straight_through() -> None:
    book, x = codebook(torch.tensor([[0.0, 0.0], [4.0, 4.0]])), torch.tensor([[1.0, 3.5]], requires_grad=True)
    (book(x)[0] * torch.tensor([5.0, 7.0])).sum().backward()
    assert x.grad is not None and x.grad.tolist() == [[5, 7]]


def test_averages_by_hand() -> None:
    """Decay 1/2, used 2 at code 0: half of that keeps 0, half of the vectors 1 and 3 pulls, (1*0 + 0.5*4) / 2."""
    book = codebook(torch.tensor([[0.0], [9.0]]), used=2.0, decay=0.5, dead=0.1)
    x = torch.tensor([[1.0], [3.0]])
    book.update(x, book.ids(x), generator())
    assert book.codes.flatten().tolist() == [1, 9] and book.used.tolist() == [2, 1]


def test_without_memory_an_update_is_a_step_of_k_means() -> None:
    x = torch.randn(200, 3, generator=generator())
    book = codebook(x[:5], decay=0.0)
    for _ in range(7):
        book.update(x, book.ids(x), generator())
    centres, _ = kmeans2(x.double().numpy(), x[:5].double().numpy(), iter=7, minit="matrix")
    torch.testing.assert_close(book.codes, torch.from_numpy(centres).float(), atol=1e-5, rtol=1e-5)


def test_a_dead_code_goes_to_a_vector_of_the_batch() -> None:
    book = codebook(torch.tensor([[0.0], [100.0]]), used=1.0, decay=0.5, dead=0.6)
    x = torch.tensor([[1.0], [2.0], [3.0]])
    book.update(x, book.ids(x), generator())
    assert book.codes[1].item() in (1, 2, 3) and book.used[1].item() == pytest.approx(0.6)
    assert book.used[0].item() == 2 and book.codes[0].item() == pytest.approx(0.5 * 0 + 3 / 2)


def test_the_first_update_puts_every_code_on_a_vector() -> None:
    torch.manual_seed(0)
    book, x = Codebook(8, 2), torch.randn(30, 2, generator=generator()) + 50
    book.update(x, book.ids(x), generator())
    assert torch.cdist(book.codes, x).min(1).values.max() == 0


def test_settings_are_checked() -> None:
    with pytest.raises(SensoriumError, match=r"decay 1 and dead 0.5; expected 0 to below 1"):
        Codebook(4, 2, decay=1)


@pytest.fixture(scope="module")
def once() -> PictureTokeniser:
    torch.manual_seed(0)
    model = PictureTokeniser(32, 8, 16)
    optimiser, luck, x = torch.optim.Adam(model.parameters(), 3e-3), generator(), pictures(64)
    for _ in range(250):
        optimiser.zero_grad()
        torch.stack(list(model.losses(x, luck).values())).sum().backward()
        optimiser.step()
    return model.eval()


@pytest.fixture
def trained(once: PictureTokeniser) -> PictureTokeniser:
    return deepcopy(once)


def test_pictures_survive_the_way_through_ids(trained: PictureTokeniser) -> None:
    new = pictures(64, seed=1)
    ids = trained.encode(new)
    assert ids.shape == (64, 4, 4) and ids.unique().numel() > 4
    off = (trained.decode(ids).data.float() - new.data.float()).square().mean()
    mean_picture = pictures(64).data.float().mean(0)
    assert off < 0.1 * (mean_picture - new.data.float()).square().mean()


def test_an_id_is_about_its_own_part_of_the_picture(trained: PictureTokeniser) -> None:
    one, other = pictures(1).data, pictures(1).data.clone()
    one.fill_(255)
    other.fill_(255)
    other[:, :, 12:, 12:] = 0
    differ = trained.encode(Field(one)) != trained.encode(Field(other))
    assert differ[0, 3, 3] and not differ[0, 0].any()


def test_the_codebook_rests_in_eval_mode(trained: PictureTokeniser) -> None:
    before = trained.codebook.codes.clone()
    trained.losses(pictures(4), generator())
    assert torch.equal(trained.codebook.codes, before)
    trained.train().losses(pictures(4), generator())
    assert not torch.equal(trained.codebook.codes, before)


def test_missing_pictures_change_nothing(trained: PictureTokeniser) -> None:
    trained.train()
    x, state = pictures(4), {k: v.clone() for k, v in trained.state_dict().items()}
    want = trained.losses(Field(x.data[:2]), generator())
    moved = trained.codebook.codes.clone()
    trained.load_state_dict(state)
    found = trained.losses(Field(x.data, torch.tensor([True, True, False, False])), generator())
    assert found == want and torch.equal(trained.codebook.codes, moved)
    none = trained.losses(Field(x.data, torch.zeros(4).bool()), generator())
    assert [v.item() for v in none.values()] == [0, 0]


def test_every_parameter_gets_a_gradient() -> None:
    torch.manual_seed(0)
    model = PictureTokeniser(32, 8, 16)
    torch.stack(list(model.losses(pictures(), generator()).values())).sum().backward()
    assert [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()] == []


def test_sizes_that_do_not_divide_are_refused() -> None:
    with pytest.raises(SensoriumError, match="18 x 16; expected multiples of 4"):
        PictureTokeniser().encode(Field(torch.zeros(1, 3, 18, 16, dtype=torch.uint8)))
