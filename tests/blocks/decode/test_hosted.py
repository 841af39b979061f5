"""Tiny random models of `transformers` are the oracle: through our decoder each gives its own numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import deepcopy
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sensorium.blocks.decode import Cache, Prompt, Tap, decode
from sensorium.blocks.decode.capture import matrices, streams
from sensorium.blocks.decode.decoder import attend
from sensorium.blocks.decode.hosted import Hosted, attention
from sensorium.blocks.decode.sparse import masked
from sensorium.blocks.shared import decoder_of, shared
from sensorium.core import Batch, Ids, Method, Rng, SensoriumError, Terms, Tokens

transformers = pytest.importorskip("transformers")
transformers.AttentionInterface.register("sensorium", attention)

VOCAB, DIM, LAYERS, HEADS, LENGTH = 24, 16, 3, 4, 32
BEGIN, END = 1, 2
COMMON = {
    "vocab_size": VOCAB, "hidden_size": DIM, "num_hidden_layers": LAYERS, "num_attention_heads": HEADS,
    "max_position_embeddings": LENGTH, "bos_token_id": BEGIN, "eos_token_id": END, "pad_token_id": None,
}  # fmt: skip
LLAMA = COMMON | {"num_key_value_heads": 2, "intermediate_size": 24, "initializer_range": 0.3}
KINDS: Mapping[str, Callable[[], Any]] = {
    "llama": lambda: transformers.LlamaConfig(**LLAMA, tie_word_embeddings=True),
    "qwen2": lambda: transformers.Qwen2Config(**LLAMA),
    "qwen3": lambda: transformers.Qwen3Config(**LLAMA, head_dim=8),
    "gpt2": lambda: transformers.GPT2Config(**COMMON, initializer_range=0.3),
    "gpt2 scaled by layer": lambda: transformers.GPT2Config(
        **COMMON, initializer_range=0.3, scale_attn_by_inverse_layer_idx=True
    ),
    "opt": lambda: transformers.OPTConfig(
        **(COMMON | {"pad_token_id": 1}), init_std=0.3, ffn_dim=24, word_embed_proj_dim=DIM
    ),
}
STACKS = {"gpt2": ("transformer", "h"), "opt": ("model.decoder", "layers")}


def model(kind: str) -> Any:
    torch.manual_seed(0)
    found = transformers.AutoModelForCausalLM.from_config(KINDS[kind](), attn_implementation="eager").eval()
    for name, parameter in found.named_parameters():
        if "norm" in name or "ln_" in name:  # ones and zeros say nothing about where they are used
            torch.nn.init.uniform_(parameter, 0.5, 1.5)
    return found


def host(theirs: Any) -> Hosted:
    """A copy of a model behind our interface."""
    taken = deepcopy(theirs)
    taken.set_attn_implementation("sensorium")
    owner, stack = STACKS.get(taken.config.model_type, ("model", "layers"))
    trunk, words, says = taken.get_submodule(owner), taken.get_input_embeddings(), taken.get_output_embeddings()
    for name, part in list(trunk.named_children()):
        if part is words:
            delattr(trunk, name)
    return Hosted(trunk, stack, words, says, begin=BEGIN, end=END, dim=DIM, heads=HEADS, length=LENGTH)


@pytest.fixture(scope="module", params=list(KINDS))
def pair(request: pytest.FixtureRequest) -> tuple[Any, Hosted]:
    theirs = model(request.param)
    return theirs, host(theirs)


@pytest.fixture(scope="module")
def llama() -> tuple[Any, Hosted]:
    theirs = model("llama")
    return theirs, host(theirs)


def some(b: int = 3, t: int = 9, seed: int = 0) -> Tensor:
    return torch.randint(3, VOCAB, (b, t), generator=torch.Generator().manual_seed(seed))


def every(ids: Tensor) -> Ids:
    return Ids(ids, torch.ones_like(ids, dtype=torch.bool))


@torch.no_grad()
def logits(ours: Hosted, text: Ids, **how: Any) -> Tensor:
    return ours.logits(ours(ours.embed(text), **how))


@torch.no_grad()
def wanted(theirs: Any, ids: Tensor, mask: Tensor | None = None) -> Tensor:
    if mask is None:
        return theirs(ids).logits  # type: ignore[no-any-return]
    pos = (mask.long().cumsum(1) - 1).clamp(min=0)
    return theirs(ids, attention_mask=mask.long(), position_ids=pos).logits  # type: ignore[no-any-return]


def close(found: Tensor, want: Tensor) -> None:
    assert want.std() > 0.3
    torch.testing.assert_close(found, want, atol=1e-4, rtol=0)


def test_logits_are_the_models_own(pair: tuple[Any, Hosted]) -> None:
    theirs, ours = pair
    close(logits(ours, every(some())), wanted(theirs, some()))


def test_padding_on_either_side_is_as_the_models_own(pair: tuple[Any, Hosted]) -> None:
    theirs, ours = pair
    for mask in (
        torch.arange(9) >= torch.tensor([0, 3, 6])[:, None],
        torch.arange(9) < torch.tensor([9, 4, 1])[:, None],
    ):
        found = logits(ours, Ids(some(), mask))
        close(found[mask], wanted(theirs, some(), mask)[mask])
        alone = logits(ours, every(some()[1:2][mask[1:2]][None]))[0]
        close(found[1][mask[1]], alone)


@pytest.mark.parametrize("cuts", [(1,) * 9, (4, 5), (6, 1, 2)])
def test_cached_and_whole_passes_agree(pair: tuple[Any, Hosted], cuts: tuple[int, ...]) -> None:
    theirs, ours = pair
    cache = Cache()
    parts = [logits(ours, every(part), cache=cache) for part in some().split(list(cuts), 1)]
    close(torch.cat(parts, 1), wanted(theirs, some()))
    assert cache.length == 9 and cache.next is not None and cache.next.tolist() == [9, 9, 9]


def test_greedy_decoding_says_what_generate_says(pair: tuple[Any, Hosted]) -> None:
    theirs, ours = pair
    mask = torch.arange(6) >= torch.tensor([0, 2, 4])[:, None]
    want = theirs.generate(
        some(t=6), attention_mask=mask.long(), max_new_tokens=12, do_sample=False, pad_token_id=0, eos_token_id=None
    )[:, 6:]
    found = decode(Prompt(ours, ours.embed(Ids(some(t=6), mask))), 12, stop=())
    assert torch.equal(found.ids, want) and len(want.unique()) > 1


def test_tokens_see_whom_they_are_shown(pair: tuple[Any, Hosted]) -> None:
    """Against the model's own attention under the same mask."""
    theirs, ours = pair
    see = (torch.rand(3, 9, 9, generator=torch.Generator().manual_seed(5)) < 0.5) | torch.eye(9, dtype=torch.bool)
    hidden = torch.zeros(3, 1, 9, 9).masked_fill(~see[:, None], torch.finfo(torch.float32).min)
    with torch.no_grad():
        want = theirs(some(), attention_mask=hidden, position_ids=torch.arange(9).expand(3, 9)).logits
    close(logits(ours, every(some()), see=see), want)
    assert not torch.allclose(want, wanted(theirs, some()), atol=0.1)


