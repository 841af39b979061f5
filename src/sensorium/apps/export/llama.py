"""Hugging Face: a text decoder as a Llama checkpoint, which transformers, vLLM and llama.cpp read.

The decoder's layers are Llama's (Touvron et al. 2023, arXiv 2302.13971), so nothing but names changes.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from tokenizers import Tokenizer, processors
from torch import Tensor

from sensorium.blocks.decode.decoder import EPS, Decoder, GatedMlp, Layer
from sensorium.blocks.shared import decoder_of
from sensorium.core import Method, SensoriumError
from sensorium.data.tokenise import END, PAD
from sensorium.run.checkpoint import to_json
from sensorium.run.runs import Model

BEGIN, STOP = "<begin>", "<end>"
NAMES = {
    "before": "input_layernorm",
    "q": "self_attn.q_proj",
    "k": "self_attn.k_proj",
    "v": "self_attn.v_proj",
    "out": "self_attn.o_proj",
    "between": "post_attention_layernorm",
    "mlp.gate": "mlp.gate_proj",
    "mlp.up": "mlp.up_proj",
    "mlp.down": "mlp.down_proj",
}
"""Our parts of a layer -> theirs."""


def llama(model: Model, out: Path) -> str:
    """model.safetensors, config.json, generation_config.json, tokenizer.json and tokenizer_config.json.

    Raises:
        SensoriumError: a run that is more, or other, than one Llama-kind decoder of words.
    """
    decoder = _alone(model)
    assert model.tokenizer is not None
    save_file(_renamed(decoder), out / "model.safetensors", {"format": "pt"})
    words, ends = _words(model.tokenizer, decoder)
    words.save(str(out / "tokenizer.json"))
    named = {"bos_token": BEGIN, "eos_token": STOP, "pad_token": PAD, "model_max_length": decoder.length}
    for name, content in {
        "config.json": _config(decoder),
        "generation_config.json": {"bos_token_id": decoder.begin, "eos_token_id": ends, "pad_token_id": 0},
        "tokenizer_config.json": {"tokenizer_class": "PreTrainedTokenizerFast", **named},
    }.items():
        (out / name).write_bytes(to_json(content))
    return "only names change; transformers was not asked to compare"


def _alone(model: Model) -> Decoder:
    """The decoder of a run that is nothing else.

    Raises:
        SensoriumError: other parts have weights too, or the layers are not Llama's.
    """
    method: Method = model.method
    refused = f"{model.path} ({model.paper}) does not fit a Llama checkpoint: "
    if not any(isinstance(part, Decoder) for part in method.modules()):
        raise SensoriumError(f"{refused}it holds no decoder of words; onnx takes what embeds, safetensors any run")
    decoder = decoder_of(method)
    others = {n for n, _ in method.named_parameters()} - {f"decoder.{n}" for n, _ in decoder.named_parameters()}
    if others or getattr(method, "decoder", None) is not decoder:
        raise SensoriumError(f"{refused}{min(others, default='its decoder')} has no place there; try safetensors")
    if type(decoder) is not Decoder or decoder.reads or model.tokenizer is None:
        raise SensoriumError(f"{refused}it reads more than words")
    layers = [layer for layer in decoder.layers if isinstance(layer, Layer)]
    if not all(type(layer.mlp) is GatedMlp for layer in layers):
        raise SensoriumError(f"{refused}its layers have another mlp")
    return decoder


def _renamed(decoder: Decoder) -> dict[str, Tensor]:
    """Their names of all weights."""
    own = {k: v.detach().cpu().contiguous() for k, v in decoder.state_dict().items()}
    found = {
        "model.embed_tokens.weight": own["words.weight"],
        "model.norm.weight": own["norm.weight"],
        "lm_head.weight": own["says.weight"],
    }
    for n in range(len(decoder.layers)):
        found |= {
            f"model.layers.{n}.{theirs}.weight": own[f"layers.{n}.{ours}.weight"] for ours, theirs in NAMES.items()
        }
    assert len(found) == len(own)
    return found


def _config(decoder: Decoder) -> dict[str, Any]:
    layer = decoder.layers[0]
    assert isinstance(layer, Layer) and isinstance(layer.mlp, GatedMlp)
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": decoder.end + 1,
        "hidden_size": decoder.dim,
        "intermediate_size": layer.mlp.gate.out_features,
        "num_hidden_layers": len(decoder.layers),
        "num_attention_heads": layer.heads,
        "num_key_value_heads": layer.groups,
        "head_dim": decoder.each,
        "hidden_act": "silu",
        "max_position_embeddings": decoder.length,
        "rms_norm_eps": EPS,
        "rope_theta": decoder.period,
        "rope_parameters": {"rope_type": "default", "rope_theta": decoder.period},
        "attention_bias": False,
        "mlp_bias": False,
        "tie_word_embeddings": False,
        "bos_token_id": decoder.begin,
        "eos_token_id": decoder.end,
        "pad_token_id": 0,
        "dtype": "float32",
    }


def _words(tokenizer: Tokenizer, decoder: Decoder) -> tuple[Tokenizer, list[int]]:
    """The run's tokeniser with the decoder's own two marks, a text opened by the first; and what ends a text."""
    words = Tokenizer.from_str(json.dumps(json.loads(tokenizer.to_str()) | {"truncation": None, "padding": None}))
    words.add_special_tokens([BEGIN, STOP])
    if (words.token_to_id(BEGIN), words.token_to_id(STOP)) != (decoder.begin, decoder.end):
        raise SensoriumError(f"the tokeniser has {tokenizer.get_vocab_size()} ids, the decoder {decoder.begin}")
    words.post_processor = processors.TemplateProcessing(
        single=f"{BEGIN} $A", pair=f"{BEGIN} $A {BEGIN} $B", special_tokens=[(BEGIN, decoder.begin)]
    )
    ended = words.token_to_id(END)
    return words, [decoder.end] + ([ended] if ended is not None else [])
