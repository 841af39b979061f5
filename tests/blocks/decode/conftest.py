"""A tiny random Llama of `transformers`, the oracle, and a decoder with its weights."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from sensorium.blocks.decode import Decoder
from sensorium.blocks.decode.decoder import GatedMlp, Layer

VOCAB, DIM, LAYERS, HEADS, GROUPS, HIDDEN, LENGTH = 18, 32, 2, 4, 2, 40, 64
"""Ids 18 and 19 are the decoder's own begin and end."""


def llama() -> Any:
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=VOCAB + 2, hidden_size=DIM, intermediate_size=HIDDEN, num_hidden_layers=LAYERS,
        num_attention_heads=HEADS, num_key_value_heads=GROUPS, max_position_embeddings=LENGTH, rms_norm_eps=1e-6,
        bos_token_id=VOCAB, eos_token_id=VOCAB + 1, pad_token_id=0, initializer_range=0.3,
    )  # fmt: skip
    model = transformers.LlamaForCausalLM(config).eval()
    for name, parameter in model.named_parameters():
        if "norm" in name:  # ones say nothing about where they are used
            torch.nn.init.uniform_(parameter, 0.5, 1.5)
    return model


def copied(model: Any) -> Decoder:
    """Our decoder with the weights of a Llama."""
    ours = Decoder(VOCAB, DIM, LAYERS, HEADS, LENGTH, groups=GROUPS, mlp=lambda dim: GatedMlp(dim, HIDDEN))
    pairs = [(ours.words, model.model.embed_tokens), (ours.says, model.lm_head), (ours.norm, model.model.norm)]
    for a, b in zip(ours.layers, model.model.layers, strict=True):
        assert isinstance(a, Layer) and isinstance(a.mlp, GatedMlp)
        attention, mlp = b.self_attn, b.mlp
        pairs += [(a.q, attention.q_proj), (a.k, attention.k_proj), (a.v, attention.v_proj), (a.out, attention.o_proj)]
        pairs += [(a.mlp.gate, mlp.gate_proj), (a.mlp.up, mlp.up_proj), (a.mlp.down, mlp.down_proj)]
        pairs += [(a.before, b.input_layernorm), (a.between, b.post_attention_layernorm)]
    for x, y in pairs:
        x.load_state_dict(y.state_dict())
    return ours.eval()


@pytest.fixture(scope="package")
def theirs() -> Any:
    return llama()


@pytest.fixture(scope="package")
def ours(theirs: Any) -> Decoder:
    return copied(theirs)
