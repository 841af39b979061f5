"""Anybody's causal LM in the place of the shared start of that name: a folder in Hugging Face form, or a known one.

One adapter for all: the model keeps its layers, its attention is ours (blocks/decode/hosted.py). Whether that gives the
model's own numbers is tried on a few ids when it is opened, so an odd model is refused, not misread. Nothing is
downloaded and no code of a checkpoint is run; weights are read from safetensors, or from a GGUF file of known hash,
which is made into safetensors once.
"""

from __future__ import annotations

import importlib.util
import inspect
import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from tokenizers import AddedToken, Tokenizer
from torch import Tensor, nn

from sensorium.blocks.decode import Cache
from sensorium.blocks.decode.hosted import Hosted, attention
from sensorium.core import Ids, Method, SensoriumError, nearest
from sensorium.data.cache import home
from sensorium.data.tokenise import END
from sensorium.run.checkpoint import damage, publish
from sensorium.run.load import attribute

from . import folders
from .folders import AT, CONFIG, PICKLE, SAFE
from .known import SMOLLM2, Weights
from .towers import library

KIND = "causal-lm"
"""The start that these stand in for."""
METHOD = "sensorium.papers.baseline.causal_lm:CausalLM"
OURS = "sensorium"
"""What transformers knows our attention as."""
WORDS = "tokenizer.json"
KNOWN: Mapping[str, Weights] = {SMOLLM2.name: SMOLLM2}
"""Those that a registry package carries as GGUF."""
TRIED, AGREE = 8, 1e-3
"""Ids that a model is tried on when it is opened, and by how much its logits may differ there."""
LOCAL: Mapping[str, Any] = {"local_files_only": True, "trust_remote_code": False}
"""Said at every opening: left open, transformers would ask at the terminal whether to run what a checkpoint brings."""
LONGEST = 2048
"""Positions of a model that names no most."""


def recorded(source: str) -> str:
    """A checkpoint as a run records it: its name or whole path, and the hash of what is read of it.

    Raises:
        SensoriumError: no such folder, one without config.json, an unknown name, a package that is not installed.
    """
    if source in KNOWN:
        return f"{source}{AT}{_sha(source)}"
    folder = folders.located(source)
    if folder is None:
        ask = f"; get it with: sensorium weights get {source}" if folders.is_hub_name(source) else ""
        raise SensoriumError(f"no causal LM {source!r}: no such folder{ask or nearest(source, KNOWN)}")
    if not (folder / CONFIG).is_file():
        raise SensoriumError(f"{source} is no checkpoint in Hugging Face form: it has no {CONFIG}")
    return folders.recorded(source)


def chosen(record: str) -> tuple[str, Path]:
    """What a run recorded -> the checkpoint's name or path, and its folder.

    Raises:
        SensoriumError: a checkpoint that is gone or has changed since.
    """
    source, _, sha = record.rpartition(AT)
    folder = None if source in KNOWN else folders.located(source)
    if source not in KNOWN and folder is None:
        again = f"get it with: sensorium weights get {source}" if folders.is_hub_name(source) else "put it back there"
        raise SensoriumError(f"base {KIND!r}, {source}, is gone; this run began from its hash {sha}: {again}")
    if (found := folders.digest(folder) if folder else _sha(source)) != sha:
        raise SensoriumError(f"base {KIND!r}, {source}, has hash {found} here; this run began from {sha}")
    return source, folder or _converted(source)


def _sha(name: str) -> str:
    """Of the file that a package carries."""
    KNOWN[name].there()
    return KNOWN[name].sha


def opened(record: str) -> Method:
    """The checkpoint that a run recorded as a method: in parts, float32, eval mode, without gradient; held once.

    Raises:
        SensoriumError: it is gone or another, is no causal LM, or gives other numbers through our attention.
    """
    return _opened(record, *chosen(record))


