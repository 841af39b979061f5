"""Take a run to other tools: weights and words, an ONNX graph per role, or a Hugging Face folder; a card with each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from shutil import copyfile, rmtree
from tempfile import mkdtemp

from sensorium.core import SensoriumError, choice
from sensorium.run.checkpoint import newest
from sensorium.run.runs import Model

from .card import card
from .graph import graphs
from .llama import llama


@dataclass(frozen=True)
class Exported:
    """A folder that was written, its files, and in one line what was compared with the run, or why nothing was."""

    folder: Path
    files: tuple[str, ...]
    checked: str


def plain(model: Model, out: Path) -> str:
    """The weights as they are, the record of the run, its tokeniser."""
    copyfile(newest(model.path) / "model.safetensors", out / "model.safetensors")
    copyfile(model.path / "run.json", out / "run.json")
    if model.tokenizer is not None:
        model.tokenizer.save(str(out / "tokenizer.json"))
    return "the weights are the run's own, byte for byte"


FORMATS: Mapping[str, Callable[[Model, Path], str]] = {"safetensors": plain, "onnx": graphs, "hf": llama}


def export(model: Model, to: str, out: Path) -> Exported:
    """Write a run to the folder `out`, which must not hold anything yet, as `to`: safetensors, onnx or hf.

    Raises:
        SensoriumError: an unknown format, a folder that is in use, a run that the format cannot hold.
    """
    write = choice("format", to, FORMATS)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise SensoriumError(f"{out} is in use; export writes to a new folder")
    out.parent.mkdir(parents=True, exist_ok=True)
    made = Path(mkdtemp(prefix=f".{out.name}.", dir=out.parent))
    try:
        checked = write(model, made)
        (made / "README.md").write_text(card(model, to, checked), encoding="utf-8")
        files = tuple(sorted(p.name for p in made.iterdir()))
        if out.exists():
            out.rmdir()
        made.chmod(0o755)
        made.rename(out)
    finally:
        rmtree(made, ignore_errors=True)
    return Exported(out, files, checked)