class Forgetful(Cache):
    """Keeps what comes after the third token."""

    def keep(self, layer: int, q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return (k[:, :, 3:], v[:, :, 3:], mask[:, :, 3:]) if not self.length else (k, v, mask)


def test_what_a_cache_evicts_is_gone(pair: tuple[Any, Hosted]) -> None:
    """As if tokens after the prompt could not look at its first three."""
    theirs, ours = pair
    see = torch.ones(9, 9, dtype=torch.bool).tril()
    see[6:, :3] = False
    hidden = torch.zeros(3, 1, 9, 9).masked_fill(~see, torch.finfo(torch.float32).min)
    with torch.no_grad():
        want = theirs(some(), attention_mask=hidden, position_ids=torch.arange(9).expand(3, 9)).logits
    cache = Forgetful()
    parts = [logits(ours, every(part), cache=cache) for part in some().split([6, 1, 1, 1], 1)]
    close(torch.cat(parts, 1), want)
    assert cache.numbers() == 2 * LAYERS * sum(k.numel() for k, _, _ in [cache._held[0]])


class Seen(Cache, Tap):
    """Keeps what attention was asked and what it found."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[tuple[Tensor, Tensor, Tensor]] = []
        self.heard: list[Tensor] = []

    def keep(self, layer: int, q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        self.asked.append((q, k, v))
        return k, v, mask

    def heads(self, layer: int, o: Tensor, at: int) -> Tensor:
        self.heard.append(o)
        return o


def test_queries_reach_a_cache_as_our_attention_scales_them(pair: tuple[Any, Hosted]) -> None:
    """Whatever a model divides its scores by, a cache that scores keys itself finds the model's attention."""
    _, ours = pair
    spy, seen = Seen(), torch.ones(1, 1, 9, 9, dtype=torch.bool).tril()
    logits(ours, every(some()), cache=spy, tap=spy)
    assert len(spy.asked) == len(spy.heard) == LAYERS
    for (q, k, v), found in zip(spy.asked, spy.heard, strict=True):
        torch.testing.assert_close(attend(q, k, v, seen), found)


class Edit(Tap):
    """Adds to the stream before some layers."""

    def __init__(self, *layers: int) -> None:
        self.layers = layers
        self.at: list[int] = []

    def stream(self, layer: int, h: Tensor, at: int) -> Tensor:
        self.at.append(at)
        return h + torch.linspace(-1, 1, h.shape[-1]) * (layer + 1)


def test_a_tap_edits_the_stream_before_a_layer(pair: tuple[Any, Hosted]) -> None:
    theirs, ours = pair
    owner, stack = STACKS.get(theirs.config.model_type, ("model", "layers"))
    layer = getattr(theirs.get_submodule(owner), stack)[1]
    tap = Edit(1)
    hook = layer.register_forward_pre_hook(lambda m, given: (tap.stream(1, given[0], 0), *given[1:]))
    want = wanted(theirs, some())
    hook.remove()
    tap.at.clear()
    close(logits(ours, every(some()), tap=tap), want)
    cache = Cache()
    parts = [logits(ours, every(part), cache=cache, tap=tap) for part in some().split([5, 4], 1)]
    close(torch.cat(parts, 1), want)
    assert tap.at == [0, 0, 5] and not torch.allclose(want, wanted(theirs, some()), atol=0.1)


def test_a_tap_sees_what_goes_into_the_last_norm(llama: tuple[Any, Hosted]) -> None:
    theirs, ours = llama
    heard: list[Tensor] = []
    hook = theirs.model.norm.register_forward_pre_hook(lambda m, given: heard.append(given[0]))
    wanted(theirs, some())
    hook.remove()
    found = streams(ours, ours.embed(every(some())))
    assert len(found) == LAYERS + 1
    torch.testing.assert_close(found[-1].x, heard[0])
    torch.testing.assert_close(found[0].x, theirs.model.embed_tokens(some()).detach())


class Silent(Tap):
    """One head of one layer says nothing."""

    def heads(self, layer: int, o: Tensor, at: int) -> Tensor:
        return o.index_fill(1, torch.tensor([2]), 0) if layer == 1 else o


def test_a_tap_edits_what_a_head_found(llama: tuple[Any, Hosted]) -> None:
    theirs, ours = llama
    other = deepcopy(theirs)
    with torch.no_grad():
        other.model.layers[1].self_attn.o_proj.weight[:, 2 * DIM // HEADS : 3 * DIM // HEADS] = 0
    close(logits(ours, every(some()), tap=Silent()), wanted(other, some()))


class Without(Tap):
    def __init__(self, *gone: int) -> None:
        self.gone = gone

    def skip(self, layer: int) -> bool:
        return layer in self.gone


@pytest.mark.parametrize("gone", [0, 1, 2])
def test_a_layer_is_left_out(pair: tuple[Any, Hosted], gone: int) -> None:
    theirs, ours = pair
    other = deepcopy(theirs)
    owner, stack = STACKS.get(other.config.model_type, ("model", "layers"))
    trunk = other.get_submodule(owner)
    setattr(trunk, stack, nn.ModuleList(layer for n, layer in enumerate(getattr(trunk, stack)) if n != gone))
    other.config.num_hidden_layers -= 1
    cache = Cache()
    parts = [logits(ours, every(part), cache=cache, tap=Without(gone)) for part in some().split([5, 4], 1)]
    want = theirs_without_cache(other, some())
    close(torch.cat(parts, 1), want)


def theirs_without_cache(other: Any, ids: Tensor) -> Tensor:
    with torch.no_grad():
        return other(ids, use_cache=False).logits  # type: ignore[no-any-return]


def test_only_masked_weights_are_left(llama: tuple[Any, Hosted]) -> None:
    theirs, ours = llama
    known = matrices(ours)
    assert len(known) == 7 * LAYERS
    masks = {
        name: torch.rand(m.weight.shape, generator=torch.Generator().manual_seed(7)) < 0.8 for name, m in known.items()
    }
    other = deepcopy(theirs)
    with torch.no_grad():
        for name, m in other.model.layers.named_modules():
            if isinstance(m, nn.Linear):
                m.weight *= masks[name]
    close(logits(masked(ours, masks), every(some())), wanted(other, some()))
    close(logits(ours, every(some())), wanted(theirs, some()))


def test_gradients_are_the_models_own(pair: tuple[Any, Hosted]) -> None:
    theirs, ours = pair
    theirs, ours = deepcopy(theirs), deepcopy(ours)
    theirs(some()).logits.square().mean().backward()
    ours.logits(ours(ours.embed(every(some())))).square().mean().backward()
    want = {n: p.grad for n, p in theirs.named_parameters()}
    found = {n: p.grad for n, p in ours.named_parameters()}
    assert len(found) == len(want) and all(g is not None for g in found.values())
    sums = sorted(float(g.abs().sum()) for g in found.values() if g is not None)
    assert sums == pytest.approx(sorted(float(g.abs().sum()) for g in want.values() if g is not None), rel=1e-3)


def test_inputs_get_gradient_past_padding(pair: tuple[Any, Hosted]) -> None:
    _, ours = pair
    t = Tokens(torch.randn(2, 5, DIM), torch.tensor([[True] * 5, [False, False, True, True, False]]))
    t.x[~t.mask] = torch.nan
    t.x.requires_grad_()
    out = ours(t)
    out.square().sum().backward()
    assert not out[~t.mask].any() and t.x.grad is not None and t.x.grad.isfinite().all()
    assert not t.x.grad[~t.mask].any() and t.x.grad[t.mask].any(1).all()


class Start(Method):
    def __init__(self, decoder: Hosted) -> None:
        super().__init__()
        self.decoder = decoder

    def losses(self, batch: Batch, rng: Rng) -> Terms:
        return {}


def test_shared_it_has_no_parameter_and_passes_gradients_on(pair: tuple[Any, Hosted]) -> None:
    theirs, ours = pair
    start = shared(Start(deepcopy(ours)))
    decoder = decoder_of(start)
    assert isinstance(decoder, Hosted)
    assert not list(start.parameters()) and not start.state_dict()
    close(logits(decoder, every(some())), wanted(theirs, some()))
    t = decoder.embed(every(some()))
    t.x.requires_grad_()
    decoder(t).square().sum().backward()
    assert t.x.grad is not None and t.x.grad.any()


def test_tied_weights_stay_one(pair: tuple[Any, Hosted]) -> None:
    theirs, ours = pair
    tied = theirs.get_input_embeddings().weight is theirs.get_output_embeddings().weight
    kept = decoder_of(shared(Start(deepcopy(ours))))
    for decoder in (ours, deepcopy(ours), kept):
        assert (decoder.words.weight.data_ptr() == decoder.says.weight.data_ptr()) == tied


def test_a_copy_takes_the_weights_of_another(pair: tuple[Any, Hosted]) -> None:
    theirs, ours = pair
    other = deepcopy(ours)
    with torch.no_grad():
        for p in other.parameters():
            p.mul_(0.5)
    assert not torch.allclose(logits(other, every(some())), logits(ours, every(some())))
    other.load_state_dict(ours.state_dict())
    assert torch.equal(logits(other, every(some())), logits(ours, every(some())))
    stored = [v for v in ours.state_dict().values()]
    pointers = {v.data_ptr() for v in stored}
    tied = theirs.get_input_embeddings().weight is theirs.get_output_embeddings().weight
    assert len(stored) - len(pointers) == int(tied)


def test_what_it_cannot_do_is_told(llama: tuple[Any, Hosted]) -> None:
    _, ours = llama
    t = ours.embed(every(some()))
    with pytest.raises(SensoriumError, match="without memory"):
        ours(t, memory=t)
    with pytest.raises(SensoriumError, match="at most 32"):
        ours(ours.embed(every(F.pad(some(), (0, 30), value=3))))
    with pytest.raises(SensoriumError, match="softcap"):
        attention(ours, t.x[:, None], t.x[:, None], t.x[:, None], reading=None, softcap=30.0)