@cache
def _opened(record: str, source: str, folder: Path) -> Method:
    with torch.random.fork_rng(devices=[]):  # what is built next draws as if it had been open before
        decoder = hosted(_model(source, folder), source)
    words, rows = tokeniser(record), decoder.words.weight.shape[0]
    if (size := words.get_vocab_size()) > rows:
        raise SensoriumError(f"the tokeniser of {source} has {size:,} ids; its model knows {rows:,}")
    method: Method = attribute(METHOD)(decoder, False)
    return method.eval().requires_grad_(False)


def tokeniser(record: str) -> Tokenizer:
    """The checkpoint's own, its end of text under the name that ours has; it cuts no text.

    Raises:
        SensoriumError: as `chosen`; no fast tokeniser, or a model that names no id which ends a text.
    """
    source, folder = chosen(record)
    own = _words(folder, source)
    _, end = _marks(folders.read(folder / CONFIG), source)
    if (name := own.id_to_token(end)) is None:
        raise SensoriumError(f"the tokeniser of {source} has no id {end}, with which its model ends a text")
    found = Tokenizer.from_str(json.dumps(_swapped(json.loads(own.to_str()), {name: END, END: name})))
    found.add_special_tokens([AddedToken(END, special=True, normalized=False)])
    found.no_truncation()
    found.no_padding()
    return found


def _words(folder: Path, source: str) -> Tokenizer:
    if (folder / WORDS).is_file():
        return Tokenizer.from_file(str(folder / WORDS))
    transformers = _transformers()
    with suppress(Exception):  # every kind of tokeniser fails in its own way
        found = transformers.AutoTokenizer.from_pretrained(folder, **LOCAL).backend_tokenizer
        assert isinstance(found, Tokenizer)
        return found
    raise SensoriumError(f"{source} has no {WORDS}, and none can be made of what is there")


def _swapped(body: Any, names: Mapping[str, str]) -> Any:
    """JSON in which some texts, keys too, stand in each other's place."""
    if isinstance(body, dict):
        return {names.get(k, k): _swapped(v, names) for k, v in body.items()}
    if isinstance(body, list):
        return [_swapped(v, names) for v in body]
    return names.get(body, body) if isinstance(body, str) else body


def _marks(config: Mapping[str, Any], source: str) -> tuple[int, int]:
    """The ids that begin and end a text; a model without the first begins with the second."""
    ends = config.get("eos_token_id")
    end = ends[0] if isinstance(ends, list) and ends else ends
    if not isinstance(end, int):
        raise SensoriumError(f"{source} names no eos_token_id, so nothing would end a text")
    begin = config.get("bos_token_id")
    return (begin if isinstance(begin, int) else end), end


def hosted(model: Any, source: str) -> Hosted:
    """A causal LM of transformers as our decoder; it is taken apart.

    Raises:
        SensoriumError: a model whose parts are not found, or whose logits are not what it gives itself.
    """
    config = model.config
    begin, end = _marks(config.to_dict(), source)
    words, says = model.get_input_embeddings(), model.get_output_embeddings()
    name, stack = _stack(model, config.num_hidden_layers)
    if says is None or not stack or words.weight.shape[1] != config.hidden_size:
        raise SensoriumError(
            f"{source} ({config.model_type}) has no adapter: its layers, embedding or head are elsewhere"
        )
    ids = torch.arange(TRIED)[None] % config.vocab_size
    with torch.no_grad():
        want = model(input_ids=ids, use_cache=False).logits
        model.set_attn_implementation(OURS)
        most = getattr(config, "max_position_embeddings", None) or LONGEST
        decoder = Hosted(
            model.get_submodule(name),
            stack,
            words,
            says,
            begin=begin,
            end=end,
            dim=config.hidden_size,
            heads=config.num_attention_heads,
            length=min(most, getattr(config, "sliding_window", None) or most),
        )
        for leaf, part in list(decoder.trunk.named_children()):
            if part is words:  # it is held once, by the decoder
                delattr(decoder.trunk, leaf)
        _tried(decoder, ids, want, f"{source} ({config.model_type})")
    return decoder


def _tried(decoder: Hosted, ids: Tensor, want: Tensor, what: str) -> None:
    """In two pieces on one cache: a model that does not ask our attention has forgotten the first."""
    cache = Cache()
    try:
        pieces = [decoder.embed(Ids(some, some >= 0)) for some in ids.chunk(2, 1)]
        found = decoder.logits(torch.cat([decoder(t, cache=cache) for t in pieces], 1))
        off = float((found - want).abs().max() / want.abs().max().clamp(min=1))
    except (TypeError, KeyError, AttributeError, RuntimeError, IndexError) as problem:
        raise SensoriumError(f"{what} has no adapter: {str(problem).splitlines()[0]}") from None
    if not off <= AGREE:
        raise SensoriumError(
            f"{what} has no adapter: through our attention its logits differ by {off:.2g} of their size"
        )


def _stack(model: nn.Module, layers: int) -> tuple[str, str]:
    """The module that owns the list of layers and takes vectors, and the list's name in it; "" where there is none."""
    for path, part in model.named_modules():
        owner, _, leaf = path.rpartition(".")
        if isinstance(part, nn.ModuleList) and len(part) == layers and _takes_vectors(model.get_submodule(owner)):
            return owner, leaf
    return "", ""


def _takes_vectors(part: nn.Module) -> bool:
    return "inputs_embeds" in inspect.signature(part.forward).parameters


def _model(source: str, folder: Path) -> Any:
    """The model of a folder, in float32, without dropout."""
    transformers = _transformers()
    if any(file.name == PICKLE for file in folders.weights(folder)):
        raise SensoriumError(f"{source} has pickled weights alone; a causal LM is read from safetensors")
    try:
        config = transformers.AutoConfig.from_pretrained(folder, **LOCAL)
        for name, value in config.to_dict().items():
            if "drop" in name and isinstance(value, float):
                setattr(config, name, 0.0)
        model, said = transformers.AutoModelForCausalLM.from_pretrained(
            folder,
            config=config,
            dtype=torch.float32,
            attn_implementation="eager",
            use_safetensors=True,
            output_loading_info=True,
            **LOCAL,
        )
    except (ValueError, OSError, KeyError, RuntimeError, ImportError) as problem:
        raise SensoriumError(f"{source} is no causal LM that can be opened: {str(problem).splitlines()[0]}") from None
    if missing := sorted(said["missing_keys"]):
        raise SensoriumError(f"{source} lacks weights of a causal LM: {missing[0]!r}")
    return model.eval()


def _converted(name: str) -> Path:
    """The folder that a GGUF file was made into, made anew where it is not there or not whole."""
    known = KNOWN[name]
    folder = home() / "weights" / f"{name}-{known.sha}"
    if folder.is_dir() and not _damaged(folder, folder.stat().st_mtime_ns):
        return folder
    path = known.open()
    for need in ("gguf", "accelerate"):
        if importlib.util.find_spec(need) is None:
            raise SensoriumError(
                f"weights {name!r} are a GGUF file, which needs {need}; get it with: pip install {need}"
            )
    transformers = _transformers()
    given: dict[str, Any] = {"gguf_file": path.name, **LOCAL}
    model = transformers.AutoModelForCausalLM.from_pretrained(path.parent, dtype=torch.float32, **given)
    config = {k: v for k, v in model.config.to_dict().items() if k != "quantization_config"}
    once = {value.data_ptr(): (name, value) for name, value in reversed(model.state_dict().items())}  # tied ones
    words = transformers.AutoTokenizer.from_pretrained(path.parent, **given).backend_tokenizer.to_str()
    content = {CONFIG: json.dumps(config, indent=1).encode(), WORDS: words.encode()}
    content[SAFE] = save({k: v.contiguous() for k, v in sorted(once.values())}, {"format": "pt"})
    publish(folder, content)
    return folder


@cache
def _damaged(folder: Path, stamp: int) -> str:
    return damage(folder)


def _transformers() -> Any:
    """The library, told of our attention."""
    found = library()
    register: Callable[[str, Any], None] = found.AttentionInterface.register
    register(OURS, attention)
    return found
